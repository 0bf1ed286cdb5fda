package wire

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/reward/rank"
	"github.com/rapport-rl/rapport/robot"
)

var colours = flag.Int("colours", 0, "encoder.colours of BenchmarkRewardOfReach")

// BenchmarkRewardOfReach asks how far the reward of Reach follows the fingers'
// distance from the ball, over 60 fresh episodes that end 0 to 24 cm beside it, as
// Spearman's rank correlation: go test -run '^$' -bench RewardOfReach -benchtime 1x ./internal/wire
//
// The probe is what the best linear head could make of the embedding: the vector from
// fingers to ball, fitted to the truth of the demonstrations.
func BenchmarkRewardOfReach(b *testing.B) {
	c := config.Default()
	c.Robot.Task, c.Out, c.Name, c.Session.Record = "reach", b.TempDir(), "reach", false
	c.Encoder.Colours = *colours
	for b.Loop() {
		if err := rewardOfReach(b, c); err != nil {
			b.Fatal(err)
		}
	}
}

// watched is an episode as the reward and as the truth have it.
type watched struct {
	seen []perception.Features // (T+1)
	dist []float64             // (T+1) fingers to ball, m
}

func rewardOfReach(b *testing.B, c config.Config) error {
	ctx := b.Context()
	s, err := Create(ctx, c, Options{Tell: func(string, int, int, string) {}, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Time{} }})
	if err != nil {
		return err
	}
	defer s.Close()
	demos, err := collect(ctx, c, s.tell)
	if err != nil {
		return err
	}
	eyes, err := s.openEyes(ctx, demos)
	if err != nil {
		return err
	}
	if err := look(ctx, eyes, demos, s.tell); err != nil {
		return err
	}
	fresh, err := besideTheBall(ctx, c, eyes, 60)
	if err != nil {
		return err
	}
	D := eyes.Dim()
	b.ReportMetric(linearly(demos, fresh), "probe")
	for _, v := range []struct {
		name             string
		lo, hi, triplets int
	}{{"return", 0, D, c.Reward.Triplets}, {"unaligned", 0, D, 0}, {"front", 0, D / 2, c.Reward.Triplets}, {"wrist", D / 2, D, c.Reward.Triplets}, {"return-of-400", 0, D, 400}} {
		cut := func(fs []perception.Features) []perception.Features {
			fs = slices.Clone(fs)
			for i := range fs {
				fs[i].Embed = fs[i].Embed[v.lo:v.hi]
			}
			return fs
		}
		parts := slices.Clone(demos)
		for i := range parts {
			ins := slices.Clone(parts[i].episode.Inputs)
			for t, f := range cut(parts[i].episode.Trajectory()) {
				ins[t].Features = f
			}
			parts[i].episode.Inputs = ins
		}
		s.cfg.Reward.Triplets = v.triplets
		t, err := s.ask(ctx, parts)
		if err != nil {
			return err
		}
		scorer, err := t.scorer()
		if err != nil {
			return err
		}
		var returns, near []float64
		for _, e := range fresh {
			r := make([]float64, len(e.seen)-1)
			if err := scorer.Score(ctx, r, cut(e.seen)); err != nil {
				return err
			}
			sum := 0.0
			for _, x := range r {
				sum += x
			}
			returns, near = append(returns, sum), append(near, -e.dist[len(e.dist)-1])
		}
		b.ReportMetric(rank.Spearman(returns, near), v.name)
	}
	return nil
}

// besideTheBall plays episodes that go to a place beside the ball.
func besideTheBall(ctx context.Context, c config.Config, eyes eyes, n int) ([]watched, error) {
	a, err := newArm(c, evaluation)
	if err != nil {
		return nil, err
	}
	defer a.close()
	rng := rand.New(rand.NewPCG(3, 4))
	var es []watched
	for i := range n {
		a.next = i
		off, turn := 0.24*float64(i%9)/8, 2*math.Pi*rng.Float64()
		who := &besideBall{arm: a, off: [2]float64{off * math.Cos(turn), off * math.Sin(turn)}}
		var e watched
		var frames [][]robot.Frame
		actor := &loop.Actor{Backend: a.guard, Extractor: blind{}, Policy: who, Horizon: c.Robot.Horizon,
			Watch: func(_ context.Context, _ int, obs robot.Observation, _ policy.Input) error {
				frames, e.dist = append(frames, obs.Frames), append(e.dist, a.world.Truth().Distance)
				return nil
			}}
		if _, err := actor.Episode(ctx, fmt.Sprint(i), uint64(i)); err != nil {
			return nil, err
		}
		if e.seen, err = encoder.Batch(ctx, eyes, frames, 1); err != nil {
			return nil, err
		}
		es = append(es, e)
	}
	return es, nil
}

// besideBall goes to a place off the ball at the arm's pace.
type besideBall struct {
	arm *arm
	off [2]float64
}

func (h *besideBall) Act(_ context.Context, in policy.Input) (c robot.Command, _ error) {
	ball := h.arm.world.Truth().Bodies[0].Pose.P
	var d [2]float64
	for i := range d {
		d[i] = ball[i] + h.off[i] - in.State.EE.P[i]
	}
	pace := 0.0125 / max(0.0125, math.Hypot(d[0], d[1]))
	c.Delta[0], c.Delta[1] = d[0]*pace, d[1]*pace
	return c, nil
}

func (h *besideBall) Load(policy.Params) error { return nil }

// linearly fits the vector from fingers to ball to the embeddings of the demonstrations,
// by ridge regression, and correlates its length with the truth of all ticks of fresh
// episodes.
func linearly(demos []demo, fresh []watched) float64 {
	row := func(f perception.Features) []float64 {
		x := make([]float64, 0, len(f.Embed)+1)
		for _, v := range f.Embed {
			x = append(x, float64(v))
		}
		return append(x, 1)
	}
	n := len(demos[0].episode.Inputs[0].Features.Embed) + 1
	m := make([][]float64, n) // normal equations, with both right sides behind
	for i := range m {
		m[i] = make([]float64, n+2)
		m[i][i] = 5
	}
	for _, d := range demos {
		for t, in := range d.episode.Inputs {
			x, ball := row(in.Features), d.truth[t].Bodies[0].Pose.P
			for i, u := range x {
				for j, v := range x {
					m[i][j] += u * v
				}
				for j := range 2 {
					m[i][n+j] += u * (ball[j] - in.State.EE.P[j])
				}
			}
		}
	}
	for i := range m { // Gauss and Jordan; ridges need no pivots
		for j := n + 1; j >= i; j-- {
			m[i][j] /= m[i][i]
		}
		for k := range m {
			if f := m[k][i]; k != i {
				for j := i; j < n+2; j++ {
					m[k][j] -= f * m[i][j]
				}
			}
		}
	}
	var told, truth []float64
	for _, e := range fresh {
		for t, f := range e.seen {
			var to [2]float64
			for i, v := range row(f) {
				to[0], to[1] = to[0]+v*m[i][n], to[1]+v*m[i][n+1]
			}
			told, truth = append(told, math.Hypot(to[0], to[1])), append(truth, e.dist[t])
		}
	}
	return rank.Spearman(told, truth)
}
