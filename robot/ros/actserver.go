package ros

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/bluenviron/goroslib/v2/pkg/msgs/actionlib_msgs"
)

// How often a server tells the state of its goals, and for how long those of
// goals that ended: actionlib's defaults.
const (
	statusTime = 200 * time.Millisecond
	keepTime   = 5 * time.Second
)

// server carries out one goal at a time; a newer one ends the running one.
type server[G, F, R any] struct {
	n    *Node
	name string
	do   func(ctx context.Context, goal *G, feedback func(*F)) (*R, error)

	status   *Publisher[actionlib_msgs.GoalStatusArray]
	feedback *Publisher[actionFeedback[F]]
	result   *Publisher[actionResult[R]]
	subs     []io.Closer
	ctx      context.Context
	stop     context.CancelFunc
	crew     sync.WaitGroup

	mu    sync.Mutex
	count int
	goals []*goal[G]
	early []actionlib_msgs.GoalID // cancelled before they came
	next  *goal[G]                // what waits for the running one to end
	busy  bool
}

type goal[G any] struct {
	id     actionlib_msgs.GoalID
	goal   G
	status Status
	text   string
	ended  time.Time
	stop   context.CancelFunc // of a running goal
	asked  bool               // to end
}

// ServeAct serves an action: do carries out a goal and returns its result. Its
// context ends when the goal is cancelled, when a newer goal comes (which
// waits for do to return), or when the server is closed. A nil error means
// success; an error after the context's end, preempted; any other, aborted,
// with the error's text and the result if there is one.
func ServeAct[Goal, Feedback, Result any](n *Node, name string, do func(ctx context.Context, goal *Goal, feedback func(*Feedback)) (*Result, error)) (_ io.Closer, err error) {
	kg, kf, kr, err := actionKinds[Goal, Feedback, Result]()
	if err != nil {
		return nil, err
	}
	s := &server[Goal, Feedback, Result]{n: n, name: n.Resolve(name), do: do}
	s.ctx, s.stop = context.WithCancel(n.ctx)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.status, err = Advertise[actionlib_msgs.GoalStatusArray](n, s.name+"/status", true); err != nil {
		return nil, err
	}
	if s.feedback, err = advertise[actionFeedback[Feedback]](n, s.name+"/feedback", kf, false); err != nil {
		return nil, err
	}
	if s.result, err = advertise[actionResult[Result]](n, s.name+"/result", kr, false); err != nil {
		return nil, err
	}
	cancel, err := Subscribe(n, s.name+"/cancel", s.onCancel)
	if err != nil {
		return nil, err
	}
	s.subs = append(s.subs, cancel)
	goals, err := subscribeAs(n, s.name+"/goal", kg, nil, s.onGoal)
	if err != nil {
		return nil, err
	}
	s.subs = append(s.subs, goals)
	s.crew.Go(s.tell)
	return s, nil
}

// tell publishes the states over and over.
func (s *server[G, F, R]) tell() {
	for {
		s.mu.Lock()
		now := time.Now()
		s.goals = slices.DeleteFunc(s.goals, func(g *goal[G]) bool {
			return g.status.over() && now.Sub(g.ended) > keepTime
		})
		s.publish()
		s.mu.Unlock()
		if wait(s.ctx, statusTime) != nil {
			return
		}
	}
}

// publish tells the states of all goals. The lock is held.
func (s *server[G, F, R]) publish() {
	m := actionlib_msgs.GoalStatusArray{Header: header(s.n.Now())}
	for _, g := range s.goals {
		m.StatusList = append(m.StatusList, g.report())
	}
	s.status.Publish(&m)
}

func (g *goal[G]) report() actionlib_msgs.GoalStatus {
	return actionlib_msgs.GoalStatus{GoalId: g.id, Status: uint8(g.status), Text: g.text}
}

