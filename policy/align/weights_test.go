package align_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
)

func TestHarmonicByHand(t *testing.T) {
	for _, c := range []struct{ lambda, a, b, want float64 }{
		{0.5, 0.5, 0.5, 0.50000001},
		{0.5, 0.2, 0.8, 1 / (0.5/(0.2+1e-8) + 0.5/(0.8+1e-8))},
		{0.3, 0.9, 0.1, 1 / (0.3/(0.9+1e-8) + 0.7/(0.1+1e-8))},
		{0, 0.9, 0.25, 0.25 + 1e-8},
		{0.5, 0, 1, 2e-8},
	} {
		if got := align.Harmonic(c.lambda, c.a, c.b); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("Harmonic(%v, %v, %v) is %v, want %v", c.lambda, c.a, c.b, got, c.want)
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		l, a, b := rng.Float64(), rng.Float64(), rng.Float64()
		if got := align.Harmonic(l, a, b); got < min(a, b)-1e-9 || got > max(a, b)+2e-8 {
			t.Fatalf("Harmonic(%v, %v, %v) is %v, not between them", l, a, b, got)
		}
	}
	if align.Near(0, 3) != 1 || math.Abs(align.Near(3, 3)-math.Exp(-1)) > 1e-12 || align.Near(100, math.Inf(1)) != 1 {
		t.Error("Near is not e^(-kl/scale)")
	}
}

func TestAttenuationByHand(t *testing.T) {
	for i := range 16 {
		if got, want := align.Attenuation(i, 16, 0.7), math.Exp(-0.7*math.Abs(float64(i)-8)); got != want {
			t.Errorf("frame %d weighs %v, want %v", i, got, want)
		}
	}
}

// TestSegmentsHaveLessVariance than as many frames from anywhere.
func TestSegmentsHaveLessVariance(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	frame := func(i int) float64 { return math.Sin(float64(i)/5) + float64(i)/20 }
	variance := func(draw func() float64) (mean, v float64) {
		const n = 20_000
		sum, square := 0.0, 0.0
		for range n {
			x := draw()
			sum, square = sum+x, square+x*x
		}
		return sum / n, square/n - sum*sum/n/n
	}
	for _, lambda := range []float64{0, 0.1} {
		a, seg := variance(func() float64 { return align.Segmental(frame, 32, 4, lambda, rng) })
		b, plain := variance(func() float64 {
			s := 0.0
			for range 4 {
				i := rng.IntN(32)
				s += align.Attenuation(i, 32, lambda) * frame(i) / 4
			}
			return s
		})
		if seg > plain || math.Abs(a-b) > 0.02 {
			t.Errorf("lambda %v: by segments %v with variance %v, by frames %v with %v", lambda, a, seg, b, plain)
		}
	}
}

// features of a chunk, for a linear head that bends.
func features(s *align.Sample) []float64 {
	m := float64(s.Actions[0]+s.Actions[1]) / 2
	return []float64{1, m, m * m, m * m * m}
}

