package encoder

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/onnx"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
)

// drawn is an encoder of random weights, and frames for it.
func drawn(colours int, cameras ...Camera) (*Conv, []robot.Frame) {
	rng := rand.New(rand.NewPCG(5, 6))
	c := &Conv{cameras: cameras, shape: Shape{Side: 16, Channels: [2]int{6, 5}, Keypoints: 4, Colours: colours}}
	var fs []robot.Frame
	for i, cam := range cameras {
		n := newNet(cam.Name, c.shape, rng)
		for _, p := range n.params() {
			for k := range p.Data {
				p.Data[k] += 0.05 * float32(rng.NormFloat64())
			}
		}
		c.nets = append(c.nets, n)
		if colours > 0 {
			p := newPalette(colours, c.shape.Side)
			for k := range p.centre {
				p.centre[k] = 0.3 * float32(rng.NormFloat64())
			}
			for k := range p.width {
				p.width[k] = 0.1 + 0.3*rng.Float32()
			}
			for k := range p.usual {
				p.usual[k] = 0.3 * rng.Float32()
			}
			p.fill()
			c.palettes = append(c.palettes, p)
		}
		f := robot.Frame{Camera: cam.Name, W: 16, H: 16, Pix: make([]byte, 16*16*3)}
		for k := range f.Pix {
			f.Pix[k] = byte(k*(7+i) + k*k%13)
		}
		fs = append(fs, f)
	}
	for i := range c.Dim() {
		c.mean, c.gain = append(c.mean, 0.1*float32(rng.NormFloat64())), append(c.gain, 1+float32(i%3)*4)
	}
	return c, fs
}

// close32 compares embeddings, of which some reach the bound.
func close32(t *testing.T, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d numbers, want %d", len(got), len(want))
	}
	bound := 0
	for i, v := range want {
		if !(math.Abs(float64(got[i]-v)) <= 1e-5*limit) { // float32 through three convolutions, times a gain of 9
			t.Errorf("number %d is %v, want %v", i, got[i], v)
		}
		if math.Abs(float64(v)) == limit {
			bound++
		}
	}
	if bound == len(want) {
		t.Error("every number is at the bound")
	}
}

func TestOpenCVRunsTheExportedEncoder(t *testing.T) {
	for _, colours := range []int{0, 3} {
		t.Run(fmt.Sprint(colours, " colours"), func(t *testing.T) { runInOpenCV(t, colours) })
	}
}

func runInOpenCV(t *testing.T, colours int) {
	c, fs := drawn(colours, Camera{Name: "wrist"})
	var file bytes.Buffer
	if err := c.ExportONNX(&file, "test"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "encoder.onnx")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	net, err := vision.LoadNet(path, vision.NetConfig{W: 16, H: 16, Scale: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	got, err := net.Forward(t.Context(), fs)
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.Extract(t.Context(), fs)
	if err != nil {
		t.Fatal(err)
	}
	close32(t, got[0], want.Embed)
}

func TestExportedEncoderOfTwoCamerasComesBack(t *testing.T) {
	for _, colours := range []int{0, 3} {
		t.Run(fmt.Sprint(colours, " colours"), func(t *testing.T) { comeBack(t, colours) })
	}
}

func comeBack(t *testing.T, colours int) {
	c, fs := drawn(colours, Camera{Name: "wrist"}, Camera{Name: "side", Crop: [4]int{0, 0, 16, 16}})
	var file bytes.Buffer
	if err := c.ExportONNX(&file, "test"); err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Load(&file, onnx.Config{})
	if err != nil {
		t.Fatal(err)
	}
	numbers := nn.Count(append(c.nets[0].params(), c.nets[1].params()...)) + 2*c.Dim()
	if colours > 0 { // the tints, and how near they are
		numbers += 2 * (3*3 + 3 + 2*(3*colours+colours))
	}
	if got := nn.Count(m.Params()); got != numbers {
		t.Errorf("%d numbers to train: constants are among them", got)
	}
	g := nn.NewGraph()
	var xs []*nn.Node
	for i, p := range m.Inputs {
		if p.Name != "image."+fs[i].Camera {
			t.Errorf("input %d is %q, want one of camera %q", i, p.Name, fs[i].Camera)
		}
		x := g.Input(1, 16, 16, 3)
		for k, v := range fs[i].Pix {
			x.Value[k] = float32(v)
		}
		xs = append(xs, x)
	}
	ys, err := m.Apply(g, g.Frozen, xs...)
	if err != nil {
		t.Fatal(err)
	}
	g.Forward()
	want, err := c.Extract(t.Context(), fs)
	if err != nil {
		t.Fatal(err)
	}
	close32(t, ys[0].Value, want.Embed)
	if got := m.Meta[3]; got.Key != "input.image.side" || got.Value != "(batch,3,16,16) blue, green, red, 0 to 255, cut out at x, y, width, height [0 0 16 16] pixels and scaled" {
		t.Errorf("metadata of the second camera: %v", got)
	}
}

var errFull = errors.New("disk full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestExportPassesErrorsOn(t *testing.T) {
	c, _ := drawn(0, Camera{Name: "wrist"})
	if err := c.ExportONNX(full{}, ""); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}
