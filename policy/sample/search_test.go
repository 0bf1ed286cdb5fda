package sample

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy/diffusion"
)

// One particle, no scale or no search at all: the policy's own chunk to the bit.
func TestNothingSearchedIsTheBaseToTheBit(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    diffusion.Process
		d    diffusion.Draw
		c    Config
	}{
		{"plain", ddim, noisy, Config{}},
		{"best of 1", ddim, noisy, Config{Kind: Best, N: 1}},
		{"fk of 1", ddim, noisy, Config{Kind: FK, N: 1}},
		{"guided by 0", ddim, still, Config{Kind: Guided}},
		{"nrg of weight 0", flow, still, Config{Kind: NRG}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := toyProcess(t, tt.p, tt.d, 4)
			s := search(t, p, tt.c, side{})
			got, want := make([]float32, 4), make([]float32, 4)
			a, b := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(1, 2))
			den, err := p.Denoiser(1)
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				s.Draw(got, nil, true, a)
				p.Chain.Sample(want, den.Predict, b)
				if !slices.Equal(got, want) {
					t.Fatalf("drew %v, want %v", got, want)
				}
			}
		})
	}
}

// Card 23: the mean reward rises with N.
func TestBestOfMoreIsBetter(t *testing.T) {
	last := math.Inf(-1)
	for _, n := range []int{1, 2, 4, 8, 16} {
		m := mean(search(t, toyProcess(t, ddim, still, 2), Config{Kind: Best, N: n}, blind{}), side{}, 400)
		t.Logf("best of %d: %.3f", n, m)
		if m <= last {
			t.Errorf("best of %d has a mean reward of %.3f, want more than the %.3f of half as many", n, m, last)
		}
		last = m
	}
}

// Card 54: lambda 2 brings the mean reward from about 0 to 0.8 with four particles,
// and further with eight, by each potential.
func TestSteeringReachesTheWantedWay(t *testing.T) {
	base := mean(search(t, toyProcess(t, ddim, noisy, 2), Config{}, nil), side{}, 400)
	if math.Abs(base) > 0.15 {
		t.Errorf("the plain sample has a mean reward of %.3f, want about 0", base)
	}
	for name, p := range map[string]Potential{"diff": Diff, "max": Max, "add": Add, "raw": Raw} {
		four := mean(search(t, toyProcess(t, ddim, noisy, 2), Config{Kind: FK, Potential: p, N: 4}, blind{}), side{}, 400)
		eight := mean(search(t, toyProcess(t, ddim, noisy, 2), Config{Kind: FK, Potential: p, N: 8}, blind{}), side{}, 400)
		t.Logf("%s: plain %.3f, 4 particles %.3f, 8 particles %.3f", name, base, four, eight)
		if four < 0.8 || eight <= four {
			t.Errorf("%s: mean reward %.3f with 4 particles and %.3f with 8, want at least 0.8 and more", name, four, eight)
		}
	}
}

// Drawn by the weights of its end, a chunk is of p(x) exp(lambda r), but for the few
// particles. Add is left out: its weights on the way are lambda times a sum over 20
// looks, far sharper than the end's, and leave one ancestor to correct (mean 1.03).
func TestSteeringTilts(t *testing.T) {
	for _, p := range []Potential{Diff, Max, Raw} {
		m := mean(search(t, toyProcess(t, ddim, noisy, 8), Config{Kind: FK, Potential: p, N: 64, Scale: 0.5, Tilted: true}, blind{}), side{}, 150)
		// Each way moves by lambda width^2/8; the ways weigh e^(+-lambda).
		want := math.Tanh(0.5) + 0.5*width*width/8
		t.Logf("potential %d: %.3f, want %.3f", p, m, want)
		if math.Abs(m-want) > 0.25 { // three deviations of 150 draws' mean
			t.Errorf("potential %d: mean reward %.3f, want %.3f", p, m, want)
		}
	}
}

func TestFewEffectiveParticlesAreDrawnAnew(t *testing.T) {
	s := search(t, toyProcess(t, ddim, noisy, 1), Config{Kind: FK, Scale: 1, Potential: Raw}, blind{})
	l := s.levels[0]
	rng := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct {
		name   string
		values []float64
		anew   bool
	}{
		{"alike", []float64{1, 1, 1, 1}, false},
		{"two of four alike are exactly half, which is enough", []float64{0, 0, math.Inf(-1), math.Inf(-1)}, false},
		{"one far ahead", []float64{0, 0, 0, 20}, true},
		{"far beyond what exp can hold", []float64{0, 0, 0, 1e6}, true},
		{"nothing known", []float64{math.Inf(-1), math.Inf(-1), math.Inf(-1), math.Inf(-1)}, false},
	} {
		s.weigh(l)
		copy(l.x, []float32{0, 1, 2, 3})
		copy(l.value, tt.values)
		s.steer(l, rng)
		want := []float32{0, 1, 2, 3}
		if tt.anew {
			want = []float32{3, 3, 3, 3}
		}
		if !slices.Equal(l.x, want) {
			t.Errorf("%s: particles are %v, want %v", tt.name, l.x, want)
		}
	}
}

