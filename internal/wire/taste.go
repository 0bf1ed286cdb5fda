package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/gail"
	"github.com/rapport-rl/rapport/reward/goal"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/ot"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/preference/pal"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/reward/tcc"
	"github.com/rapport-rl/rapport/reward/uvd"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/person"
)

// taste is what the person said, as the scorer needs it: the reward's checkpoint,
// and what a scorer's process is given.
type taste struct {
	// Version is that of this struct. Those of before there were kinds have none,
	// and are of kind rapl.
	Version int          `json:"version,omitempty"`
	Kind    string       `json:"kind,omitempty"`   // reward.kind
	Person  string       `json:"person,omitempty"` // reward.person
	Experts []rapl.Video `json:"experts"`
	Head    *rapl.Head   `json:"head"` // of rapl and tcc; nil for none
	// Sides are rapl.Report.Sides of the alignments that Head is of; nil of those before there were any.
	Sides map[string]bool `json:"sides,omitempty"`
	Gamma float64         `json:"gamma"`
	Cost  ot.Cost         `json:"cost"`
	Goal  *goal.Goal      `json:"goal,omitempty"` // of goal, and of tcc in that form
	GAIL  *gail.Model     `json:"gail,omitempty"`
	RLHF  []byte          `json:"rlhf,omitempty"` // of rlhf, btt and heron, as preference.Net saves itself
	PAL   []byte          `json:"pal,omitempty"`  // as pal.User saves itself
	KAGI  *kagi.Config    `json:"kagi,omitempty"`
	Sight *sight          `json:"sight,omitempty"` // nil: the encoder's embedding
	visual
}

// tasteVersion is the newest that this program reads.
const tasteVersion = 3

// kind is reward.kind.
func (t taste) kind() string {
	if t.Kind == "" {
		return "rapl"
	}
	return t.Kind
}

// scorer makes the reward of the kind.
func (t taste) scorer() (reward.Scorer, error) {
	s, err := t.compares()
	if err != nil {
		return nil, err
	}
	return t.Sight.judged(s), nil
}

// compares is scorer of what the reward sees.
func (t taste) compares() (reward.Scorer, error) {
	switch k := t.kind(); {
	case k == "truth":
		return truth{}, nil
	case t.Goal != nil && (k == "goal" || k == "tcc"):
		return goal.New(*t.Goal)
	case k == "rapl" || k == "tcc" && t.Head != nil:
		return rapl.New(t.Experts, rapl.Config{Cost: t.Cost, Gamma: t.Gamma, Head: t.Head})
	case k == "gail" && t.GAIL != nil:
		return gail.NewScorer(*t.GAIL)
	case (k == "rlhf" || k == "btt" || k == "heron") && t.RLHF != nil:
		return preference.Load(bytes.NewReader(t.RLHF))
	case k == "pal" && t.PAL != nil:
		return pal.Load(bytes.NewReader(t.PAL))
	case k == "kagi" && t.KAGI != nil:
		return kagi.New(*t.KAGI)
	case t.visual.of(k):
		return t.visual.scorer()
	case k == "features":
		return rapl.New(t.Experts, rapl.Config{Cost: t.Cost, Gamma: t.Gamma})
	}
	return nil, fmt.Errorf("wire: reward: kind %q is not known or not whole; is it of a newer rapport?", t.Kind)
}

func decodeTaste(b []byte) (taste, error) {
	var t taste
	if err := json.Unmarshal(b, &t); err != nil {
		return t, fmt.Errorf("wire: reward: %w", err)
	}
	if t.Version > tasteVersion {
		return t, fmt.Errorf("wire: reward: its version is %d, this program reads up to %d; take a newer rapport", t.Version, tasteVersion)
	}
	return t, nil
}

// newestTaste is what the session's reward is made of.
func (s *Session) newestTaste(ctx context.Context) (t taste, err error) {
	_, b, err := s.latest(ctx, kindReward)
	if err != nil {
		return t, err
	}
	return decodeTaste(b)
}

// learn makes what a kind of reward needs of videos alone: those that the person
// likes, and the rest.
func (t *taste) learn(ctx context.Context, c config.Reward, seed uint64, liked, rest []rapl.Video) error {
	switch c.Kind {
	case "goal":
		g, err := goal.Of(t.Experts, nil)
		t.Goal = &g
		return err
	case "tcc":
		head, _, err := tcc.Train(ctx, liked, tcc.Config{Dim: c.Dim, Seed: seed})
		if err != nil {
			return err
		}
		t.Head = &head
		if c.Form == "goal" {
			g, err := goal.Of(t.Experts, &head)
			t.Goal = &g
			return err
		}
	case "gail":
		g, err := gail.New(liked[0].D, gail.Config{Seed: seed})
		if err != nil {
			return err
		}
		if _, err := g.Update(ctx, liked, rest, discriminations); err != nil {
			return err
		}
		m := g.Model()
		t.GAIL = &m
	case "uvd", "perceptual", "vlm-rm":
		return t.visual.learn(c, liked)
	}
	return nil
}