func (s *server[G, F, R]) onGoal(m *actionGoal[G]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	g := &goal[G]{id: m.GoalId, goal: m.Goal}
	now := s.n.Now()
	s.count++
	if g.id.Id == "" { // some clients leave it to the server
		g.id.Id = fmt.Sprintf("%s-%d-%d.%09d", s.n.name, s.count, now.Unix(), now.Nanosecond())
	}
	if g.id.Stamp.IsZero() {
		g.id.Stamp = now
	}
	if slices.ContainsFunc(s.goals, func(o *goal[G]) bool { return o.id.Id == g.id.Id }) {
		return // sent twice
	}
	s.goals = append(s.goals, g)
	if i := slices.IndexFunc(s.early, func(id actionlib_msgs.GoalID) bool { return id.Id == g.id.Id }); i >= 0 {
		s.early = slices.Delete(s.early, i, i+1)
		s.finish(g, nil, Recalled, "cancelled before it came")
		return
	}
	if s.next != nil {
		s.finish(s.next, nil, Recalled, "a newer goal came")
		s.next = nil
	}
	s.next = g
	for _, o := range s.goals {
		if o.stop != nil {
			s.end(o)
		}
	}
	if !s.busy {
		s.busy = true
		s.crew.Go(s.work)
	}
	s.publish()
}

// end asks a running goal to end. The lock is held.
func (s *server[G, F, R]) end(g *goal[G]) {
	if g.status == Active {
		g.status = Preempting
	}
	g.asked = true
	g.stop()
}

func (s *server[G, F, R]) onCancel(id *actionlib_msgs.GoalID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := id.Id == "" && id.Stamp.IsZero()
	known := false
	for _, g := range s.goals {
		same := g.id.Id == id.Id
		known = known || same
		if !all && !same && (id.Stamp.IsZero() || g.id.Stamp.After(id.Stamp)) {
			continue
		}
		switch {
		case g.status.over():
		case g == s.next:
			s.next = nil
			s.finish(g, nil, Recalled, "cancelled before it began")
		case g.stop != nil:
			s.end(g)
		}
	}
	if id.Id != "" && !known {
		if s.early = append(s.early, *id); len(s.early) > 64 {
			s.early = s.early[1:]
		}
	}
	s.publish()
}

// finish ends a goal and tells its result. The lock is held.
func (s *server[G, F, R]) finish(g *goal[G], r *R, status Status, text string) {
	g.status, g.text, g.ended, g.stop = status, text, time.Now(), nil
	if r == nil {
		r = new(R)
	}
	s.result.Publish(&actionResult[R]{Header: header(s.n.Now()), Status: g.report(), Result: *r})
	s.publish()
}

// work carries out goals until none waits.
func (s *server[G, F, R]) work() {
	for {
		s.mu.Lock()
		g := s.next
		s.next = nil
		if g == nil {
			s.busy = false
			s.mu.Unlock()
			return
		}
		ctx, stop := context.WithCancel(s.ctx)
		g.status, g.stop = Active, stop
		s.publish()
		s.mu.Unlock()
		r, err := s.do(ctx, &g.goal, func(f *F) {
			s.mu.Lock()
			status := g.report()
			s.mu.Unlock()
			s.feedback.Publish(&actionFeedback[F]{Header: header(s.n.Now()), Status: status, Feedback: *f})
		})
		s.mu.Lock()
		switch {
		case err == nil:
			s.finish(g, r, Succeeded, "")
		case g.asked || ctx.Err() != nil:
			s.finish(g, r, Preempted, err.Error())
		default:
			s.finish(g, r, Aborted, err.Error())
		}
		s.mu.Unlock()
		stop()
	}
}

// Close ends the running goal and the server. It waits for do to return.
func (s *server[G, F, R]) Close() error {
	err := CloseAll(s.subs)
	s.mu.Lock()
	s.stop()
	if s.next != nil {
		s.finish(s.next, nil, Recalled, "the server ends")
		s.next = nil
	}
	s.mu.Unlock()
	s.crew.Wait()
	var all []io.Closer
	if s.result != nil {
		all = append(all, s.result)
	}
	if s.feedback != nil {
		all = append(all, s.feedback)
	}
	if s.status != nil {
		all = append(all, s.status)
	}
	return errors.Join(err, CloseAll(all))
}
