package heron_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/preference/heron"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ reward.Scorer = (*heron.Running)(nil)

var factors = []heron.Factor{
	{Name: "success"},
	{Name: "contacts", Lower: true, Margin: 0.5},
	{Name: "time", Lower: true, Margin: 0.25},
}

// episodes draws factors as they come: success or not, few contacts, any time.
func episodes(rng *rand.Rand, n int) [][]float64 {
	z := make([][]float64, n)
	for i := range z {
		z[i] = []float64{float64(rng.IntN(2)), float64(rng.IntN(4)), 10 * rng.Float64()}
	}
	return z
}

func newRank(t *testing.T, fs []heron.Factor, sample [][]float64) *heron.Rank {
	t.Helper()
	r, err := heron.New(fs, sample)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// brute is the rule as one would say it: of the factors in their order, the first
// whose signed difference exceeds m standard deviations.
func brute(fs []heron.Factor, dev []float64, a, b []float64) preference.Verdict {
	for i, f := range fs {
		better, worse := a[i] > b[i], a[i] < b[i]
		if f.Lower {
			better, worse = worse, better
		}
		if math.Abs(a[i]-b[i]) <= f.Margin*dev[i] {
			continue
		}
		if better {
			return preference.First
		}
		if worse {
			return preference.Second
		}
	}
	return preference.Unknown
}

func deviations(z [][]float64) []float64 {
	dev := make([]float64, len(z[0]))
	for i := range dev {
		var sum, square float64
		for _, x := range z {
			sum += x[i]
			square += x[i] * x[i]
		}
		m := sum / float64(len(z))
		dev[i] = math.Sqrt(square/float64(len(z)) - m*m)
	}
	return dev
}

// Capability 18: the labels are those of the rule, on 10,000 pairs.
func TestLabelsFollowTheOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	z := episodes(rng, 1000)
	r, dev := newRank(t, factors, z), deviations(z)
	seen := map[preference.Verdict]int{}
	levels := map[int]int{}
	for range 10000 {
		a, b := z[rng.IntN(len(z))], z[rng.IntN(len(z))]
		got, level := r.Compare(a, b)
		if want := brute(factors, dev, a, b); got != want {
			t.Fatalf("%v against %v: %v, want %v", a, b, got, want)
		}
		if back, l := r.Compare(b, a); back != got.Flip() || l != level {
			t.Fatalf("%v against %v: %v, the other way round %v", a, b, got, back)
		}
		seen[got]++
		levels[level]++
	}
	for _, v := range []preference.Verdict{preference.Unknown, preference.First, preference.Second} {
		if seen[v] < 100 {
			t.Errorf("only %d of 10000 pairs were %v", seen[v], v)
		}
	}
	for l := -1; l < 3; l++ {
		if levels[l] < 100 {
			t.Errorf("only %d of 10000 pairs were decided at level %d", levels[l], l)
		}
	}
}

// What is held out of few items must not be learned from as well.
func TestNoPairIsDrawnTwice(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	r := newRank(t, factors[2:], [][]float64{{0}, {1}})
	var its []heron.Item
	for i := range 6 {
		its = append(its, heron.Item{Clip: preference.Clip{Name: string(rune('a' + i))}, Factors: []float64{float64(i)}})
	}
	for _, n := range []int{4, 60} {
		pairs, drawn, by, err := r.Draw(its, n, rng)
		if want := min(n, 15); err != nil || len(pairs) != want || drawn != want || by[0] != want {
			t.Errorf("of %d wanted, %d pairs of %d drawn, %v decided, %v; want %d", n, len(pairs), drawn, by, err, want)
		}
		seen := map[[2]string]bool{}
		for _, p := range pairs {
			k := [2]string{min(p.A.Name, p.B.Name), max(p.A.Name, p.B.Name)}
			if seen[k] {
				t.Errorf("%v came twice", k)
			}
			seen[k] = true
		}
	}
}

