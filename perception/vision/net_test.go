package vision

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/robot"
)

// imagenet is the configuration that testdata/tiny.py exports for.
func imagenet(side int) NetConfig {
	return NetConfig{
		W: side, H: side, SwapRB: true,
		Mean: [3]float64{0.485, 0.456, 0.406}, Std: [3]float64{0.229, 0.224, 0.225},
	}
}

// picture draws what testdata/tiny.py draws.
func picture(side int) robot.Frame {
	f := robot.Frame{Camera: "front", W: side, H: side, Pix: make([]byte, 3*side*side)}
	for i := range f.Pix {
		c, x, y := i%3, i/3%side, i/3/side
		f.Pix[i] = byte(7*x + 13*y + 29*c + x*y%11)
	}
	return f
}

// agrees runs the network NAME in folder and compares it with PyTorch's output
// beside it; tol is relative to the largest output.
func agrees(t *testing.T, folder, name string, batch int, tol float64) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(folder, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Side int
		Want []float64
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatal(err)
	}
	cfg := imagenet(e.Side)
	cfg.Batch = batch
	n, err := LoadNet(filepath.Join(folder, name+".onnx"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if n.Dim() != len(e.Want) {
		t.Fatalf("Dim() = %d, want %d", n.Dim(), len(e.Want))
	}
	dark := robot.Frame{W: 5, H: 7, Pix: make([]byte, 3*5*7)}
	got, err := n.Forward(context.Background(), []robot.Frame{dark, picture(e.Side), dark})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Fatalf("%d rows for 3 frames", len(got))
	}
	var diff, size float64
	for i, w := range e.Want {
		diff = max(diff, math.Abs(float64(got[1][i])-w))
		size = max(size, math.Abs(w))
	}
	if !(diff <= tol*size) {
		t.Errorf("%s, batch %d: off from PyTorch by %g of %g, want at most %g of it", name, batch, diff, size, tol)
	}
	for i := range got[0] {
		if got[0][i] != got[2][i] {
			t.Errorf("equal images give %g and %g", got[0][i], got[2][i])
		}
	}
}

func TestNetAgreesWithPyTorch(t *testing.T) {
	agrees(t, "testdata", "tiny", 0, 1e-4)
	agrees(t, "testdata", "tiny", 2, 1e-4)
}

func TestNetRefusesBrokenFiles(t *testing.T) {
	whole, err := os.ReadFile("testdata/tiny.onnx")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	files := map[string][]byte{
		"empty":        nil,
		"noise":        noise,
		"html":         []byte("<html><body>404 not found</body></html>"),
		"pointer":      []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"),
		"no graph":     {0x08, 0x06},
		"empty graph":  {0x08, 0x06, 0x3a, 0x02, 0x12, 0x00},
		"graph broken": append([]byte{0x08, 0x06, 0x3a, 0xff, 0x01}, noise[:255]...),
	}
	for _, n := range []int{1, 10, 100, 1000, len(whole) / 2, len(whole) - 1} {
		files["cut at "+string(rune('0'+n%10))+" of "+string(rune('a'+n%26))] = whole[:n]
	}
	for name, data := range files {
		path := filepath.Join(t.TempDir(), "model.onnx")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		n, err := LoadNet(path, imagenet(32))
		if err == nil {
			n.Close()
			t.Errorf("%s: no error", name)
			continue
		}
		if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "again") {
			t.Errorf("%s: error %q names no file or remedy", name, err)
		}
	}
}

// OpenCV throws on graphs that are whole as protobuf and wrong as networks; the
// process must survive what the envelope cannot see.
func TestNetSurvivesFlippedBytes(t *testing.T) {
	whole, err := os.ReadFile("testdata/tiny.onnx")
	if err != nil {
		t.Fatal(err)
	}
	// Names of operators and attributes, and the types and shapes of tensors.
	for _, swap := range [][2]string{
		{"Conv", "Vonc"}, {"Gemm", "Mmeg"}, {"kernel_shape", "kernel_shapf"}, {"Relu", "Conv"},
		{"image", "imagf"}, {"embedding", "embeddinh"}, {"Flatten", "Reshape"}, {"Add", "Mul"},
	} {
		if !strings.Contains(string(whole), swap[0]) {
			t.Fatalf("the fixture has no %q", swap[0])
		}
		data := []byte(strings.Replace(string(whole), swap[0], swap[1], 1))
		n, err := newNet("swapped.onnx", data, imagenet(32))
		if err != nil {
			if !strings.Contains(err.Error(), "swapped.onnx") {
				t.Errorf("%s for %s: error %q names no file", swap[1], swap[0], err)
			}
			continue
		}
		n.Close()
	}
}

func TestNetSaysWhatItCannotDo(t *testing.T) {
	if _, err := LoadNet("testdata/absent.onnx", imagenet(32)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	if _, err := LoadNet("testdata/tiny.onnx", NetConfig{}); err == nil {
		t.Error("no error without an input size")
	}
	cfg := imagenet(32)
	cfg.Output = "nowhere"
	if _, err := LoadNet("testdata/tiny.onnx", cfg); err == nil || !strings.Contains(err.Error(), "output name") {
		t.Errorf("unknown output: %v", err)
	}
	n, err := LoadNet("testdata/tiny.onnx", imagenet(32))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := n.Forward(ctx, []robot.Frame{picture(32)}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := n.Forward(context.Background(), []robot.Frame{{W: 4, H: 4}}); err == nil {
		t.Error("no error for a frame without pixels")
	}
	n.Close()
	if err := n.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := n.Forward(context.Background(), []robot.Frame{picture(32)}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func FuzzEnvelope(f *testing.F) {
	whole, err := os.ReadFile("testdata/tiny.onnx")
	if err != nil {
		f.Fatal(err)
	}
	if err := envelope(whole); err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:100])
	f.Add([]byte{0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := envelope(data); err != nil && !errors.Is(err, errEnvelope) {
			t.Errorf("unexpected kind of error: %v", err)
		}
	})
}
