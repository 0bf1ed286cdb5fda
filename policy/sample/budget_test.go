package sample

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/diffusion"
)

// slow is a denoiser whose every evaluation takes each of a clock for every row.
type slow struct {
	Denoiser
	rows int
	each *time.Duration
	now  *time.Duration
}

func (s slow) Predict(out, x []float32, at float64) {
	s.Denoiser.Predict(out, x, at)
	*s.now += time.Duration(s.rows) * *s.each
}

func (s slow) Pull(dx, dout []float32) {
	s.Denoiser.Pull(dx, dout)
	*s.now += 2 * *s.each
}

// timed is a search whose evaluations take *each per row.
func timed(t *testing.T, p diffusion.Process, d diffusion.Draw, c Config, each *time.Duration) *Search {
	t.Helper()
	now := new(time.Duration)
	c.Clock = func() time.Duration { return *now }
	pr := toyProcess(t, p, d, 2)
	make := pr.Denoiser
	pr.Denoiser = func(rows int) (Denoiser, error) {
		d, err := make(rows)
		return slow{d, rows, each, now}, err
	}
	return search(t, pr, c, share{})
}

func draws(s *Search, n int) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, s.length)
	for range n {
		s.Draw(x, nil, true, rng)
	}
}

// metric is one of s's numbers.
func metric(t *testing.T, s *Search, name string) float64 {
	t.Helper()
	i := slices.IndexFunc(s.Metrics(), func(m policy.Metric) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("no metric %s", name)
	}
	return s.Metrics()[i].Value
}

// 20 steps of 8 rows at 0.1 ms are 16 ms.
func TestParticlesFitTheTick(t *testing.T) {
	for _, tt := range []struct {
		name          string
		budget        float64
		fewer, plains float64 // of 10 chunks, of which the first is always plain
	}{
		{"all eight", 0.021, 0, 1},
		{"four of eight", 0.011, 9, 1},
		{"two of eight", 0.006, 9, 1},
		{"plain", 0.003, 0, 10},
	} {
		for _, k := range []Kind{Best, FK} {
			each := 100 * time.Microsecond
			s := timed(t, ddim, noisy, Config{Kind: k, N: 8, Budget: tt.budget}, &each)
			draws(s, 10)
			if f, p, l := metric(t, s, "sample_fewer"), metric(t, s, "sample_plain"), metric(t, s, "sample_late"); f != tt.fewer || p != tt.plains || l != 0 {
				t.Errorf("%v, %s: %v with fewer, %v plain and %v late, want %v, %v and 0", k, tt.name, f, p, l, tt.fewer, tt.plains)
			}
		}
	}
}

// A machine that slows down in the middle of chunks: they are ended with fewer
// particles and in time, and the search comes back when the machine does.
func TestSlowMachineCutsTheSearch(t *testing.T) {
	for _, k := range []Kind{Best, FK} {
		each := 100 * time.Microsecond
		s := timed(t, ddim, noisy, Config{Kind: k, N: 8, Budget: 0.021}, &each)
		draws(s, 5)
		each = 200 * time.Microsecond
		draws(s, 5)
		if c, l := metric(t, s, "sample_cut"), metric(t, s, "sample_late"); c != 1 || l != 0 {
			t.Errorf("%v: %v chunks cut and %v late, want 1 and 0", k, c, l)
		}
		before := metric(t, s, "sample_fewer")
		if before == 0 {
			t.Errorf("%v: no chunk with fewer particles on the slow machine", k)
		}
		each = 100 * time.Microsecond
		draws(s, 400)
		last := metric(t, s, "sample_fewer")
		draws(s, 20)
		if now := metric(t, s, "sample_fewer"); now != last {
			t.Errorf("%v: %v chunks of 20 with fewer particles long after the machine recovered, want none", k, now-last)
		}
	}
}

// Gradients are left out, and iterations ended, rather than a tick missed.
func TestGradientsFitTheTick(t *testing.T) {
	for _, tt := range []struct {
		kind Kind
		p    diffusion.Process
	}{{Guided, ddim}, {ReNO, ddim}, {NRG, flow}} {
		// Plain: 20 steps of 0.1 ms. Guided adds 0.2 ms a step; an iteration of ReNO
		// takes 8 ms and nothing else does.
		each := 100 * time.Microsecond
		budget := 0.004
		if tt.kind == ReNO {
			budget = 0.05
		}
		s := timed(t, tt.p, still, Config{Kind: tt.kind, Scale: 1, Budget: budget}, &each)
		draws(s, 10)
		if l := metric(t, s, "sample_late"); l != 0 {
			t.Errorf("%v: %v chunks late, want none", tt.kind, l)
		}
		if c := metric(t, s, "sample_cut"); tt.kind != NRG && c == 0 {
			t.Errorf("%v: nothing was cut by a budget that is too short for all", tt.kind)
		}
		if v := metric(t, s, "sample_draws"); v != 10 {
			t.Errorf("%v: %v chunks counted, want 10", tt.kind, v)
		}
	}
}

