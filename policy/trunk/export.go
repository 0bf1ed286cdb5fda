package trunk

import (
	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/onnx"
	"github.com/rapport-rl/rapport/policy/view"
)

// Export adds the trunk to b, with an input frame.NAME for each camera,
// (batch,3,H,W): blue, green, red, 0 to 255. It returns the latents (batch,Dim())
// and says of each input what it is. With times the frames are those of so many
// ticks, (batch,times,3,H,W) with the newest last, and the latents (batch*times,Dim()).
func (n *Net) Export(b *onnx.Builder, times int, says func(input, doc string)) string {
	var zs []string
	for i, cam := range n.Cameras {
		name, doc := "frame."+cam.Name, view.Sized(times, "blue, green, red, 0 to 255", 3, cam.H, cam.W)
		says(name, doc)
		var x string
		if times > 0 {
			x = b.Reshape(b.Input(name, doc, times, 3, cam.H, cam.W), -1, 3, cam.H, cam.W)
		} else {
			x = b.Input(name, doc, 3, cam.H, cam.W)
		}
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
