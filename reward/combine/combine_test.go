package combine_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/combine"
)

var _ reward.Scorer = (*combine.Scorer)(nil)

func TestKRCOnTwentyVectors(t *testing.T) {
	for _, tt := range []struct {
		parts []float64
		want  float64
	}{
		{nil, 0},
		{[]float64{0.3}, 0.3},
		{[]float64{-0.3}, -0.3},
		{[]float64{1, 1}, 1},
		{[]float64{-1, -1}, -1}, // two negatives stay negative
		{[]float64{1, -1}, -1},
		{[]float64{0.25, 1}, 0.5},
		{[]float64{0.25, -1}, -0.5},
		{[]float64{-0.25, -1}, -0.5},
		{[]float64{0, 1}, 0},
		{[]float64{0, -1}, 0},
		{[]float64{0}, 0},
		{[]float64{0, 0, 0}, 0},
		{[]float64{0.5, 0.5, 0.5}, 0.5},
		{[]float64{0.125, 1, 1}, 0.5},
		{[]float64{-0.125, 1, 1}, -0.5},
		{[]float64{-0.5, -0.25, -1}, -0.5},
		{[]float64{0.001, 1, 1}, 0.1},
		{[]float64{0.0001, 1, 1, 1}, 0.1},
		{[]float64{0.9, 0.8, -0.7, 0.6}, -math.Pow(0.9*0.8*0.7*0.6, 0.25)},
		{[]float64{1e-200, 1e-100, 1}, 1e-100},
		{[]float64{1, 0.64}, 0.8},
	} {
		if got := combine.KRC(tt.parts); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("KRC of %v is %v, want %v", tt.parts, got, tt.want)
		}
	}
}

func TestKRCGradAgainstDifferences(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 21))
	for range 50 {
		p := make([]float64, 1+rng.IntN(5))
		for i := range p {
			p[i] = (0.05 + 0.9*rng.Float64()) * float64(1-2*rng.IntN(2))
		}
		got := combine.KRCGrad(nil, p)
		for i := range p {
			const h = 1e-6
			was := p[i]
			p[i] = was + h
			up := combine.KRC(p)
			p[i] = was - h
			down := combine.KRC(p)
			p[i] = was
			// Off by the smoothing: 1e-6 of components that are 0.05 at least.
			if want := (up - down) / (2 * h); math.Abs(got[i]-want) > 2e-4*(1+math.Abs(want)) {
				t.Errorf("d KRC(%v) / d %d is %v, want %v", p, i, got[i], want)
			}
		}
	}
	for _, g := range combine.KRCGrad(nil, []float64{0, 0.5, -1}) {
		if g-g != 0 || math.Abs(g) > 1e5 {
			t.Errorf("next to zero the derivative is %v", g)
		}
	}
}

func TestPotentialTelescopes(t *testing.T) {
	phi := []float64{0.5, -0.2, 0.9, 0.1}
	got := append([]float64(nil), phi...)
	const g = 0.9
	combine.Potential(got, g)
	want := []float64{(g - 1) * 0.5, g*-0.2 - 0.5, g*0.9 + 0.2, g*0.1 - 0.9}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-12)); diff != "" {
		t.Error(diff)
	}
	// The discounted sum is that of the ends alone.
	sum, w := 0.0, 1.0
	for _, f := range got {
		sum, w = sum+w*f, w*g
	}
	if want := math.Pow(g, 4)*0.1 - 0.5; math.Abs(sum-want) > 1e-12 {
		t.Errorf("the discounted sum is %v, want γ⁴Φ(end) − Φ(start) = %v", sum, want)
	}
	combine.Potential(nil, g)
}

func TestShapeOfADistance(t *testing.T) {
	for _, tt := range []struct {
		s    combine.Shape
		d    float64
		want float64
	}{
		{combine.Shape{}, 0, 1},
		{combine.Shape{}, 2, math.Exp(-1)},
		{combine.Shape{Unit: 2}, 2, math.Exp(-0.5)},
		{combine.Shape{Dispersion: 4}, 2, math.Exp(-0.25)},
		{combine.Shape{Density: 2}, 2, math.Exp(-0.5)},
		{combine.Shape{Unit: 0.1, Dispersion: 2, Density: 0.5}, 0.3, math.Exp(-0.5 * 0.3 / 0.2 / 0.5)},
	} {
		if got := tt.s.At(tt.d); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("%+v at %v is %v, want %v", tt.s, tt.d, got, tt.want)
		}
	}
}

