package keypoint

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/onnx"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
)

// bench is a frame of one colour with rectangles x0, y0, x1, y1 on it.
func bench(w, h int, things ...thing) robot.Frame {
	f := robot.Frame{Camera: "top", W: w, H: h, Pix: make([]byte, 3*w*h)}
	for y := range h {
		for x := range w {
			// A ground with a little grain, without chance.
			g := byte((x*7 + y*13 + x*y) % 11)
			copy(f.Pix[3*(y*w+x):], []byte{100 + g, 140 + g, 180 + g})
		}
	}
	for _, t := range things {
		for y := t.y0; y < t.y1; y++ {
			for x := t.x0; x < t.x1; x++ {
				copy(f.Pix[3*(y*w+x):], t.bgr[:])
			}
		}
	}
	return f
}

type thing struct {
	x0, y0, x1, y1 int
	bgr            [3]byte
}

var (
	redThing  = thing{20, 30, 41, 51, [3]byte{20, 20, 210}}
	blueThing = thing{70, 60, 91, 71, [3]byte{220, 60, 20}}
	darkSide  = thing{20, 51, 41, 60, [3]byte{10, 10, 105}} // of the red one, in shade
)

func TestThingsAreFoundWithTheirShadedSides(t *testing.T) {
	f := bench(128, 96, redThing, blueThing, darkSide)
	ms, err := Segments{}.Masks(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	if len(ms) != 2 {
		t.Fatalf("%d things, want 2", len(ms))
	}
	if ms[0].Area != 21*11 || ms[1].Area != 21*30 {
		t.Errorf("areas %d and %d, want the blue thing's 231 and the red one's 630 with its shaded side", ms[0].Area, ms[1].Area)
	}
	again, err := Segments{}.Masks(context.Background(), f)
	if err != nil || !slices.Equal(ms[1].In, again[1].In) {
		t.Error("a second look finds another mask")
	}
	if ms, err := (Segments{Most: 1}).Masks(context.Background(), f); err != nil || len(ms) != 1 {
		t.Errorf("%d things at most 1 (%v)", len(ms), err)
	}
	f.Pix = f.Pix[1:]
	if _, err := (Segments{}).Masks(context.Background(), f); err == nil {
		t.Error("a frame without its pixels was searched")
	}
}

func TestPointsOfASquareByHand(t *testing.T) {
	m := maskOf(30, 30, 5, 10, 16, 21)
	got := m.Points(6)
	// The middle, the corners, farthest first, and the middle of a side.
	want := [][2]float64{{5, 10}, {15, 10}, {10, 15}, {5, 20}, {15, 20}}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("points %v lack %v", got, w)
		}
	}
	if len(got) != 6 || !slices.IsSortedFunc(got, func(a, b [2]float64) int { return int(a[1] - b[1]) }) {
		t.Errorf("points %v, want six by y", got)
	}
	ks := Mark(&m, "top", "Q", 6)
	if ks[0].Name != "Q1" || ks[5].Name != "Q6" || ks[0].Camera != "top" || ks[0].Y > ks[5].Y {
		t.Errorf("marks %+v", ks)
	}
	one := maskOf(9, 9, 4, 4, 5, 5)
	if got := one.Points(6); len(got) != 1 || got[0] != [2]float64{4, 4} {
		t.Errorf("one pixel has the points %v", got)
	}
	empty := Mask{W: 3, H: 3, In: make([]bool, 9)}
	if got := empty.Points(6); got != nil {
		t.Errorf("nothing has the points %v", got)
	}
	// A ring's middle is not on it.
	ring := maskOf(30, 30, 5, 5, 26, 26)
	for y := 8; y < 23; y++ {
		for x := 8; x < 23; x++ {
			ring.In[y*30+x] = false
		}
	}
	for _, p := range ring.Points(6) {
		if !ring.In[int(p[1])*30+int(p[0])] {
			t.Errorf("the point %v is not on the ring", p)
		}
	}
}

func maskOf(w, h, x0, y0, x1, y1 int) Mask {
	m := Mask{W: w, H: h, In: make([]bool, w*h)}
	for y := y0; y < y1; y++ {
		for x := x0; x < x1; x++ {
			m.In[y*w+x] = true
			m.Area++
		}
	}
	return m
}

