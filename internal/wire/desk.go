package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/robot/guard"
)

// desk is where people stop the arms of this process and acknowledge their
// faults. It owns what is known of faults, on disk and on the bus.
//
// A fault is in the guard first, at once; then it is stored with what the guard
// remembers, then told. Nobody's fault is cleared before it is stored.
type desk struct {
	store   *store.Session
	conn    *bus.Conn
	session string // on the bus
	log     *slog.Logger
	now     func() time.Time
	after   func(time.Duration) <-chan time.Time
	recover config.Recover
	tell    Progress

	mu     sync.Mutex // guards what follows; never held while a guard or the disk works
	arms   map[*arm]bool
	queue  []latched // faults that are not stored yet
	status bus.Status
	before toldStage // the stage that a fault interrupted
	feed   *bus.Feed[bus.Status]
	heard  <-chan struct{} // closed once StopTopic is heard; nil without ROS

	file  sync.Mutex // held while faults are stored or acknowledged
	open  []store.Fault
	clear chan struct{} // closed when the last open fault was acknowledged

	wake   chan struct{}
	ctx    context.Context // of the desk's own work
	cancel context.CancelFunc
	wg     sync.WaitGroup
	unbind func()
}

// toldStage is a stage as it was told.
type toldStage struct {
	stage       string
	done, total int
	note        string
}

// latched is a fault with when it came.
type latched struct {
	cause   guard.Cause
	detail  string
	fault   *guard.Fault // what its guard remembers; nil if no arm moved
	at      time.Time
	episode string
}

const (
	// statusEvery is how often the session says how it stands while nothing moves.
	statusEvery = 500 * time.Millisecond
	// holdLimit is how long a stop waits for the tick that holds an arm. A tick is
	// 50 ms; what takes longer is told as not held.
	holdLimit = time.Second
	// journalLimit is how long one try to append to the journal may take, and journalEvery
	// what lies between two. A server that was restarted is there again in seconds.
	journalLimit = 2 * time.Second
	journalEvery = 2 * time.Second
	// actKind and faultKind are kinds of entries in the session's journal.
	actKind   = "operator"
	faultKind = "fault"
	// automatic is who acknowledges where guard.recover allows it.
	automatic = "guard.recover"
)

// newDesk opens the desk of a session in the role "run" or "actor".
func newDesk(s *Session, role string) (*desk, error) {
	d := &desk{store: s.store, conn: s.conn, session: s.name, log: s.log, now: s.now, after: s.after, recover: s.cfg.Guard.Recover, tell: s.tell,
		arms: map[*arm]bool{}, wake: make(chan struct{}, 1), clear: make(chan struct{}), status: bus.Status{Role: role}}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	var err error
	if d.open, err = s.store.OpenFaults(d.ctx); err != nil {
		return nil, err
	}
	if len(d.open) == 0 {
		close(d.clear)
	} else {
		d.show(&d.open[0])
	}
	if d.feed, err = bus.NewFeed(s.conn, s.name, bus.StatusTopic(), depth); err != nil {
		return nil, err
	}
	if d.unbind, err = bus.ServeOperator(d.ctx, s.conn, s.name, d); err != nil {
		d.feed.Close()
		return nil, err
	}
	d.wg.Go(d.work)
	return d, nil
}

// close ends the desk once every fault is stored.
func (d *desk) close() error {
	if d == nil {
		return nil
	}
	d.unbind()
	d.cancel()
	d.wg.Wait()
	err := d.settle(context.Background())
	d.wg.Wait() // for what that has told the journal
	d.feed.Close()
	return err
}

// work stores faults as they come, and says how the session stands.
func (d *desk) work() {
	var beat <-chan time.Time
	for {
		if beat == nil && d.after != nil {
			beat = d.after(statusEvery)
		}
		select {
		case <-d.ctx.Done():
			return
		case <-d.wake:
			if err := d.settle(d.ctx); err != nil && d.ctx.Err() == nil {
				d.log.Error("wire: a fault is not stored yet; the arm stays held", "err", err)
			}
		case <-beat:
			beat = nil
		}
		d.publish()
	}
}

// in is After, which never comes for who has no clock.
func (d *desk) in(t time.Duration) <-chan time.Time {
	if d.after == nil {
		return nil
	}
	return d.after(t)
}

