package vpl_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/preference/vpl"
)

var (
	_ preference.Model = (*vpl.User)(nil)
	_ reward.Scorer    = (*vpl.User)(nil)
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func clip(rng *rand.Rand) preference.Clip {
	c := preference.Clip{D: 4}
	for range 4 {
		c.Embed = append(c.Embed, float32(rng.NormFloat64()))
	}
	return c
}

// utility to somebody who likes the first feature, kind 1, or dislikes it, −1. The
// second all like a little.
func utility(c preference.Clip, kind float64) float64 {
	return 1.2*kind*float64(c.Embed[0]) + 0.3*float64(c.Embed[1])
}

// answer draws what such a person says of p.
func answer(rng *rand.Rand, p preference.Pair, kind float64) preference.Pair {
	p.Verdict = preference.Second
	if rng.Float64() < preference.BradleyTerry.Odds(utility(p.A, kind)-utility(p.B, kind), 0).First {
		p.Verdict = preference.First
	}
	return p
}

func asked(rng *rand.Rand, n int, kind float64, who string) []preference.Pair {
	var ps []preference.Pair
	for range n {
		ps = append(ps, answer(rng, preference.Pair{A: clip(rng), B: clip(rng), Annotator: who}, kind))
	}
	return ps
}

func kind(u int) float64 { return float64(1 - 2*(u%2)) }

// right is the share of pairs that m puts in the order of the person's utilities.
func right(t *testing.T, m preference.Model, ps []preference.Pair, kind float64) float64 {
	t.Helper()
	var n float64
	for _, p := range ps {
		a, err := m.Utility(p.A)
		b, err2 := m.Utility(p.B)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if (a > b) == (utility(p.A, kind) > utility(p.B, kind)) {
			n++
		}
	}
	return n / float64(len(ps))
}

// Capability 36: people of two opposed tastes; how many questions until the model
// orders nine pairs in ten as they would, asked at random and by information.
func TestFewQuestionsTellWhoSomebodyIs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var train []preference.Pair
	for u := range 80 {
		train = append(train, asked(rng, 40, kind(u), fmt.Sprint(u))...)
	}
	m, rep, err := vpl.Fit(t.Context(), train, vpl.Config{Seed: 1, Steps: 800, Samples: 16})
	if err != nil {
		t.Fatal(err)
	}
	one, _, err := preference.FitRLHF(t.Context(), train, preference.Config{Linear: true, Rate: 1e-2, Epochs: 20, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	var fresh []preference.Pair
	for range 50 {
		fresh = append(fresh, preference.Pair{A: clip(rng), B: clip(rng)})
	}
	if averaged := (right(t, one, fresh, 1) + right(t, one, fresh, -1)) / 2; averaged > 0.65 {
		t.Errorf("an averaged reward orders %v: people do not differ", averaged)
	}
	known := 0.0
	for u := range 10 {
		user, err := m.User(fmt.Sprint(u))
		if err != nil {
			t.Fatal(err)
		}
		known += right(t, user, fresh, kind(u)) / 10
	}
	if known < 0.9 {
		t.Errorf("people fitted to are ordered for in %v, want 0.9", known)
	}
	const people, most = 30, 12
	curve := func(choose func(u *vpl.User, pool []preference.Pair) int) (acc [most + 1]float64, first int) {
		rng := rand.New(rand.NewPCG(7, 7)) // the same people and pools for both
		first = most + 1
		for p := range people {
			user := m.Stranger()
			pool := asked(rng, most+4, kind(p), "")
			for q := range acc {
				acc[q] += right(t, user, fresh[:20], kind(p)) / people
				i := choose(user, pool)
				if user, err = user.Told(pool[i]); err != nil {
					t.Fatal(err)
				}
				pool = append(pool[:i:i], pool[i+1:]...)
			}
		}
		for q := most; q >= 0 && acc[q] >= 0.9; q-- {
			first = q // reached, and kept from there on
		}
		return acc, first
	}
	random, atRandom := curve(func(*vpl.User, []preference.Pair) int { return 0 })
	informed, byGain := curve(func(u *vpl.User, pool []preference.Pair) int {
		i, bits, err := u.Ask(pool)
		if err != nil || !(bits >= 0 && bits <= 1) {
			t.Fatal(i, bits, err)
		}
		return i
	})
	t.Logf("known %.3f, %+v\nrandom %.2f\ninformed %.2f: %d questions and %d", known, rep, random, informed, atRandom, byGain)
	if byGain > most || 2*byGain > atRandom {
		t.Errorf("0.9 is reached after %d informed questions and %d random ones, want at most half", byGain, atRandom)
	}
	if random[0] > 0.65 {
		t.Errorf("a stranger is ordered for in %v", random[0])
	}
}

// Whatever the order of the answers, the same is known; the more, the surer; and of a
// pair whose answer is known to everybody nothing is learned.
func TestEvidenceAdds(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	var train []preference.Pair
	for u := range 10 {
		train = append(train, asked(rng, 6, kind(u), fmt.Sprint(u))...)
	}
	m, _, err := vpl.Fit(t.Context(), train, vpl.Config{Steps: 50, Samples: 8, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	ps := asked(rng, 20, 1, "")
	all, err := m.Stranger().Told(ps...)
	if err != nil {
		t.Fatal(err)
	}
	one := m.Stranger()
	for i := range ps {
		if one, err = one.Told(ps[len(ps)-1-i]); err != nil {
			t.Fatal(err)
		}
	}
	a, devA := all.Latent()
	b, devB := one.Latent()
	for j := range a {
		if math.Abs(a[j]-b[j]) > 1e-5 || math.Abs(devA[j]-devB[j]) > 1e-5 || devA[j] >= 1 {
			t.Errorf("z[%d] is %v±%v told at once, %v±%v one by one", j, a[j], devA[j], b[j], devB[j])
		}
	}
	unsure := ps[0]
	unsure.Verdict = preference.Unknown
	same, err := all.Told(unsure)
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := same.Latent(); c[0] != a[0] {
		t.Error("an unknown verdict told something")
	}
	if g, err := all.Gain(ps[0].A, ps[0].A); err != nil || g > 1e-9 {
		t.Errorf("a clip against itself tells %v bits, %v", g, err)
	}
	// Rewards have the scale of everybody's.
	var sum, square, n float64
	for _, p := range train {
		for _, c := range []preference.Clip{p.A, p.B} {
			r := make([]float64, 1)
			if err := all.Score(t.Context(), r, []perception.Features{{}, {Embed: c.Embed}}); err != nil {
				t.Fatal(err)
			}
			sum, square, n = sum+r[0], square+r[0]*r[0], n+1
		}
	}
	if m, v := sum/n, square/n; math.Abs(m) > 1e-4 || v < 0.7 || v > 1.0001 { // below 1 where the samples of z disagree
		t.Errorf("rewards have mean %v and mean square %v", m, v)
	}
}

// Held-out answers end the fit of three people before it knows theirs by heart.
func TestFewPeopleAreNotLearnedByHeart(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	var train, fresh []preference.Pair
	for u := range 3 {
		train = append(train, asked(rng, 20, kind(u), fmt.Sprint(u))...)
		fresh = append(fresh, asked(rng, 60, kind(u), fmt.Sprint(u))...)
	}
	var loss [2]float64
	for i, held := range []float64{0, -1} {
		m, rep, err := vpl.Fit(t.Context(), train, vpl.Config{Seed: 1, Steps: 600, People: 3, Samples: 8, Held: held})
		if err != nil {
			t.Fatal(err)
		}
		got, err := preference.EvaluateBy(fresh, func(p preference.Pair) (preference.Model, error) { return m.User(p.Annotator) })
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("held %v: %+v, loss of new answers %.2f, %.2f foretold", held, rep, got.Loss, got.Accuracy)
		loss[i] = got.Loss
		if held == 0 && (rep.Held != 9 || rep.Step > 300) || held < 0 && (rep.Held != 0 || rep.Step != 600) {
			t.Errorf("held out %v: %+v", held, rep)
		}
	}
	if loss[0] > loss[1]-0.3 {
		t.Errorf("loss of new answers %v with answers held out, %v without", loss[0], loss[1])
	}
}

// A single answer of somebody is no reason to learn nothing of the others: it is what they are known
// by.
func TestWhoAnsweredOnceIsKnownByIt(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	pairs := append(asked(rng, 10, 1, "ann"), asked(rng, 10, -1, "ben")...)
	once := asked(rng, 1, 1, "cid")
	m, rep, err := vpl.Fit(t.Context(), append(pairs, once...), vpl.Config{Seed: 1, Steps: 20, People: 2, Samples: 4})
	if err != nil {
		t.Fatal(err)
	}
	if rep.People != 2 || rep.Held != 4 {
		t.Errorf("%d people with %d answers held out, want 2 and 4", rep.People, rep.Held)
	}
	cid, err := m.User("cid")
	if err != nil {
		t.Fatal(err)
	}
	_, dev := cid.Latent()
	if _, prior := m.Stranger().Latent(); !(dev[0] < prior[0]) {
		t.Errorf("of whoever answered once z deviates by %v, of a stranger by %v", dev, prior)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	good := asked(rng, 5, 1, "ann")
	unknown := asked(rng, 2, 1, "bob")
	unknown[0].Verdict, unknown[1].Verdict = preference.Unknown, preference.Unknown
	for _, tt := range []struct {
		pairs []preference.Pair
		cfg   vpl.Config
		want  string
	}{
		{nil, vpl.Config{}, "label some first"},
		{asked(rng, 2, 1, ""), vpl.Config{}, "nobody is named"},
		{good[:1], vpl.Config{}, "1 people answered one pair each"},
		{unknown, vpl.Config{}, "none of 2 pairs"},
		{good, vpl.Config{Rate: -1}, "rate -1"},
		{good, vpl.Config{Beta: -1}, "beta -1"},
		{good, vpl.Config{Held: 1}, "share 1"},
		{good, vpl.Config{Latent: -1}, "latent -1"},
		{good, vpl.Config{Ties: preference.Davidson, Strength: -1}, "tie strength -1"},
		{good, vpl.Config{Rate: 1e30, Steps: 50}, "lower the rate"},
	} {
		if _, _, err := vpl.Fit(t.Context(), tt.pairs, tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := vpl.Fit(ctx, good, vpl.Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	m, _, err := vpl.Fit(t.Context(), good, vpl.Config{Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.People(); len(got) != 1 || got[0] != "ann" {
		t.Errorf("people %v", got)
	}
	if _, err := m.User("bob"); err == nil || !strings.Contains(err.Error(), "Stranger") {
		t.Errorf("a stranger: %v", err)
	}
	u := m.Stranger()
	narrow := preference.Clip{D: 2, Embed: []float32{1, 2}}
	if _, err := u.Told(preference.Pair{A: narrow, B: narrow, Verdict: preference.First}); err == nil {
		t.Error("another encoder was told of")
	}
	if _, err := u.Odds(good[0].A, narrow); err == nil {
		t.Error("a clip of another width was judged")
	}
	if _, _, err := u.Ask(nil); err == nil {
		t.Error("a question was chosen from none")
	}
	if _, _, err := u.Ask([]preference.Pair{{A: narrow, B: narrow}}); err == nil || !strings.Contains(err.Error(), "candidate 0") {
		t.Errorf("another encoder: %v", err)
	}
	if err := u.Score(t.Context(), make([]float64, 1), nil); err == nil || !strings.Contains(err.Error(), "one more") {
		t.Errorf("an empty trajectory: %v", err)
	}
	if err := u.Score(ctx, make([]float64, 1), []perception.Features{{}, {Embed: good[0].A.Embed}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
