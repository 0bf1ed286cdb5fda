package vision

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/robot"
)

func TestQualityMatchesClosedForms(t *testing.T) {
	// Left half black, right half white, 8 columns: the Laplacian is 255 and
	// -255 on the two columns at the edge and 0 elsewhere.
	f := robot.Frame{W: 8, H: 6, Pix: make([]byte, 3*8*6)}
	for i := range f.Pix {
		if i/3%8 >= 4 {
			f.Pix[i] = 255
		}
	}
	got, err := Quality(f)
	if err != nil {
		t.Fatal(err)
	}
	want := Metrics{Sharpness: 255. * 255 / 4, Brightness: 127.5, Contrast: 127.5, Entropy: 1, Under: 0.5, Over: 0.5}
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"sharpness", got.Sharpness, want.Sharpness}, {"brightness", got.Brightness, want.Brightness},
		{"contrast", got.Contrast, want.Contrast}, {"entropy", got.Entropy, want.Entropy},
		{"under", got.Under, want.Under}, {"over", got.Over, want.Over},
	} {
		if math.Abs(c.got-c.want) > 1e-9*(1+c.want) {
			t.Errorf("%s: got %g, want %g", c.name, c.got, c.want)
		}
	}
}

func TestGateNamesTheFailedCheck(t *testing.T) {
	noisy := func(level, spread int) robot.Frame {
		rng := rand.New(rand.NewPCG(7, 7))
		f := robot.Frame{Camera: "wrist", W: 64, H: 48, Pix: make([]byte, 3*64*48)}
		for i := range f.Pix {
			f.Pix[i] = byte(min(max(level+rng.IntN(2*spread+1)-spread, 0), 255))
		}
		return f
	}
	blurred, err := Augment(scene(64, 48), Augmentation{Blur: 20}, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		f          robot.Frame
	}{
		{"a lit bench", "", scene(64, 48)},
		{"a covered lens", "brightness", noisy(3, 3)},
		{"a blinded sensor", "brightness", noisy(253, 4)},
		{"a wall", "contrast", noisy(128, 1)},
		{"a smeared lens", "sharpness", blurred},
	} {
		g := Gate{Limits: Indoor()}
		_, err := g.Check(c.f)
		var fault *Fault
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.As(err, &fault) || fault.Check != c.want):
			t.Errorf("%s: got %v, want a fault of %s", c.name, err, c.want)
		}
	}
}

func TestGateCountsRepeatsPerCamera(t *testing.T) {
	g := Gate{Limits: Limits{MaxRepeats: 2}}
	a, b := scene(32, 24), scene(32, 24)
	b.Camera = "wrist"
	for i := range 3 {
		for _, f := range []robot.Frame{a, b} {
			f.Pix = bytes.Clone(f.Pix)
			if _, err := g.Check(f); err != nil {
				t.Fatalf("frame %d: %v", i, err)
			}
		}
	}
	var fault *Fault
	if _, err := g.Check(a); !errors.As(err, &fault) || fault.Check != "repeats" {
		t.Errorf("fourth equal frame: got %v, want a fault of repeats", err)
	}
	a.Pix = bytes.Clone(a.Pix)
	a.Pix[0]++
	if _, err := g.Check(a); err != nil {
		t.Errorf("a new image: %v", err)
	}
}

func TestAugmentIsSeededAndBounded(t *testing.T) {
	f := scene(48, 48)
	before := bytes.Clone(f.Pix)
	all := Augmentation{Shift: 4, Brightness: 0.2, Contrast: 0.2, Saturation: 0.2, Blur: 1}
	do := func(a Augmentation, seed uint64) []byte {
		t.Helper()
		out, err := Augment(f, a, rand.New(rand.NewPCG(seed, 0)))
		if err != nil {
			t.Fatal(err)
		}
		return out.Pix
	}
	if !bytes.Equal(do(all, 1), do(all, 1)) {
		t.Error("equal seeds give different images")
	}
	if bytes.Equal(do(all, 1), do(all, 2)) {
		t.Error("different seeds give equal images")
	}
	if !bytes.Equal(do(Augmentation{}, 1), f.Pix) {
		t.Error("no augmentation changes the image")
	}
	if !bytes.Equal(f.Pix, before) {
		t.Error("the input was written to")
	}
	for _, a := range []Augmentation{{Brightness: 1}, {Contrast: -1}, {Blur: math.NaN()}, {Shift: -1}} {
		if _, err := Augment(f, a, rand.New(rand.NewPCG(1, 0))); err == nil {
			t.Errorf("%+v: no error", a)
		}
	}
}

func TestShiftRepeatsEdgesAndReachesEveryOffset(t *testing.T) {
	f := robot.Frame{W: 3, H: 1, Pix: []byte{1, 1, 1, 2, 2, 2, 3, 3, 3}}
	if got, want := shift(f, 1, 5).Pix, []byte{1, 1, 1, 1, 1, 1, 2, 2, 2}; !bytes.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	seen := map[byte]bool{}
	rng := rand.New(rand.NewPCG(3, 3))
	for range 100 {
		out, err := Augment(f, Augmentation{Shift: 1}, rng)
		if err != nil {
			t.Fatal(err)
		}
		seen[out.Pix[3]] = true
	}
	if len(seen) != 3 {
		t.Errorf("100 shifts of at most 1 pixel reached %d of 3 offsets", len(seen))
	}
}
