package vision

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/robot"
)

// scene draws a bench: a soft gradient with a hard-edged red box.
func scene(w, h int) robot.Frame {
	f := robot.Frame{Camera: "front", Seq: 3, Stamp: time.Unix(5, 0), W: w, H: h, Pix: make([]byte, 3*w*h)}
	for y := range h {
		for x := range w {
			p := f.Pix[3*(y*w+x):]
			p[0], p[1], p[2] = byte(60+100*x/w), byte(80+60*y/h), byte(70+50*(x+y)/(w+h))
			if x > w/4 && x < w/2 && y > h/4 && y < h/2 {
				p[0], p[1], p[2] = 30, 30, 200
			}
		}
	}
	return f
}

func TestDecodeReturnsWhatWasEncoded(t *testing.T) {
	f := scene(160, 120)
	png, err := EncodePNG(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(png)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(robot.Frame{W: 160, H: 120, Pix: f.Pix}, got); d != "" {
		t.Errorf("PNG (-want +got):\n%s", d)
	}
	jpeg, err := EncodeJPEG(f, 90)
	if err != nil {
		t.Fatal(err)
	}
	got, err = Decode(jpeg)
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for i := range f.Pix {
		sum += math.Abs(float64(f.Pix[i]) - float64(got.Pix[i]))
	}
	// Chroma is kept at half the resolution, so edges of the box bleed.
	if mean := sum / float64(len(f.Pix)); mean > 3 {
		t.Errorf("JPEG is off by %.2f grey levels on average, want at most 3", mean)
	}
}

func TestDecodeRefuses(t *testing.T) {
	png, err := EncodePNG(scene(64, 48))
	if err != nil {
		t.Fatal(err)
	}
	jpeg, err := EncodeJPEG(scene(64, 48), 90)
	if err != nil {
		t.Fatal(err)
	}
	huge := bytes.Clone(png)
	binary.BigEndian.PutUint32(huge[16:], 1<<20)
	binary.BigEndian.PutUint32(huge[29:], crc32.ChecksumIEEE(huge[12:29]))
	for _, c := range []struct {
		name string
		data []byte
		want error // nil: any
	}{
		{"nothing", nil, ErrFormat},
		{"text", []byte("hello, camera"), ErrFormat},
		{"a cut JPEG", jpeg[:len(jpeg)*2/3], ErrTruncated},
		{"a cut PNG", png[:len(png)*2/3], ErrTruncated},
		{"a cut header", jpeg[:20], nil},
		{"a PNG a million pixels wide", huge, ErrTooLarge},
		{"too many bytes", make([]byte, MaxEncoded+1), ErrTooLarge},
	} {
		_, err := Decode(c.data)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	png, err := EncodePNG(scene(16, 12))
	if err != nil {
		f.Fatal(err)
	}
	jpeg, err := EncodeJPEG(scene(16, 12), 50)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(png)
	f.Add(jpeg)
	f.Add(jpeg[:len(jpeg)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := Decode(data); err == nil {
			if err := Check(got); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestCropAndPrepareCutTheSamePixels(t *testing.T) {
	f := scene(40, 30)
	a, err := Crop(f, image.Rect(5, 6, 25, 16))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Prepare{Crop: [4]int{5, 6, 20, 10}}.Apply(f)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a, b); d != "" {
		t.Errorf("(-crop +prepare):\n%s", d)
	}
	if got, want := a.Pix[:3], f.Pix[3*(6*40+5):][:3]; !bytes.Equal(got, want) {
		t.Errorf("corner %v, want %v", got, want)
	}
	if a.Camera != f.Camera || a.Seq != f.Seq || !a.Stamp.Equal(f.Stamp) {
		t.Errorf("a crop of camera %q number %d lost its name, number or stamp", a.Camera, a.Seq)
	}
	c, err := CentreCrop(f, 20, 10)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Pix[:3], f.Pix[3*(10*40+10):][:3]; !bytes.Equal(got, want) {
		t.Errorf("centre crop's corner %v, want %v", got, want)
	}
}

func TestResizeAveragesWhatItShrinks(t *testing.T) {
	f := robot.Frame{W: 4, H: 2, Pix: []byte{
		0, 0, 0, 40, 0, 0, 100, 0, 0, 100, 0, 0,
		80, 0, 0, 120, 0, 0, 100, 0, 0, 104, 0, 0,
	}}
	got, err := Resize(f, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte{60, 0, 0, 101, 0, 0}; !bytes.Equal(got.Pix, want) {
		t.Errorf("got %v, want the means %v", got.Pix, want)
	}
	up, err := Resize(f, 8, 4)
	if err != nil {
		t.Fatal(err)
	}
	if up.W != 8 || up.H != 4 || Check(up) != nil {
		t.Errorf("enlarged to %dx%d with %d bytes", up.W, up.H, len(up.Pix))
	}
}

func TestMisshapenRequestsAreErrors(t *testing.T) {
	f := scene(40, 30)
	short := robot.Frame{W: 40, H: 30, Pix: f.Pix[1:]}
	for name, do := range map[string]func() error{
		"crop outside":        func() error { _, err := Crop(f, image.Rect(0, 0, 41, 30)); return err },
		"empty crop":          func() error { _, err := Crop(f, image.Rect(3, 3, 3, 9)); return err },
		"centre crop outside": func() error { _, err := CentreCrop(f, 41, 3); return err },
		"prepare outside":     func() error { _, err := Prepare{Crop: [4]int{30, 0, 20, 20}, W: 8, H: 8}.Apply(f); return err },
		"prepare to a line":   func() error { _, err := Prepare{W: 8}.Apply(f); return err },
		"short pixels":        func() error { _, err := Resize(short, 8, 8); return err },
		"quality 0":           func() error { _, err := EncodeJPEG(f, 0); return err },
		"encode short pixels": func() error { _, err := EncodePNG(short); return err },
		"measure nothing":     func() error { _, err := Quality(robot.Frame{}); return err },
		"empty mosaic":        func() error { _, err := Mosaic(nil, 1, 2, 2); return err },
		"huge mosaic":         func() error { _, err := Mosaic([]robot.Frame{f}, 1, MaxSide+1, 2); return err },
		"annotate nothing":    func() error { _, err := Annotate(robot.Frame{}, "x"); return err },
	} {
		if do() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMosaicPutsFramesInReadingOrder(t *testing.T) {
	plain := func(v byte) robot.Frame {
		return robot.Frame{W: 6, H: 4, Pix: bytes.Repeat([]byte{v}, 72)}
	}
	m, err := Mosaic([]robot.Frame{plain(10), plain(20), plain(30)}, 2, 6, 4)
	if err != nil {
		t.Fatal(err)
	}
	at := func(x, y int) byte { return m.Pix[3*(y*m.W+x)] }
	got := [4]byte{at(0, 0), at(6, 0), at(0, 4), at(6, 4)}
	if want := [4]byte{10, 20, 30, 0}; m.W != 12 || m.H != 8 || got != want {
		t.Errorf("%dx%d with corners %v, want 12x8 with %v", m.W, m.H, got, want)
	}
}

func TestDrawingLeavesTheOriginalAlone(t *testing.T) {
	f := scene(96, 96)
	before := bytes.Clone(f.Pix)
	a, err := Annotate(f, "reward 0.5\nbox \u00e9")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Dot(f, []image.Point{{X: 90, Y: 90}, {X: 200, Y: -4}}, 2, color.RGBA{G: 255, A: 255})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.Pix, before) {
		t.Error("drawing changed the frame it was given")
	}
	if bytes.Equal(a.Pix, before) || !bytes.Contains(a.Pix, []byte{255, 255, 255}) {
		t.Error("no white text on the copy")
	}
	if got := d.Pix[3*(90*96+90):][:3]; !bytes.Equal(got, []byte{0, 255, 0}) {
		t.Errorf("dot is %v, want green", got)
	}
}

// resident returns this process's resident memory in bytes.
func resident(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(raw))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func TestNothingLeaksInSteadyState(t *testing.T) {
	f := scene(640, 480)
	jpeg, err := EncodeJPEG(f, 90)
	if err != nil {
		t.Fatal(err)
	}
	n, err := LoadNet("testdata/tiny.onnx", imagenet(32))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	round := func() {
		f, err := Decode(jpeg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Quality(f); err != nil {
			t.Fatal(err)
		}
		if f, err = (Prepare{Crop: [4]int{80, 0, 480, 480}, W: 96, H: 96}).Apply(f); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Forward(t.Context(), []robot.Frame{f}); err != nil {
			t.Fatal(err)
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // whatever GOGC lets garbage wait
	for range 50 {
		round()
	}
	before := resident(t)
	const rounds = 150
	for range rounds {
		round()
	}
	// One lost 640x480 Mat a round would be 138 MB; the Go heap may breathe.
	if grown := resident(t) - before; grown > 60<<20 {
		t.Errorf("grew by %d MB in %d rounds", grown>>20, rounds)
	}
}