func TestHarmonicIsTheFormulaAndBetweenItsParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 24))
	for range 1000 {
		l, a, b := rng.Float64(), rng.Float64(), rng.Float64()
		got := combine.Harmonic(l, a, b)
		if want := (a + 1e-8) * (b + 1e-8) / (l*(b+1e-8) + (1-l)*(a+1e-8)); math.Abs(got-want) > 1e-9 {
			t.Errorf("λ %v of %v and %v: got %v, want %v", l, a, b, got, want)
		}
		// The 1e-8 that keeps it finite may lift it over the larger one by as much.
		if got < min(a, b)-1e-9 || got > max(a, b)+1.1e-8 {
			t.Errorf("λ %v of %v and %v: %v is not between them", l, a, b, got)
		}
	}
	for _, tt := range []struct{ l, a, b, want float64 }{{1, 0.3, 0.9, 0.3}, {0, 0.3, 0.9, 0.9}, {0.5, 0, 1, 2e-8}, {0.5, 1, 1, 1}} {
		if got := combine.Harmonic(tt.l, tt.a, tt.b); math.Abs(got-tt.want) > 1.1e-8 {
			t.Errorf("λ %v of %v and %v: got %v, want %v", tt.l, tt.a, tt.b, got, tt.want)
		}
	}
}

// say is a scorer that gives these rewards.
type say []float64

var errMute = errors.New("mute")

func (s say) Score(_ context.Context, dst []float64, _ []perception.Features) error {
	if s == nil {
		return errMute
	}
	copy(dst, s)
	return nil
}

func score(t *testing.T, s *combine.Scorer, n int) []float64 {
	t.Helper()
	dst := make([]float64, n)
	if err := s.Score(t.Context(), dst, make([]perception.Features, n+1)); err != nil {
		t.Fatal(err)
	}
	return dst
}

func TestScorerScalesAndCombines(t *testing.T) {
	parts := []combine.Part{
		{Name: "cost", Scorer: say{-2, -1, 0, 5}, Lo: -2, Hi: 0}, // −1, 0, 1, 1
		{Name: "plain", Scorer: say{0.25, 0.5, 0.25, 4}},         // the last is cut off
	}
	krc, err := combine.NewKRC(parts, combine.KRCConfig{})
	if err != nil {
		t.Fatal(err)
	}
	approx := cmpopts.EquateApprox(0, 1e-7)
	if diff := cmp.Diff([]float64{-0.5, 0, 0.5, 1}, score(t, krc, 4), approx); diff != "" {
		t.Error(diff)
	}
	shaped, err := combine.NewKRC(parts, combine.KRCConfig{Potential: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float64{0.25, 0.5, 0.25, 0}, score(t, shaped, 4), approx); diff != "" {
		t.Error(diff)
	}
	mean, err := combine.NewHarmonic(0.5, parts[0], parts[1], nil) // 0, ½, 1, 1 with the plain one
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float64{0, 0.5, 0.4, 1}, score(t, mean, 4), approx); diff != "" {
		t.Error(diff)
	}
}

func TestDeadComponentIsTold(t *testing.T) {
	var out bytes.Buffer
	s, err := combine.NewKRC([]combine.Part{{Name: "lively", Scorer: say{0.5, 0.5}}, {Name: "lamp", Scorer: say{0, 1e-9}}},
		combine.KRCConfig{Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		score(t, s, 2)
	}
	if n := strings.Count(out.String(), "component=lamp"); n != 3 || strings.Contains(out.String(), "lively") {
		t.Errorf("5 dead trajectories were told %d times, want at the 1st, 2nd and 4th:\n%s", n, out.String())
	}
	if diff := cmp.Diff([]uint64{0, 5}, s.Dead()); diff != "" {
		t.Error(diff)
	}
}

func TestScorerRefuses(t *testing.T) {
	ok := combine.Part{Name: "a", Scorer: say{1}}
	for want, f := range map[string]func() error{
		"nothing to combine": func() error { _, err := combine.NewKRC(nil, combine.KRCConfig{}); return err },
		"no scorer": func() error {
			_, err := combine.NewKRC([]combine.Part{{Name: "b"}}, combine.KRCConfig{})
			return err
		},
		"lower and a higher": func() error {
			_, err := combine.NewKRC([]combine.Part{{Scorer: say{1}, Lo: 1, Hi: 1}}, combine.KRCConfig{})
			return err
		},
		"potential is": func() error {
			_, err := combine.NewKRC([]combine.Part{ok}, combine.KRCConfig{Potential: 1.5})
			return err
		},
		"lambda is": func() error { _, err := combine.NewHarmonic(math.NaN(), ok, ok, nil); return err },
		"a: mute": func() error {
			s, err := combine.NewKRC([]combine.Part{{Name: "a", Scorer: say(nil)}}, combine.KRCConfig{})
			if err != nil {
				return err
			}
			err = s.Score(context.Background(), make([]float64, 1), make([]perception.Features, 2))
			if !errors.Is(err, errMute) {
				t.Errorf("got %v, which hides its cause", err)
			}
			return err
		},
		"reward 0 is NaN": func() error {
			s, err := combine.NewKRC([]combine.Part{{Name: "a", Scorer: say{math.NaN()}}}, combine.KRCConfig{})
			if err != nil {
				return err
			}
			return s.Score(context.Background(), make([]float64, 1), make([]perception.Features, 2))
		},
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that says %q", err, want)
		}
	}
}
