package wire

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// sight is what a reward compares in place of the encoder's embedding: where the
// plan's tracked points are. The nil sight is the embedding itself.
type sight struct {
	Names []string  `json:"names"` // of the points, in the plan's order
	Mean  []float64 `json:"mean"`  // (3·points) over the demonstrations, base frame, m
	Gain  []float64 `json:"gain"`  // (3·points), 1/m
}

// Numbers of a sight, ours: what moves less than resolution is brought to less than 1,
// so that a thing at rest does not turn its noise into an embedding; and what lies
// farther than outlier standard deviations away counts as that far, as an encoder's does.
const (
	resolution = 0.01 // m
	outlier    = 3
)

// sightOf is what the reward of c sees, standardised over the trajectories.
func sightOf(c config.Config, trajs [][]perception.Features) (*sight, error) {
	if c.Reward.Sees == "features" {
		return nil, nil
	}
	plan, err := planOf(c)
	if err != nil {
		return nil, err
	}
	g := &sight{}
	for _, k := range plan.Points {
		if !k.Hand || c.Reward.Sees == "points" {
			g.Names = append(g.Names, k.Name)
		}
	}
	if len(g.Names) == 0 {
		return nil, fmt.Errorf("wire: reward.sees is %s, and the plan of %s has no such point; want features, or name points in reward.kagi.plan", c.Reward.Sees, c.Robot.Task)
	}
	columns := make([][]float64, 3*len(g.Names))
	for _, fs := range trajs {
		for _, f := range fs {
			for i, name := range g.Names {
				p, err := placed(f, name)
				if err != nil {
					return nil, err
				}
				for k, x := range p {
					columns[3*i+k] = append(columns[3*i+k], x)
				}
			}
		}
	}
	if len(columns[0]) < 2 {
		return nil, errors.New("wire: reward.sees: no demonstrations to standardise the points over")
	}
	for _, xs := range columns {
		mean, std := stat.MeanStdDev(xs, nil)
		g.Mean, g.Gain = append(g.Mean, mean), append(g.Gain, 1/max(std, resolution))
	}
	return g, nil
}

// sightOfDemos is sightOf of demonstrations.
func sightOfDemos(c config.Config, ds []demo) (*sight, error) {
	trajs := make([][]perception.Features, len(ds))
	for i, d := range ds {
		trajs[i] = d.episode.Trajectory()
	}
	return sightOf(c, trajs)
}

// errUnplaced says that features carry no such point.
var errUnplaced = errors.New("wire: reward.sees")

func placed(f perception.Features, name string) ([3]float64, error) {
	p, _, ok := perception.Place(f.Keys, name)
	if !ok {
		return p, fmt.Errorf("%w: the features of %v carry no point %s, which the reward compares; record episodes with the same reward.sees and reward.kagi.plan", errUnplaced, f.Stamp, name)
	}
	return p, nil
}

// see returns the features with places for embeddings.
func (g *sight) see(fs []perception.Features) ([]perception.Features, error) {
	if g == nil {
		return fs, nil
	}
	out := make([]perception.Features, len(fs))
	for t, f := range fs {
		f.Embed = make([]float32, 0, len(g.Mean))
		for i, name := range g.Names {
			p, err := placed(f, name)
			if err != nil {
				return nil, err
			}
			for k, x := range p {
				j := 3*i + k
				f.Embed = append(f.Embed, float32(math.Max(-outlier, math.Min(outlier, (x-g.Mean[j])*g.Gain[j]))))
			}
		}
		out[t] = f
	}
	return out, nil
}

// video is a clip as the reward compares it.
func (g *sight) video(name string, fs []perception.Features) (rapl.Video, error) {
	seen, err := g.see(fs)
	if err != nil {
		return rapl.Video{}, err
	}
	return rapl.VideoOf(name, seen)
}

// sight is what the session's reward sees.
func (s *Session) sight(ctx context.Context) (*sight, error) {
	if s.cfg.Reward.Sees == "features" {
		return nil, nil
	}
	t, err := s.newestTaste(ctx)
	if errors.Is(err, store.ErrNone) {
		return nil, fmt.Errorf("wire: %s has no reward yet, which knows what it sees; go on with it first: %s", s.Dir(), GoOn(s.Dir()))
	}
	return t.Sight, err
}

// judged is s of what is seen.
func (g *sight) judged(s reward.Scorer) reward.Scorer {
	if g == nil {
		return s
	}
	if _, ok := s.(explainer); ok {
		return sightedExplainer{sighted{s, g}}
	}
	return sighted{s, g}
}

// sighted is a reward of what its sight sees.
type sighted struct {
	reward.Scorer
	by *sight
}

// Score implements reward.Scorer.
func (s sighted) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	seen, err := s.by.see(traj)
	if err != nil {
		return err
	}
	return s.Scorer.Score(ctx, dst, seen)
}

func (s sighted) running() (running, error) {
	r, err := runningOf(s.Scorer)
	return sightedRun{r, s.by}, err
}

// sightedExplainer is a sighted reward that matches frames.
type sightedExplainer struct{ sighted }

// Explain implements explainer.
func (s sightedExplainer) Explain(ctx context.Context, traj []perception.Features) (rapl.Explanation, error) {
	seen, err := s.by.see(traj)
	if err != nil {
		return rapl.Explanation{}, err
	}
	return explain(ctx, s.Scorer, seen)
}

// sightedRun is running of a sighted reward.
type sightedRun struct {
	running
	by *sight
}

func (r sightedRun) Add(f perception.Features) error {
	seen, err := r.by.see([]perception.Features{f})
	if err != nil {
		return err
	}
	return r.running.Add(seen[0])
}
