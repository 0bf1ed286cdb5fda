package pal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"

	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/preference/pal"
)

var (
	_ preference.Model = (*pal.User)(nil)
	_ reward.Scorer    = (*pal.User)(nil)
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// groups like different features of a frame, two each.
var groups = [][]float64{{1, 1, 0, 0, 0, 0}, {0, 0, 1, 1, 0, 0}, {0, 0, 0, 0, 1, 1}}

// sure is how many times the odds people answer by: right nine times in ten.
const sure = 2.6

func utility(c preference.Clip, w []float64) float64 {
	var s float64
	for t := range c.Len() {
		for j, x := range c.Frame(t) {
			s += w[j] * float64(x) / float64(c.Len())
		}
	}
	return s
}

func clip(rng *rand.Rand) preference.Clip {
	c := preference.Clip{D: 6}
	for range 6 {
		c.Embed = append(c.Embed, float32(rng.NormFloat64()))
	}
	return c
}

// answers are n noisy ones of one person.
func answers(rng *rand.Rand, n, group int, who string) []preference.Pair {
	var ps []preference.Pair
	for range n {
		p := preference.Pair{A: clip(rng), B: clip(rng), Annotator: who, Verdict: preference.Second}
		o := preference.BradleyTerry.Odds(sure*(utility(p.A, groups[group])-utility(p.B, groups[group])), 0)
		if rng.Float64() < o.First {
			p.Verdict = preference.First
		}
		ps = append(ps, p)
	}
	return ps
}

// crowd is 60 people of three tastes, n answers each.
func crowd(rng *rand.Rand, n int) []preference.Pair {
	var ps []preference.Pair
	for u := range 60 {
		ps = append(ps, answers(rng, n, u%3, fmt.Sprintf("p%02d", u))...)
	}
	return ps
}

// What each of three groups likes depends on how the scene begins: which of two
// features counts. Only model B can know, as the first frame alone shows it.
func TestPrototypesFollowTheContext(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	scenes := func(n, group int, who string) []preference.Pair {
		var ps []preference.Pair
		for range n {
			begin, p := 2*rng.IntN(2)-1, preference.Pair{Annotator: who, Verdict: preference.Second}
			w := make([]float64, 6)
			w[2*group+(begin+1)/2] = 1.4 // as sharp a taste as that of groups
			var u [2]float64
			for i, c := range [2]*preference.Clip{&p.A, &p.B} {
				end := clip(rng)
				*c = preference.Clip{D: 7, Embed: append([]float32{float32(begin), 0, 0, 0, 0, 0, 0, 0}, end.Embed...)}
				u[i] = utility(end, w)
			}
			if rng.Float64() < preference.BradleyTerry.Odds(sure*(u[0]-u[1]), 0).First {
				p.Verdict = preference.First
			}
			ps = append(ps, p)
		}
		return ps
	}
	var train, fresh []preference.Pair
	for u := range 60 {
		who := fmt.Sprintf("p%02d", u)
		train, fresh = append(train, scenes(20, u%3, who)...), append(fresh, scenes(10, u%3, who)...)
	}
	accuracy := func(c pal.Config) (*pal.Model, float64) {
		c.Prototypes, c.Linear, c.Rate, c.Restarts, c.Seed = 3, true, 5e-3, 1, 2
		m, _, err := pal.Fit(t.Context(), train, c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Measure(fresh)
		if err != nil {
			t.Fatal(err)
		}
		return m, got.Accuracy
	}
	_, points := accuracy(pal.Config{Epochs: 25})
	m, follows := accuracy(pal.Config{Context: true})
	new := 0.0
	for i := range 9 {
		u, err := m.Meet(scenes(8, i%3, ""))
		if err != nil {
			t.Fatal(err)
		}
		own, err := preference.Evaluate(u, scenes(50, i%3, ""))
		if err != nil {
			t.Fatal(err)
		}
		new += own.Accuracy / 9
	}
	t.Logf("model A %.3f, model B %.3f, new people %.3f", points, follows, new)
	if points > 0.78 || follows < 0.85 || new < 0.8 {
		t.Errorf("model A %.3f, want at most 0.78; model B %.3f, want 0.85; new people %.3f, want 0.8", points, follows, new)
	}
}

func TestFitIsDeterministicAndRewardsAreNormalised(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	train := crowd(rng, 4)
	cfg := pal.Config{Epochs: 3, Restarts: 1, Seed: 5}
	a, _, err := pal.Fit(t.Context(), train, cfg)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := pal.Fit(t.Context(), train, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ua, _ := a.User("p07")
	ub, _ := b.User("p07")
	var sum, square, n float64
	for _, p := range train {
		x, err := ua.Utility(p.A)
		y, err2 := ub.Utility(p.A)
		if err != nil || err2 != nil || x != y {
			t.Fatalf("utility %v and %v; %v, %v", x, y, err, err2)
		}
		for _, c := range []preference.Clip{p.A, p.B} {
			r := make([]float64, 1)
			if err := ua.Score(t.Context(), r, []perception.Features{{}, {Embed: c.Embed}}); err != nil {
				t.Fatal(err)
			}
			sum, square, n = sum+r[0], square+r[0]*r[0], n+1
		}
	}
	if m, v := sum/n, square/n; math.Abs(m) > 1e-6 || math.Abs(v-1) > 1e-6 {
		t.Errorf("rewards have mean %v and mean square %v", m, v)
	}
}

// A view that is read back says the same as the one that was saved.
func TestViewsAreReadBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	train := crowd(rng, 1)
	for _, c := range views {
		u, b := saved(t, train, c)
		got, err := pal.Load(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		traj := []perception.Features{{}, {Embed: clip(rng).Embed}, {Embed: clip(rng).Embed}}
		is, want := make([]float64, 2), make([]float64, 2)
		if err := errors.Join(got.Score(t.Context(), is, traj), u.Score(t.Context(), want, traj)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(is, want) {
			t.Errorf("%+v: rewards %v after reading, %v before", c, is, want)
		}
	}
}

// views are of either model and likeness.
var views = []pal.Config{{Epochs: 1, Restarts: 1, Linear: true}, {Epochs: 1, Restarts: 1, Hidden: 2, Dim: 2, Context: true, Likeness: pal.Distance}}

func saved(t testing.TB, train []preference.Pair, c pal.Config) (*pal.User, []byte) {
	t.Helper()
	m, _, err := pal.Fit(t.Context(), train, c)
	if err != nil {
		t.Fatal(err)
	}
	u, err := m.User("p07")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := u.Save(&b); err != nil {
		t.Fatal(err)
	}
	return u, b.Bytes()
}

func FuzzLoad(f *testing.F) {
	train := crowd(rand.New(rand.NewPCG(6, 6)), 1)
	for _, c := range views {
		_, b := saved(f, train, c)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := pal.Load(bytes.NewReader(data))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := u.Save(&b); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if _, err := pal.Load(&b); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}

func TestMistakesAreNamed(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	good := answers(rng, 20, 0, "ann")
	nobody := append(append([]preference.Pair{}, good...), answers(rng, 1, 0, "")...)
	for _, tt := range []struct {
		pairs []preference.Pair
		cfg   pal.Config
		want  string
	}{
		{nil, pal.Config{}, "label some first"},
		{nobody, pal.Config{}, "pair 20: nobody is named"},
		{good[:3], pal.Config{}, "want 4 at least: label more"},
		{good, pal.Config{Rate: -1}, "rates -1"},
		{good, pal.Config{Prototypes: -1}, "-1 prototypes"},
		{good, pal.Config{Held: 2}, "share 2"},
		{good, pal.Config{Likeness: 9}, "Likeness(9)"},
		{good, pal.Config{Ties: preference.RaoKupper, Strength: 1}, "tie strength 1"},
	} {
		if _, _, err := pal.Fit(t.Context(), tt.pairs, tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := pal.Fit(ctx, good, pal.Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	m, _, err := pal.Fit(t.Context(), good, pal.Config{Epochs: 1, Restarts: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.User("bob"); err == nil || !strings.Contains(err.Error(), "Meet") {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := m.Measure(answers(rng, 1, 0, "bob")); err == nil {
		t.Error("answers of a stranger were judged")
	}
	if _, err := m.Meet(nil); err == nil {
		t.Error("somebody was met without answers")
	}
	narrow := preference.Clip{D: 2, Embed: []float32{1, 2}}
	if _, err := m.Meet([]preference.Pair{{A: narrow, B: narrow}}); err == nil || !strings.Contains(err.Error(), "want 6") {
		t.Errorf("another encoder: %v", err)
	}
	u, err := m.User("ann")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Odds(good[0].A, narrow); err == nil {
		t.Error("a clip of another width was judged")
	}
	if err := u.Score(t.Context(), make([]float64, 1), nil); err == nil || !strings.Contains(err.Error(), "one more") {
		t.Errorf("an empty trajectory: %v", err)
	}
	if err := u.Score(ctx, make([]float64, 1), []perception.Features{{}, {Embed: good[0].A.Embed}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