func TestMarginsAreInDeviations(t *testing.T) {
	sample := [][]float64{{0}, {2}, {4}, {6}} // deviation √5
	for _, m := range []float64{0.5, 1, 2} {
		r := newRank(t, []heron.Factor{{Name: "x", Margin: m}}, sample)
		gap := m * math.Sqrt(5)
		if got := r.Gaps()[0]; math.Abs(got-gap) > 1e-12 {
			t.Errorf("margin %v is %v, want %v", m, got, gap)
		}
		if v, _ := r.Compare([]float64{gap * 1.001}, []float64{0}); v != preference.First {
			t.Errorf("margin %v: a little more is %v", m, v)
		}
		if v, l := r.Compare([]float64{gap * 0.999}, []float64{0}); v != preference.Unknown || l != heron.Undecided {
			t.Errorf("margin %v: a little less is %v at %d", m, v, l)
		}
	}
}

// Swapping two factors flips the labels of the pairs on which they disagree, and no
// other.
func TestSwappingFactorsFlipsWhatTheyDisagreeOn(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	z := episodes(rng, 500)
	swapped := make([][]float64, len(z))
	for i, x := range z {
		swapped[i] = []float64{x[0], x[2], x[1]}
	}
	before := newRank(t, factors, z)
	after := newRank(t, []heron.Factor{factors[0], factors[2], factors[1]}, swapped)
	single := make([]*heron.Rank, 3)
	for i, f := range factors {
		column := make([][]float64, len(z))
		for j, x := range z {
			column[j] = x[i : i+1]
		}
		single[i] = newRank(t, []heron.Factor{f}, column)
	}
	flipped := 0
	for range 5000 {
		i, j := rng.IntN(len(z)), rng.IntN(len(z))
		v, _ := before.Compare(z[i], z[j])
		w, _ := after.Compare(swapped[i], swapped[j])
		success, _ := single[0].Compare(z[i][:1], z[j][:1])
		contacts, _ := single[1].Compare(z[i][1:2], z[j][1:2])
		time, _ := single[2].Compare(z[i][2:], z[j][2:])
		affected := success == preference.Unknown && contacts != preference.Unknown && time == contacts.Flip()
		if (v != w) != affected {
			t.Fatalf("%v against %v: %v, and %v with the factors swapped", z[i], z[j], v, w)
		}
		if affected {
			flipped++
			if w != v.Flip() {
				t.Fatalf("%v became %v", v, w)
			}
		}
	}
	if flipped < 100 {
		t.Errorf("only %d labels were affected", flipped)
	}
}

// items show their factors, and some that do not matter, in noisy frames.
func items(rng *rand.Rand, z [][]float64) []heron.Item {
	var out []heron.Item
	for _, x := range z {
		it := heron.Item{Factors: x, Clip: preference.Clip{D: 5}}
		for range 3 {
			for _, v := range [...]float64{x[0], x[1], x[2] / 3, rng.NormFloat64(), rng.NormFloat64()} {
				it.Clip.Embed = append(it.Clip.Embed, float32(v+0.02*rng.NormFloat64()))
			}
		}
		out = append(out, it)
	}
	return out
}

func held(t *testing.T, r *heron.Rank, net *preference.Net, its []heron.Item, rng *rand.Rand) float64 {
	t.Helper()
	pairs, _, _, err := r.Draw(its, 1000, rng)
	if err != nil {
		t.Fatal(err)
	}
	m, err := preference.Evaluate(net, pairs)
	if err != nil {
		t.Fatal(err)
	}
	return m.Accuracy
}

