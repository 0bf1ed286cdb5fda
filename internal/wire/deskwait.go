package wire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot/guard"
)

// wait returns when no fault is open: an operator has acknowledged them, or
// guard.recover allows to go on. The arm is held meanwhile.
func (d *desk) wait(ctx context.Context) error {
	d.file.Lock()
	err := d.settleLocked(ctx)
	if err == nil && len(d.open) == 0 {
		err = d.find(ctx)
	}
	for err == nil && len(d.open) > 0 {
		f := d.open[0]
		var ok bool
		if ok, err = d.mayRecover(ctx, f); !ok || err != nil {
			break
		}
		_, err = d.acknowledge(ctx, bus.Acknowledge{Fault: f.ID, Who: automatic, Note: fmt.Sprintf("at most %d an hour", d.recover.MaxPerHour)})
	}
	clear, open := d.clear, slices.Clone(d.open)
	d.file.Unlock()
	if err != nil || len(open) == 0 {
		return err
	}
	d.mu.Lock()
	if s := &d.status; s.Stage != heldStage { // or several wait for it
		d.before = toldStage{s.Stage, s.Done, s.Total, s.Note}
	}
	d.mu.Unlock()
	d.tell(heldStage, 0, 1, fmt.Sprintf("%s: %s; go on with: %s", open[0].Cause, open[0].Detail, acknowledging(open[0].ID, d.store.Dir())))
	d.stage(heldStage, 0, 1, open[0].Detail)
	select {
	case <-clear:
		d.goOn()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// heldStage is that of a session that waits for an operator.
const heldStage = "held"

// goOn tells the stage again that was told before the arm was held, unless somebody told another
// meanwhile or the next fault is there.
func (d *desk) goOn() {
	d.mu.Lock()
	was, over := d.before, d.status.Stage == heldStage && d.status.Fault == nil
	d.mu.Unlock()
	if !over {
		return
	}
	if was.stage != "" {
		d.tell(was.stage, was.done, was.total, was.note)
	}
	d.stage(was.stage, was.done, was.total, was.note)
}

// find stores the fault of an arm that is held though none is open: its stop could
// not be stored when it came, or is about to be. d.file is held.
func (d *desk) find(ctx context.Context) error {
	d.mu.Lock()
	arms := slices.Collect(maps.Keys(d.arms))
	episode := d.episode()
	d.mu.Unlock()
	for _, a := range arms {
		if f := a.guard.Fault(); f != nil {
			_, err := d.add(ctx, store.Fault{Stamp: f.Stamp, At: d.now(), Episode: episode, Cause: f.Cause.String(), Detail: f.Detail, Report: tellFault(f)})
			return err
		}
	}
	return nil
}

// mayRecover says whether f may be acknowledged without a person: its cause is
// configured, and fewer than the cap were within the last hour, earlier lives of
// the session included.
func (d *desk) mayRecover(ctx context.Context, f store.Fault) (bool, error) {
	if d.recover.MaxPerHour == 0 || !slices.ContainsFunc(d.recover.Causes, func(c string) bool { return recoverable()[c].String() == f.Cause }) {
		return false, nil
	}
	all, err := d.store.Faults(ctx)
	if err != nil {
		return false, err
	}
	n := 0
	for _, old := range all {
		if old.By == automatic && d.now().Sub(old.Cleared) < time.Hour {
			n++
		}
	}
	if n >= d.recover.MaxPerHour {
		d.log.Error("wire: guard.recover.max_per_hour is reached; the fault stays", "fault", f.ID, "recovered", n)
		return false, nil
	}
	return true, nil
}

// recoverable are the causes that guard.recover.causes may name; the last two of a simulated
// arm alone.
func recoverable() map[string]guard.Cause {
	return map[string]guard.Cause{"stale": guard.Stale, "failed": guard.Failed, "lease": guard.LeaseLost, "limits": guard.OffLimits, "nonfinite": guard.NonFinite}
}

// again runs an episode until no fault cuts it off. begin makes ready for each
// further try, when the arm may move again.
func (d *desk) again(ctx context.Context, run func() (policy.Episode, error), begin func() error) (policy.Episode, error) {
	for {
		ep, err := run()
		var f *guard.Fault
		if err == nil || d == nil || !errors.As(err, &f) {
			return ep, err
		}
		if e := d.wait(ctx); e != nil {
			return ep, errors.Join(err, e)
		}
		if e := begin(); e != nil {
			return ep, errors.Join(err, e)
		}
	}
}

// acknowledging is the command that acknowledges a fault of the session in dir.
func acknowledging(id int64, dir string) string {
	return fmt.Sprintf("rapport fault ack %d --by NAME --session %s", id, Quoted(dir))
}
