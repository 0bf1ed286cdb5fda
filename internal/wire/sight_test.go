package wire

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// pushed is a trajectory in which a hand goes there and back, and red moves from x on.
func pushed(x float64, blue bool) []perception.Features {
	var fs []perception.Features
	for t := range 12 {
		u := float64(t) / 11
		f := perception.Features{Embed: []float32{1}}
		f.Keys = perception.AddPlace(f.Keys, "hand", [3]float64{u * (1 - u), 0, 0.1}, 1)
		f.Keys = perception.AddPlace(f.Keys, "red", [3]float64{x * u, 0.001 * u, 0}, 1)
		if blue {
			f.Keys = perception.AddPlace(f.Keys, "blue", [3]float64{0.3, x * u * u, 0}, 0)
		}
		fs = append(fs, f)
	}
	return fs
}

func TestARewardSeesTheTrackedPoints(t *testing.T) {
	c := config.Default() // of group: hand, red, blue
	embedded, err := sightOf(c, nil)
	if embedded != nil || err != nil {
		t.Fatalf("features: sight %v, error %v; want none", embedded, err)
	}
	trajs := [][]perception.Features{pushed(0.3, true), pushed(0.1, true)}
	for sees, want := range map[string][]string{"points": {"hand", "red", "blue"}, "objects": {"red", "blue"}} {
		c.Reward.Sees = sees
		g, err := sightOf(c, trajs)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(g.Names, want) {
			t.Errorf("%s: sees %v, want %v", sees, g.Names, want)
		}
		v, err := g.video("a", trajs[0])
		if err != nil {
			t.Fatal(err)
		}
		if v.D != 3*len(want) || v.Len() != 12 {
			t.Errorf("%s: video of %d frames of %d numbers, want 12 of %d", sees, v.Len(), v.D, 3*len(want))
		}
		// A millimetre is no step: it is not blown up to a standard deviation.
		y := 3*slices.Index(want, "red") + 1
		if a, b := v.Embed[y], v.Embed[11*v.D+y]; b-a < 0.05 || b-a > 0.2 {
			t.Errorf("%s: a millimetre counts %v, want 0.1", sees, b-a)
		}
	}

	// Where the arm is does not count in what objects are compared by; and scores alone,
	// as it goes and with the explanation are of one reward.
	c.Reward.Sees = "objects"
	g, err := sightOf(c, trajs)
	if err != nil {
		t.Fatal(err)
	}
	expert, err := g.video("expert", trajs[0][1:])
	if err != nil {
		t.Fatal(err)
	}
	s, err := taste{Kind: "rapl", Experts: []rapl.Video{expert}, Gamma: 10, Sight: g}.scorer()
	if err != nil {
		t.Fatal(err)
	}
	score := func(fs []perception.Features) []float64 {
		t.Helper()
		got := make([]float64, len(fs)-1)
		if err := s.Score(t.Context(), got, fs); err != nil {
			t.Fatal(err)
		}
		return got
	}
	still := pushed(0.3, true)
	for i := range still { // another arm
		still[i].Embed = []float32{float32(i), 3}
		still[i].Keys = slices.DeleteFunc(still[i].Keys, func(k perception.Keypoint) bool { return k.Name == "hand" })
	}
	want := score(trajs[0])
	if got := score(still); !slices.Equal(got, want) {
		t.Errorf("rewards of another arm's pushing are %v, want %v", got, want)
	}
	worse := score(trajs[1])
	if worse[10] >= want[10] {
		t.Errorf("a push of a third of the way is paid %v at its end, a whole one %v", worse[10], want[10])
	}
	e, err := explain(t.Context(), s, trajs[1])
	if err != nil || !slices.Equal(e.Rewards, worse) {
		t.Errorf("explained rewards %v, error %v; want %v", e.Rewards, err, worse)
	}
	run, err := runningOf(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range trajs[1] {
		if err := run.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	live := make([]float64, run.Len())
	run.Rewards(live)
	for i := range live { // plans are as near as their solver's tolerance
		if math.Abs(live[i]-worse[i]) > 1e-5 {
			t.Errorf("rewards as it goes %v, want %v", live, worse)
			break
		}
	}

	// What carries no point is refused, by its name.
	if err := s.Score(t.Context(), make([]float64, 11), pushed(0.3, false)); err == nil || !strings.Contains(err.Error(), "no point blue") {
		t.Errorf("error %v, want that there is no point blue", err)
	}
	if _, err := sightOf(c, [][]perception.Features{pushed(0.3, false)}); err == nil || !strings.Contains(err.Error(), "no point blue") {
		t.Errorf("error %v, want that there is no point blue", err)
	}
}