// Capability 18: a reward trained on the labels agrees with them on new episodes.
func TestRewardFollowsTheOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	z := episodes(rng, 300)
	r := newRank(t, factors, z)
	net, rep, err := heron.Fit(t.Context(), r, items(rng, z), heron.Config{
		Pairs: 1500, Model: preference.Config{Hidden: []int{32}, Members: 1, Rate: 5e-3, Batch: 32, Epochs: 40, Seed: 1}, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	got := held(t, r, net, items(rng, episodes(rng, 300)), rng)
	t.Logf("accuracy %.3f, pairs by level %v of %d drawn", got, rep.By, rep.Drawn)
	if got < 0.95 {
		t.Errorf("accuracy %v, want 0.95", got)
	}
	if sum := rep.By[0] + rep.By[1] + rep.By[2]; sum != rep.Train+rep.Held || rep.Drawn < sum {
		t.Errorf("%v pairs by level, %d and %d learned from", rep.By, rep.Train, rep.Held)
	}
}

// The authors' margin of a whole deviation on factors without steps: labels go in
// circles, and how far a reward can agree is bounded.
func TestMarginsOnSmoothFactorsGoInCircles(t *testing.T) {
	sample := [][]float64{{0, 0}, {1, 0}, {2, 0}, {0, 1}, {1, 1}, {2, 1}}
	r := newRank(t, []heron.Factor{{Name: "x", Margin: 1}, {Name: "y"}}, sample)
	a, b, c := []float64{0, 3}, []float64{0.6, 2}, []float64{1.2, 1} // each next is no more than a margin better in x, and worse in y
	ab, _ := r.Compare(a, b)
	bc, _ := r.Compare(b, c)
	ac, _ := r.Compare(a, c)
	if ab != preference.First || bc != preference.First || ac != preference.Second {
		t.Errorf("a against b %v, b against c %v, a against c %v", ab, bc, ac)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		factors []heron.Factor
		sample  [][]float64
		want    string
	}{
		{"none", nil, nil, "no factors"},
		{"unnamed", []heron.Factor{{}}, nil, `name ""`},
		{"twice", []heron.Factor{{Name: "x"}, {Name: "x"}}, nil, "used twice"},
		{"margin", []heron.Factor{{Name: "x", Margin: -1}}, nil, "margin -1"},
		{"sample", []heron.Factor{{Name: "x", Margin: 1}}, [][]float64{{1}}, "1 items"},
		{"width", []heron.Factor{{Name: "x", Margin: 1}}, [][]float64{{1}, {1, 2}}, "sample 1"},
		{"nan", []heron.Factor{{Name: "x", Margin: 1}}, [][]float64{{1}, {math.NaN()}}, "factor x is NaN"},
	} {
		if _, err := heron.New(tt.factors, tt.sample); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	r := newRank(t, []heron.Factor{{Name: "x", Margin: 1}}, [][]float64{{0}, {1}})
	if v, l := r.Compare([]float64{math.NaN()}, []float64{0}); v != preference.Unknown || l != heron.Undecided {
		t.Errorf("a factor that is not a number decided %v at %d", v, l)
	}
	rng := rand.New(rand.NewPCG(4, 4))
	same := items(rng, [][]float64{{0, 0, 0}, {0, 0, 0}})
	for i := range same {
		same[i].Factors = []float64{0.5}
	}
	for _, tt := range []struct {
		items []heron.Item
		want  string
	}{{nil, "at least two"}, {same, "lower the margins"}, {items(rng, episodes(rng, 2)), "item 0"}} {
		if _, _, err := heron.Fit(t.Context(), r, tt.items, heron.Config{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

// steps rewards frame t by the only number in it.
type steps struct{}

func (steps) Score(_ context.Context, dst []float64, traj []perception.Features) error {
	if len(traj) == 0 {
		return errors.New("empty")
	}
	for i := range dst {
		dst[i] = float64(traj[i+1].Embed[0])
	}
	return nil
}

func TestRunningKeepsTheScale(t *testing.T) {
	r := &heron.Running{Of: steps{}}
	rng := rand.New(rand.NewPCG(5, 5))
	var all []float64
	for range 30 {
		traj := make([]perception.Features, 21)
		for i := range traj {
			traj[i].Embed = []float32{float32(7 + 3*rng.NormFloat64())}
			if i > 0 {
				all = append(all, float64(traj[i].Embed[0]))
			}
		}
		got := make([]float64, 20)
		if err := r.Score(t.Context(), got, traj); err != nil {
			t.Fatal(err)
		}
		var sum, square float64
		for _, x := range all {
			sum += x
			square += x * x
		}
		n := float64(len(all))
		mean := sum / n
		dev := math.Sqrt(square/n - mean*mean)
		for i, x := range all[len(all)-20:] {
			if want := (x - mean) / dev; math.Abs(got[i]-want) > 1e-9 {
				t.Fatalf("reward %v, want %v", got[i], want)
			}
		}
	}
	flat := &heron.Running{Of: steps{}}
	got := make([]float64, 1)
	if err := flat.Score(t.Context(), got, []perception.Features{{}, {Embed: []float32{4}}}); err != nil || !slices.Equal(got, []float64{0}) {
		t.Errorf("a single reward became %v, %v", got, err)
	}
	if err := r.Score(t.Context(), nil, nil); err == nil {
		t.Error("an error of the scorer was lost")
	}
}
