package trunk

import (
	"fmt"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/onnx"
)

// Export adds the trunk to b, with an input frame.NAME for each camera,
// (batch,3,H,W): blue, green, red, 0 to 255. It returns the latents (batch,Dim())
// and says of each input what it is.
func (n *Net) Export(b *onnx.Builder, says func(input, doc string)) string {
	var zs []string
	for i, cam := range n.Cameras {
		name, doc := "frame."+cam.Name, fmt.Sprintf("(batch,3,%d,%d) blue, green, red, 0 to 255", cam.H, cam.W)
		says(name, doc)
		x := b.Input(name, doc, 3, cam.H, cam.W)
		x = b.Op("Mul", []string{x, b.Const("unit", []float32{1. / 255}, 1)})
		x = b.Op("Sub", []string{x, b.Const("half", []float32{0.5}, 1)})
		x = b.Flatten(b.ChannelsLast(b.ConvNet(x, n.convs[i])))
		h := n.heads[i]
		zs = append(zs, b.Act(b.LayerNorm(b.Linear(x, h.w, h.b), h.gain, h.bias), nn.Tanh))
	}
	if len(zs) == 1 {
		return zs[0]
	}
	return b.Op("Concat", zs, onnx.Attr{Name: "axis", Kind: onnx.Int, I: 1})
}
