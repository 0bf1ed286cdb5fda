package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/store"
)

// faultKey is a fault's id in the journal, whatever folder it is stored in.
func faultKey(id int64, at time.Time) string { return fmt.Sprintf("fault-%d-%d", id, at.UnixNano()) }

// adoptedMark is the mark of a fault that was adopted under a number.
func adoptedMark(id int64) string { return fmt.Sprintf("adopted fault %d", id) }

// journalled is what the journal's entries say of faults.
type journalled struct {
	order []string
	open  map[string]bus.Fault
	acked map[string]bool // what is told of a fault while the server is away comes in any order
}

// adopt takes over the faults that actors of other folders have latched in this
// session and nobody has acknowledged: it is the same arm. What was acknowledged
// in this folder while no process drove it is told to the journal.
func (d *desk) adopt(ctx context.Context) error {
	j := journalled{open: map[string]bus.Fault{}, acked: map[string]bool{}}
	err := d.conn.Replay(ctx, d.session, 1, false, func(e bus.Entry) error {
		j.take(e)
		return nil
	})
	if err != nil {
		return err
	}
	d.file.Lock()
	defer d.file.Unlock()
	own, err := d.store.Faults(ctx)
	if err != nil {
		return err
	}
	for i := range own {
		f := &own[i]
		of, err := d.store.Marked(ctx, adoptedMark(f.ID))
		if err != nil {
			return err
		}
		for _, key := range []string{faultKey(f.ID, f.At), of} {
			if _, open := j.open[key]; open && !f.Open() {
				d.journalAck(key, f.By, f.Note, f.Cleared)
			}
			delete(j.open, key)
		}
	}
	for _, key := range j.order {
		f, open := j.open[key]
		if !open {
			continue
		}
		id, err := d.add(ctx, store.Fault{Stamp: f.Stamp, At: d.now(), Episode: f.Episode, Cause: f.Cause, Detail: f.Detail + " (latched by an actor of another folder)"})
		if err != nil {
			return err
		}
		if err := d.store.Mark(ctx, adoptedMark(id), key); err != nil {
			return err
		}
		delete(j.open, key) // one that was told twice is one
	}
	return nil
}

func (j *journalled) take(e bus.Entry) {
	switch e.Kind {
	case faultKind:
		var f bus.Fault
		if json.Unmarshal(e.Data, &f) == nil && !j.acked[e.ID] {
			j.order, j.open[e.ID] = append(j.order, e.ID), f
		}
	case actKind:
		var a struct{ Act, Key string }
		if json.Unmarshal(e.Data, &a) == nil && a.Act == "acknowledge" {
			j.acked[a.Key] = true
			delete(j.open, a.Key)
		}
	}
}

// journalAck tells the journal that a fault was acknowledged.
func (d *desk) journalAck(key, who, note string, at time.Time) {
	d.journal(actKind, fmt.Sprintf("acknowledge-%s", key), map[string]any{"act": "acknowledge", "who": who, "note": note, "key": key, "at": at})
}
