package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// wayOf is the configured direction.
func wayOf(c config.Config) tabletop.Direction {
	if c.Robot.Way == "backward" {
		return tabletop.Backward
	}
	return tabletop.Forward
}

// onward is how the episodes of practice begin: where the last one left things, or anew,
// once a person put the scene back.
type onward struct {
	way      tabletop.Direction // whose turn it is
	reminder int
	ask      bool // a person is asked for at the desk, since nothing else puts the scene back

	placed bool    // the scene is as an episode left it
	ready  [2]bool // by way: the scene is told to be as its episodes begin
	failed int     // episodes without success in a row
	lost   error   // why a person is asked for before as many failed
	resets int     // by a person
}

// spent says that a person is to put the scene back before the next episode.
func (s *onward) spent() bool { return s.placed && (s.failed >= s.reminder || s.lost != nil) }

// begin begins an episode by turn, or anew where that is a person's. Where turn fails and
// may, it is too.
func (s *onward) begin(ctx context.Context, turn, anew func(context.Context) (robot.Observation, error), may bool) (robot.Observation, error) {
	if s.placed && !s.spent() {
		obs, err := turn(ctx)
		if err == nil || ctx.Err() != nil || !may {
			return obs, err
		}
		// The arm does not get out of what it did: that is what people are for.
	}
	obs, err := anew(ctx)
	if err == nil {
		s.placed, s.failed, s.lost = true, 0, nil
		s.putBack()
	}
	return obs, err
}

// putBack notes that a person put the scene back, for the way whose turn it is.
func (s *onward) putBack() {
	s.stands(s.way, true)
	s.resets++
}

// stands notes whether the scene is told to be as the episodes of a way begin. Those of the
// other one begin otherwise.
func (s *onward) stands(way tabletop.Direction, so bool) { s.ready[way], s.ready[1-way] = so, false }

// goesOn is a simulated world in practice. It is the backend behind the guard.
type goesOn struct {
	*seeded
	on *onward
}

// Reset begins the episode a.next in the direction of whose turn it is.
func (s goesOn) Reset(ctx context.Context) (robot.Observation, error) {
	n := s.arm.begins()
	w, ok := s.world.(*tabletop.World)
	if !ok {
		return robot.Observation{}, errors.New("wire: practice wants a world that can be gone on with")
	}
	s.way = s.on.way
	turn := func(ctx context.Context) (robot.Observation, error) { return w.Turn(ctx, s.way) }
	anew := func(ctx context.Context) (robot.Observation, error) {
		return s.seeded.begin(ctx, draw(s.seed, s.of, n))
	}
	return s.on.begin(ctx, turn, anew, true)
}

// goesOnROS is an arm on ROS in practice.
type goesOnROS struct {
	*tallied
	on *onward
}

// Reset has the arm let go, and get out and back to its start; robot.ros.again is called
// where a person is to put the scene back.
func (b goesOnROS) Reset(ctx context.Context) (robot.Observation, error) {
	b.arm.begins()
	return b.on.begin(ctx, b.Turn, b.Backend.Reset, false)
}

// errTimeUp ends practice after practice.hours.
var errTimeUp = errors.New("wire: practice.hours are over")

// practice is two sessions that take turns on one arm.
type practice struct {
	until time.Time // zero: no end
	now   func() time.Time
	shown chan struct{} // closed once the first session shows what both do
	seed  uint64        // that one's, of which the arm is; known once it is shown
	quiet func()        // ends that, once both have ended; nil before

	mu      sync.Mutex
	arm     *arm // while one of both is there
	release func() error
	users   int
	resets  int // by a person, until the arm was released, before it was gone on with too
	turns   [2]*turns
	turn    int           // whose turn it is
	over    bool          // the hours are
	moved   chan struct{} // closed and made anew when that changes
}

// take gives a session the arm, under the desk of both, until done. Who is there first makes it,
// as the way there has it: which of both prepared faster is to change no episode.
func (p *practice) take(ctx context.Context, s *Session) (a *arm, done func() error, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users == 0 {
		c := s.cfg
		c.Seed, c.Robot.Way = p.seed, "forward"
		if p.arm, p.release, err = s.armOf(ctx, c); err != nil {
			return nil, nil, err
		}
		p.arm.onward.resets = p.resets
	}
	p.users++
	return p.arm, p.leave, nil
}

// leave releases the arm when the last one goes.
func (p *practice) leave() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users--; p.users > 0 {
		return nil
	}
	p.resets = p.arm.onward.resets
	return p.release()
}

// turns is one session's side: its backend, which waits for its turn before an
// episode begins.
type turns struct {
	*guard.Guard
	p    *practice
	arm  *arm
	desk *desk
	way  tabletop.Direction
	next int // episode
	gone bool
}

// of is the side of a session that goes on with its next episode.
func (p *practice) of(s *Session, a *arm, next int) *turns {
	t := &turns{Guard: a.guard, p: p, arm: a, desk: s.desk, way: wayOf(s.cfg), next: next}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turns[t.way] = t
	p.choose()
	return t
}

// choose gives the turn to who did fewer episodes, to the way forth of equals; p.mu
// is held. Nobody has it before both are there.
func (p *practice) choose() {
	f, b := p.turns[tabletop.Forward], p.turns[tabletop.Backward]
	was := p.turn
	switch {
	case f == nil || b == nil:
		p.turn = nobodys
	case b.gone || !f.gone && f.next <= b.next:
		p.turn = int(tabletop.Forward)
	default:
		p.turn = int(tabletop.Backward)
	}
	if p.turn != was || p.over {
		close(p.moved)
		p.moved = make(chan struct{})
	}
}