// listen stops the arms in the name of who when a reason comes, as from a signal,
// until ctx ends.
func (d *desk) listen(ctx context.Context, who string, stops <-chan string) {
	for {
		select {
		case <-ctx.Done():
			return
		case why, ok := <-stops:
			if !ok {
				return
			}
			if _, err := d.Stop(ctx, bus.Stop{Who: who, Why: why}); err != nil {
				d.log.Error("wire: stop", "err", err)
			}
		}
	}
}

// attach puts an arm under the desk until detach is called. While a fault is
// open the arm is held from its first command on.
func (d *desk) attach(ctx context.Context, a *arm) (detach func(), err error) {
	if d == nil {
		return func() {}, nil
	}
	a.desk.Store(d)
	d.mu.Lock()
	d.arms[a] = true
	d.status.Moving = true
	if d.episode() == "" { // none, or the last one, which is over: no hand moves this arm
		d.ahead("")
	}
	d.mu.Unlock()
	d.file.Lock()
	defer d.file.Unlock()
	err = d.settleLocked(ctx) // a stop that nobody's disk took when it came
	if len(d.open) > 0 {
		err = errors.Join(err, a.guard.Stop(ctx, reason(&d.open[0])))
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.arms, a)
		d.status.Moving = len(d.arms) > 0
	}, err
}

// attached are the arms under the desk. Their guards are asked without d.mu: one that latches
// a fault is locked while note waits for it.
func (d *desk) attached() []*arm {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.arms))
}

// reason is why an arm is held for a fault that it did not cause itself.
func reason(f *store.Fault) string { return fmt.Sprintf("fault %d is open: %s", f.ID, f.Detail) }

// Stop is bus.Operator's: guards first, then the disk.
func (d *desk) Stop(ctx context.Context, s bus.Stop) (bus.Stopped, error) {
	began := d.now()
	s.Who, s.Why = plain(s.Who), plain(s.Why)
	detail := fmt.Sprintf("by %s: %s", s.Who, s.Why)
	d.mu.Lock()
	arms := slices.Collect(maps.Keys(d.arms))
	episode := d.episode()
	already := d.status.Fault != nil
	d.mu.Unlock()
	for _, a := range arms {
		already = already || a.guard.Fault() != nil
	}
	held, err := d.halt(ctx, arms, detail)
	errs := []error{err}
	r := bus.Stopped{Idle: len(arms) == 0, Held: held, Hold: d.now().Sub(began)}
	d.file.Lock()
	defer d.file.Unlock()
	ctx = context.WithoutCancel(ctx) // the stop counts, though nobody waits for its answer any more
	// An arm whose fault of before was acknowledged meanwhile, and one that began to move. While the
	// file is ours nobody acknowledges, and who begins waits for it and finds the fault open.
	loose := slices.DeleteFunc(d.attached(), func(a *arm) bool { return a.guard.Fault() != nil })
	if len(loose) > 0 {
		held, err := d.halt(ctx, loose, detail)
		errs = append(errs, err)
		r.Idle, r.Held, r.Hold = false, r.Held && held, d.now().Sub(began)
	}
	l := latched{cause: guard.Stopped, detail: detail, at: began, episode: episode}
	for _, a := range arms {
		if f := a.guard.Fault(); f != nil {
			l.fault = f
		}
	}
	kept := d.keep(ctx, l)
	r.Already = already
	switch i := slices.IndexFunc(d.open, l.isStored); {
	case i >= 0:
		r.Fault = note(d.open[i])
	case r.Idle:
		errs = append(errs, kept) // nothing holds the next arm
	default:
		// The arm is held all the same; the session ends, since nobody could
		// acknowledge what is not stored.
		d.log.Error("wire: the stop is not stored", "err", kept)
		r.Fault = bus.Fault{Cause: guard.Stopped.String(), Detail: fmt.Sprintf("%s (not stored: %v)", detail, kept), At: began, Open: true}
	}
	d.journal(actKind, fmt.Sprintf("stop-%d", began.UnixNano()), map[string]any{"act": "stop", "who": s.Who, "why": s.Why, "fault": r.Fault.ID, "held": r.Held, "hold_ns": r.Hold})
	return r, errors.Join(errs...)
}

// plain is what somebody said without what would do something to a terminal, and not too long to
// be shown: a stop is not refused for its reason.
func plain(said string) string {
	const most = 400 // the longest that the program says itself (turns.ask) has some 360
	rs := []rune(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, said))
	if len(rs) > most {
		rs = append(rs[:most], '…')
	}
	return string(rs)
}

