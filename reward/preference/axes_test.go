package preference_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/preference"
)

// Capability 26: two aspects that disagree, judged with ties when they are close.
func TestTiesLieCloserThanDecidedPairs(t *testing.T) {
	rng := newRand(30)
	tastes := [][]float64{{1, 0.5, 0, 0}, {0, -0.5, 0, 1}} // task, motion
	const close = 1.0                                      // returns that look alike
	make := func(n int) []preference.Pair {
		var ps []preference.Pair
		for range n {
			p := preference.Pair{A: draw(rng, 4, 4), B: draw(rng, 4, 4)}
			for _, w := range tastes {
				v := preference.Tie
				if d := linear(p.A, w) - linear(p.B, w) + 0.3*rng.NormFloat64(); d > close {
					v = preference.First
				} else if d < -close {
					v = preference.Second
				}
				p.Axes = append(p.Axes, v)
			}
			ps = append(ps, p)
		}
		return ps
	}
	axes, reps, err := preference.FitAxes(t.Context(), make(400), []string{"task", "motion"}, preference.Config{Linear: true, Ties: preference.RaoKupper, Rate: 1e-2, Seed: 1})
	if err != nil || len(reps) != 2 {
		t.Fatal(reps, err)
	}
	fresh := make(500)
	for i, name := range axes.Names {
		ps := append([]preference.Pair{}, fresh...)
		for j := range ps {
			ps[j].Verdict = ps[j].Axes[i]
		}
		m := measure(t, axes.Axis(i), ps)
		t.Logf("%s: accuracy %.3f, gap of ties %.2f, of decided pairs %.2f (%d ties)", name, m.Accuracy, m.TieGap, m.DecidedGap, m.Ties)
		if m.TieGap >= m.DecidedGap/3 {
			t.Errorf("%s: ties lie %v apart, decided pairs %v", name, m.TieGap, m.DecidedGap)
		}
		if m.Accuracy < 0.95 {
			t.Errorf("%s: accuracy %v", name, m.Accuracy)
		}
		// The other aspect does not leak in.
		for j := range ps {
			ps[j].Verdict = ps[j].Axes[1-i]
		}
		if m := measure(t, axes.Axis(i), ps); m.Accuracy > 0.6 {
			t.Errorf("%s: explains the other aspect in %v", name, m.Accuracy)
		}
	}
	// Weights count at use.
	c := fresh[0].A
	axes.Weights[0], axes.Weights[1] = 2, -1
	u0, _ := axes.Axis(0).Utility(c)
	u1, _ := axes.Axis(1).Utility(c)
	got, err := axes.Utility(c)
	if err != nil || !near(got, 2*u0-u1, 1e-12) {
		t.Errorf("weighted utility %v, want %v; %v", got, 2*u0-u1, err)
	}
	traj := []perception.Features{{Embed: c.Frame(0)}}
	for i := range c.Len() {
		traj = append(traj, perception.Features{Embed: c.Frame(i)})
	}
	none := []float64{0}
	r0, r1, r := slices.Repeat(none, c.Len()), slices.Repeat(none, c.Len()), slices.Repeat(none, c.Len())
	if err := errors.Join(axes.Axis(0).Score(t.Context(), r0, traj), axes.Axis(1).Score(t.Context(), r1, traj), axes.Score(t.Context(), r, traj)); err != nil {
		t.Fatal(err)
	}
	for i := range r {
		if !near(r[i], 2*r0[i]-r1[i], 1e-12) {
			t.Errorf("frame %d: weighted reward %v, want %v", i, r[i], 2*r0[i]-r1[i])
		}
	}
	o, err := axes.Odds(c, c)
	if err != nil || !near(o.Tie, 4.0/6, 1e-6) {
		t.Errorf("odds of a clip against itself %v, %v", o, err)
	}
}

func TestAxesMistakesAreNamed(t *testing.T) {
	rng := newRand(31)
	ps := asked(rng, 10, 2, taste, preference.BradleyTerry, 0)
	for _, tt := range []struct {
		names []string
		want  string
	}{{nil, "no aspects"}, {[]string{"task"}, "judged by 0 aspects"}} {
		if _, _, err := preference.FitAxes(t.Context(), ps, tt.names, preference.Config{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q", tt.names, err, tt.want)
		}
	}
	for i := range ps {
		ps[i].Axes = []preference.Verdict{preference.Unknown}
	}
	if _, _, err := preference.FitAxes(t.Context(), ps, []string{"task"}, preference.Config{}); err == nil || !strings.Contains(err.Error(), "aspect task") {
		t.Errorf("an aspect that nobody judged: %v", err)
	}
}