func TestCandidatesAreNamedByThing(t *testing.T) {
	ms := []Mask{maskOf(30, 30, 2, 2, 9, 9), maskOf(30, 30, 15, 15, 25, 25)}
	ks := Candidates(ms, "top", 6)
	if len(ks) != 12 || ks[0].Name != "P1" || ks[11].Name != "Q6" {
		t.Errorf("%d candidates, %+v", len(ks), ks)
	}
}

// redness writes a network whose two maps are of what is red and what is blue.
func redness(t *testing.T) string {
	b := onnx.NewBuilder("segmenter")
	x := b.Input("x", "pixels, 0..1, BGR", 3, 48, 64)
	w := b.Const("w", []float32{-2, -1, 2, 2, -1, -2}, 2, 3, 1, 1)
	bias := b.Const("b", []float32{-0.5, -0.5}, 2)
	y := b.Op("Conv", []string{x, w, bias}, onnx.Attr{Name: "kernel_shape", Kind: onnx.Ints, Ints: []int64{1, 1}})
	b.Output("y", "logits", y, 2, 48, 64)
	var buf bytes.Buffer
	if err := b.Model().Write(&buf); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "segmenter.onnx")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNetworkSegments(t *testing.T) {
	net, err := vision.LoadNet(redness(t), vision.NetConfig{W: 64, H: 48})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	f := bench(128, 96, redThing, blueThing)
	ms, err := Segmenter{Net: net, W: 64, H: 48}.Masks(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	if len(ms) != 2 {
		t.Fatalf("%d masks, want 2", len(ms))
	}
	for i, want := range []thing{redThing, blueThing} {
		x0, y0, x1, y1 := ms[i].bounds()
		for _, d := range []int{x0 - want.x0, y0 - want.y0, x1 - want.x1, y1 - want.y1} {
			if d < -2 || d > 2 {
				t.Errorf("mask %d spans (%d,%d)-(%d,%d), want %+v to two pixels", i, x0, y0, x1, y1, want)
				break
			}
		}
	}
	if ms, err := (Segmenter{Net: net, W: 64, H: 48}).Masks(context.Background(), bench(128, 96, redThing)); err != nil || len(ms) != 1 {
		t.Errorf("%d masks of one thing (%v): an empty map should be left out", len(ms), err)
	}
	if _, err := (Segmenter{Net: net, W: 50, H: 50}).Masks(context.Background(), f); err == nil || !strings.Contains(err.Error(), "50x50") {
		t.Errorf("wrong size of output: %v", err)
	}
}

// A file tells its sizes, and takes red, green and blue, so that what redness writes finds blue
// things by the first map.
func TestSegmenterIsOpenedByItsFile(t *testing.T) {
	s, err := OpenSegmenter(redness(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Net.Close()
	ms, err := s.Masks(context.Background(), bench(128, 96, redThing, blueThing))
	if err != nil || s.W != 64 || s.H != 48 || len(ms) != 2 {
		t.Fatalf("%d masks of maps of %dx%d, %v; want 2 of 64x48", len(ms), s.W, s.H, err)
	}
	if x0, y0, _, _ := ms[0].bounds(); max(x0-blueThing.x0, blueThing.x0-x0, y0-blueThing.y0, blueThing.y0-y0) > 2 {
		t.Errorf("the first thing begins at (%d,%d), want at the blue one's %+v", x0, y0, blueThing)
	}
	write := func(name string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	row := onnx.NewBuilder("row")
	row.Output("y", "numbers", row.Op("Relu", []string{row.Input("x", "pixels", 3, 4, 4)}), 3)
	var flat bytes.Buffer
	if err := row.Model().Write(&flat); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		filepath.Join(t.TempDir(), "none.onnx"): "no such file",
		write("words.onnx", []byte("words")):    "words.onnx",
		write("row.onnx", flat.Bytes()):         "export it again with constant shapes",
	} {
		if _, err := OpenSegmenter(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func TestGridNamesTilesFromTheBottomLeft(t *testing.T) {
	g := Grid{N: 5, W: 100, H: 50}
	for _, tt := range []struct {
		px   [2]float64
		want string
	}{{[2]float64{0, 49}, "a1"}, {[2]float64{99, 0}, "e5"}, {[2]float64{50, 24}, "c3"}, {[2]float64{-10, 500}, "a1"}} {
		if got := g.Tile(tt.px); got != tt.want {
			t.Errorf("pixel %v is in %s, want %s", tt.px, got, tt.want)
		}
	}
	for col := range 5 {
		for row := 1; row <= 5; row++ {
			label := string(rune('a'+col)) + string(rune('0'+row))
			at, err := g.Centre(label)
			if err != nil || g.Tile(at) != label {
				t.Errorf("the middle of %s is in %s (%v)", label, g.Tile(at), err)
			}
		}
	}
	if at, _ := g.Centre("a1"); at != [2]float64{9.5, 44.5} {
		t.Errorf("the middle of a1 is %v, want (9.5, 44.5)", at)
	}
	for _, bad := range []string{"", "a", "f1", "a0", "a6", "1a", "a01", "A1"} {
		if _, err := g.Centre(bad); err == nil {
			t.Errorf("tile %q exists", bad)
		}
	}
}

func TestPicturesForAModelByTheirPixels(t *testing.T) {
	f := bench(100, 50, thing{20, 10, 41, 31, redThing.bgr})
	marks := []perception.Keypoint{{Name: "P1", Camera: "top", X: 60, Y: 15, Score: 1}, {Name: "P2", Camera: "side", X: 10, Y: 10}}
	got, err := Grid{N: 5, W: 100, H: 50}.Draw(f, marks, 4)
	if err != nil {
		t.Fatal(err)
	}
	if got.W != 400 || got.H != 200 {
		t.Fatalf("the picture has %dx%d pixels", got.W, got.H)
	}
	at := func(f robot.Frame, x, y int) [3]byte { return [3]byte(f.Pix[3*(y*f.W+x):]) }
	if c := at(got, 80, 3); c != [3]byte{paper.B, paper.G, paper.R} {
		t.Errorf("the line between a and b is %v", c)
	}
	if c := at(got, 242, 62); c != [3]byte{30, 30, 230} {
		t.Errorf("mark P1 is %v, want red", c)
	}
	if c := at(got, 42, 42); c == [3]byte{30, 30, 230} {
		t.Error("the mark of another camera is drawn")
	}
	again, err := Grid{N: 5, W: 100, H: 50}.Draw(f, marks, 4)
	if err != nil || !bytes.Equal(got.Pix, again.Pix) {
		t.Error("drawn twice, it differs")
	}
	// Every tile bears its label: there is white ink near its middle.
	for _, label := range []string{"a1", "c3", "e5"} {
		mid, _ := Grid{N: 5, W: 100, H: 50}.Centre(label)
		n := 0
		for y := int(4*mid[1]) - 6; y < int(4*mid[1])+8; y++ {
			for x := int(4*mid[0]) - 10; x < int(4*mid[0])+12; x++ {
				if c := at(got, x, y); min(c[0], c[1], c[2]) > 190 { // no ground is as light
					n++
				}
			}
		}
		if n < 5 {
			t.Errorf("tile %s has %d white pixels of a label", label, n)
		}
	}
	if _, err := (Grid{N: 5, W: 99, H: 50}).Draw(f, nil, 1); err == nil {
		t.Error("a grid over a frame of another size was drawn")
	}
	if _, err := (Grid{N: 27, W: 100, H: 50}).Draw(f, nil, 1); err == nil {
		t.Error("a grid of 27 columns was drawn")
	}
}

func TestHeightLinesAreWhereTheCameraSeesThem(t *testing.T) {
	c := overhead()
	// From the side: x right is base x, y down is base -z, z forward is base y.
	c.Name = "side"
	c.Pose = robot.Pose{P: [3]float64{0.5, -1, 0.2}, Q: [4]float64{0.70710678118, -0.70710678118, 0, 0}}
	h := Heights{Camera: c, X: 0.5, Z: []float64{0, 0.1, 0.2, 5}}
	f := bench(200, 100)
	f.Camera = "side"
	got, err := h.Draw(f, nil, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, z := range h.Z[:3] {
		y := int(2 * (50 + 100*(0.2-z)))
		if p := got.Pix[3*(y*got.W+200):][:3]; p[0] != 255 || p[1] != 255 || p[2] != 255 {
			t.Errorf("line %d is not at row %d", i+1, y)
		}
	}
	if z, err := h.Height("2"); err != nil || z != 0.1 {
		t.Errorf("line 2 means %g (%v)", z, err)
	}
	for _, bad := range []string{"", "0", "5", "x"} {
		if _, err := h.Height(bad); err == nil {
			t.Errorf("height %q exists", bad)
		}
	}
	h.Z = []float64{5}
	if _, err := h.Draw(f, nil, 2); err == nil {
		t.Error("heights that nobody sees were drawn")
	}
}
