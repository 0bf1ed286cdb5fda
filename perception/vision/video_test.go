package vision

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gocv.io/x/gocv"

	"github.com/rapport-rl/rapport/robot"
)

// numbered draws frame n of a film: a scene whose eight columns are the bits of n.
func numbered(n, w, h int) robot.Frame {
	f := robot.Frame{W: w, H: h, Pix: make([]byte, 3*w*h)}
	for y := range h {
		for x := range w {
			v := byte(40)
			if n>>(8*x/w)&1 != 0 {
				v = 210
			}
			p := f.Pix[3*(y*w+x):]
			p[0], p[1], p[2] = v, v, v
		}
	}
	return f
}

// number reads it back.
func number(f robot.Frame) int {
	n := 0
	for bit := range 8 {
		if f.Pix[3*(f.H/2*f.W+(2*bit+1)*f.W/16)] > 125 {
			n |= 1 << bit
		}
	}
	return n
}

// film writes n numbered frames; codec as ffmpeg's four letters.
func film(t testing.TB, path, codec string, n, w, h int, fps float64) {
	t.Helper()
	out, err := gocv.VideoWriterFile(path, codec, fps, w, h, true)
	if err != nil {
		t.Fatalf("write %s: %v", codec, err)
	}
	defer out.Close()
	for i := range n {
		v, err := look(numbered(i, w, h).Pix, w, h, gocv.MatTypeCV8UC3)
		if err != nil {
			t.Fatal(err)
		}
		err = out.Write(v.mat)
		v.done()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestVideoGivesEveryFrameInOrder(t *testing.T) {
	for _, codec := range []string{"avc1", "av01", "hev1", "mp4v"} {
		t.Run(codec, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a-003.mp4")
			const n = 150
			film(t, path, codec, n, 128, 64, 30)
			v, err := OpenVideo(path)
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			if w, h := v.Size(); w != 128 || h != 64 || v.Frames() != n || math.Abs(v.FPS()-30) > 1e-6 {
				t.Errorf("%dx%d pixels, %d frames at %v Hz", w, h, v.Frames(), v.FPS())
			}
			for i := 0; ; i++ {
				if i == 40 { // skipped frames count
					if err := v.Skip(25); err != nil {
						t.Fatal(err)
					}
					i += 25
				}
				f, err := v.Next()
				if errors.Is(err, io.EOF) {
					if i != n || v.Pos() != n {
						t.Errorf("the film ends after %d frames, at %d; want %d", i, v.Pos(), n)
					}
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := number(f); got != i || f.Seq != uint64(i) || Check(f) != nil {
					t.Fatalf("frame %d shows number %d and says %d", i, got, f.Seq)
				}
			}
			if err := v.Skip(1); !errors.Is(err, io.EOF) {
				t.Errorf("skipping past the end: %v", err)
			}
		})
	}
}

func TestVideoKeepsColours(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mp4")
	out, err := gocv.VideoWriterFile(path, "avc1", 10, 32, 32, true)
	if err != nil {
		t.Fatal(err)
	}
	pix := bytes.Repeat([]byte{200, 60, 20}, 32*32) // blue, in BGR
	v, err := look(pix, 32, 32, gocv.MatTypeCV8UC3)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Write(v.mat); err != nil {
		t.Fatal(err)
	}
	v.done()
	out.Close()
	in, err := OpenVideo(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	f, err := in.Next()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range pix[:3] {
		if d := int(f.Pix[i]) - int(want); d < -8 || d > 8 { // 4:2:0 and quantisation of a flat colour
			t.Errorf("byte %d is %d, want %d", i, f.Pix[i], want)
		}
	}
}

func TestVideoRefusesWhatIsNone(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenVideo(filepath.Join(dir, "none.mp4")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := OpenVideo(dir); err == nil {
		t.Error("a folder was opened")
	}
	text := filepath.Join(dir, "text.mp4")
	if err := os.WriteFile(text, []byte(strings.Repeat("not a film\n", 99)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenVideo(text); err == nil || !strings.Contains(err.Error(), "text.mp4") || !strings.Contains(err.Error(), "ffmpeg") {
		t.Errorf("text: %v", err)
	}
	// A film whose writer died lacks the index at its end.
	cut := filepath.Join(dir, "cut.mp4")
	film(t, cut, "avc1", 60, 64, 64, 30)
	b, err := os.ReadFile(cut)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cut, b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenVideo(cut); err == nil {
		t.Error("half a film was opened")
	}
}
