package encoder

import (
	"fmt"
	"io"

	"github.com/rapport-rl/rapport/internal/nn/onnx"
)

// ExportONNX writes the encoder as an ONNX file of opset 13. There is an input
// image.NAME for each camera: (batch,3,Side,Side), blue, green, red, 0 to 255, of
// the image cut and scaled as Extract does; the metadata say how. The output is
// embedding (batch,Dim), which an exported policy takes.
func (c *Conv) ExportONNX(w io.Writer, program string) error {
	b := onnx.NewBuilder("rapport-encoder")
	meta := []onnx.Entry{{Key: "rapport.format", Value: "rapport-encoder-1"}, {Key: "rapport.program", Value: program}}
	S := c.shape.Side
	var keys []string
	for i, cam := range c.cameras {
		doc := fmt.Sprintf("(batch,3,%d,%d) blue, green, red, 0 to 255", S, S)
		if cam.Crop != [4]int{} {
			doc += fmt.Sprintf(", cut out at x, y, width, height %v pixels and scaled", cam.Crop)
		}
		meta = append(meta, onnx.Entry{Key: "input.image." + cam.Name, Value: doc})
		x := b.Input("image."+cam.Name, doc, 3, S, S)
		x = b.Op("Mul", []string{x, b.Const("unit", []float32{1. / 255}, 1)})
		x = b.Op("Sub", []string{x, b.Const("half", []float32{0.5}, 1)})
		n := c.nets[i]
		x = b.Op("Relu", []string{b.Conv(x, n.w[0], n.b[0], 2, 1)})
		x = b.Op("Relu", []string{b.Conv(x, n.w[1], n.b[1], 2, 1)})
		x = b.Conv(x, n.w[2], n.b[2], 1, 1)
		keys = append(keys, b.SpatialSoftmax(x, c.shape.Keypoints, S/stride, S/stride, temperature))
	}
	x := keys[0]
	if len(keys) > 1 {
		x = b.Op("Concat", keys, onnx.Attr{Name: "axis", Kind: onnx.Int, I: 1})
	}
	D := c.Dim()
	x = b.Op("Mul", []string{b.Op("Sub", []string{x, b.Const("mean", c.mean, D)}), b.Const("gain", c.gain, D)})
	doc := fmt.Sprintf("(batch,%d) x and y of each keypoint, standardised", D)
	b.Output("embedding", doc, b.Clamp(x, limit), D)
	m := b.Model()
	m.Version = program
	m.Meta = append(meta, onnx.Entry{Key: "output.embedding", Value: doc})
	if err := m.Write(w); err != nil {
		return fmt.Errorf("encoder: export: %w", err)
	}
	return nil
}
