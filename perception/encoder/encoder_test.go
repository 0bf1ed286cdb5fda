package encoder

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
)

// small is a configuration that trains in seconds.
func small(cameras ...string) Config {
	c := Default(cameras...)
	c.Steps, c.Batch = 3, 4
	c.Shape.Channels, c.Shape.Keypoints = [2]int{4, 6}, 5
	return c
}

func trained(t *testing.T, cfg Config, d Data) *Conv {
	t.Helper()
	c, _, err := Train(t.Context(), d, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTrainedEmbeddingTellsWhereSmallObjectsAre(t *testing.T) {
	d, truth := pushing(1, 24, 12, "front")
	held, more := pushing(2, 8, 12, "front")
	// A twelfth of the default's work, for the race detector's sake.
	cfg := Default("front")
	cfg.Shape = Shape{Side: 64, Channels: [2]int{8, 24}, Keypoints: 8}
	cfg.Steps, cfg.Batch, cfg.LR = 130, 16, 4e-3
	c, rep, err := Train(t.Context(), d, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	xs := embed(t, c, d)
	n := len(xs)
	r2 := probe(append(xs, embed(t, c, held)...), append(truth, more...), n)
	t.Logf("loss %.2f to %.2f, %.0f %% redrawn, R2 %.3f", rep.First, rep.Last, 100*rep.Explained, r2)
	for i, name := range []string{"pushed square x", "pushed square y", "other square x", "other square y"} {
		if r2[i] < 0.9 {
			t.Errorf("%s: held-out R2 %.3f of a linear probe, want at least 0.9", name, r2[i])
		}
	}
	untrained := cfg
	untrained.Steps, untrained.LR = 1, 1e-9
	u := trained(t, untrained, d)
	base := probe(append(embed(t, u, d), embed(t, u, held)...), append(truth, more...), n)
	if slices.Min(base) > 0.8 {
		t.Errorf("random weights reach R2 %.3f already, so this test tells nothing", base)
	}
}

func TestTrainingIsReproducible(t *testing.T) {
	d, _ := pushing(3, 3, 6, "front", "side")
	cfg := small("front", "side")
	cfg.Shift = 2
	a, err := trained(t, cfg, d).Encode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := trained(t, cfg, d).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("equal seeds give different encoders")
	}
	cfg.Seed++
	if b, err = trained(t, cfg, d).Encode(); err != nil || bytes.Equal(a, b) {
		t.Errorf("another seed gives the same encoder (error %v)", err)
	}
}

func TestEveryLossTrainsAlone(t *testing.T) {
	d, _ := pushing(3, 3, 6, "front")
	for name, set := range map[string]func(*Config){
		"redraw":   func(c *Config) { c.Redraw = 1 },
		"tool":     func(c *Config) { c.Tool = 1 },
		"dynamics": func(c *Config) { c.Dynamics = 1 },
		"clone":    func(c *Config) { c.Clone = 1 },
	} {
		cfg := small("front")
		cfg.Steps, cfg.Batch, cfg.LR = 100, 8, 5e-3
		cfg.Shape.Side = 32
		cfg.Redraw, cfg.Tool, cfg.Dynamics, cfg.Clone = 0, 0, 0, 0
		set(&cfg)
		_, rep, err := Train(t.Context(), d, cfg, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Logf("%s: loss from %.3g to %.3g", name, rep.First, rep.Last)
		if !(rep.Last < 0.9*rep.First) {
			t.Errorf("%s: loss went from %g to %g in %d steps", name, rep.First, rep.Last, cfg.Steps)
		}
	}
}

func TestExtractIsTheSameAloneTogetherAndReloaded(t *testing.T) {
	d, _ := pushing(4, 2, 8, "front", "side")
	c := trained(t, small("side", "front"), d)
	ticks := d.Clips[0].Frames
	want, err := c.ExtractBatch(t.Context(), ticks, 1)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "encoder.safetensors")
	if err := c.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := again.ExtractBatch(t.Context(), ticks, 4)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("reloaded (-want +got):\n%s", d)
	}
	var wg sync.WaitGroup
	for i, fs := range ticks {
		wg.Go(func() {
			slices.Reverse(fs) // the order of the frames is not the cameras'
			got, err := c.Extract(context.Background(), fs)
			if err != nil || !slices.Equal(got.Embed, want[i].Embed) {
				t.Errorf("tick %d: other bits than alone (error %v)", i, err)
			}
		})
	}
	wg.Wait()
	for _, f := range want {
		if len(f.Embed) != c.Dim() || c.Dim() != 20 {
			t.Fatalf("embedding of %d numbers, Dim() = %d, want 20", len(f.Embed), c.Dim())
		}
		for _, v := range f.Embed {
			if !(math.Abs(float64(v)) <= limit) {
				t.Fatalf("embedding holds %g, want at most %d", v, limit)
			}
		}
	}
}

func TestDecodeRefusesWhatIsNoEncoder(t *testing.T) {
	d, _ := pushing(4, 1, 4, "front")
	c := trained(t, small("front"), d)
	good, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	other, err := nn.Encode(nil, map[string]string{"kind": "policy"})
	if err != nil {
		t.Fatal(err)
	}
	c.gain[0] = float32(math.NaN())
	nan, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("hello, encoder"), "cut": good[:len(good)-4], "cut early": good[:40],
		"another kind": other, "not finite": nan,
		"huge shape":    bytes.Replace(good, []byte(`\"Side\":96`), []byte(`\"Side\":9600`), 1),
		"other shape":   bytes.Replace(good, []byte(`\"Keypoints\":5`), []byte(`\"Keypoints\":6`), 1),
		"missing array": bytes.Replace(good, []byte(`front.conv1.bias`), []byte(`front.conv1.bios`), 1),
	} {
		if bytes.Equal(data, good) {
			t.Fatalf("%s: the fixture does not differ", name)
		}
		if _, err := Decode(data); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v, want %v", name, err, ErrFormat)
		}
	}
	path := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(path, good[:99], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v does not name the file", err)
	}
	if _, err := Load(path + "s"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	d, _ := pushing(4, 1, 4, "front")
	c, _, err := Train(f.Context(), d, small("front"), nil)
	if err != nil {
		f.Fatal(err)
	}
	good, err := c.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := Decode(data); err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("unexpected kind of error: %v", err)
		}
	})
}

