package perceptual

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/rapl"
)

var _ reward.Scorer = (*Scorer)(nil)

const (
	width   = 256
	telling = 20
)

// demos have three phases, in each of which 20 of 256 features (0 to 19) have a mean
// of their own; the others are noise. bounds are the first frames of phases 2 and 3.
func demos(rng *rand.Rand, n int) (videos []rapl.Video, bounds [][]int) {
	means := make([][telling]float64, 3)
	for p := range means {
		for i := range means[p] {
			means[p][i] = 2 * rng.NormFloat64()
		}
	}
	for range n {
		v := rapl.Video{Name: "demo", D: width}
		var b []int
		for p := range 3 {
			if p > 0 {
				b = append(b, v.Len())
			}
			for range 15 + rng.IntN(15) {
				for i := range width {
					x := rng.NormFloat64()
					if i < telling {
						x = means[p][i] + 0.5*x
					}
					v.Embed = append(v.Embed, float32(x))
				}
			}
		}
		videos, bounds = append(videos, v), append(bounds, b)
	}
	return videos, bounds
}

// The acceptance of capability card 5: boundaries within 2 frames, and 18 of the 20
// telling features among the 32 of each step.
func TestStepsAndFeaturesAreFound(t *testing.T) {
	videos, bounds := demos(rand.New(rand.NewPCG(1, 2)), 5)
	m, err := Learn(videos, Config{})
	if err != nil {
		t.Fatal(err)
	}
	worst := 0
	for k, b := range bounds {
		for i := range b {
			e := m.Cuts[k][i] - b[i]
			worst = max(worst, e, -e)
		}
	}
	found := masked(m)
	t.Logf("boundaries within %d frames, of the %d features %d by step", worst, telling, found)
	if worst > 2 || slices.Min(found) < 18 {
		t.Errorf("boundaries within %d frames, %d of %d telling features by step; want 2 and 18 of each step", worst, found, telling)
	}
	// The paper's own measure loses its way where most features are noise.
	lost := 0
	for k, v := range videos {
		cuts, err := Split(v.Embed, width, Config{Spread: Deviation})
		if err != nil {
			t.Fatal(err)
		}
		for i := range cuts {
			lost = max(lost, cuts[i]-bounds[k][i], bounds[k][i]-cuts[i])
		}
	}
	if t.Logf("by the mean deviation within %d", lost); lost < 5 {
		t.Errorf("the mean deviation is within %d frames: the deviation from the paper is not needed", lost)
	}
}

// masked is how many of the telling features are kept of each step.
func masked(m Model) []int {
	found := make([]int, len(m.Steps))
	for g, s := range m.Steps {
		for _, i := range s.Index {
			if i < telling {
				found[g]++
			}
		}
	}
	return found
}

// Of other demonstrations: 18 of 20 in the mean of the steps, and 18 of one step at least. A feature
// whose means in two phases are about the same tells neither from the other.
func TestMasksHoldTheTellingFeatures(t *testing.T) {
	sum, least := 0, telling
	const seeds = 20
	for seed := range uint64(seeds) {
		videos, _ := demos(rand.New(rand.NewPCG(100+seed, 2)), 5)
		m, err := Learn(videos, Config{})
		if err != nil {
			t.Fatal(err)
		}
		found := masked(m)
		for _, n := range found {
			sum, least = sum+n, min(least, n)
		}
		if slices.Max(found) < 18 {
			t.Errorf("demonstrations %d: %d of %d telling features by step, want 18 of one", seed, found, telling)
		}
	}
	mean := float64(sum) / (3 * seeds)
	t.Logf("%.2f of %d features in the mean of %d masks, %d at least", mean, telling, 3*seeds, least)
	if mean < 18 {
		t.Errorf("a step's mask has %.2f of %d telling features in the mean, want 18", mean, telling)
	}
}

