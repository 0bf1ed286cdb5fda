package vision

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/rapport-rl/rapport/robot"
)

// waves is a smooth texture, moved by (dx,dy) pixels.
func waves(dx, dy float64) robot.Frame {
	f := robot.Frame{Camera: "front", W: 96, H: 80, Pix: make([]byte, 3*96*80)}
	for y := range f.H {
		for x := range f.W {
			u, v := float64(x)-dx, float64(y)-dy
			a := 60*math.Sin(u/4.3+0.3*math.Sin(v/9))*math.Cos(v/5.1) + 50*math.Sin((u+2*v)/11)
			for c := range 3 {
				f.Pix[3*(y*f.W+x)+c] = byte(128 + a)
			}
		}
	}
	return f
}

func flow(t testing.TB, fs ...robot.Frame) *Flow {
	t.Helper()
	f, err := NewFlow(FlowConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for _, img := range fs {
		if err := f.Next(img); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestFlowFollowsPartsOfPixels(t *testing.T) {
	f := flow(t, waves(0, 0), waves(2.3, -1.6))
	from := [][2]float32{{30, 30}, {50, 40}, {60, 25}}
	to := append([][2]float32(nil), from...)
	back := make([]float32, 3)
	if err := f.Follow(-1, from, to, back); err != nil {
		t.Fatal(err)
	}
	for i := range from {
		if d := math.Hypot(float64(to[i][0]-from[i][0])-2.3, float64(to[i][1]-from[i][1])+1.6); d > 0.1 || back[i] < 0 || back[i] > 0.1 {
			t.Errorf("point %d moved to %v, %.3f off, back %.3f", i, to[i], d, back[i])
		}
	}
	found, err := f.Match(-1, cutOf(t, waves(0, 0), [2]float32{50, 40}, 21), 21, [2]float32{50, 40}, 6)
	if err != nil || math.Hypot(float64(found.At[0])-52.3, float64(found.At[1])-38.4) > 0.3 || found.Score < 0.95 {
		t.Errorf("the patch is found at %+v (%v), want (52.3, 38.4)", found, err)
	}
}

func cutOf(t *testing.T, img robot.Frame, at [2]float32, side int) []byte {
	p := make([]byte, 3*side*side)
	if err := flow(t, img).Cut(-1, at, side, p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSkinBlacksTheRest(t *testing.T) {
	img := robot.Frame{Camera: "front", W: 60, H: 60, Pix: make([]byte, 3*60*60)}
	for i := range 60 * 60 {
		c := [3]byte{90, 130, 170}
		if x, y := i%60, i/60; x >= 20 && x < 40 && y >= 20 && y < 40 {
			c = [3]byte{20, 20, 220}
		}
		copy(img.Pix[3*i:], c[:])
	}
	f := flow(t, img)
	skin, err := f.Skin([][2]float32{{21, 21}, {38, 21}, {38, 38}, {21, 38}}, 2)
	if err != nil || skin != 0 {
		t.Fatalf("skin %d (%v), want 0", skin, err)
	}
	p := make([]byte, 3*11*11)
	if err := f.Cut(skin, [2]float32{40, 30}, 11, p); err != nil {
		t.Fatal(err)
	}
	if in, out := p[3*(5*11+2)+2], p[3*(5*11+8)+2]; in < 190 || out > 20 {
		t.Errorf("inside %d, outside %d of red; want the outside black", in, out)
	}
	// What looks like everything has no skin.
	flat := img
	flat.Pix = make([]byte, len(img.Pix))
	for i := range flat.Pix {
		flat.Pix[i] = 100
	}
	if skin, err := flow(t, flat).Skin([][2]float32{{30, 30}}, 4); err != nil || skin != -1 {
		t.Errorf("a grey thing on grey has skin %d (%v), want -1", skin, err)
	}
}

func TestMisuseOfAFlowIsTold(t *testing.T) {
	f := flow(t)
	patch := make([]byte, 3*9*9)
	if err := f.Cut(-1, [2]float32{}, 9, patch); err == nil {
		t.Error("cut before an image")
	}
	if _, err := f.Match(-1, patch, 9, [2]float32{}, 3); err == nil {
		t.Error("matched before an image")
	}
	if _, err := f.Skin([][2]float32{{1, 1}}, 2); err == nil {
		t.Error("skin before an image")
	}
	if err := f.Next(waves(0, 0)); err != nil {
		t.Fatal(err)
	}
	if err := f.Follow(-1, [][2]float32{{1, 1}}, [][2]float32{{1, 1}}, []float32{0}); err == nil {
		t.Error("followed after one image")
	}
	if err := f.Next(robot.Frame{W: 3, H: 3, Pix: make([]byte, 27)}); !errors.Is(err, ErrSize) {
		t.Errorf("another size: %v", err)
	}
	if err := f.Next(robot.Frame{W: 3, H: 3}); err == nil {
		t.Error("an image without pixels was taken")
	}
	// OpenCV's exceptions come back as errors.
	if err := f.Cut(7, [2]float32{5, 5}, 9, patch); err == nil {
		t.Error("cut with a skin that nobody made")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Next(waves(0, 0)); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v", err)
	}
	for _, c := range []FlowConfig{{Window: 4}, {Window: 200}, {Levels: -1}, {Levels: 9}} {
		if _, err := NewFlow(c); err == nil {
			t.Errorf("a flow was made of %+v", c)
		}
	}
}

// What the cells say, drawn by hand, is read as that marker.
func TestCellsAreThoseOfTheMarker(t *testing.T) {
	for _, dict := range Dictionaries() {
		cells, err := MarkerCells(dict, 7)
		if err != nil {
			t.Fatal(err)
		}
		const each = 12
		side := each * (len(cells) + 4)
		f := robot.Frame{W: side, H: side, Pix: bytes.Repeat([]byte{255}, 3*side*side)}
		for r, row := range cells {
			for c, white := range row {
				for k := range each * each {
					if !white {
						i := 3 * ((each*(r+2)+k/each)*side + each*(c+2) + k%each)
						f.Pix[i], f.Pix[i+1], f.Pix[i+2] = 0, 0, 0
					}
				}
			}
		}
		ms, err := Markers(f, dict)
		if err != nil || len(ms) != 1 || ms[0].ID != 7 || math.Hypot(ms[0].Corners[0][0]-2*each, ms[0].Corners[0][1]-2*each) > 2 {
			t.Errorf("%s: marker 7 is read as %+v (%v)", dict, ms, err)
		}
	}
}

func TestMarkersAndBoardsAreRefusedByName(t *testing.T) {
	if _, err := DrawMarker("4x4_50", 50, 60); err == nil {
		t.Error("marker 50 of 50 was drawn")
	}
	if _, err := DrawMarker("4x4", 1, 60); err == nil {
		t.Error("a marker of no dictionary was drawn")
	}
	for _, dict := range []string{"", "x", "9x9_50"} {
		if _, err := MarkerCells(dict, 1); err == nil {
			t.Errorf("a marker of the dictionary %q has cells", dict)
		}
	}
	for _, b := range []Board{{}, {Dictionary: "4x4_50", Columns: 2, Rows: 5, Square: 1, Marker: 0.5}, {Dictionary: "4x4_50", Columns: 5, Rows: 5, Square: 0.5, Marker: 1}} {
		if _, err := b.Draw(100, 100); err == nil {
			t.Errorf("%+v was drawn", b)
		}
	}
	if _, _, _, err := Calibrate([][]Match{{{}}}, 10, 10, nil, Focal); err == nil {
		t.Error("calibrated by one point")
	}
	if _, err := PoseOf(nil, Intrinsics{}); err == nil {
		t.Error("a pose from nothing")
	}
	if _, err := HandEye(make([]Rigid, 2), make([]Rigid, 2)); err == nil {
		t.Error("hand and eye by two poses")
	}
}