func TestLeverageByHand(t *testing.T) {
	l, err := align.NewLeverage(2, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	l.Add([]float64{1, 2})
	l.Add([]float64{-1, 0.5})
	// V = 0.5 I + [[2, 1.5], [1.5, 4.25]]; its inverse is [[4.75, -1.5], [-1.5, 2.5]] / 9.625.
	z := []float64{3, -1}
	want := math.Sqrt((4.75*9 + 2*1.5*3 + 2.5) / 9.625)
	if got := l.Of(z); math.Abs(got-want) > 1e-12 {
		t.Errorf("the leverage is %v, want %v", got, want)
	}
	l.Alpha, l.Beta, l.Lo, l.Hi = 0.5, 0.7, 0.1, 1.5
	if got, want := l.Weight(z), math.Exp(-0.5*want+0.7); math.Abs(got-want) > 1e-12 {
		t.Errorf("the weight is %v, want %v", got, want)
	}
	if got := l.Weight([]float64{0, 0}); got != 1.5 {
		t.Errorf("the weight without leverage is %v, want Hi", got)
	}
	if got := l.Weight([]float64{1e6, 0}); got != 0.1 {
		t.Errorf("the weight far out is %v, want Lo", got)
	}
	if _, err := align.NewLeverage(0, 1); err == nil {
		t.Error("a leverage of no features is no error")
	}
	if err := l.Calibrate(nil); err == nil {
		t.Error("calibrating by nothing is no error")
	}
}

// TestLeverageKeepsFromWhatIsFar: a reward is wrong beyond what was labelled, and
// praises it there. Trusted chunks weigh more, and the policy gets what is truly liked.
func TestLeverageKeepsFromWhatIsFar(t *testing.T) {
	w := ways(t)
	truth := aligntest.Liked
	wrong := func(s *align.Sample) float64 {
		m := float64(s.Actions[0]+s.Actions[1]) / 2
		if m < -0.75 {
			return 4
		}
		return truth(s)
	}
	l, err := align.NewLeverage(4, 1e-3)
	if err != nil {
		t.Fatal(err)
	}
	var zs, near, out [][]float64
	labelled := draw(t, w, tune(t, w, align.Config{}), 64, 64, 31)
	for i := range labelled {
		z := features(&labelled[i])
		switch m := math.Abs(z[1]); {
		case i%2 == 0 && m < 0.65:
			zs = append(zs, z)
		case m < 0.65:
			near = append(near, z)
		case m > 0.75:
			out = append(out, z)
		}
	}
	for _, z := range zs {
		l.Add(z)
	}
	if err := l.Calibrate(zs); err != nil {
		t.Fatal(err)
	}
	less := 0.0
	for _, a := range near {
		for _, b := range out {
			if l.Weight(a) >= l.Weight(b) {
				less += 1 / float64(len(near)*len(out))
			}
		}
	}
	t.Logf("%d near and %d far chunks: the near one weighs at least as much in %.3f of the pairs", len(near), len(out), less)
	if len(out) < 3 || less < 0.95 {
		t.Errorf("near chunks weigh at least as much as far ones in %.3f of the pairs with %d far ones, want 0.95", less, len(out))
	}
	reward := func(weigh func([]align.Sample)) float64 {
		sum := 0.0
		for seed := range uint64(3) {
			p := tune(t, w, align.Config{LR: 1e-3, Seed: seed})
			a, err := align.NewDPPO(p, align.DPPOConfig{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := align.NewRun(a, align.Rated(wrong, 0), align.RunConfig{
				Rounds: 25, Every: 25, Observations: 16, Each: 8, Budget: math.Inf(1), Near: math.Inf(1), Train: w.Train, Held: w.Held, Weigh: weigh,
				Value: func([]align.Sample) float64 { return later(p) }})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Go(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, s := range draw(t, w, p, 64, 4, 33) {
				sum += truth(&s) / 256 / 3
			}
		}
		return sum
	}
	with, without := reward(func(ss []align.Sample) {
		for i := range ss {
			ss[i].Weight = l.Weight(features(&ss[i]))
		}
	}), reward(nil)
	t.Logf("true reward %.3f with weights, %.3f without", with, without)
	if with < without+0.2*math.Abs(without) || with < 0.5 {
		t.Errorf("true reward %.3f with weights and %.3f without, want a fifth more", with, without)
	}
}

// later grows with the steps, so that the last policy is kept.
func later(p *align.Tuned) float64 { return 1 - 1/float64(2+p.Steps()) }

func TestDoubtByHand(t *testing.T) {
	if align.Doubt(0.3, 0.3, 2) != 1 || math.Abs(align.Doubt(1, 3, 0.5)-math.Exp(-1)) > 1e-12 {
		t.Error("Doubt is not e^(-scale |y1-y2|)")
	}
	if got := align.DoubtOf([]float64{1, 2, 3}, []float64{11, 12, 13}, 1); math.Abs(got-1) > 1e-12 {
		t.Errorf("passes that agree weigh %v, want 1", got)
	}
	// softmax (0, ln 3) is (1/4, 3/4), softmax (0, 0) halves.
	u := 0.25*math.Log(0.5) + 0.75*math.Log(1.5)
	if got := align.DoubtOf([]float64{0, math.Log(3)}, []float64{0, 0}, 2); math.Abs(got-math.Exp(-2*u)) > 1e-12 {
		t.Errorf("the weight of two classes is %v, want %v", got, math.Exp(-2*u))
	}
}

// TestDoubtKeepsFromWhatIsCorrupt: for half of the histories, those on the one side, a
// reward is drowned in noise, as a corrupt sensor's is. Two passes of it disagree there.
func TestDoubtKeepsFromWhatIsCorrupt(t *testing.T) {
	w := ways(t)
	rng := rand.New(rand.NewPCG(41, 1))
	pass := func(s *align.Sample) float64 {
		noise := 0.05
		if s.Seen[0] > 0 {
			noise = 8
		}
		return aligntest.Liked(s) + noise*rng.NormFloat64()
	}
	fresh := draw(t, w, tune(t, w, align.Config{}), 64, 8, 43)
	var us, errs []float64
	for i := range fresh {
		y1, y2 := pass(&fresh[i]), pass(&fresh[i])
		us, errs = append(us, math.Abs(y1-y2)), append(errs, math.Abs(y1-aligntest.Liked(&fresh[i])))
	}
	corr := correlation(us, errs)
	reward := func(scale float64) float64 {
		sum := 0.0
		for seed := range uint64(3) {
			p := tune(t, w, align.Config{Seed: seed})
			a, err := align.NewDPPO(p, align.DPPOConfig{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := align.NewRun(a, align.Rated(pass, 0), align.RunConfig{
				Rounds: 25, Every: 25, Observations: 16, Each: 4, Budget: math.Inf(1), Near: math.Inf(1), Train: w.Train, Held: w.Held,
				Value: func([]align.Sample) float64 { return later(p) },
				Weigh: func(ss []align.Sample) {
					for i := range ss {
						ss[i].Weight = align.Doubt(pass(&ss[i]), pass(&ss[i]), scale)
					}
				}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Go(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, s := range draw(t, w, p, 64, 4, 44) {
				sum += aligntest.Liked(&s) / 256 / 3
			}
		}
		return sum
	}
	with, without := reward(4), reward(0)
	t.Logf("disagreement and error correlate by %.3f; true reward %.3f with weights, %.3f without", corr, with, without)
	if corr < 0.4 {
		t.Errorf("disagreement and error correlate by %.3f, want 0.4", corr)
	}
	if with < without+0.1*math.Abs(without) || with < 0.3 {
		t.Errorf("true reward %.3f with weights and %.3f without, want a tenth more", with, without)
	}
}

func correlation(x, y []float64) float64 {
	mean := func(v []float64) float64 {
		s := 0.0
		for _, a := range v {
			s += a / float64(len(v))
		}
		return s
	}
	mx, my := mean(x), mean(y)
	var xy, xx, yy float64
	for i := range x {
		xy += (x[i] - mx) * (y[i] - my)
		xx += (x[i] - mx) * (x[i] - mx)
		yy += (y[i] - my) * (y[i] - my)
	}
	return xy / math.Sqrt(xx*yy)
}

func TestAdvantagesByHand(t *testing.T) {
	ss := []align.Sample{{Reward: 1, Weight: 1}, {Reward: 3, Weight: 1}, {Group: 1, Reward: 10, Weight: 1}, {Group: 1, Reward: 10, Weight: 1}}
	want := []float64{-math.Sqrt2, math.Sqrt2, 0, 0}
	got := align.Advantages(nil, ss, 5)
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-6 {
			t.Errorf("advantages %v, want %v", got, want)
		}
	}
	if got := align.Advantages(nil, ss, 1); got[1] != 1 || got[0] != -1 {
		t.Errorf("advantages within 1 are %v", got)
	}
	if got := align.Advantages(nil, []align.Sample{{Reward: 1, Weight: 2}, {Group: 1, Reward: 3, Weight: 2}}, 5); math.Abs(got[1]-1) > 1e-6 {
		t.Errorf("advantages of groups of one are %v, want those among all", got)
	}
	if got := align.Advantages(nil, []align.Sample{{Reward: 1, Weight: 1}, {Reward: 3, Weight: 1}, {Reward: 99}}, 200); math.Abs(got[1]-1) > 1e-6 || math.Abs(got[2]-97) > 1e-5 {
		t.Errorf("advantages beside a sample without weight are %v", got)
	}
	if got := align.Advantages(nil, ss[2:], 5); !slices.Equal(got, []float64{0, 0}) {
		t.Errorf("equal rewards have the advantages %v", got)
	}
}