// One gradient that takes longer than a tick leaves guidance out for as long as its cost takes to
// fade, and not for ever.
func TestGuidanceComesBackAfterASlowMoment(t *testing.T) {
	for _, tt := range []struct {
		kind Kind
		p    diffusion.Process
	}{{Guided, ddim}, {NRG, flow}} {
		each := 100 * time.Microsecond
		now := new(time.Duration)
		pr := toyProcess(t, tt.p, still, 2)
		make := pr.Denoiser
		pr.Denoiser = func(rows int) (Denoiser, error) {
			d, err := make(rows)
			return slow{d, rows, &each, now}, err
		}
		asked, late := 0, 0
		s := search(t, pr, Config{Kind: tt.kind, Scale: 1, Budget: 0.012, Clock: func() time.Duration { return *now }}, stalled{share{}, func() {
			if asked++; asked == late {
				*now += 50 * time.Millisecond
			}
		}})
		draws(s, 5)
		cut := metric(t, s, "sample_cut")
		late = asked + 1
		draws(s, 10)
		if c := metric(t, s, "sample_cut"); c == cut {
			t.Errorf("%v: nothing was cut after a gradient of four ticks", tt.kind)
		}
		draws(s, 400) // of 1 % each
		cut = metric(t, s, "sample_cut")
		asked, late = 0, 0
		draws(s, 20)
		if c := metric(t, s, "sample_cut"); c != cut || asked == 0 {
			t.Errorf("%v: %v steps cut in 20 chunks long after the slow moment and %d guided, want none and all", tt.kind, c-cut, asked)
		}
	}
}

// stalled tells of every gradient that it is asked for.
type stalled struct {
	Gradient
	tell func()
}

func (s stalled) Grad(value []float64, grad, act, seen []float32) {
	s.Gradient.Grad(value, grad, act, seen)
	s.tell()
}

// Where an iteration does not fit beside the plain chunk, that is what ReNO draws, and in time;
// what was found so far holds for the chunks after it.
func TestReNOLeavesWhatThereIsNoTimeFor(t *testing.T) {
	each := 100 * time.Microsecond
	chunk := func(s *Search) []float32 {
		x := make([]float32, s.length)
		s.Draw(x, nil, true, rand.New(rand.NewPCG(1, 2)))
		return x
	}
	want := chunk(timed(t, ddim, still, Config{}, &each))
	for _, tt := range []struct {
		plain float64 // share of the budget that the plain chunk of 2 ms takes; an iteration takes four times that
		same  bool
	}{{0.6, true}, {0.3, true}, {0.05, false}} {
		s := timed(t, ddim, still, Config{Kind: ReNO, Budget: 0.002 / tt.plain}, &each)
		for range 3 {
			got := chunk(s)
			if same := slices.Equal(got, want); same != tt.same {
				t.Errorf("plain takes %v of the budget: the plain chunk is %v, want %v", tt.plain, same, tt.same)
			}
		}
		if l, c := metric(t, s, "sample_late"), metric(t, s, "sample_cut"); l != 0 || c != 3 {
			t.Errorf("plain takes %v of the budget: %v chunks late and %v cut, want 0 and 3", tt.plain, l, c)
		}
	}
}

func TestLateChunksAreCounted(t *testing.T) {
	each := time.Millisecond
	s := timed(t, ddim, noisy, Config{Kind: Best, Budget: 0.001}, &each)
	draws(s, 3)
	if l, p := metric(t, s, "sample_late"), metric(t, s, "sample_plain"); l != 3 || p != 3 {
		t.Errorf("%v of 3 chunks late and %v plain, want all", l, p)
	}
}

// Whoever goes on after a cut takes its own books along, where those of one of them go to a
// place whose own are still needed.
func TestCutParticlesKeepTheirBooks(t *testing.T) {
	each := 100 * time.Microsecond
	s := timed(t, ddim, noisy, Config{Kind: FK, N: 4, Budget: 0.021}, &each)
	l := s.levels[0]
	books := [][]float64{s.logw, s.before, s.best, s.sum, s.prod}
	for i, like := range []float32{0.5, 0, 1, -1} { // the best are 2 and 0
		for j := range s.length {
			l.x[i*s.length+j], l.guess[i*s.length+j] = like, like
		}
		for b := range books {
			books[b][i] = float64(10*b + i)
		}
	}
	to := s.fewer(l, 1, 1)
	if to.n != 2 {
		t.Fatalf("%d particles go on, want 2", to.n)
	}
	for j, want := range []int{2, 0} {
		if got := to.x[j*s.length]; got != l.x[want*s.length] {
			t.Errorf("particle %d is at %v, want where %d was", j, got, want)
		}
		for b := range books {
			if got, want := books[b][j], float64(10*b+want); got != want {
				t.Errorf("book %d of particle %d is %v, want %v", b, j, got, want)
			}
		}
	}
}
