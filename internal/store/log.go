package store

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

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

// AddLabel appends what a person said; nothing of it is ever changed.
func (s *Session) AddLabel(ctx context.Context, stamp time.Time, annotator, kind string, data any) error {
	b, err := json.Marshal(data)
	if err == nil {
		_, err = s.db.ExecContext(ctx, "INSERT INTO labels (stamp_ns, annotator, kind, data) VALUES (?, ?, ?, ?)", stamp.UnixNano(), annotator, kind, string(b))
	}
	if err != nil {
		return s.fault("store a label", err)
	}
	return nil
}

// Label is what a person said, as it was added.
type Label struct {
	Stamp     time.Time
	Annotator string
	Kind      string
	Data      json.RawMessage
}

// EachLabel calls f with the labels of a kind, oldest first, until it returns an
// error. f must not call the session.
func (s *Session) EachLabel(ctx context.Context, kind string, f func(Label) error) error {
	rows, err := s.db.QueryContext(ctx, "SELECT stamp_ns, annotator, data FROM labels WHERE kind = ? ORDER BY n", kind)
	if err != nil {
		return s.fault("read labels", err)
	}
	defer rows.Close()
	for rows.Next() {
		l := Label{Kind: kind}
		var ns int64
		var data string
		if err := rows.Scan(&ns, &l.Annotator, &data); err != nil {
			return s.fault("read labels", err)
		}
		l.Stamp, l.Data = time.Unix(0, ns).UTC(), json.RawMessage(data)
		if err := f(l); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return s.fault("read labels", err)
	}
	return nil
}

// Labels counts the labels of a kind.
func (s *Session) Labels(ctx context.Context, kind string) (int, error) {
	var n int
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM labels WHERE kind = ?", kind).Scan(&n); err != nil {
		return 0, s.fault("count labels", err)
	}
	return n, nil
}