// ended says whether the hours are over: for both, once they are for one.
func (p *practice) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = p.over || !p.until.IsZero() && !p.now().Before(p.until)
	return p.over
}

// nobodys is the turn before both sessions are ready.
const nobodys = -1

// Reset begins the session's next episode once it is its turn.
func (t *turns) Reset(ctx context.Context) (robot.Observation, error) {
	for {
		t.p.mu.Lock()
		mine, moved := t.p.turn == int(t.way), t.p.moved
		t.p.mu.Unlock()
		if t.p.ended() {
			return robot.Observation{}, errTimeUp
		}
		if mine {
			return t.begin(ctx)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return robot.Observation{}, ctx.Err()
		}
	}
}

// begin begins the episode of whose turn it is. Where the last one left a thing so that the
// cameras do not see what the waypoints hang on, a person is to put the scene back; none begins
// where the hours are over by then.
func (t *turns) begin(ctx context.Context) (robot.Observation, error) {
	o := t.arm.onward
	o.way = t.way
	t.desk.turn(t.way)
	for {
		if o.ask && o.spent() {
			if err := t.ask(ctx); err != nil {
				return robot.Observation{}, err
			}
			if t.p.ended() {
				return robot.Observation{}, errTimeUp
			}
		}
		placed, resets := o.placed, o.resets
		obs, err := t.reset(ctx)
		if err == nil && o.resets > resets && t.p.ended() { // robot.ros.again took as long as its person
			return robot.Observation{}, errTimeUp
		}
		if err != nil || t.arm.hidden == nil || !placed || o.resets > resets {
			return obs, err
		}
		lost := t.arm.hidden(ctx, obs)
		if lost == nil {
			return obs, nil
		}
		t.desk.log.Warn("practice: the scene is not as an episode could begin, and is to be put back", "err", lost)
		o.lost = lost
	}
}

// reset begins the session's next episode, however often it was tried.
func (t *turns) reset(ctx context.Context) (robot.Observation, error) {
	t.arm.next = t.next
	return t.Guard.Reset(ctx)
}

// ask has the arm get out of what it did, holds it, and waits until somebody acknowledges
// that, who put the scene back before.
func (t *turns) ask(ctx context.Context) (err error) {
	o := t.arm.onward
	failed, lost := o.failed, o.lost
	defer func() {
		if err != nil {
			o.failed, o.lost = failed, lost // somebody still has to
		}
	}()
	o.failed, o.lost = 0, nil
	if _, err := t.reset(ctx); err != nil {
		return err
	}
	why := "put the scene back, out of the arm's way, and acknowledge"
	if !t.p.until.IsZero() {
		why += fmt.Sprintf(" (practice.hours: no episode begins after %s)", t.p.until.Format("Monday, 15:04"))
	}
	if a := asks(nil); errors.As(lost, &a) {
		why += ": " + a.Ask()
	} else {
		why += fmt.Sprintf(": %d episodes in a row without success", failed)
	}
	if _, err := t.desk.Stop(ctx, bus.Stop{Who: "practice", Why: why}); err != nil {
		return err
	}
	if err := t.desk.wait(ctx); err != nil {
		return err
	}
	o.putBack()
	return nil
}

// judged takes how an episode ended, by who tells the session, and returns what is known
// of it besides. One that was done when it began, as the way back is where the way there
// moved nothing, says neither that the scene is in order nor that it is not. Where episodes
// end at the horizon, how long one took does not tell that: how the scene was left does.
func (t *turns) judged(c config.Config, ep policy.Episode, success bool) []policy.Metric {
	s := t.arm.onward
	already := !s.ready[t.way]
	if c.Session.End == "success" {
		already = len(ep.Applied) <= soonest(c)
	}
	switch {
	case success && already:
	case success:
		s.failed = 0
	default:
		s.failed++
	}
	s.stands(1-t.way, success)
	return []policy.Metric{{Name: "resets", Value: float64(s.resets)}}
}

// soonest is the first tick at which an episode may end on success: a classifier is
// believed after so many in a row, of which the reset's is the first.
func soonest(c config.Config) int {
	if classified(c) {
		return max(1, c.Reward.KAGI.Confirm-1)
	}
	return 1
}

// pass gives the turn away after an episode.
func (t *turns) pass(next int) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	t.next = next
	t.p.choose()
}

// leave ends the session's part; the other goes on alone.
func (t *turns) leave() {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	t.gone = true
	t.p.choose()
}

// round is a learner whose round the hours may end in, while it learns and another's episode is
// waited for. What it was when the round began is what its episodes made of it.
type round struct {
	policy.Learner
	params policy.Params // as of when it began
	begun  bool
	err    error // of what it learned
}

func (r *round) Latest(ctx context.Context) (policy.Params, error) {
	p, err := r.Learner.Latest(ctx)
	r.params = p
	return p, err
}

func (r *round) Update(ctx context.Context) (policy.Stats, error) {
	r.begun = true
	st, err := r.Learner.Update(ctx)
	r.err = err
	return st, err
}

// timely says that nothing but the hours ended a session.
func (r *round) timely(err error) bool { return errors.Is(err, errTimeUp) && r.err == nil }
