package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
)

// Trained is what offline training ended with.
type Trained struct {
	Params   policy.Params
	Episodes int
	Rows     int // transitions
	Metrics  []policy.Metric
	Notes    []string // what the user should know of the data
}

// trains are the keys that training may have other values for than the session
// whose episodes it learns from.
var trains = []string{"name", "out", "seed", "bus.", "session.", "learner.", "policy.sees", "policy.trunk.", "policy.hidden", "policy.clone.", "policy.diffusion.", "encoder.onnx"}

// TrainOffline trains a policy on the episodes of the session in dir, the
// demonstrations and what was collected online alike, and nothing else: by
// learner.kind, for steps gradient steps. environ and sets may change how; what
// the policy commands stays the session's. demosOnly leaves out what was
// collected online.
func TrainOffline(ctx context.Context, dir string, demosOnly bool, steps int, environ, sets []string, o Options) (t Trained, err error) {
	s, err := visit(dir, trains, "training", environ, sets, o)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	if err := offline(s.cfg); err != nil {
		return t, err
	}
	c, err := s.corpus(ctx, demosOnly, s.cfg.Learner.Kind != "bc" && s.cfg.Learner.Kind != "diffusion")
	if err != nil {
		return t, err
	}
	if t, err = train(ctx, s.cfg, c, steps, o.Tell); err != nil {
		return t, err
	}
	t.Params, err = s.stamp(ctx, t.Params)
	return t, err
}

// offline refuses, before anything is read, what learns nothing from it.
func offline(c config.Config) error {
	if c.Learner.Kind != "ppo" {
		return nil
	}
	return errors.New("wire: ppo learns from what its own policy does alone, and not from recorded episodes; take learner.kind iql, calql, rlpd, bc or diffusion")
}

// corpus reads the session's episodes; paid, with the rewards that the session itself learns from,
// as far as their files have others.
func (s *Session) corpus(ctx context.Context, demosOnly, paid bool) (corpus, error) {
	x, err := s.openEyes(ctx, nil)
	if err != nil {
		return corpus{}, fmt.Errorf("%w; %s has no encoder yet: go on with it by %s", err, s.Dir(), GoOn(s.Dir()))
	}
	c := corpus{view: viewConfig(s.cfg, x.Dim())}
	origins := []policy.Origin{policy.Demo, policy.Online}
	if demosOnly {
		origins = origins[:1]
	}
	for _, origin := range origins {
		es, err := s.stored(ctx, origin)
		if err != nil {
			return c, err
		}
		c.episodes = append(c.episodes, es...)
	}
	if len(c.episodes) == 0 {
		return c, fmt.Errorf("wire: %s holds no episodes; go on with it by %s", s.Dir(), GoOn(s.Dir()))
	}
	if n := rates(c.episodes, 1/period(s.cfg).Seconds()); n != "" {
		c.notes = append(c.notes, n)
	}
	if paid {
		return c, s.repaid(ctx, c.episodes)
	}
	return c, nil
}

// rates says that demonstrations and what was collected are of ticks of other lengths; "" where
// they are not.
func rates(es []policy.Episode, expected float64) string {
	var of [2][]float64 // demonstrations', and others'
	for _, e := range es {
		var stamps []time.Time
		for _, in := range e.Inputs {
			stamps = append(stamps, in.State.Stamp)
		}
		k := 0
		if e.Origin != policy.Demo {
			k = 1
		}
		if r := rateOf(stamps, expected); r > 0 {
			of[k] = append(of[k], r)
		}
	}
	if len(of[0]) == 0 || len(of[1]) == 0 {
		return ""
	}
	for k := range of {
		slices.Sort(of[k])
	}
	demos, others := of[0][len(of[0])/2], of[1][len(of[1])/2]
	if math.Abs(demos/others-1) <= offPace {
		return ""
	}
	return fmt.Sprintf("the moves of its demonstrations are of %.4g ticks a second, and of what was collected %.4g: the policy commands so much a tick, and learns from both; take the demonstrations alone (--demos-only), or a session at their rate", demos, others)
}

// train learns from a corpus by the configured kind of learner.
func train(ctx context.Context, c config.Config, data corpus, steps int, tell Progress) (t Trained, err error) {
	arch := bc.Arch{View: data.view, Hidden: c.Policy.Hidden, Trunk: trunkConfig(c.Policy)}
	t.Episodes, t.Notes = len(data.episodes), data.notes
	for i := range data.episodes {
		// Whoever collected them, they are what was there before.
		data.episodes[i].Origin = policy.Demo
		t.Rows += data.episodes[i].Len()
	}
	if c.Learner.Kind == "bc" {
		on, _, err := learnOn(c.Learner)
		if err != nil {
			return t, err
		}
		net, p, err := bc.Train(ctx, bc.Config{
			Arch: arch, Steps: steps, Batch: c.Policy.Clone.Batch, LR: c.Policy.Clone.Rate, Std: c.Policy.Clone.Std, Seed: draw(c.Seed, networks, 1), Device: on,
		}, data.episodes, func(p bc.Progress) { tell("train", p.Step, p.Steps, fmt.Sprintf("loss %.4f", p.Loss)) })
		if err != nil {
			return t, err
		}
		t.Metrics = []policy.Metric{{Name: "clone_loss", Value: p.Loss}}
		t.Params, err = net.Encode(1)
		return t, err
	}
	if c.Learner.Kind == "diffusion" {
		t.Params, t.Metrics, err = imitateChunks(ctx, c, data.view, data.episodes, steps, func(step, steps int, note string) { tell("train", step, steps, note) })
		return t, err
	}
	c.Learner.Warmup = 0 // actor and critics learn side by side
	rounds := (steps + c.Learner.Updates - 1) / c.Learner.Updates
	c.Session.Episodes = rounds // that a rate falls over
	start, err := bc.NewNet(arch, rand.New(rand.NewPCG(draw(c.Seed, networks, 1), 0)))
	if err != nil {
		return t, err
	}
	var rows []float32
	row := make([]float32, data.view.Dim())
	for _, e := range data.episodes {
		for _, in := range e.Inputs {
			if err := data.view.Row(row, in); err != nil {
				return t, fmt.Errorf("wire: episode %s: %w", e.ID, err)
			}
			rows = append(rows, row...)
		}
	}
	start.Fit(rows)
	from, err := start.Encode(1)
	if err != nil {
		return t, err
	}
	l, err := newKeeper(c, from, data.view.Horizon > 0, "")
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, closeKeeper(l)) }()
	for _, e := range data.episodes {
		if e.Rewards == nil {
			return t, fmt.Errorf("wire: episode %s has no rewards, without which %s cannot learn; imitate it with learner.kind bc", e.ID, c.Learner.Kind)
		}
		if err := l.Add(ctx, e); err != nil {
			return t, err
		}
	}
	for i := range rounds {
		st, err := l.Update(ctx)
		if err != nil {
			return t, err
		}
		t.Metrics = st.Metrics
		tell("train", i+1, rounds, brief(st.Metrics))
	}
	t.Params, err = l.Latest(ctx)
	return t, err
}

// brief is a metric or two for a line of progress.
func brief(ms []policy.Metric) string {
	s := ""
	for _, m := range ms {
		switch m.Name {
		case "critic_loss", "denoise_loss", "q_mean", "kl":
			s += fmt.Sprintf("%s %.3g  ", m.Name, m.Value)
		}
	}
	return s
}
