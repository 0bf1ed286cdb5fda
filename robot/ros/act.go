package ros

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/bluenviron/goroslib/v2/pkg/msgs/actionlib_msgs"
)

// lostTime is how long a goal may be missing from the server's status before
// it counts as lost. Servers tell the status five times a second or so.
const lostTime = 5 * time.Second

// Action is a client of an action server.
type Action[Goal, Feedback, Result any] struct {
	n    *Node
	name string

	goal     *Publisher[actionGoal[Goal]]
	cancel   *Publisher[actionlib_msgs.GoalID]
	status   *subscription
	feedback *subscription
	result   *subscription

	mu      sync.Mutex
	count   int
	going   map[string]*Going[Feedback, Result]
	changed chan struct{} // made by who waits for the server
}

// Going is a goal that was sent.
type Going[Feedback, Result any] struct {
	ID string

	cancel   func()
	told     sync.Mutex      // held while feedback runs, and to end that
	feedback func(*Feedback) // nil once the goal is over
	done     chan struct{}   // closed when result, status and text are set
	result   *Result
	status   Status
	text     string
	action   string

	seen time.Time // the last time that the server listed the goal; by the action's lock
	now  Status    // what it listed
}

// Act makes a client of the action of that name.
func Act[Goal, Feedback, Result any](n *Node, name string) (_ *Action[Goal, Feedback, Result], err error) {
	goal, feedback, result, err := actionKinds[Goal, Feedback, Result]()
	if err != nil {
		return nil, err
	}
	a := &Action[Goal, Feedback, Result]{n: n, name: n.Resolve(name), going: map[string]*Going[Feedback, Result]{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if a.goal, err = advertise[actionGoal[Goal]](n, a.name+"/goal", goal, false); err != nil {
		return nil, err
	}
	if a.cancel, err = Advertise[actionlib_msgs.GoalID](n, a.name+"/cancel", false); err != nil {
		return nil, err
	}
	if a.status, err = subscribe(n, a.name+"/status", a.wake, a.onStatus); err != nil {
		return nil, err
	}
	if a.feedback, err = subscribeAs(n, a.name+"/feedback", feedback, a.wake, a.onFeedback); err != nil {
		return nil, err
	}
	if a.result, err = subscribeAs(n, a.name+"/result", result, a.wake, a.onResult); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Action[G, F, R]) wake() {
	a.mu.Lock()
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
	a.mu.Unlock()
}

// WaitServer returns once a server hears goals and is heard. A server of rospy's counts
// a subscriber only after it has told it so: feedback of a goal that is sent at once may be lost.
func (a *Action[G, F, R]) WaitServer(ctx context.Context) error {
	if err := a.goal.WaitSubscriber(ctx); err != nil {
		return err
	}
	if err := a.cancel.WaitSubscriber(ctx); err != nil {
		return err
	}
	for {
		a.mu.Lock()
		if a.changed == nil {
			a.changed = make(chan struct{})
		}
		changed := a.changed
		a.mu.Unlock()
		heard := true
		for _, s := range []*subscription{a.status, a.feedback, a.result} {
			connected, err := s.state()
			if err != nil {
				return err
			}
			heard = heard && connected > 0
		}
		if heard {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ros: nobody serves the action %s: %w", a.name, ctx.Err())
		case <-a.n.ctx.Done():
			return ErrClosed
		case <-changed:
		}
	}
}

// Send sends a goal; feedback may be nil and must be quick. It does not run any
// more once the result is there.
func (a *Action[G, F, R]) Send(goal *G, feedback func(*F)) *Going[F, R] {
	now := a.n.Now()
	a.mu.Lock()
	a.count++
	id := fmt.Sprintf("%s-%d-%d.%09d", a.n.name, a.count, now.Unix(), now.Nanosecond())
	g := &Going[F, R]{ID: id, feedback: feedback, done: make(chan struct{}), action: a.name, seen: time.Now()}
	g.cancel = func() { a.cancel.Publish(&actionlib_msgs.GoalID{Id: id}) }
	a.going[id] = g
	a.mu.Unlock()
	a.goal.Publish(&actionGoal[G]{Header: header(now), GoalId: actionlib_msgs.GoalID{Stamp: now, Id: id}, Goal: *goal})
	return g
}

// Do waits for the server, sends a goal and waits for its result. When ctx
// ends first the goal is cancelled and ctx's error returned.
func (a *Action[G, F, R]) Do(ctx context.Context, goal *G, feedback func(*F)) (*R, error) {
	if err := a.WaitServer(ctx); err != nil {
		return nil, err
	}
	g := a.Send(goal, feedback)
	defer func() {
		a.mu.Lock()
		delete(a.going, g.ID)
		a.mu.Unlock()
		g.hush()
	}()
	r, err := a.await(ctx, g)
	if ctx.Err() != nil && err != nil {
		g.cancel()
	}
	return r, err
}

// Wait returns the result of a goal that was sent, or ErrGoal where it did not
// succeed; with the result that came along, if one did. The goal goes on when
// ctx ends.
func (a *Action[G, F, R]) Wait(ctx context.Context, g *Going[F, R]) (*R, error) {
	return a.await(ctx, g)
}

func (a *Action[G, F, R]) await(ctx context.Context, g *Going[F, R]) (*R, error) {
	look := time.NewTicker(lostTime / 10)
	defer look.Stop()
	for {
		select {
		case <-g.done:
			if g.status != Succeeded {
				return g.result, &ErrGoal{g.action, g.status, g.text}
			}
			return g.result, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("ros: %s: %w", g.action, ctx.Err())
		case <-a.n.ctx.Done():
			return nil, ErrClosed
		case <-look.C:
			a.mu.Lock()
			lost := time.Since(g.seen) > lostTime
			a.mu.Unlock()
			if lost {
				a.finish(g.ID, nil, Lost, fmt.Sprintf("the server has not named it for %v; did it end?", lostTime))
			}
		}
	}
}

// Cancel asks the server to end the goal; Wait tells how it ended.
func (g *Going[F, R]) Cancel() { g.cancel() }

// CancelAll asks the server to end every goal, also those of others.
func (a *Action[G, F, R]) CancelAll() { a.cancel.Publish(&actionlib_msgs.GoalID{}) }

func (a *Action[G, F, R]) onStatus(m *actionlib_msgs.GoalStatusArray) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range m.StatusList {
		if g := a.going[m.StatusList[i].GoalId.Id]; g != nil {
			// A finished goal is listed for a while; its result comes by itself.
			if g.now = Status(m.StatusList[i].Status); !g.now.over() {
				g.seen = time.Now()
			}
		}
	}
}

func (a *Action[G, F, R]) onFeedback(m *actionFeedback[F]) {
	a.mu.Lock()
	g := a.going[m.Status.GoalId.Id]
	if g != nil {
		g.seen = time.Now()
	}
	a.mu.Unlock()
	if g == nil {
		return
	}
	g.told.Lock()
	defer g.told.Unlock()
	if g.feedback != nil {
		g.feedback(&m.Feedback)
	}
}

func (a *Action[G, F, R]) onResult(m *actionResult[R]) {
	a.finish(m.Status.GoalId.Id, &m.Result, Status(m.Status.Status), m.Status.Text)
}

// hush ends feedback; one that runs is waited for.
func (g *Going[F, R]) hush() {
	g.told.Lock()
	g.feedback = nil
	g.told.Unlock()
}

func (a *Action[G, F, R]) finish(id string, r *R, s Status, text string) {
	a.mu.Lock()
	g := a.going[id]
	a.mu.Unlock()
	if g == nil {
		return
	}
	g.hush()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.going[id] != g {
		return // another was quicker
	}
	delete(a.going, id)
	g.result, g.status, g.text = r, s, text
	close(g.done)
}

// Close ends the client. Goals go on.
func (a *Action[G, F, R]) Close() error {
	var all []io.Closer
	for _, s := range []*subscription{a.status, a.feedback, a.result} {
		if s != nil {
			all = append(all, s)
		}
	}
	if a.goal != nil {
		all = append(all, a.goal)
	}
	if a.cancel != nil {
		all = append(all, a.cancel)
	}
	return CloseAll(all)
}

// CloseAll ends several topics, services or actions at once: each may wait a second or two
// for a master that does not answer.
func CloseAll(all []io.Closer) error {
	errs := make([]error, len(all))
	var crew sync.WaitGroup
	for i, c := range all {
		crew.Go(func() { errs[i] = c.Close() })
	}
	crew.Wait()
	return errors.Join(errs...)
}