// On an unseen demonstration the reward rises from phase to phase.
func TestRewardRisesWithTheSteps(t *testing.T) {
	videos, bounds := demos(rand.New(rand.NewPCG(3, 4)), 6)
	m, err := Learn(videos[:5], Config{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back Model
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	s, err := New(back)
	if err != nil {
		t.Fatal(err)
	}
	v, cut := videos[5], bounds[5]
	var traj []perception.Features
	for i := range v.Len() {
		traj = append(traj, perception.Features{Embed: v.Embed[i*width : (i+1)*width]})
	}
	got := make([]float64, v.Len()-1)
	if err := s.Score(t.Context(), got, traj); err != nil {
		t.Fatal(err)
	}
	mean := func(x []float64) float64 {
		sum := 0.0
		for _, v := range x {
			sum += v
		}
		return sum / float64(len(x))
	}
	first, second, third := mean(got[:cut[0]-1]), mean(got[cut[0]:cut[1]-1]), mean(got[cut[1]:])
	if !(third > second && third > first) {
		t.Errorf("rewards %v, %v, %v of the phases, want the last the highest", first, second, third)
	}
	for g, r := range [][2]int{{0, cut[0]}, {cut[0], cut[1]}, {cut[1], v.Len()}} {
		for f := r[0]; f < r[1]; f++ {
			x := traj[f].Embed
			for h := range 3 {
				if h != g && s.Step(h, x) >= s.Step(g, x) {
					t.Fatalf("frame %d of step %d is rewarded more by step %d", f, g, h)
				}
			}
		}
	}
}

// The split is the least of all, by trying all.
func TestSplitIsTheBestOfAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, spread := range []Spread{Within, Deviation} {
		const T, d = 14, 3
		x := make([]float32, T*d)
		for i := range x {
			x[i] = float32(rng.NormFloat64() + float64(i/(5*d)))
		}
		c := Config{Steps: 3, Shortest: 2, Spread: spread}
		got, err := Split(x, d, c)
		if err != nil {
			t.Fatal(err)
		}
		part := func(s, e int) float64 {
			total := 0.0
			for i := range d {
				m, ss := 0.0, 0.0
				for t := s; t < e; t++ {
					m += float64(x[t*d+i]) / float64(e-s)
				}
				for t := s; t < e; t++ {
					ss += (float64(x[t*d+i]) - m) * (float64(x[t*d+i]) - m)
				}
				if spread == Deviation {
					total += math.Sqrt(ss/float64(e-s)) / d
				} else {
					total += float64(e-s) / float64(e-s-1) * ss
				}
			}
			return total
		}
		best, want := math.Inf(1), []int(nil)
		for a := 2; a <= T-4; a++ {
			for b := a + 2; b <= T-2; b++ {
				if v := part(0, a) + part(a, b) + part(b, T); v < best {
					best, want = v, []int{a, b}
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("spread %d: cuts %v, want %v", spread, got, want)
		}
	}
}

func TestRewardByHand(t *testing.T) {
	m := Model{Mean: []float64{1, 0, 9}, Factor: []float64{2, 1, 1}, Steps: []Step{
		{Index: []int{2}, Mean: []float64{0}, Std: []float64{1}},
		{Index: []int{0, 1}, Mean: []float64{2, 1}, Std: []float64{0.5, 2}},
		{Index: []int{1}, Mean: []float64{3}, Std: []float64{1}},
	}}
	s, err := New(m)
	if err != nil {
		t.Fatal(err)
	}
	x := []float32{1.5, 5, 0} // standardised 1, 5, -9
	// Step 1: ((1−2)/0.5)² = 4 and ((5−1)/2)² = 4; step 2: 4. Weights 2 and 4 of 6.
	if a, b := s.Step(1, x), s.Step(2, x); a != -4 || b != -4 {
		t.Errorf("rewards %v and %v, want -4", a, b)
	}
	x[1] = 1
	if got, want := s.At(x), (2*-2.0+4*-4.0)/6; math.Abs(got-want) > 1e-12 {
		t.Errorf("reward %v, want %v", got, want)
	}
	if n := testing.AllocsPerRun(100, func() { s.At(x) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func TestErrors(t *testing.T) {
	nan := float32(math.NaN())
	x := make([]float32, 20)
	for _, c := range []struct {
		x    []float32
		d    int
		c    Config
		want string
	}{
		{x, 1, Config{Steps: 1}, "1 steps"},
		{x, 1, Config{Alpha: -1}, "alpha -1"},
		{x, 1, Config{Steps: 9}, "20 frames has no 9 steps"},
		{x, 3, Config{}, "at least one whole frame"},
		{[]float32{nan}, 1, Config{}, "is NaN"},
	} {
		if _, err := Split(c.x, c.d, c.c); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	for _, c := range []struct {
		v    []rapl.Video
		c    Config
		want string
	}{
		{nil, Config{}, "no demonstrations"},
		{[]rapl.Video{{Name: "a", D: 1, Embed: x}, {Name: "b", D: 2, Embed: x}}, Config{}, "another encoder"},
		{[]rapl.Video{{Name: "a", D: 10, Embed: x}}, Config{}, "video a"},
		{[]rapl.Video{{Name: "a", D: 1, Embed: x}}, Config{Features: -1}, "-1 features"},
	} {
		if _, err := Learn(c.v, c.c); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	ok := Step{Index: []int{0}, Mean: []float64{0}, Std: []float64{1}}
	for i, m := range []Model{
		{}, {Mean: []float64{0}, Factor: []float64{1}, Steps: []Step{ok}},
		{Mean: []float64{0}, Factor: []float64{math.NaN()}, Steps: []Step{ok, ok}},
		{Mean: []float64{0}, Factor: []float64{1}, Steps: []Step{ok, {}}},
		{Mean: []float64{0}, Factor: []float64{1}, Steps: []Step{ok, {Index: []int{1}, Mean: []float64{0}, Std: []float64{1}}}},
		{Mean: []float64{0}, Factor: []float64{1}, Steps: []Step{ok, {Index: []int{0}, Mean: []float64{0}, Std: []float64{0}}}},
	} {
		if _, err := New(m); err == nil {
			t.Errorf("bad model %d made a scorer", i)
		}
	}
	s, err := New(Model{Mean: []float64{0}, Factor: []float64{1}, Steps: []Step{ok, ok}})
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	one := perception.Features{Embed: []float32{1}}
	for _, c := range []struct {
		ctx  context.Context
		n    int
		f    []perception.Features
		want string
	}{
		{ended, 1, []perception.Features{one, one}, "canceled"},
		{t.Context(), 1, []perception.Features{one}, "1 features for 1"},
		{t.Context(), 1, []perception.Features{one, {}}, "of 0 numbers, want 1"},
		{t.Context(), 1, []perception.Features{one, {Embed: []float32{nan}}}, "is NaN"},
	} {
		if err := s.Score(c.ctx, make([]float64, c.n), c.f); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
