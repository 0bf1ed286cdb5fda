package wire

import (
	"context"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/diffusion"
	"github.com/rapport-rl/rapport/policy/view"
)

// player is a policy that is told which episode it begins, so that what it draws
// depends on that alone.
type player interface {
	policy.Policy
	Begin(n uint64)
}

// viewOf reads from parameters of any kind what their policy sees, and whether it
// draws chunks of actions by diffusion.
func viewOf(ps policy.Params) (v view.Config, chunks bool, err error) {
	n, err := bc.Decode(ps)
	if err == nil {
		return n.Arch.View, false, nil
	}
	if d, e := diffusion.Decode(ps); e == nil {
		return d.Arch.View, true, nil
	}
	return v, false, err
}

// newPlayer returns a policy of view v that waits for Load; chunks says whether it
// draws them, as viewOf tells.
func newPlayer(ctx context.Context, c config.Config, v view.Config, chunks, explore bool) (player, error) {
	// Exploring and evaluating draw from different streams.
	n := 1
	if explore {
		n = 0
	}
	seed := draw(c.Seed, exploration, n)
	if chunks {
		d := c.Policy.Diffusion
		drawer, err := drawerOf(ctx, c)
		if err != nil {
			return nil, err
		}
		return diffusion.NewPolicy(diffusion.PolicyConfig{View: v, Draw: diffusion.Draw{Steps: d.Draws, Eta: d.Eta}, Exec: d.Exec, Seed: seed, Drawer: drawer})
	}
	mode := bc.Mean
	if explore {
		mode = bc.Sample
	}
	return bc.NewPolicy(bc.PolicyConfig{View: v, Mode: mode, Seed: seed})
}

// diffusionConfig configures the learner that imitates by diffusion.
func diffusionConfig(c config.Config, v view.Config) diffusion.Config {
	d := c.Policy.Diffusion
	a := diffusion.Arch{View: v, History: d.History, Horizon: d.Horizon, Channels: d.Channels, Trunk: trunkConfig(c.Policy), Process: diffusion.Process{Steps: d.Steps}}
	switch d.Shape {
	case "mlp":
		a.Shape = diffusion.MLP
	case "transformer":
		a.Shape = diffusion.Transformer
	}
	switch d.Predict {
	case "action":
		a.Process.Predict = diffusion.Sample
	case "velocity":
		a.Process.Predict = diffusion.Velocity
	}
	if d.Process == "flow" {
		a.Process.Kind = diffusion.Flow
	}
	return diffusion.Config{Arch: a, Batch: c.Learner.Batch, Round: c.Learner.Updates, LR: c.Learner.Rate, Seed: draw(c.Seed, networks, 3)}
}

// imitateChunks trains a policy that draws chunks of actions on demonstrations.
func imitateChunks(ctx context.Context, c config.Config, v view.Config, demos []policy.Episode, steps int, tell func(step, steps int, note string)) (policy.Params, []policy.Metric, error) {
	dc := diffusionConfig(c, v)
	dc.Batch, dc.LR, dc.Seed = c.Policy.Clone.Batch, c.Policy.Clone.Rate, draw(c.Seed, networks, 1)
	dc.Round = min(100, steps)
	dc.Warmup = uint64(max(1, min(500, steps/10)))
	dc.Total = max(uint64(steps), dc.Warmup+1)
	var err error
	if dc.Device, _, err = learnOn(c.Learner); err != nil {
		return policy.Params{}, nil, err
	}
	l, err := diffusion.New(dc, nil)
	if err != nil {
		return policy.Params{}, nil, err
	}
	for _, e := range demos {
		if err := l.Add(ctx, e); err != nil {
			return policy.Params{}, nil, err
		}
	}
	var told []policy.Metric
	for done := 0; done < steps; done += dc.Round {
		st, err := l.Update(ctx)
		if err != nil {
			return policy.Params{}, nil, err
		}
		told = st.Metrics
		tell(min(steps, done+dc.Round), steps, brief(told))
	}
	ps, err := l.Latest(ctx)
	return ps, told, err
}
