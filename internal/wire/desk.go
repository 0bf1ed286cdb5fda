package wire

import (
	"context"
	"encoding/json"
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
	"github.com/rapport-rl/rapport/policy"
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
	feed   *bus.Feed[bus.Status]

	file  sync.Mutex // held while faults are stored or acknowledged
	open  []store.Fault
	clear chan struct{} // closed when the last open fault was acknowledged

	wake   chan struct{}
	ctx    context.Context // of the desk's own work
	cancel context.CancelFunc
	wg     sync.WaitGroup
	unbind func()
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
	const most = 200
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
	d.tell("held", 0, 1, fmt.Sprintf("%s: %s; go on with: %s", open[0].Cause, open[0].Detail, acknowledging(open[0].ID, d.store.Dir())))
	d.stage("held", 0, 1, open[0].Detail)
	select {
	case <-clear:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
