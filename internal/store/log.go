package store

import (
	"context"
	"database/sql"
	"errors"
	"math"

	"github.com/rapport-rl/rapport/policy"
)

// AddMetrics appends the metrics of a step of a series, as "learner". Numbers
// that are not finite are stored as NULL, which SQLite can hold.
func (s *Session) AddMetrics(ctx context.Context, series string, step uint64, ms []policy.Metric) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return s.fault("store metrics", err)
	}
	for _, m := range ms {
		var v any = m.Value
		if math.IsNaN(m.Value) || math.IsInf(m.Value, 0) {
			v = nil
		}
		if _, err = tx.ExecContext(ctx, "INSERT INTO metrics VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", series, int64(step), m.Name, v); err != nil {
			break
		}
	}
	if err != nil {
		return s.fault("store metrics", errors.Join(err, tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return s.fault("store metrics", err)
	}
	return nil
}

// Point is a metric at a step.
type Point struct {
	Step  uint64
	Value float64 // NaN where it was not finite
}

// Metric returns a metric of a series in the order of steps.
func (s *Session) Metric(ctx context.Context, series, name string) ([]Point, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT step, value FROM metrics WHERE series = ? AND name = ? ORDER BY step", series, name)
	if err != nil {
		return nil, s.fault("read metrics", err)
	}
	defer rows.Close()
	var out []Point
	for rows.Next() {
		var step int64
		var v *float64
		if err := rows.Scan(&step, &v); err != nil {
			return nil, s.fault("read metrics", err)
		}
		p := Point{Step: uint64(step), Value: math.NaN()}
		if v != nil {
			p.Value = *v
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

// MetricAt returns a metric of a series at one step, NaN where it was not finite or is
// not there.
func (s *Session) MetricAt(ctx context.Context, series, name string, step uint64) (float64, error) {
	var v sql.Null[float64]
	err := s.db.QueryRowContext(ctx, "SELECT value FROM metrics WHERE series = ? AND name = ? AND step = ?", series, name, int64(step)).Scan(&v)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, s.fault("read metrics", err)
	}
	if !v.Valid {
		return math.NaN(), nil
	}
	return v.V, nil
}
