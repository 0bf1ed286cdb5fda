package vision

import (
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rapport-rl/rapport/robot"
)

func TestFilmIsReadBack(t *testing.T) {
	for _, name := range []string{"a.mp4", "a.avi"} {
		path := filepath.Join(t.TempDir(), name)
		f, err := CreateFilm(path, 20, 128, 64)
		if err != nil {
			t.Fatal(err)
		}
		const n = 33
		for i := range n {
			if err := f.Write(numbered(i, 128, 64)); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil || f.Len() != n {
			t.Fatalf("%s: %d frames, %v", name, f.Len(), err)
		}
		v, err := OpenVideo(path)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(v.FPS()-20) > 1e-6 {
			t.Errorf("%s runs at %v Hz, want 20", name, v.FPS())
		}
		i := 0
		for ; ; i++ {
			fr, err := v.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if number(fr) != i {
				t.Fatalf("%s: frame %d shows %d", name, i, number(fr))
			}
		}
		if i != n {
			t.Errorf("%s holds %d frames, want %d", name, i, n)
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFilmRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, f := range map[string]func() (*Film, error){
		".mp4 (H.264) or .avi":  func() (*Film, error) { return CreateFilm(filepath.Join(dir, "a.gif"), 20, 64, 64) },
		"even sides":            func() (*Film, error) { return CreateFilm(filepath.Join(dir, "a.mp4"), 20, 63, 64) },
		"at NaN Hz":             func() (*Film, error) { return CreateFilm(filepath.Join(dir, "a.mp4"), math.NaN(), 64, 64) },
		"no such file":          func() (*Film, error) { return CreateFilm(filepath.Join(dir, "none", "a.mp4"), 20, 64, 64) },
		"the film 64x64":        func() (*Film, error) { return odd(filepath.Join(dir, "b.mp4")) },
		"holds 12 bytes, want ": func() (*Film, error) { return short(filepath.Join(dir, "c.mp4")) },
	} {
		if _, err := f(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

func odd(path string) (*Film, error) {
	f, err := CreateFilm(path, 20, 64, 64)
	if err != nil {
		return nil, err
	}
	return nil, errors.Join(f.Write(numbered(0, 32, 32)), f.Abort())
}

func short(path string) (*Film, error) {
	f, err := CreateFilm(path, 20, 64, 64)
	if err != nil {
		return nil, err
	}
	return nil, errors.Join(f.Write(robot.Frame{W: 64, H: 64, Pix: make([]byte, 12)}), f.Abort())
}

// A file-size limit makes the kernel refuse writes as a full disk does, of which
// OpenCV says nothing.
func TestFilmOnAFullDiskIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.avi")
	f, err := CreateFilm(path, 20, 256, 256)
	if err != nil {
		t.Fatal(err)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 40 << 10, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	noise := robot.Frame{W: 256, H: 256, Pix: make([]byte, 3*256*256)}
	src := rand.NewPCG(1, 2)
	for i := range noise.Pix {
		noise.Pix[i] = byte(src.Uint64())
	}
	for range 20 {
		if err := f.Write(noise); err != nil {
			break
		}
	}
	err = f.Close()
	if e := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); e != nil {
		t.Fatal(e)
	}
	if err == nil || !strings.Contains(err.Error(), "free space") {
		t.Errorf("got %v, want an error that says free space", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestChartDrawsWhatIsKnown(t *testing.T) {
	ys := []float64{0, 1, math.NaN(), 1, 0}
	dark := func(n int) (count, right int) {
		f, err := Chart(ys, n, 0, 1, 40, 20)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(f.Pix); i += 3 {
			if f.Pix[i+1] < 200 {
				count++
				right = max(right, i/3%40)
			}
		}
		return count, right
	}
	none, _ := dark(0)
	two, at2 := dark(2)
	five, at5 := dark(5)
	if none != 0 || two == 0 || five <= two || at2 > 15 || at5 < 35 {
		t.Errorf("0, 2 and 5 numbers mark %d, %d and %d pixels, up to columns %d and %d", none, two, five, at2, at5)
	}
	for _, bad := range []func() (robot.Frame, error){
		func() (robot.Frame, error) { return Chart(ys, 6, 0, 1, 40, 20) },
		func() (robot.Frame, error) { return Chart(ys, 2, 0, 1, 4, 20) },
	} {
		if _, err := bad(); err == nil {
			t.Error("a chart of nothing was drawn")
		}
	}
}
