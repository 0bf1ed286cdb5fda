//go:build cgo && !purego

package cuda_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/nn/device/cuda"
	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
)

// panics is what f panics with.
func panics(t *testing.T, f func()) (what string) {
	t.Helper()
	defer func() {
		r := recover()
		if r == nil {
			t.Error("no panic")
		}
		what = fmt.Sprint(r)
	}()
	f()
	return ""
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	if err := cudatest.Build(dir); err != nil {
		t.Fatal(err)
	}
	const remedy = "learner.device: cpu"
	for _, c := range []struct{ fails, want string }{
		{"init", "cuInit: CUDA_ERROR_NO_DEVICE (100)"},
		{"count", "the driver sees no card"},
		{"compile", "NVRTC cannot compile for --gpu-architecture=sm_90: NVRTC_ERROR_COMPILATION; is libnvrtc older than the card? kernels.cu(1): no"},
	} {
		t.Setenv("EMULATOR_FAILS", c.fails)
		if _, err := cuda.Open(cuda.Config{Libs: []string{dir}}); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), remedy) {
			t.Errorf("where %s fails: %v, want %q and the remedy", c.fails, err, c.want)
		}
	}
}

// Python's packages have the libraries in */lib of one folder.
func TestOpenLooksIntoWheels(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "cu12", "lib")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := cudatest.Build(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RAPPORT_CUDA_LIBS", "/nowhere:"+root)
	d, err := cuda.Open(cuda.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(d.Name(), "emulated card (compute capability 9.0") {
		t.Errorf("opened %s", d.Name())
	}
	if err := d.Check(); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err == nil || err.Error() != "cuda: closed twice" {
		t.Errorf("closed twice: %v", err)
	}
	if got := panics(t, func() { d.Add([]float32{1}, []float32{2}) }); got != "cuda: device is closed" {
		t.Errorf("used after Close: %s", got)
	}
}

func TestMisuseAndFailuresAreNamed(t *testing.T) {
	d := cudatest.Open(t)
	x := d.Alloc(4)
	for _, c := range []struct {
		want string
		f    func()
	}{
		{"cuda: array too short", func() { d.Add(x, x[:3]) }},
		{"cuda: Gemm: array too short", func() { d.Gemm(false, false, 2, 2, 2, x, 2, x[:3], 2, 0, x, 2) }},
		{"cuda: Upload: source too short, or destination not on the card", func() { d.Upload(make([]float32, 2), x) }},
		{"cuda: Download: source too short, or not on the card", func() { d.Download(make([]float32, 9), x) }},
		{"cuda: Free: not the beginning of an array of this device", func() { d.Free(x[1:]) }},
		{"cuda: Permute: more than six axes", func() { d.Permute(make([]int, 7), make([]int, 7), x, x) }},
		{"CUDA_ERROR_OUT_OF_MEMORY", func() { d.Alloc(1 << 40) }},
		{"choose a smaller batch", func() { d.Alloc(1 << 40) }},
	} {
		if got := panics(t, c.f); !strings.Contains(got, c.want) {
			t.Errorf("panic %q, want %q", got, c.want)
		}
	}
	// It goes on after all that.
	d.Shift(2, x)
	got := make([]float32, 4)
	d.Copy(got, x)
	if want := []float32{2, 2, 2, 2}; !slices.Equal(got, want) {
		t.Errorf("array is %v, want %v", got, want)
	}
	d.Free(x)
}

func TestRecordingsRepeat(t *testing.T) {
	d := cudatest.Open(t)
	x, y := d.Alloc(300), make([]float32, 300)
	r := d.Record(func() {
		d.Shift(1, x)
		d.Add(x, x)
	})
	if r == nil {
		t.Fatal("not recorded")
	}
	for range 3 {
		r.Replay()
	}
	d.Copy(y, x)
	if y[299] != 14 { // ((0+1)*2+1)*2...
		t.Errorf("after three replays %v, want 14", y[299])
	}
	r.Forget()
	// What was recorded was not done by another goroutine meanwhile.
	done := make(chan struct{})
	z := d.Alloc(3)
	r = d.Record(func() {
		go func() {
			d.Shift(5, z)
			close(done)
		}()
		d.Shift(1, x)
	})
	<-done
	got := make([]float32, 3)
	r.Replay()
	d.Copy(got, z)
	if got[0] != 5 {
		t.Errorf("another goroutine's call was recorded: %v", got)
	}
	r.Forget()
}

func TestWaitRecordsNothing(t *testing.T) {
	t.Setenv("RAPPORT_CUDA_WAIT", "1")
	d := cudatest.Open(t)
	if r := d.Record(func() { t.Error("was called") }); r != nil {
		t.Error("a device that waits recorded")
	}
	x := []float32{1, 2}
	d.Map(device.Square, x, x)
	if x[1] != 4 {
		t.Errorf("squares are %v", x)
	}
}

func TestSteadyCallsAllocateNothing(t *testing.T) {
	d := cudatest.Open(t)
	x, y := d.Alloc(1000), d.Alloc(1000)
	c := d.Conv(device.ConvShape{B: 1, H: 4, W: 4, C: 4, OH: 2, OW: 2, O: 4, KH: 3, KW: 3, StrideH: 1, StrideW: 1, NeedInput: true, NeedW: true})
	if n := testing.AllocsPerRun(5, func() {
		d.Map(device.Tanh, y, x)
		d.ColSum(y[:10], x)
		d.Gemm(false, true, 10, 10, 20, x, 20, x, 20, 1, y, 10)
		c.Forward(y[:16], x[:64], x[:144], nil, nil)
		c.Weight(true, y[:144], nil, x[:16], x[:64], nil)
		d.Sync()
	}); n != 0 {
		t.Errorf("%v allocations a run", n)
	}
}
