package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/preference/heron"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/sim"
)

// criterion is something that HERON ranks episodes by.
type criterion struct {
	name, about string
	lower       bool // less of it is better
	either      bool // 0 or 1, so that any difference decides
	truth       bool // the simulator alone tells it
	of          func(states []robot.State, truths []sim.Truth) float64
}

// criteria are those of config.HeronCriteria.
func criteria() []criterion {
	return []criterion{
		{name: "success", about: "done at the end, by the simulator; any difference decides", either: true, truth: true, of: func(_ []robot.State, truths []sim.Truth) float64 {
			if truths[len(truths)-1].Success {
				return 1
			}
			return 0
		}},
		{name: "force", about: "largest force at the tool, N, less is better", lower: true, of: func(states []robot.State, _ []sim.Truth) float64 {
			most := 0.0
			for _, s := range states {
				most = max(most, floats.Norm(s.Wrench[:3], 2))
			}
			return most
		}},
		{name: "time", about: "until it is done, by the simulator, or else to the end, s, less is better", lower: true, truth: true, of: func(states []robot.State, truths []sim.Truth) float64 {
			end := slices.IndexFunc(truths, func(t sim.Truth) bool { return t.Success })
			if end < 0 {
				end = len(truths) - 1
			}
			return states[end].Stamp.Sub(states[0].Stamp).Seconds()
		}},
		{name: "path", about: "way of the tool, m, less is better", lower: true, of: func(states []robot.State, _ []sim.Truth) float64 {
			way := 0.0
			for t := 1; t < len(states); t++ {
				way += floats.Distance(states[t].EE.P[:], states[t-1].EE.P[:], 2)
			}
			return way
		}},
	}
}

// CriteriaOfHERON lists the criteria of the kind heron, with what they are.
func CriteriaOfHERON() (out [][2]string) {
	for _, c := range criteria() {
		out = append(out, [2]string{c.name, c.about})
	}
	return out
}

// ordered are the criteria of an order of importance.
func ordered(order []string) (out []criterion, truth bool, err error) {
	for _, name := range order {
		i := slices.IndexFunc(criteria(), func(c criterion) bool { return c.name == name })
		if i < 0 {
			return nil, false, fmt.Errorf("order names %q; want criteria of %s, as order=success+force", name, strings.Join(config.HeronCriteria(), ", "))
		}
		out = append(out, criteria()[i])
		truth = truth || out[len(out)-1].truth
	}
	return out, truth, nil
}

// performed is an episode as HERON ranks it.
type performed struct {
	clip   preference.Clip
	states []robot.State // (T+1,)
	truths []sim.Truth   // (T+1,); nil where no criterion asks for them
}

// rankBy fits a reward to what an order of criteria says of episodes (HERON), and tells how many
// pairs each criterion decided. margin is that of heron.Factor, of criteria that are not 0 or 1.
func rankBy(ctx context.Context, order []criterion, margin float64, of []performed, seed uint64) (*preference.Net, heron.Report, string, error) {
	var factors []heron.Factor
	for _, c := range order {
		f := heron.Factor{Name: c.name, Lower: c.lower, Margin: margin}
		if c.either {
			f.Margin = 0
		}
		factors = append(factors, f)
	}
	var items []heron.Item
	var sample [][]float64
	for _, s := range of {
		var z []float64
		for _, c := range order {
			z = append(z, c.of(s.states, s.truths))
		}
		items, sample = append(items, heron.Item{Clip: s.clip, Factors: z}), append(sample, z)
	}
	r, err := heron.New(factors, sample)
	if err != nil {
		return nil, heron.Report{}, "", err
	}
	n, rep, err := heron.Fit(ctx, r, items, heron.Config{Model: preference.Config{Seed: seed}, Seed: seed})
	if err != nil {
		return nil, rep, "", err
	}
	var by []string
	for i, c := range order {
		by = append(by, fmt.Sprintf("%s %d", c.name, rep.By[i]))
	}
	return n, rep, "decided by " + strings.Join(by, ", "), nil
}

// heronRival is a reward of an order of criteria, without anybody's answers.
func heronRival(ctx context.Context, b *bench, name string, o *choices) (rival, error) {
	c := b.s.cfg.Reward.HERON
	margin := o.number("margin", c.Margin)
	order := c.Order
	if s := o.text("order", ""); s != "" {
		order = strings.Split(s, "+")
	}
	if err := o.end(); err != nil {
		return rival{}, err
	}
	cs, truth, err := ordered(order)
	if err != nil {
		return rival{}, err
	}
	of, err := b.s.performed(ctx, truth)
	if err != nil {
		return rival{}, err
	}
	n, rep, by, err := rankBy(ctx, cs, margin, of, draw(b.s.cfg.Seed, networks, 2))
	if err != nil {
		return rival{}, err
	}
	return scored(name, fmt.Sprintf("HERON, %s, of %d pairs of %d episodes; margin %g deviations, %.2f of %d held out foretold",
		by, rep.Train+rep.Held, len(of), margin, rep.After.Accuracy, rep.Held), b.parts.taste.Sight.judged(n)), nil
}

// performed are all episodes of the session. What truly happened comes back by living
// through them again.
func (s *Session) performed(ctx context.Context, truth bool) (out []performed, err error) {
	by, err := s.sight(ctx)
	if err != nil {
		return nil, err
	}
	r := &reliver{}
	defer func() { err = errors.Join(err, r.close()) }()
	for _, origin := range []policy.Origin{policy.Demo, policy.Online} {
		rows, err := s.store.Episodes(ctx, origin)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			v, err := s.video(by, row.ID)
			if err != nil {
				return nil, err
			}
			file := s.episodeFile(row.ID)
			rec, err := record.ReadNumbers(file)
			if err != nil {
				return nil, err
			}
			x := performed{clip: clip(v)}
			for _, t := range rec.Ticks {
				x.states = append(x.states, t.State)
			}
			if truth {
				if x.truths, err = r.truths(ctx, file, rec.Info, rec.Ticks); err != nil {
					return nil, fmt.Errorf("%s: nobody knows what truly happened: %w; leave success and time out of the order", row.ID, err)
				}
			}
			out = append(out, x)
		}
	}
	return out, nil
}

// rank learns the reward of kind heron from the order of reward.heron, which ranks the
// demonstrations, of which these are the videos.
func (t *taste) rank(ctx context.Context, c config.Reward, run uint64, demos []demo, videos []rapl.Video) (note string, err error) {
	order, _, err := ordered(c.HERON.Order)
	if err != nil {
		return "", err
	}
	var of []performed
	for i, d := range demos {
		x := performed{clip: clip(videos[i]), truths: d.truth}
		for _, in := range d.episode.Inputs {
			x.states = append(x.states, in.State)
		}
		of = append(of, x)
	}
	n, rep, by, err := rankBy(ctx, order, c.HERON.Margin, of, draw(run, networks, 2))
	if err != nil {
		return "", err
	}
	if err := t.keep(n); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d pairs, %s; %.0f %% of the held-out ones told right", rep.Train+rep.Held, by, 100*rep.After.Accuracy), nil
}
