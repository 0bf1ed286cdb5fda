package wire

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/robot/guard"
)

// note takes a fault as a guard latches it; it must not block. The desk's own
// stops are stored by Stop.
func (d *desk) note(f *guard.Fault) {
	if d == nil || f.Cause == guard.Stopped {
		return
	}
	d.mu.Lock()
	d.queue = append(d.queue, latched{f.Cause, f.Detail, f, d.now(), d.episode()})
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// episode is the online one under way, "" if none is; d.mu is held.
func (d *desk) episode() string {
	for a := range d.arms {
		if a.live {
			return d.status.Episode
		}
	}
	return ""
}

// settle stores the faults of the queue.
func (d *desk) settle(ctx context.Context) error {
	d.file.Lock()
	defer d.file.Unlock()
	return d.settleLocked(ctx)
}

func (d *desk) settleLocked(ctx context.Context) error {
	for {
		d.mu.Lock()
		if len(d.queue) == 0 {
			d.mu.Unlock()
			return nil
		}
		l := d.queue[0]
		d.mu.Unlock()
		f := store.Fault{At: l.at, Episode: l.episode, Cause: l.cause.String(), Detail: l.detail}
		if l.fault != nil {
			f.Stamp, f.Report = l.fault.Stamp, tellFault(l.fault)
		}
		if _, err := d.add(ctx, f); err != nil {
			return err // it stays in the queue, and the arm held
		}
		d.mu.Lock()
		d.queue = d.queue[1:]
		d.mu.Unlock()
	}
}

// keep stores a stop beside the faults that are open, each of which somebody has to acknowledge:
// who lets another go, be it guard.recover or who put a scene back, knows nothing of this one.
// The same person's for the same reason is one, and the loop may have waited, and so stored it,
// before. What the disk does not take stays in the queue.
func (d *desk) keep(ctx context.Context, l latched) error {
	d.mu.Lock()
	same := func(q latched) bool { return q.cause == l.cause && q.detail == l.detail }
	if !slices.ContainsFunc(d.open, l.isStored) && !slices.ContainsFunc(d.queue, same) {
		d.queue = append(d.queue, l)
	}
	d.mu.Unlock()
	return d.settleLocked(ctx) // what a guard latched a moment before counts as the first
}

// isStored says whether f is l, or says the same.
func (l latched) isStored(f store.Fault) bool {
	return f.Cause == l.cause.String() && f.Detail == l.detail
}

// add stores an open fault and tells of it.
func (d *desk) add(ctx context.Context, f store.Fault) (int64, error) {
	id, err := d.store.AddFault(ctx, f)
	if err != nil {
		return 0, err
	}
	f.ID, f.Report = id, nil
	if len(d.open) == 0 {
		d.clear = make(chan struct{})
	}
	d.open = append(d.open, f)
	d.show(&d.open[0])
	d.log.Error("wire: the arm is held by a fault; look at it, then: "+acknowledging(f.ID, d.store.Dir()), "fault", f.ID, "cause", f.Cause, "detail", f.Detail)
	d.journal(faultKind, faultKey(f.ID, f.At), note(f))
	return id, nil
}

// show puts the first open fault into the status.
func (d *desk) show(f *store.Fault) {
	d.mu.Lock()
	if f == nil {
		d.status.Fault = nil
	} else {
		n := note(*f)
		d.status.Fault = &n
	}
	d.mu.Unlock()
	d.publish()
}

// journal appends without making anybody wait: what it says is stored already. It is tried
// until it is there, or the desk closes: who drives the arm next from another folder knows
// of a fault by the journal alone.
func (d *desk) journal(kind, id string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		d.log.Error("wire: journal", "err", err)
		return
	}
	d.wg.Go(func() {
		for told := false; ; told = true {
			// When the desk closes, as well: that is the last chance.
			last := d.ctx.Err() != nil
			ctx, cancel := context.WithTimeout(context.WithoutCancel(d.ctx), journalLimit)
			_, err := d.conn.Append(ctx, d.session, kind, id, b)
			cancel()
			if err == nil {
				return
			}
			if last || !told {
				d.log.Warn("wire: what was done is in the session's folder, but not in the journal", "kind", kind, "id", id, "gave_up", last, "err", err)
			}
			if last {
				return
			}
			select {
			case <-d.in(journalEvery):
			case <-d.ctx.Done():
			}
		}
	})
}

// note is a fault as it is told.
func note(f store.Fault) bus.Fault {
	return bus.Fault{ID: f.ID, Cause: f.Cause, Detail: f.Detail, Episode: f.Episode, Stamp: f.Stamp, At: f.At, Open: f.Open(), By: f.By, Cleared: f.Cleared, Note: f.Note}
}