func TestTrainSaysWhatIsWrong(t *testing.T) {
	d, _ := pushing(4, 1, 4, "front")
	for name, change := range map[string]func(*Config, *Data){
		"no camera":      func(c *Config, d *Data) { c.Cameras = nil },
		"camera twice":   func(c *Config, d *Data) { c.Cameras = append(c.Cameras, c.Cameras[0]) },
		"unknown camera": func(c *Config, d *Data) { c.Cameras[0].Name = "wrist" },
		"crop outside":   func(c *Config, d *Data) { c.Cameras[0].Crop = [4]int{90, 90, 20, 20} },
		"no losses":      func(c *Config, d *Data) { c.Redraw, c.Tool, c.Dynamics, c.Clone = 0, 0, 0, 0 },
		"odd batch":      func(c *Config, d *Data) { c.Batch = 5 },
		"odd side":       func(c *Config, d *Data) { c.Shape.Side = 95 },
		"no clips":       func(c *Config, d *Data) { d.Clips = nil },
		"missing state":  func(c *Config, d *Data) { d.Clips = []Clip{d.Clips[0]}; d.Clips[0].States = d.Clips[0].States[1:] },
		"exploding rate": func(c *Config, d *Data) { c.LR, c.Steps = 1e30, 20 },
	} {
		cfg, data := small("front"), Data{Clips: slices.Clone(d.Clips)}
		change(&cfg, &data)
		if _, _, err := Train(t.Context(), data, cfg, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cfg := small("front")
	_, _, err := Train(ctx, d, cfg, func(step, total int, _ float64) {
		if step == 2 && total == cfg.Steps {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled in the middle: %v", err)
	}
}

// The gradient of the drawing against central differences.
func TestBlobsGradient(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	const K, R, cells = 3, 16, 12
	g := nn.NewGraph()
	keys := g.InputGrad(2, 2*K)
	target := g.Input(2, R, R, K)
	loss := g.MSE(blobs(g, keys, cells, R, 1.5), target)
	for i := range keys.Value {
		keys.Value[i] = float32(1.6*rng.Float64() - 0.8)
	}
	for i := range target.Value {
		target.Value[i] = rng.Float32()
	}
	g.Forward()
	g.Backward(loss)
	grad := slices.Clone(keys.Grad)
	for i := range keys.Value {
		at := func(d float32) float64 {
			v := keys.Value[i]
			defer func() { keys.Value[i] = v }()
			keys.Value[i] += d
			g.Forward()
			return float64(loss.Value[0])
		}
		// float32 losses near 0.3 leave differences of 1e-2 about 1e-5 exact.
		want := (at(1e-2) - at(-1e-2)) / 2e-2
		if math.Abs(float64(grad[i])-want) > 2e-2*math.Abs(want)+5e-5 {
			t.Errorf("entry %d: gradient %g, differences %g", i, grad[i], want)
		}
	}
}

// A heatmap with one hot cell must give that cell's pixel, in the image as the
// camera sent it.
func TestKeypointsAreInCameraPixels(t *testing.T) {
	s := Shape{Side: 96, Channels: [2]int{1, 1}, Keypoints: 1}
	n := newNet("front", s, nil)
	// Sum of the colours through the middle of every kernel: the heatmap is the
	// image at every fourth pixel.
	for i, p := range n.w {
		for c := range p.Shape[1] {
			p.Data[9*c+4] = []float32{20, 20, 20}[i]
		}
	}
	n.b[0].Data[0] = 30 // pixels enter as -0.5..0.5, and a ReLU follows
	c := &Conv{cameras: []Camera{{Name: "front", Crop: [4]int{16, 8, 192, 192}}}, shape: s, nets: []*net{n}}
	f := robot.Frame{Camera: "front", W: 224, H: 208, Pix: make([]byte, 3*224*208)}
	// One bright 2x2 block of the crop becomes one pixel: (40,64) of 96.
	for _, p := range [][2]int{{80, 128}, {81, 128}, {80, 129}, {81, 129}} {
		i := 3 * ((p[1]+8)*f.W + p[0] + 16)
		copy(f.Pix[i:], []byte{255, 255, 255})
	}
	ks, err := c.Keypoints(t.Context(), []robot.Frame{f})
	if err != nil {
		t.Fatal(err)
	}
	k := ks[0]
	if math.Abs(k.X-96.5) > 0.1 || math.Abs(k.Y-136.5) > 0.1 || k.Score < 0.99 {
		t.Errorf("keypoint at (%.2f,%.2f) with score %.2f, want (96.5,136.5) and 1", k.X, k.Y, k.Score)
	}
}

func TestONNXEmbedsCamerasInOrder(t *testing.T) {
	const model = "../vision/testdata/tiny.onnx"
	front, side := bench(rand.New(rand.NewPCG(1, 1)), 0, [2]float64{}, [2]float64{0.5, 0.5}, [2]float64{}), bench(rand.New(rand.NewPCG(1, 1)), 1, [2]float64{}, [2]float64{0.5, 0.5}, [2]float64{})
	front.Camera, side.Camera = "front", "side"
	net := vision.NetConfig{W: 32, H: 32, SwapRB: true}
	plain, err := LoadONNX(ONNXConfig{Cameras: []Camera{{Name: "side"}, {Name: "front"}}, Model: model, Net: net})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	got, err := plain.Extract(t.Context(), []robot.Frame{front, side})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := vision.LoadNet(model, net)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	rows, err := raw.Forward(t.Context(), []robot.Frame{side, front})
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Concat(rows...); !slices.Equal(got.Embed, want) || plain.Dim() != len(want) {
		t.Errorf("got %v of %d, want %v", got.Embed, plain.Dim(), want)
	}

	// A head that sums the embedding and adds 2.
	path := filepath.Join(t.TempDir(), "head.safetensors")
	b, err := nn.Encode([]nn.Tensor{
		{Name: "weight", Shape: []int{1, 6}, Data: []float32{1, 1, 1, 1, 1, 1}}, {Name: "bias", Shape: []int{1}, Data: []float32{2}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	headed, err := LoadONNX(ONNXConfig{Cameras: []Camera{{Name: "side"}}, Model: model, Net: net, Head: path})
	if err != nil {
		t.Fatal(err)
	}
	defer headed.Close()
	one, err := headed.Extract(t.Context(), []robot.Frame{side})
	if err != nil {
		t.Fatal(err)
	}
	want := float32(2)
	for _, v := range rows[0] {
		want += v
	}
	if len(one.Embed) != 1 || math.Abs(float64(one.Embed[0]-want)) > 1e-5 {
		t.Errorf("headed embedding %v, want %g", one.Embed, want)
	}

	if _, err := plain.Extract(t.Context(), []robot.Frame{front}); !errors.Is(err, ErrCamera) {
		t.Errorf("missing camera: %v", err)
	}
	if _, err := LoadONNX(ONNXConfig{Cameras: []Camera{{Name: "side"}}, Model: model, Net: net, Head: model}); err == nil || !strings.Contains(err.Error(), model) {
		t.Errorf("a head that is none: %v", err)
	}
}

func BenchmarkExtractTwoCameras(b *testing.B) {
	d, _ := pushing(4, 1, 4, "front", "side")
	cfg := Default("front", "side")
	cfg.Steps = 1
	c, _, err := Train(b.Context(), d, cfg, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Extract(b.Context(), d.Clips[0].Frames[0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTrainStep(b *testing.B) {
	d, _ := pushing(4, 2, 20, "front", "side")
	cfg := Default("front", "side")
	s, err := prepare(d, cfg.Cameras, cfg.Shape, drawing)
	if err != nil {
		b.Fatal(err)
	}
	t := newTrainer(cfg, s)
	b.ReportAllocs()
	for b.Loop() {
		t.draw()
		t.g.Forward()
		nn.ZeroGrad(t.params)
		t.g.Backward(t.loss)
	}
}
