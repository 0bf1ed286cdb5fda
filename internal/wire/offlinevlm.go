package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/judge"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/vlm"
	"github.com/rapport-rl/rapport/robot"
)

// OfflineVLM configures the pipeline of offline RL-VLM-F (Venkataraman et al. 2024,
// arXiv:2411.05273): pairs of frames of recorded episodes are judged by a
// vision-language model, a reward is fitted to the answers, the episodes are labelled
// by it, and a policy is learned from them.
type OfflineVLM struct {
	Model judge.Model
	Name  string // of the model, under which its answers are kept
	Goal  string
	// Answers is the file that keeps what the model said; empty: vlm-answers.jsonl in
	// the session's folder.
	Answers string
	Pairs   int // that are asked; 0: 500
	Steps   int // gradient steps of the policy; 0: 5000
}

// Answered is what the model's answers came to.
type Answered struct {
	Asked, Swapped, None int // pairs, those told by their place, and without an answer
	Train, Held          int // answers learned from, and not
	// Accuracy is the share of the held-out answers that the reward tells alike.
	Accuracy float64
	Calls    int // of the model; the rest was known
	Reward   []byte
}

// answersFile keeps a vision-language model's answers beside a session's database.
const answersFile = "vlm-answers.jsonl"

// TrainByVLM runs the pipeline on the session in dir. What the session's own reward
// says is not looked at.
func TrainByVLM(ctx context.Context, dir string, v OfflineVLM, environ, sets []string, o Options) (t Trained, j Answered, err error) {
	s, err := visit(dir, trains, "training", environ, append([]string{"learner.kind=iql"}, sets...), o)
	if err != nil {
		return t, j, err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	if err := byReward(s.cfg.Learner.Kind); err != nil {
		return t, j, err
	}
	data, err := s.corpus(ctx, false, false)
	if err != nil {
		return t, j, err
	}
	if v.Answers == "" {
		v.Answers = filepath.Join(dir, answersFile)
	}
	m, err := judge.Remember(v.Model, v.Name, v.Answers)
	if err != nil {
		return t, j, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	v.Model = m
	pairs, j, err := v.ask(ctx, data.episodes, draw(s.cfg.Seed, networks, 5), s.frames, o.Tell)
	j.Calls, _ = m.Count()
	if err != nil {
		return t, j, err
	}
	net, err := v.fit(ctx, pairs, draw(s.cfg.Seed, networks, 6), &j)
	if err != nil {
		return t, j, err
	}
	if err := relabel(ctx, net, data.episodes); err != nil {
		return t, j, err
	}
	if v.Steps == 0 {
		v.Steps = 5000
	}
	if t, err = train(ctx, s.cfg, data, v.Steps, o.Tell); err != nil {
		return t, j, err
	}
	t.Params, err = s.stamp(ctx, t.Params)
	return t, j, err
}

// byReward refuses, before the model is asked, what would learn nothing of its answers.
func byReward(kind string) error {
	if slices.Contains([]string{"iql", "calql", "rlpd"}, kind) {
		return nil
	}
	return fmt.Errorf("wire: learner.kind is %s, which does not learn by a reward from recorded episodes; want iql, calql or rlpd", kind)
}

// frames are those of some inputs of an episode.
func (s *Session) frames(e policy.Episode, steps []int) ([][]robot.Frame, error) {
	if e.Inputs[0].Frames == nil {
		if err := s.store.Frames(&e); err != nil {
			return nil, err
		}
	}
	out := make([][]robot.Frame, len(steps))
	for i, t := range steps {
		if out[i] = e.Inputs[t].Frames; len(out[i]) == 0 {
			return nil, fmt.Errorf("wire: step %d of %s has no frames; the pipeline wants sessions with session.record", t, e.ID)
		}
	}
	return out, nil
}

// ask draws pairs of moments, each of any episode and any time after the reset, and
// has them judged. frames is asked for the moments of an episode at once.
func (v OfflineVLM) ask(ctx context.Context, es []policy.Episode, seed uint64, frames func(policy.Episode, []int) ([][]robot.Frame, error), tell Progress) ([]preference.Pair, Answered, error) {
	n := v.Pairs
	if n == 0 {
		n = 500
	}
	if n < 10 {
		return nil, Answered{}, fmt.Errorf("wire: %d pairs to ask about, want 10 at least", n)
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	type moment struct{ episode, step int }
	asked := make([][2]moment, n)
	wanted := make([][]int, len(es)) // steps of each episode
	for i := range asked {
		for k := range asked[i] {
			e := rng.IntN(len(es))
			m := moment{e, 1 + rng.IntN(es[e].Len())}
			asked[i][k] = m
			wanted[e] = append(wanted[e], m.step)
		}
	}
	seen := map[moment][]robot.Frame{}
	for e, steps := range wanted {
		if len(steps) == 0 {
			continue
		}
		slices.Sort(steps)
		steps = slices.Compact(steps)
		fs, err := frames(es[e], steps)
		if err != nil {
			return nil, Answered{}, err
		}
		for i, t := range steps {
			seen[moment{e, t}] = fs[i]
		}
		tell("frames", e+1, len(es), "")
	}
	clip := func(m moment) preference.Clip {
		x := es[m.episode].Inputs[m.step].Features.Embed
		return preference.Clip{Name: fmt.Sprintf("%s:%d", es[m.episode].ID, m.step), D: len(x), Embed: x}
	}
	p := judge.Pairs{Model: v.Model, Goal: v.Goal}
	var out []preference.Pair
	for i, a := range asked {
		said, err := p.Compare(ctx, seen[a[0]], seen[a[1]])
		if errors.Is(err, vlm.ErrBusy) {
			err = fmt.Errorf("wire: pair %d of %d: %w; answers so far are kept: run it again once the endpoint answers", i+1, n, err)
		}
		if err != nil {
			return nil, Answered{Asked: p.Asked, Swapped: p.Swapped, None: p.None}, err
		}
		if said != preference.Unknown {
			out = append(out, preference.Pair{A: clip(a[0]), B: clip(a[1]), Verdict: said})
		}
		tell("vision-language model", i+1, n, fmt.Sprintf("%d answers", len(out)))
	}
	return out, Answered{Asked: p.Asked, Swapped: p.Swapped, None: p.None}, nil
}

// fewest are the answers below which there is nothing to learn from.
const fewest = 10

// fit fits the reward of single frames to the answers, an ensemble of three, and
// judges it by a fifth of them that it never saw.
func (v OfflineVLM) fit(ctx context.Context, pairs []preference.Pair, seed uint64, j *Answered) (*preference.Net, error) {
	if len(pairs) < fewest {
		return nil, fmt.Errorf("wire: the model gave %d answers to %d pairs (%d told by their place, %d without one), want %d at least: word the goal more exactly, ask about more pairs, or take a better model", len(pairs), j.Asked, j.Swapped, j.None, fewest)
	}
	j.Held = max(1, len(pairs)/5)
	j.Train = len(pairs) - j.Held
	net, _, err := preference.FitRLHF(ctx, pairs[j.Held:], preference.Config{Seed: seed, Bootstrap: true})
	if err != nil {
		return nil, err
	}
	m, err := preference.Evaluate(net, pairs[:j.Held])
	if err != nil {
		return nil, err
	}
	j.Accuracy = m.Accuracy
	var b bytes.Buffer
	if err := net.Save(&b); err != nil {
		return nil, err
	}
	j.Reward = b.Bytes()
	return net, nil
}

// relabel gives episodes the rewards of a reward, scaled to -1 to 0 over all of them: the
// advantages by which IQL weighs are in units of the reward, and behind an episode that ended by
// itself nothing follows, so that above 0 staying where it is nearly done pays more than ending.
func relabel(ctx context.Context, by reward.Scorer, es []policy.Episode) error {
	lo, hi := math.Inf(1), math.Inf(-1)
	for i := range es {
		if err := rate(ctx, by, &es[i]); err != nil {
			return err
		}
		lo, hi = min(lo, slices.Min(es[i].Rewards)), max(hi, slices.Max(es[i].Rewards))
	}
	if !(hi > lo) {
		return errors.New("wire: the fitted reward is the same everywhere; ask about more pairs")
	}
	for i := range es {
		for t := range es[i].Rewards {
			es[i].Rewards[t] = (es[i].Rewards[t] - hi) / (hi - lo)
		}
	}
	return nil
}

// vlmRival is a reward that was fitted to a model's answers and kept in a file.
func vlmRival(_ context.Context, _ *bench, name string, o *choices) (rival, error) {
	file := o.text("file", "")
	if file == "" {
		return rival{}, errors.New("the file of the reward is not said; want file=NAME, as rapport pipeline offline-vlm --reward wrote it")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return rival{}, err
	}
	n, err := preference.Load(bytes.NewReader(b))
	if err != nil {
		return rival{}, fmt.Errorf("%s: %w; name a file that rapport pipeline offline-vlm --reward wrote", file, err)
	}
	return scored(name, "fitted to a vision-language model's answers, of "+file, n), nil
}
