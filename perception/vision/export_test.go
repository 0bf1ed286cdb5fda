package vision

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/onnx"
	"github.com/rapport-rl/rapport/robot"
)

// OpenCV computes with a written network what package nn does.
func TestNetRunsWhatWeExport(t *testing.T) {
	for _, act := range []nn.Act{nn.ReLU, nn.Tanh, nn.SiLU, nn.GELU, nn.Mish, nn.Identity} {
		net := nn.NewConvNet("e", nn.ConvConfig{Channels: 3, H: 20, W: 24, Act: act, Layers: []nn.ConvLayer{
			{Out: 6, Kernel: 3, Stride: 2, Pad: 1}, {Out: 4, Kernel: 3, Pad: 0, Stride: 1},
		}}, rand.New(rand.NewPCG(3, 4)))
		for _, p := range net.Params() { // biases other than zero
			for i := range p.Data {
				p.Data[i] += 0.1
			}
		}
		H, W, C := net.Out[0], net.Out[1], net.Out[2]
		b := onnx.NewBuilder("encoder")
		b.Output("features", "", b.ConvNet(b.Input("image", "", 3, 20, 24), net), C, H, W)
		const images = 2
		read, err := newNet(filepath.Base(t.Name()), b.Model().Encode(), NetConfig{W: 24, H: 20, Batch: images})
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		g := nn.NewGraph()
		x := g.Input(images, 20, 24, 3)
		y := net.Static(g, x)
		var frames []robot.Frame
		for k := range images {
			f := robot.Frame{Camera: "c", W: 24, H: 20, Pix: make([]byte, 20*24*3)}
			for i := range f.Pix {
				f.Pix[i] = byte(i*(7+k) + i*i%13)
				x.Value[k*len(f.Pix)+i] = float32(f.Pix[i]) / 255
			}
			frames = append(frames, f)
		}
		g.Forward()
		rows, err := read.Forward(t.Context(), frames)
		if err != nil {
			t.Fatal(err)
		}
		var worst, largest float64
		for k, row := range rows {
			if len(row) != H*W*C {
				t.Fatalf("%d numbers, want %d", len(row), H*W*C)
			}
			for i, v := range row { // (C,H,W)
				want := y.Value[(k*H*W+i%(H*W))*C+i/(H*W)]
				worst = max(worst, math.Abs(float64(v-want)))
				largest = max(largest, math.Abs(float64(want)))
			}
		}
		// Sums of 54 float32 products in another order.
		if !(worst <= 1e-5) || largest < 0.1 {
			t.Errorf("activation %d: outputs up to %g differ by %g, want at most 1e-5", act, largest, worst)
		}
	}
}
