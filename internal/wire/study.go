package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/rank"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/person"
)

// Study compares kinds of rewards by how well they rank the frames of rollouts
// that nobody labelled, as RAPL's table 1 does (arXiv:2412.04835).
type Study struct {
	Kinds  []string // values of reward.kind
	Labels []int    // comparisons answered, for the kinds that learn from them
	Looks  []string // robot.look of the rollouts judged on, each a set of its own; nil: the configured one
	Pile   int      // rollouts that are labelled; 0: 120
	Held   int      // rollouts judged on; 0: 100
}

// Point is what one kind of reward got.
type Point struct {
	Kind   string
	Look   string // of the rollouts judged on
	Labels int    // 0 for a kind that asks for none
	// Negative is the mean over the held-out rollouts that the person dislikes of
	// Spearman's correlation between reward and minus the true distance, and All
	// that over all of them; of how many each.
	Negative, All float64
	Negatives, Of int
	Spread        float64 // standard deviation of the rewards of all frames
	Accuracy      float64 // share of the held-out pairs that the rewards' sums order as the person does
}

// Every is how many ticks apart the frames are that are correlated, as in the
// authors' code.
const Every = 4

// Kept is how finely distances are told apart, m: boxes that stand still jitter by
// less, and ranks would make a motion of that.
const kept = 1e-4

// Compare makes rollouts, asks the simulated person about one part of them, and
// judges each kind of reward on the other. All kinds see the same features and
// answers. It depends on c, above all its seed, and st alone.
func Compare(ctx context.Context, c config.Config, st Study, tell Progress) ([]Point, error) {
	if err := st.validate(); err != nil {
		return nil, err
	}
	if st.Pile == 0 {
		st.Pile = 120
	}
	if st.Held == 0 {
		st.Held = 100
	}
	// The encoder sees what that of a session sees: the demonstrations.
	s := &study{c: c, tell: tell}
	pile, err := s.pile(ctx, st)
	if err != nil {
		return nil, err
	}
	if len(st.Looks) == 0 {
		st.Looks = []string{c.Robot.Look}
	}
	judged := make([][]demo, len(st.Looks))
	for i, l := range st.Looks {
		s.crew.cfg.Robot.Look, s.crew.of = l, evaluation
		judged[i], err = s.crew.collect(ctx, st.Held, func(n int) { tell("held-out rollouts of "+l, n, st.Held, "") })
		if err != nil {
			return nil, err
		}
	}
	return s.points(ctx, st, pile, judged)
}

// Studied are the values of reward.kind that Compare and Curves learn: those that need nothing
// but videos, and comparisons of them.
func Studied() []string {
	return slices.DeleteFunc(config.RewardKinds(), func(kind string) bool { return kind == "heron" || kind == "kagi" })
}

func (st Study) validate() error {
	for _, k := range st.Kinds {
		if !slices.Contains(Studied(), k) {
			return fmt.Errorf("wire: no reward of kind %q is learned here; want some of %v", k, Studied())
		}
	}
	if len(st.Kinds) == 0 {
		return errors.New("wire: no kinds of rewards to compare")
	}
	for _, n := range st.Labels {
		if n < 4 {
			return fmt.Errorf("wire: %d labels are too few to learn from some and be judged on others; want 4 at least", n)
		}
	}
	if len(st.Labels) == 0 {
		return errors.New("wire: no numbers of labels to compare at, as 150")
	}
	return nil
}

type study struct {
	c    config.Config
	crew crew
	tell Progress
}

// pile makes the rollouts that are labelled: the demonstrations, which encoder and
// clones learn from, and others by hands and clones.
func (s *study) pile(ctx context.Context, st Study) ([]demo, error) {
	demos, err := collect(ctx, s.c, s.tell)
	if err != nil {
		return nil, err
	}
	x, _, err := trainEyes(ctx, s.c, demos, s.tell)
	if err != nil {
		return nil, err
	}
	if err := look(ctx, x, demos, s.tell); err != nil {
		return nil, err
	}
	s.crew = crew{cfg: s.c, of: online, eyes: x, view: viewConfig(s.c, x.Dim())}
	if s.crew.clone, err = clones(ctx, s.c, s.crew.view, demos, 50, 200, 1000); err != nil {
		return nil, err
	}
	for i := range demos {
		demos[i].frames = nil
	}
	n := max(0, st.Pile-len(demos))
	more, err := s.crew.collect(ctx, n, func(k int) { s.tell("rollouts", k, n, "") })
	return append(demos, more...), err
}