// Whatever was met on the way, a chain's potentials multiply to exp(lambda r) of its
// end.
func TestPotentialsMultiplyToTheTilt(t *testing.T) {
	for _, p := range []Potential{Diff, Max, Add, Raw} {
		s := search(t, toyProcess(t, ddim, noisy, 1), Config{Kind: FK, Scale: 3, Potential: p}, blind{})
		s.weigh(s.levels[0])
		rs := []float64{0.3, -1, 2, 0.5}
		sum := 0.0
		for i, r := range rs {
			sum += s.potential(0, r, i == len(rs)-1)
		}
		if want := 3 * 0.5; math.Abs(sum-want) > 1e-12 {
			t.Errorf("potential %d: logarithms sum to %v, want %v", p, sum, want)
		}
	}
}

// Card 39: reward monotone in scale.
func TestGuidanceRisesWithScale(t *testing.T) {
	rises(t, Guided, ddim, still)
}

// Card 26: likewise for flows.
func TestNRGRisesWithWeight(t *testing.T) {
	rises(t, NRG, flow, still)
}

func rises(t *testing.T, k Kind, p diffusion.Process, d diffusion.Draw) {
	t.Helper()
	last := math.Inf(-1)
	for _, scale := range []float64{0, 0.25, 0.5, 1, 2} {
		m := mean(search(t, toyProcess(t, p, d, 2), Config{Kind: k, Scale: scale}, side{}), side{}, 400)
		t.Logf("scale %v: %.3f", scale, m)
		if m <= last {
			t.Errorf("scale %v has a mean reward of %.3f, want more than the %.3f of the scale before", scale, m, last)
		}
		last = m
	}
}

// Card 41: half as much again in 50 iterations, on the shell of the noise; without the
// regulariser the noise leaves it.
func TestNoiseIsImprovedOnItsShell(t *testing.T) {
	const d = 64
	for _, tt := range []struct {
		name string
		p    diffusion.Process
	}{{"ddim", ddim}, {"flow", flow}} {
		draw := diffusion.Draw{Steps: 5}
		base := mean(search(t, toyProcess(t, tt.p, draw, d), Config{}, nil), share{}, 60)
		norm := func(c Config) (reward, off float64) {
			s := search(t, toyProcess(t, tt.p, draw, d), c, share{})
			rng := rand.New(rand.NewPCG(3, 4))
			x, v := make([]float32, d), []float64{0}
			for range 60 {
				s.Draw(x, nil, true, rng)
				share{}.Value(v, x, nil)
				reward += v[0] / 60
				sum := 0.0
				for _, a := range s.reno.chosen {
					sum += float64(a) * float64(a)
				}
				off = max(off, math.Abs(math.Sqrt(sum/d)-1))
			}
			return reward, off
		}
		m, off := norm(Config{Kind: ReNO})
		_, free := norm(Config{Kind: ReNO, Chi: -1})
		t.Logf("%s: base %.3f, improved %.3f, norm within %.3f, without regulariser %.3f", tt.name, base, m, off, free)
		if m < 1.5*base || off > 0.15 || free < 0.15 {
			t.Errorf("%s: mean reward %.3f from %.3f with the norm within %.3f (%.3f without the regulariser), want 1.5 times, within 0.15, and beyond it", tt.name, m, base, off, free)
		}
	}
}

// lure tells a slope that leads past its top, at a mean of 0.5, and remembers what it was asked.
type lure struct{ path *[]float64 }

func (l lure) Value(dst []float64, chunks, _ []float32) {
	side{}.Value(dst, chunks, nil)
	for i, v := range dst {
		dst[i] = -math.Abs(v - 0.5)
	}
}

func (l lure) Grad(dst []float64, grad, chunks, seen []float32) {
	side{}.Grad(dst, grad, chunks, seen)
	l.Value(dst, chunks, seen)
	*l.path = append(*l.path, dst[0])
}

// Card 41: the best iterate is kept, though those after it are worse.
func TestBestNoiseIsKept(t *testing.T) {
	for _, p := range []diffusion.Process{ddim, flow} {
		var path []float64
		r := lure{&path}
		s := search(t, toyProcess(t, p, diffusion.Draw{Steps: 5}, 16), Config{Kind: ReNO}, r)
		rng := rand.New(rand.NewPCG(3, 4))
		x, v := make([]float32, 16), []float64{0}
		climbed := 0
		for range 20 {
			path = path[:0]
			s.Draw(x, nil, true, rng)
			r.Value(v, x, nil)
			top := slices.Max(path)
			if len(path) != 51 || v[0] != top {
				t.Errorf("process %d: the chunk is worth %v, the best of %d met %v", p.Kind, v[0], len(path), top)
			}
			if top > path[0]+0.1 && top > path[50]+0.1 {
				climbed++
			}
		}
		if t.Logf("process %d: %d of 20 rose and fell by 0.1", p.Kind, climbed); climbed < 5 {
			t.Errorf("process %d: %d of 20 paths rose by 0.1 and fell again, want 5: this shows nothing", p.Kind, climbed)
		}
	}
}

