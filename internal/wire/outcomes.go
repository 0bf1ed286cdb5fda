package wire

import (
	"context"
	"errors"
	"slices"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
)

// Outcome is how an online episode ended.
type Outcome struct {
	Ticks   int
	Success bool // by the simulator
	Said    bool // by a classifier or a judge
}

// Outcomes are those of the online episodes of the session in dir, as far as they are
// known.
func Outcomes(ctx context.Context, dir string) (os []Outcome, err error) {
	st, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	rows, err := st.Episodes(ctx, policy.Online)
	if err != nil {
		return nil, err
	}
	ticks := map[string]int{}
	for _, r := range rows {
		ticks[r.ID] = r.Steps
	}
	ps, err := st.Metric(ctx, "episode", "success")
	if err != nil {
		return nil, err
	}
	said, err := st.Metric(ctx, "episode", metricSaid)
	if err != nil {
		return nil, err
	}
	for _, p := range ps {
		if t, ok := ticks[episodeID(int(p.Step))]; ok {
			o := Outcome{Ticks: t, Success: p.Value > 0}
			o.Said = slices.ContainsFunc(said, func(w store.Point) bool { return w.Step == p.Step && w.Value > 0 })
			os = append(os, o)
		}
	}
	return os, nil
}
