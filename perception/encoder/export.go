package encoder

import (
	"fmt"
	"io"

	"github.com/rapport-rl/rapport/internal/nn"
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
		raw := x
		x = b.Op("Mul", []string{x, b.Const("unit", []float32{1. / 255}, 1)})
		x = b.Op("Sub", []string{x, b.Const("half", []float32{0.5}, 1)})
		n := c.nets[i]
		x = b.Op("Relu", []string{b.Conv(x, n.w[0], n.b[0], 2, 1)})
		x = b.Op("Relu", []string{b.Conv(x, n.w[1], n.b[1], 2, 1)})
		x = b.Conv(x, n.w[2], n.b[2], 1, 1)
		keys = append(keys, b.SpatialSoftmax(x, c.shape.Keypoints, S/stride, S/stride, temperature))
		if c.palettes != nil {
			keys = append(keys, c.palettes[i].export(b, raw, cam.Name, S))
		}
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

// export is find, of images x (batch,3,S,S) of 0 to 255.
func (p *palette) export(b *onnx.Builder, x, camera string, S int) string {
	C := p.colours()
	conv := func(x, name string, out int, w, bias []float32) string {
		in := len(w) / out
		kernel, offset := nn.NewParam(camera+".colour."+name+".weight", out, in, 1, 1), nn.NewParam(camera+".colour."+name+".bias", out)
		copy(kernel.Data, w)
		copy(offset.Data, bias)
		return b.Conv(x, kernel, offset, 1, 0)
	}
	// The middle of the level, then its tint.
	x = b.Op("Floor", []string{b.Scale(x, levels/256.)})
	var to []float32 // (3,3)
	var middle [3]float32
	for a := range 3 {
		for in := range 3 {
			var one [3]float64
			one[in] = 1
			v := float32(tint(one[0], one[1], one[2])[a])
			to = append(to, v/levels)
			middle[a] += v / (2 * levels)
		}
	}
	x = conv(x, "tint", 3, to, middle[:])
	// -|t-m|²/2w² = t·m/w² - |t|²/2w² - |m|²/2w²
	var dot, bias, square []float32
	for c := range C {
		inv, sum := 1/(p.width[c]*p.width[c]), float32(0)
		for _, m := range p.centre[3*c : 3*c+3] {
			dot = append(dot, m*inv)
			square = append(square, -inv/2)
			sum += m * m
		}
		bias = append(bias, -sum*inv/2)
	}
	x = b.Op("Exp", []string{b.Add(conv(x, "near", C, dot, bias), conv(b.Mul(x, x), "far", C, square, nil))})
	usual := make([]float32, len(p.usual))
	var where, ones []float32
	half := float32(S-1) / 2
	for i := range S * S {
		for c := range C {
			usual[c*S*S+i] = p.usual[i*C+c]
		}
		where = append(where, (float32(i%S)-half)/half, (float32(i/S)-half)/half)
		ones = append(ones, 1, 1)
	}
	fixed := func(v []float32, shape ...int) string { // no weight
		return b.Op("Constant", nil, onnx.Attr{Name: "value", Kind: onnx.OfArray, T: &onnx.Tensor{Shape: shape, Floats: v}})
	}
	x = b.Op("Relu", []string{b.Sub(x, fixed(usual, 1, C, S, S))})
	x = b.Reshape(x, -1, S*S)
	m := b.Add(b.Op("MatMul", []string{x, fixed(ones, S*S, 2)}), b.Const("scrap", []float32{scrap}, 1))
	x = b.Op("Div", []string{b.Op("MatMul", []string{x, fixed(where, S*S, 2)}), m})
	return b.Reshape(x, -1, 2*C)
}
