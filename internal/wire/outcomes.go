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
	ps, err := st.Metric(ctx, "episode", "success")
	if err != nil {
		return nil, err
	}
	said, err := st.Metric(ctx, "episode", metricSaid)
	if err != nil {
		return nil, err
	}
	for _, p := range ps {
		if p.Step < uint64(len(rows)) {
			o := Outcome{Ticks: rows[p.Step].Steps, Success: p.Value > 0}
			o.Said = slices.ContainsFunc(said, func(w store.Point) bool { return w.Step == p.Step && w.Value > 0 })
			os = append(os, o)
		}
	}
	return os, nil
}

// explorations names the online episodes in the order of their metrics: the n-th step is
// of the n-th that was stored. Their own numbers have gaps where an actor was killed,
// whose last one is never used again.
func explorations(ctx context.Context, st *store.Session) ([]string, error) {
	rows, err := st.Episodes(ctx, policy.Online)
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids, err
}

// at is the i-th of ids, empty beyond them: the truth about an episode is stored before it.
func at(ids []string, i uint64) string {
	if i < uint64(len(ids)) {
		return ids[i]
	}
	return ""
}
