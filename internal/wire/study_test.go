package wire

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

// exactly pays minus what is in the embedding.
type exactly struct{ sign float64 }

func (e exactly) Score(_ context.Context, dst []float64, traj []perception.Features) error {
	for t := range dst {
		dst[t] = e.sign * -float64(traj[t+1].Embed[0])
	}
	return nil
}

func TestRewardsAreJudgedByTheTrueDistance(t *testing.T) {
	roll := func(ends float64, moves bool) (d demo) {
		const T = 24
		for i := range T + 1 {
			x := ends
			if moves {
				x += 0.5 * float64(T-i) / T
			} else {
				x += 1e-6 * float64(i%3) // a box that jitters
			}
			d.truth = append(d.truth, sim.Truth{Distance: x})
			d.episode.Inputs = append(d.episode.Inputs, policy.Input{Features: perception.Features{Embed: []float32{float32(x)}}})
		}
		d.episode.ID, d.episode.Applied = "r", make([]robot.Command, T)
		return d
	}
	ds := []demo{roll(0.02, true), roll(0.3, true), roll(0.4, true), roll(0.9, false)}
	for _, sign := range []float64{1, -1} {
		p, err := judgeReward(t.Context(), exactly{sign}, ds)
		if err != nil {
			t.Fatal(err)
		}
		if p.Of != 3 || p.Negatives != 2 {
			t.Errorf("%d rollouts and %d disliked ones, want 3 and 2: the one that stands tells nothing", p.Of, p.Negatives)
		}
		if math.Abs(p.All-sign) > 1e-12 || math.Abs(p.Negative-sign) > 1e-12 || p.Accuracy != (sign+1)/2 {
			t.Errorf("sign %v: all %v, disliked %v, accuracy %v", sign, p.All, p.Negative, p.Accuracy)
		}
	}
}

func TestStudyIsDeterministicAndSeesEveryKind(t *testing.T) {
	c := tiny(t)
	c.Robot.Task, c.Robot.Horizon = "group", 45
	c.Robot.Cameras[0].Width, c.Robot.Cameras[0].Height = 32, 32
	st := Study{Kinds: []string{"features", "goal", "rapl", "truth"}, Labels: []int{6, 8}, Looks: []string{"orange", "panda"}, Pile: 12, Held: 6}
	var was []Point
	for i := range 2 {
		ps, err := Compare(t.Context(), c, st, quietly().Tell)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 && !cmp.Equal(ps, was) {
			t.Errorf("again it became\n%+v, was\n%+v", ps, was)
		}
		was = ps
	}
	if len(was) != 10 || was[4].Labels != 6 || was[6].Labels != 8 || was[0].Labels != 0 || was[0].Look != "orange" || was[1].Look != "panda" {
		t.Errorf("points %+v", was)
	}
	truth := was[8]
	if truth.Of == 0 || truth.All < 0.5 {
		t.Errorf("the simulator's reward goes with its distance by %+v", truth)
	}
}

func TestStudyErrors(t *testing.T) {
	for _, c := range []struct {
		st   Study
		want string
	}{
		{Study{Kinds: []string{"taste"}, Labels: []int{9}}, `no reward of kind "taste"`},
		{Study{Kinds: []string{"rapl", "kagi"}, Labels: []int{9}}, `no reward of kind "kagi"`}, // there are no waypoints
		{Study{Labels: []int{9}}, "no kinds"},
		{Study{Kinds: []string{"rapl"}}, "no numbers of labels"},
		{Study{Kinds: []string{"rapl"}, Labels: []int{3}}, "too few"},
	} {
		if _, err := Compare(t.Context(), tiny(t), c.st, quietly().Tell); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	ctx, end := context.WithCancel(t.Context())
	end()
	if _, err := Compare(ctx, tiny(t), Study{Kinds: []string{"goal"}, Labels: []int{9}}, quietly().Tell); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was cancelled", err)
	}
}
