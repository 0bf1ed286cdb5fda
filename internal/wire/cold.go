package wire

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/store"
)

// Cold is the desk of a session that no process drives: what was latched can be
// read and acknowledged in its folder.
type Cold struct {
	st  *store.Session
	now func() time.Time
}

// OpenCold opens the folder of a session that does not run.
func OpenCold(dir string, now func() time.Time) (*Cold, error) {
	st, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Cold{st, now}, nil
}

// Faults lists the session's faults, the newest first.
func (c *Cold) Faults(ctx context.Context) ([]bus.Fault, error) {
	all, err := c.st.Faults(ctx)
	return tellFaults(all), err
}

// Acknowledge clears a fault in the name of somebody who has seen the arm.
func (c *Cold) Acknowledge(ctx context.Context, a bus.Acknowledge) (r bus.Acknowledged, err error) {
	if err := c.st.Acknowledge(ctx, a.Fault, c.now(), a.Who, a.Note); err != nil {
		return r, err
	}
	all, err := c.Faults(ctx)
	for _, f := range all {
		if f.ID == a.Fault {
			r.Fault = f
		}
		if f.Open {
			r.Left++
		}
	}
	return r, err
}

// Close releases the folder.
func (c *Cold) Close() error { return c.st.Close() }

// FaultReport is the state that caused a fault and the two seconds before, JSON, also while
// the session runs: who is asked to acknowledge it looks there.
func FaultReport(ctx context.Context, dir string, id int64) (b json.RawMessage, err error) {
	st, err := store.Open(dir)
	if errors.Is(err, store.ErrInUse) {
		return store.FaultReportOf(ctx, dir, id)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return st.FaultReport(ctx, id)
}