// points learns each kind of reward from the pile and judges it on each set.
func (s *study) points(ctx context.Context, st Study, pile []demo, judged [][]demo) ([]Point, error) {
	see, err := sightOfDemos(s.c, pile)
	if err != nil {
		return nil, err
	}
	truths, videos, err := sightings(see, pile)
	if err != nil {
		return nil, err
	}
	who := person.New(rand.NewPCG(draw(s.c.Seed, people, -1), 0), 0)
	var experts []rapl.Video
	for _, i := range who.Pick(truths, s.c.Reward.Experts) {
		experts = append(experts, videos[i])
	}
	if len(experts) == 0 {
		return nil, errors.New("wire: the person likes none of the rollouts; raise demos.good")
	}
	liked, rest := parted(who, truths, videos)
	var triplets []rapl.Triplet
	most := slices.Max(st.Labels)
	for _, a := range who.Triplets(truths, most) {
		triplets = append(triplets, rapl.Triplet{Anchor: videos[a.Anchor], Better: videos[a.Better], Worse: videos[a.Worse]})
	}
	if len(triplets) < most {
		return nil, fmt.Errorf("wire: the person could answer %d of %d comparisons; take more rollouts", len(triplets), most)
	}
	var out []Point
	for _, kind := range st.Kinds {
		labels := []int{0}
		if config.Comparing(kind) {
			labels = st.Labels
		}
		for _, n := range labels {
			s.tell("reward "+kind, n, most, "")
			c := s.c.Reward
			c.Kind = kind
			t := taste{Version: tasteVersion, Kind: kind, Experts: experts, Gamma: c.Gamma, Sight: see}
			if err := t.Cost.UnmarshalText([]byte(c.Cost)); err != nil {
				return nil, err
			}
			if config.Comparing(kind) {
				if _, err := t.compare(ctx, c, s.c.Seed, triplets[:n]); err != nil {
					return nil, fmt.Errorf("wire: %s from %d labels: %w", kind, n, err)
				}
			}
			if err := worded(c, len(s.c.Robot.Cameras), experts[0].D); err != nil {
				return nil, err
			}
			if err := t.learn(ctx, c, draw(s.c.Seed, networks, 3), liked, rest); err != nil {
				return nil, fmt.Errorf("wire: %s: %w", kind, err)
			}
			r, err := t.scorer()
			if err != nil {
				return nil, err
			}
			for i, ds := range judged {
				p, err := judgeReward(ctx, r, ds)
				if err != nil {
					return nil, fmt.Errorf("wire: %s from %d labels: %w", kind, n, err)
				}
				p.Kind, p.Look, p.Labels = kind, st.Looks[i], n
				out = append(out, p)
			}
		}
	}
	return out, nil
}

// sightings are what people judge rollouts by, and what rewards see of them.
func sightings(by *sight, ds []demo) ([][]sim.Truth, []rapl.Video, error) {
	truths, videos := make([][]sim.Truth, len(ds)), make([]rapl.Video, len(ds))
	for i, d := range ds {
		var err error
		truths[i] = d.truth
		// The frame after the reset is no doing of anybody's: Score leaves it out too.
		if videos[i], err = by.video(d.episode.ID, d.episode.Trajectory()[1:]); err != nil {
			return nil, nil, err
		}
	}
	return truths, videos, nil
}

// judgeReward measures a reward on rollouts.
func judgeReward(ctx context.Context, r reward.Scorer, ds []demo) (Point, error) {
	var p Point
	sums := make([]float64, len(ds))
	var every []float64
	for i, d := range ds {
		got := make([]float64, d.episode.Len())
		if _, ok := r.(truth); ok {
			got = trueRewards(d)
		} else if err := r.Score(ctx, got, d.episode.Trajectory()); err != nil {
			return p, err
		}
		every = append(every, got...)
		for _, v := range got {
			sums[i] += v
		}
		rho := correlation(got, d.truth)
		if math.IsNaN(rho) {
			continue
		}
		p.All += rho
		p.Of++
		if person.Rate(d.truth) == person.Negative {
			p.Negative += rho
			p.Negatives++
		}
	}
	if p.Of > 0 {
		p.All /= float64(p.Of)
	}
	if p.Negatives > 0 {
		p.Negative /= float64(p.Negatives)
	}
	p.Spread = stat.StdDev(every, nil)
	right, pairs := 0, 0
	who := person.New(rand.NewPCG(1, 0), 0) // who never errs draws nothing
	for i := range ds {
		for j := range i {
			if said := who.Prefers(ds[i].truth, ds[j].truth); said != 0 {
				pairs++
				if float64(said)*(sums[i]-sums[j]) > 0 {
					right++
				}
			}
		}
	}
	if pairs > 0 {
		p.Accuracy = float64(right) / float64(pairs)
	}
	return p, nil
}

// correlation is Spearman's, of rewards with minus the true distance, at every
// Every-th frame; NaN where nothing moved, or nothing was told apart.
func correlation(rewards []float64, truths []sim.Truth) float64 {
	var x, y []float64
	for t := 0; t < len(rewards); t += Every {
		x, y = append(x, rewards[t]), append(y, -math.Round(truths[t+1].Distance/kept))
	}
	return rank.Spearman(x, y)
}
