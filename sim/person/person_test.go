package person

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rapport-rl/rapport/sim"
)

// ended is an episode that came nearer and ended at d.
func ended(d float64) []sim.Truth {
	return []sim.Truth{{Distance: d + 0.3}, {Distance: d}}
}

func TestRateFollowsTheFinalDistance(t *testing.T) {
	for _, tt := range []struct {
		d    float64
		want Grade
	}{
		{0, Positive}, {0.05, Positive}, {0.0501, Neutral}, {0.08, Neutral},
		{0.0801, Unsure}, {0.15, Unsure}, {0.1501, Negative}, {2, Negative},
	} {
		if got := Rate(ended(tt.d)); got != tt.want {
			t.Errorf("an end at %g m is %v, want %v", tt.d, got, tt.want)
		}
	}
	if got := Rate(nil); got != Negative {
		t.Errorf("an empty episode is %v, want %v", got, Negative)
	}
}

func TestPrefersTheNearerEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b float64
		want int
	}{
		{"good over bad", 0, 0.4, 1},
		{"bad under good", 0.4, 0, -1},
		{"both good and alike", 0.010, 0.012, 0},
		{"both bad and alike", 0.400, 0.402, 0},
		{"both good, one clearly better", 0.00, 0.04, 1},
		{"both bad, one clearly better", 0.20, 0.50, 1},
		{"alike in the middle", 0.101, 0.100, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := New(rand.NewPCG(1, 1), 0)
			if got := p.Prefers(ended(tt.a), ended(tt.b)); got != tt.want {
				t.Errorf("Prefers(%g, %g) = %d, want %d", tt.a, tt.b, got, tt.want)
			}
		})
	}
}

func TestNoiseIsBradleyTerry(t *testing.T) {
	const n, beta = 20000, 50.0
	a, b := ended(0.20), ended(0.22)
	p := New(rand.NewPCG(3, 1), beta)
	wins := 0
	for range n {
		if p.Prefers(a, b) > 0 {
			wins++
		}
	}
	got, want := float64(wins)/n, 1/(1+math.Exp(-beta*0.02))
	// Four standard deviations of a binomial share.
	if math.Abs(got-want) > 4*math.Sqrt(want*(1-want)/n) {
		t.Errorf("a wins %.4f of the time, want %.4f", got, want)
	}
}

func TestComparisonsAreAntisymmetricWithoutNoise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := ended(rapid.Float64Range(0, 0.5).Draw(t, "a"))
		b := ended(rapid.Float64Range(0, 0.5).Draw(t, "b"))
		p := New(rand.NewPCG(1, 1), 0)
		if end(a) != end(b) && p.Prefers(a, b) != -p.Prefers(b, a) {
			t.Fatalf("Prefers(%g, %g) is not the opposite of Prefers(%g, %g)", end(a), end(b), end(b), end(a))
		}
	})
}

func TestPickTakesTheBestOfTheGood(t *testing.T) {
	es := [][]sim.Truth{ended(0.3), ended(0.04), ended(0.01), ended(0.06), ended(0.02)}
	p := New(rand.NewPCG(1, 1), 0)
	if got, want := p.Pick(es, 2), []int{2, 4}; !slices.Equal(got, want) {
		t.Errorf("Pick(2) = %v, want %v", got, want)
	}
	if got, want := p.Pick(es, 9), []int{2, 4, 1}; !slices.Equal(got, want) {
		t.Errorf("Pick(9) = %v, want %v", got, want)
	}
}

func TestTripletsOrderWhatDiffers(t *testing.T) {
	var es [][]sim.Truth
	for i := range 10 {
		es = append(es, ended(0.05*float64(i)))
	}
	ts := New(rand.NewPCG(5, 1), 0).Triplets(es, 100)
	if len(ts) != 100 {
		t.Fatalf("%d triplets, want 100", len(ts))
	}
	for _, x := range ts {
		if Rate(es[x.Anchor]) != Positive {
			t.Errorf("the anchor of %v is %v", x, Rate(es[x.Anchor]))
		}
		if end(es[x.Better]) >= end(es[x.Worse]) {
			t.Errorf("%v: the better ends at %g, the worse at %g", x, end(es[x.Better]), end(es[x.Worse]))
		}
	}
	if got, want := New(rand.NewPCG(5, 1), 0).Triplets(es, 100), ts; !slices.Equal(got, want) {
		t.Error("the same seed gives other triplets")
	}
	if got := New(rand.NewPCG(5, 1), 0).Triplets([][]sim.Truth{ended(1), ended(2), ended(3)}, 5); got != nil {
		t.Errorf("%v from episodes that nobody likes, want none", got)
	}
}