// halt stops arms, and says whether all were told to hold within holdLimit.
func (d *desk) halt(ctx context.Context, arms []*arm, detail string) (held bool, err error) {
	var all sync.WaitGroup
	errs := make([]error, len(arms))
	told := make([]bool, len(arms))
	for i, a := range arms {
		all.Go(func() {
			if errs[i] = a.guard.Stop(ctx, detail); errs[i] != nil {
				return
			}
			select {
			case <-a.guard.Held():
				told[i] = true
			case <-d.in(holdLimit):
			case <-ctx.Done():
			}
		})
	}
	all.Wait()
	return !slices.Contains(told, false), errors.Join(errs...)
}

// Acknowledge is bus.Operator's.
func (d *desk) Acknowledge(ctx context.Context, a bus.Acknowledge) (bus.Acknowledged, error) {
	a.Who, a.Note = plain(a.Who), plain(a.Note)
	d.file.Lock()
	defer d.file.Unlock()
	return d.acknowledge(ctx, a)
}

func (d *desk) acknowledge(ctx context.Context, a bus.Acknowledge) (r bus.Acknowledged, err error) {
	// What a guard latches from here on nobody was told of.
	told := map[*arm]*guard.Fault{}
	for _, arm := range d.attached() {
		told[arm] = arm.guard.Fault()
	}
	if err := d.settleLocked(ctx); err != nil {
		return r, err
	}
	i := slices.IndexFunc(d.open, func(f store.Fault) bool { return f.ID == a.Fault })
	if i < 0 {
		return r, fmt.Errorf("%w: open fault %d; list them with: rapport fault", bus.ErrNone, a.Fault)
	}
	at := d.now()
	if err := d.store.Acknowledge(ctx, a.Fault, at, a.Who, a.Note); err != nil {
		return r, err
	}
	f := d.open[i]
	f.By, f.Note, f.Cleared = a.Who, a.Note, at
	d.open = slices.Delete(d.open, i, i+1)
	r = bus.Acknowledged{Fault: note(f), Left: len(d.open)}
	d.log.Warn("wire: fault acknowledged", "fault", f.ID, "by", a.Who, "left", r.Left)
	d.journalAck(faultKey(f.ID, f.At), a.Who, a.Note, at)
	of, err := d.store.Marked(ctx, adoptedMark(f.ID))
	if err != nil {
		d.log.Error("wire: whether the fault was another folder's is not known", "err", err)
	} else if of != "" {
		d.journalAck(of, a.Who, a.Note, at)
	}
	if r.Left > 0 {
		d.show(&d.open[0])
		return r, nil
	}
	for arm, f := range told {
		if f == nil {
			continue
		}
		if e := arm.guard.AcknowledgeFault(a.Who, f); e != nil {
			return r, e
		}
	}
	d.show(nil)
	close(d.clear)
	return r, nil
}

// Faults is bus.Operator's.
func (d *desk) Faults(ctx context.Context) ([]bus.Fault, error) {
	d.file.Lock()
	defer d.file.Unlock()
	if err := d.settleLocked(ctx); err != nil {
		return nil, err
	}
	all, err := d.store.Faults(ctx)
	return tellFaults(all), err
}

// tellFaults are faults as they are told, the newest first.
func tellFaults(all []store.Fault) []bus.Fault {
	out := make([]bus.Fault, 0, len(all))
	for _, f := range slices.Backward(all) {
		out = append(out, note(f))
	}
	return out
}

// checkFaults refuses to go on with a session while a fault is open: the process
// that begins now knows nothing of it.
func checkFaults(ctx context.Context, st *store.Session) error {
	open, err := st.OpenFaults(ctx)
	if err != nil || len(open) == 0 {
		return err
	}
	var errs []error
	for _, f := range open {
		errs = append(errs, fmt.Errorf("wire: %s: fault %d is open (%s: %s); look at the arm, then: %s", st.Dir(), f.ID, f.Cause, f.Detail, acknowledging(f.ID, st.Dir())))
	}
	return errors.Join(errs...)
}

type deskKey struct{}

// withDesk returns a context whose arms are under the desk.
func withDesk(ctx context.Context, d *desk) context.Context {
	return context.WithValue(ctx, deskKey{}, d)
}

// deskOf is the desk of the session that ctx is of, nil if it has none.
func deskOf(ctx context.Context) *desk {
	d, _ := ctx.Value(deskKey{}).(*desk)
	return d
}
