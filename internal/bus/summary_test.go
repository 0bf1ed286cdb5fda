package bus_test

import (
	"bytes"
	"errors"
	"image/jpeg"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/robot"
)

func someSummary() bus.Summary {
	return bus.Summary{
		Seq: 9, Stage: "fine-tune", Done: 3, Total: 120, Note: "success <b>1/3</b>", Cameras: []string{"front", "side"}, Horizon: 45, Teleop: true,
		Success: []bus.Share{{When: "before", Hits: 2, Of: 5}},
		First:   1, Returns: []float64{-1.5, math.Inf(-1)}, Bye: true,
	}
}

func TestSummaryArrivesUnchanged(t *testing.T) {
	for _, want := range []bus.Summary{{}, someSummary()} {
		b, err := bus.EncodeSummary(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := bus.DecodeSummary(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("summary changed (-want +got):\n%s", d)
		}
	}
}

func TestSummaryKeepsTheNewestReturns(t *testing.T) {
	s := bus.Summary{Returns: make([]float64, 1003)}
	s.Returns[1002] = 5
	got, err := bus.DecodeSummary(mustEncode(bus.EncodeSummary(s)))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Returns) != 1000 || got.First != 3 || got.Returns[999] != 5 {
		t.Errorf("got %d returns from %d on, the last %g; want 1000 from 3 on, the last 5", len(got.Returns), got.First, got.Returns[len(got.Returns)-1])
	}
}

func TestSummaryRefusesWhatIsNotUTF8(t *testing.T) {
	if _, err := bus.EncodeSummary(bus.Summary{Note: "\xff"}); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("got %v", err)
	}
}

func TestViewIsThePictureOfTheFrame(t *testing.T) {
	f := robot.Frame{Camera: "front", Seq: 3, Stamp: time.Unix(7, 0).UTC(), W: 16, H: 8, Pix: bytes.Repeat([]byte{200, 20, 20}, 16*8)}
	for name, raw := range map[string]int{"raw": 1 << 20, "jpeg": 0} {
		v, err := bus.DecodeView(mustEncode(bus.EncodeFrames([]robot.Frame{f}, raw)))
		if err != nil {
			t.Fatal(err)
		}
		if v.Camera != "front" || v.Seq != 3 || !v.Stamp.Equal(f.Stamp) || v.W != 16 || v.H != 8 {
			t.Errorf("%s: got %+v", name, v)
		}
		img, err := jpeg.Decode(bytes.NewReader(v.JPEG))
		if err != nil {
			t.Fatal(err)
		}
		// BGR 200, 20, 20 is blue; quality 90 keeps an even colour within a few levels.
		if r, g, b, _ := img.At(8, 4).RGBA(); r>>8 > 30 || g>>8 > 30 || b>>8 < 190 {
			t.Errorf("%s: middle is %d, %d, %d; want about 20, 20, 200", name, r>>8, g>>8, b>>8)
		}
		again, err := bus.DecodeView(mustEncode(bus.EncodeView(v)))
		if d := cmp.Diff(v, again); err != nil || d != "" {
			t.Errorf("%s: view changed: %v\n%s", name, err, d)
		}
	}
}

func TestViewRefusesWhatIsNotOnePicture(t *testing.T) {
	r := seeded(1)
	for name, b := range map[string][]byte{
		"two frames":  mustEncode(bus.EncodeFrames(someFrames(r, 2, 3, 2), 0)),
		"no pixels":   mustEncode(bus.EncodeFrames([]robot.Frame{{Camera: "a"}}, 1000)),
		"no size":     mustEncode(bus.EncodeView(bus.View{Camera: "a", JPEG: []byte("x")})),
		"other kind":  mustEncode(bus.EncodeState(someState(r))),
		"no envelope": {1, 2},
	} {
		if _, err := bus.DecodeView(b); !errors.Is(err, bus.ErrWire) {
			t.Errorf("%s: got %v, want ErrWire", name, err)
		}
	}
}

func FuzzSummary(f *testing.F) {
	fuzz(f, [][]byte{mustEncode(bus.EncodeSummary(bus.Summary{})), mustEncode(bus.EncodeSummary(someSummary()))}, bus.EncodeSummary, bus.DecodeSummary)
}

func FuzzView(f *testing.F) {
	r := seeded(1)
	f.Add(mustEncode(bus.EncodeFrames(someFrames(r, 1, 3, 2), 1000)))
	f.Add(mustEncode(bus.EncodeFrames(someFrames(r, 1, 9, 8), 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := bus.DecodeView(b)
		if err != nil {
			return
		}
		c, err := bus.EncodeView(v)
		if err != nil {
			t.Fatal(err)
		}
		again, err := bus.DecodeView(c)
		if d := cmp.Diff(v, again); err != nil || d != "" {
			t.Fatalf("view changed: %v\n%s", err, d)
		}
	})
}