func clip(v rapl.Video) preference.Clip {
	return preference.Clip{Name: v.Name, D: v.D, Embed: v.Embed}
}

// parted are the videos that the person likes, the best first, and the others.
func parted(who *person.Person, truths [][]sim.Truth, videos []rapl.Video) (liked, rest []rapl.Video) {
	good := who.Pick(truths, len(truths))
	for _, i := range good {
		liked = append(liked, videos[i])
	}
	for i, v := range videos {
		if !slices.Contains(good, i) {
			rest = append(rest, v)
		}
	}
	return liked, rest
}

// discriminations are the gradient steps of gail's discriminator.
const discriminations = 1000

// explain scores traj and tells how, as far as the kind of reward can: one that
// compares with no video names none.
func explain(ctx context.Context, s reward.Scorer, traj []perception.Features) (rapl.Explanation, error) {
	if x, ok := s.(explainer); ok {
		return x.Explain(ctx, traj)
	}
	T := len(traj) - 1
	if T < 1 {
		return rapl.Explanation{}, fmt.Errorf("wire: %d features, want two at least for a reward", len(traj))
	}
	e := rapl.Explanation{Expert: -1, T: T, Match: make([]int, T), Rewards: make([]float64, T)}
	for i := range e.Match {
		e.Match[i] = -1
	}
	if err := s.Score(ctx, e.Rewards, traj); err != nil {
		return rapl.Explanation{}, err
	}
	for _, r := range e.Rewards {
		e.Distance -= r / float64(T)
	}
	return e, nil
}

// running scores an episode that goes on, feature by feature.
type running interface {
	Add(perception.Features) error
	Len() int // rewards so far
	Rewards(dst []float64) (expert int)
}

// runningOf begins an episode.
func runningOf(s reward.Scorer) (running, error) {
	switch s := s.(type) {
	case interface{ running() (running, error) }: // sighted, whether it explains or not
		return s.running()
	case *rapl.Scorer:
		return s.Live()
	case *kagi.Scorer:
		return s.Live(), nil
	case truth:
		return nil, errNoTruth
	case *uvd.Scorer:
		return &walking{s: s}, nil
	}
	return &piecewise{s: s}, nil
}

// piecewise is running for rewards of which none depends on what is seen later.
type piecewise struct {
	s    reward.Scorer
	pair []perception.Features // the last two
	got  []float64
}

func (p *piecewise) Add(f perception.Features) error {
	if p.pair = append(p.pair, f); len(p.pair) < 2 {
		return nil
	}
	var r [1]float64
	if err := p.s.Score(context.Background(), r[:], p.pair); err != nil {
		return err
	}
	p.got = append(p.got, r[0])
	p.pair = append(p.pair[:0], f)
	return nil
}

func (p *piecewise) Len() int { return len(p.got) }

func (p *piecewise) Rewards(dst []float64) int {
	copy(dst, p.got)
	return -1
}

// named is what reports call the reward that p judges by: that of rapport align may be of another
// kind, and for another person, than c says.
func (p parts) named(c config.Reward) string {
	c.Kind, c.Person = p.taste.kind(), p.taste.Person
	return named(c)
}

// named is what the report calls the reward.
func named(c config.Reward) string {
	if c.Sees != "features" {
		what := c.Sees
		c.Sees = "features"
		return named(c) + " on tracked " + what
	}
	switch c.Kind {
	case "features":
		return "optimal transport on features that nobody aligned"
	case "goal":
		return "distance to how the preferred videos end"
	case "tcc":
		return "temporal cycle-consistency"
	case "rlhf":
		return "a reward learned from comparisons (RLHF)" + forWhom(c, "")
	case "btt":
		return "a reward learned from comparisons and ties (BTT)" + forWhom(c, "")
	case "pal":
		return "a reward of people with several tastes (PAL)" + forWhom(c, ", what they have in common")
	case "heron":
		return "a reward of criteria in an order (HERON): " + strings.Join(c.HERON.Order, ", ")
	case "gail":
		return "a discriminator (GAIL)"
	case "kagi":
		return "progress along waypoints (KAGI)"
	case "uvd":
		return "sub-goals of a preferred video (UVD)"
	case "perceptual":
		return "perceptual steps of the preferred videos"
	case "vlm-rm":
		return "likeness to a sentence (VLM-RM)"
	case "truth":
		return "THE SIMULATOR'S TRUTH, which no real arm has"
	}
	return "RAPL"
}

// forWhom tells whose reward it is; all is what to say where that is everybody's.
func forWhom(c config.Reward, all string) string {
	if c.Person == "" {
		return all
	}
	return ", as " + c.Person + " answered"
}

// errNoTruth is told where only features are at hand.
var errNoTruth = errors.New("wire: reward.kind is truth, which the simulator alone tells while an episode runs: nothing recorded can be scored by it, and no process but that of the arm; take one process (rapport run), or another reward.kind")
