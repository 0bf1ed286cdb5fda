package regret

import (
	"context"
	"fmt"
	"slices"

	"github.com/rapport-rl/rapport/reward/preference"
)

// Comparison tells which explanation foretells somebody's answers better.
type Comparison struct {
	// PartialReturn and Regret judge the answers of each fold by models fitted to the
	// others.
	PartialReturn, Regret preference.Measure
	// Margin is how many nats an answer is likelier under regret, on average; below 0
	// under partial return.
	Margin float64
}

// Names the likelier explanation.
func (c Comparison) Names() Explain {
	if c.Margin > 0 {
		return Regret
	}
	return PartialReturn
}

// Compare fits both models with Config.Folds-fold cross-validation. Both have as many
// parameters. The i-th of the answered pairs belongs to fold i mod Folds.
func Compare(ctx context.Context, world *World, pairs []preference.Pair, cfg Config) (Comparison, error) {
	return compare(pairs, cfg, func(train []preference.Pair, c Config) (preference.Model, error) { return Fit(ctx, world, train, c) })
}

func compare(pairs []preference.Pair, cfg Config, fit func([]preference.Pair, Config) (preference.Model, error)) (Comparison, error) {
	whole := cfg.withDefaults()
	if err := whole.validate(); err != nil {
		return Comparison{}, err
	}
	cfg.Folds = whole.Folds
	pairs = slices.DeleteFunc(slices.Clone(pairs), func(p preference.Pair) bool { return p.Verdict == preference.Unknown })
	if len(pairs) < 2*cfg.Folds {
		return Comparison{}, fmt.Errorf("regret: %d answered pairs are too few for %d folds, want two in each", len(pairs), cfg.Folds)
	}
	var out Comparison
	for _, x := range [...]struct {
		explain Explain
		measure *preference.Measure
	}{{PartialReturn, &out.PartialReturn}, {Regret, &out.Regret}} {
		c := cfg
		c.Explain = x.explain
		models := make([]preference.Model, cfg.Folds)
		for f := range models {
			var train []preference.Pair
			for i, p := range pairs {
				if i%cfg.Folds != f {
					train = append(train, p)
				}
			}
			var err error
			if models[f], err = fit(train, c); err != nil {
				return Comparison{}, err
			}
		}
		i := -1
		m, err := preference.EvaluateBy(pairs, func(preference.Pair) (preference.Model, error) {
			i++ // it asks once for each pair, in order
			return models[i%cfg.Folds], nil
		})
		if err != nil {
			return Comparison{}, err
		}
		*x.measure = m
	}
	out.Margin = out.PartialReturn.Loss - out.Regret.Loss
	return out, nil
}