// The gradient at the noise against central differences, where no action is clipped.
func TestGradientOfTheNoise(t *testing.T) {
	for _, p := range []diffusion.Process{ddim, flow} {
		s := search(t, toyProcess(t, p, diffusion.Draw{Steps: 4, Clip: 50}, 3), Config{Kind: ReNO}, share{})
		l := s.levels[0]
		rng := rand.New(rand.NewPCG(1, 2))
		noise := make([]float32, 3)
		for i := range noise {
			noise[i] = float32(rng.NormFloat64())
		}
		value := func() float64 {
			copy(l.x, noise)
			s.forward(l)
			s.climbs(l, l.x)
			return l.value[0]
		}
		value()
		s.backward(l)
		got := slices.Clone(s.reno.grad)
		const h = 1e-2
		for i, v := range noise {
			noise[i] = v + h
			up := value()
			noise[i] = v - h
			down := value()
			noise[i] = v
			if want := (up - down) / (2 * h); math.Abs(float64(got[i])-want) > 1e-3 {
				t.Errorf("process %d: gradient %d is %v, by differences %v", p.Kind, i, got[i], want)
			}
		}
	}
}

// The first chunk of an episode alone is worth the wait.
func TestNoiseIsImprovedOnceAnEpisode(t *testing.T) {
	s := search(t, toyProcess(t, ddim, still, 4), Config{Kind: ReNO}, share{})
	base := search(t, toyProcess(t, ddim, still, 4), Config{}, nil)
	x, want := make([]float32, 4), make([]float32, 4)
	s.Draw(x, nil, false, rand.New(rand.NewPCG(1, 2)))
	base.Draw(want, nil, false, rand.New(rand.NewPCG(1, 2)))
	if !slices.Equal(x, want) {
		t.Errorf("a later chunk is %v, want the plain %v", x, want)
	}
	s.Draw(x, nil, true, rand.New(rand.NewPCG(1, 2)))
	if slices.Equal(x, want) {
		t.Error("the first chunk is the plain one")
	}
}

func TestSearchesThatCannotBeAreRefused(t *testing.T) {
	for _, tt := range []struct {
		p    diffusion.Process
		d    diffusion.Draw
		c    Config
		r    Reward
		want string
	}{
		{ddim, still, Config{Kind: FK}, side{}, "Eta"},
		{ddim, noisy, Config{Kind: ReNO}, side{}, "Eta 0"},
		{ddim, still, Config{Kind: NRG}, side{}, "take guided"},
		{flow, still, Config{Kind: Guided}, side{}, "take nrg"},
		{ddim, still, Config{Kind: Guided}, blind{}, "gradient"},
		{ddim, still, Config{Kind: Best}, nil, "no reward"},
		{ddim, still, Config{Kind: kinds}, side{}, "Kind"},
		{ddim, still, Config{N: -1}, side{}, "N is"},
		{ddim, still, Config{Scale: -1}, side{}, "Scale"},
		{ddim, still, Config{Potential: potentials}, side{}, "Potential"},
		{ddim, still, Config{Trust: -1}, side{}, "Trust"},
		{ddim, still, Config{Every: -1}, side{}, "Every"},
		{ddim, still, Config{Chi: math.NaN()}, side{}, "Chi"},
		{ddim, still, Config{Budget: -1}, side{}, "Budget"},
		{ddim, still, Config{Budget: 0.1}, side{}, "Clock"},
	} {
		_, err := NewSearch(toyProcess(t, tt.p, tt.d, 2), tt.c, tt.r)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error is %v, want one that names %q", tt.c, err, tt.want)
		}
	}
}

func TestKindsAreNamed(t *testing.T) {
	for k := range kinds {
		if got, err := KindOf(k.String()); err != nil || got != k {
			t.Errorf("KindOf(%q) is %v, %v", k.String(), got, err)
		}
	}
	if _, err := KindOf("worst"); err == nil {
		t.Error("no error for a sampler that there is not")
	}
}

// nan rates some chunks by what is no number.
type nan struct{}

func (nan) Value(dst []float64, chunks, seen []float32) {
	side{}.Value(dst, chunks, seen)
	dst[0] = math.NaN()
}

func (nan) Grad(dst []float64, grad, chunks, seen []float32) {
	for i := range grad {
		grad[i] = float32(math.NaN())
	}
}

func TestWhatIsNoNumberIsNeverFollowed(t *testing.T) {
	for _, c := range []Config{{Kind: Best}, {Kind: FK}, {Kind: Guided, Scale: 1}} {
		d := noisy
		x := make([]float32, 2)
		search(t, toyProcess(t, ddim, d, 2), c, nan{}).Draw(x, nil, true, rand.New(rand.NewPCG(1, 2)))
		if fmt.Sprint(x) == "[NaN NaN]" || x[0] != x[0] {
			t.Errorf("%v drew %v", c.Kind, x)
		}
	}
}
