package wire

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
)

// BenchmarkQueryOfReach asks how many answers the reward of Reach needs, where
// questions are chosen at random or by information: Spearman's rank correlation of the
// return with the fingers' last distance from the ball, over 60 fresh episodes and
// the mean of 3 seeds, of a person who errs in 27 of 100 answers over 2 cm:
// go test -run '^$' -bench QueryOfReach -benchtime 1x ./internal/wire
func BenchmarkQueryOfReach(b *testing.B) {
	const seeds = 3
	for b.Loop() {
		told := map[string]float64{}
		for seed := range uint64(seeds) {
			c := config.Default()
			c.Robot.Task, c.Out, c.Session.Record, c.Seed = "reach", b.TempDir(), false, seed+1
			c.People.Noise = 0.02
			if err := queryOfReach(b, c, told); err != nil {
				b.Fatal(err)
			}
		}
		for name, sum := range told {
			b.ReportMetric(sum/seeds, name)
		}
	}
}

// queryOfReach adds the correlations of one seed to sums.
func queryOfReach(b *testing.B, c config.Config, sums map[string]float64) error {
	ctx := b.Context()
	o := Options{Tell: func(string, int, int, string) {}, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Time{} }}
	demos, err := collect(ctx, c, o.Tell)
	if err != nil {
		return err
	}
	var eyes eyes
	var fresh []watched
	for _, kind := range []string{"random", "information"} {
		for _, n := range []int{10, 20, 40, 80} {
			c.Name = fmt.Sprintf("%s-%d", kind, n)
			c.Reward.Query, c.Reward.Triplets = kind, n
			s, err := Create(ctx, c, o)
			if err != nil {
				return err
			}
			if eyes == nil {
				if eyes, err = s.openEyes(ctx, demos); err == nil {
					err = look(ctx, eyes, demos, o.Tell)
				}
				if err == nil {
					fresh, err = besideTheBall(ctx, c, eyes, 60)
				}
				if err != nil {
					return err
				}
			}
			t, err := s.ask(ctx, demos)
			if err != nil {
				return err
			}
			rho, err := followed(ctx, t, fresh)
			if err != nil {
				return err
			}
			b.Logf("seed %d, %s: %.3f", c.Seed, c.Name, rho)
			sums[c.Name] += rho
			if err := s.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// followed is how far the return follows minus the last distance.
func followed(ctx context.Context, t taste, fresh []watched) (float64, error) {
	scorer, err := t.scorer()
	if err != nil {
		return 0, err
	}
	var returns, near []float64
	for _, e := range fresh {
		r := make([]float64, len(e.seen)-1)
		if err := scorer.Score(ctx, r, e.seen); err != nil {
			return 0, err
		}
		sum := 0.0
		for _, x := range r {
			sum += x
		}
		returns, near = append(returns, sum), append(near, -e.dist[len(e.dist)-1])
	}
	return spearman(returns, near), nil
}
