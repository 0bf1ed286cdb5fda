package bag

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// BackendConfig says how a recording is seen as an arm.
type BackendConfig struct {
	Map    Mapping       // empty: what Guess makes of the recording
	Period time.Duration // between observations; 0: 50 ms
	// From and To bound what is played, as in Options.
	From, To time.Time
	// Stale is the age at which the newest message of the state or of a camera is
	// too old: Step then returns robot.ErrStale, and the next Step goes on. 0: 1 s;
	// negative: no age is.
	Stale time.Duration
	// Decode says whether the pixels of a camera's picture of this number (Frame.Seq) are
	// wanted; nil: all are. A frame of which they are not has neither pixels nor a size.
	Decode func(camera string, seq uint64) bool
	// Hand says that the grip counts: nothing is observed before something told it, and a
	// recording in which nothing does is refused with ErrHandless.
	Hand bool
}

// ErrHandless says that a recording does not tell how far the hand is open.
var ErrHandless = errors.New("bag: nothing tells how far the hand is open")

// span is how far the fingers of a Franka hand open, m.
const span = 0.08

// Backend plays a recording as a robot.Backend: observations at control ticks,
// commands as logged (robot.ByLog), io.EOF at the end. Reset begins it anew.
//
// A tick has the newest message of each topic that was recorded until then. What
// was applied is how the controller's target moved since the tick before, or the
// tool where no target was recorded; the grip is the fingers' opening. The pose
// of the tool is that of the robot's state, or of Map.Pose, or follows from the
// joints (franka.Forward).
type Backend struct {
	path   string
	cfg    BackendConfig
	bag    *Bag
	closed bool

	tick    time.Time
	ready   bool
	held    Message // the first message after the tick, if more
	more    bool
	seen    seen
	limbs   limbs  // of the newest message of the joints
	hand    limbs  // and of the gripper's, where that is another topic
	lacks   string // why the messages of the joints do not tell where the arm is
	most    int    // joints in the message that lacks is of
	cameras []shot
	was     robot.Pose // the target or tool at the tick before
}

// seen is the newest of each kind; times are of recording.
type seen struct {
	state                    robot.State
	stateAt, poseAt, grippAt time.Time
	target                   robot.Pose
	targetAt                 time.Time
	franka                   Franka
	joints                   Joints
	stamped                  Stamped
	poseIn, targetIn         string // frames
}

// shot is the newest picture of a camera.
type shot struct {
	conn   *Connection
	data   []byte
	at     time.Time
	seq    uint64
	done   bool        // it was decoded, or could not be
	frame  robot.Frame // of the newest that could
	good   time.Time   // when that was recorded; zero: none could yet
	unread Unread
}

// Unread is a camera's pictures that could not be decoded.
type Unread struct {
	Topic string
	Count int
	First time.Time
	Err   error // of the first
}

// Add counts a picture of that time.
func (u *Unread) Add(topic string, at time.Time, err error) {
	if u.Count++; u.Count == 1 {
		u.Topic, u.First, u.Err = topic, at, err
	}
}

func (u Unread) String() string {
	return fmt.Sprintf("%s of %s cannot be read, as if not sent, first at %s (%v)", several(int64(u.Count), "picture"), u.Topic, u.First.UTC().Format("2006-01-02T15:04:05.000Z"), u.Err)
}

var _ robot.Backend = (*Backend)(nil)

// NewBackend opens the recording at path.
func NewBackend(path string, c BackendConfig) (*Backend, error) {
	if c.Period == 0 {
		c.Period = 50 * time.Millisecond
	}
	if c.Period < 0 {
		return nil, fmt.Errorf("bag: a period of %v; take one above 0", c.Period)
	}
	if c.Stale == 0 {
		c.Stale = time.Second
	}
	probe, err := Open(path, Options{})
	if err != nil {
		return nil, err
	}
	info := probe.Info()
	if err := probe.Close(); err != nil {
		return nil, err
	}
	if len(c.Map.Topics()) == 0 {
		c.Map, _ = Guess(info)
	}
	if c.Map.States == "" && c.Map.Joints == "" {
		return nil, fmt.Errorf("bag: %s: no topic of the arm's state is known: name one as states=TOPIC or joints=TOPIC; there are %s", path, names(info))
	}
	if c.Hand && c.Map.Gripper == "" && (c.Map.Joints == "" || c.Map.Handless) {
		return nil, fmt.Errorf("%w in %s: no topic is taken for gripper; there are %s", ErrHandless, path, names(info))
	}
	have := map[string]bool{}
	for _, t := range info.Topics {
		have[t.Name] = true
	}
	for _, t := range c.Map.Topics() {
		if !have[t] {
			return nil, fmt.Errorf("bag: %s has no topic %s; there are %s", path, t, names(info))
		}
	}
	b := &Backend{path: path, cfg: c}
	if b.bag, err = Open(path, Options{Topics: c.Map.Topics(), From: c.From, To: c.To}); err != nil {
		return nil, err
	}
	return b, nil
}

func names(info Info) string {
	var s []string
	for _, t := range info.Topics {
		s = append(s, t.Name+" ("+t.Type+")")
	}
	if len(s) == 0 {
		return "none"
	}
	return strings.Join(s, ", ")
}

// Damage says what of the recording was lost, as far as it was played.
func (b *Backend) Damage() Damage { return b.bag.Damage() }

// Unread says which pictures could not be decoded, as far as it was played: of each
// such camera the frame before stands for them.
func (b *Backend) Unread() (all []Unread) {
	for i := range b.cameras {
		if u := b.cameras[i].unread; u.Count > 0 {
			all = append(all, u)
		}
	}
	return all
}

// Handed says whether anything told how far the hand is open, as far as it was played. Where
// nothing did the grip is 0, which looks like a closed one.
func (b *Backend) Handed() bool { return !b.seen.grippAt.IsZero() }

// Targeted says whether a target was recorded until now, so that what was applied is how it moved.
func (b *Backend) Targeted() bool { return !b.seen.targetAt.IsZero() }

// Frames are those that the newest pose and target are in, as their messages say; empty: they
// say none, or are not played.
func (b *Backend) Frames() (pose, target string) { return b.seen.poseIn, b.seen.targetIn }

// Map returns which topics are played.
func (b *Backend) Map() Mapping { return b.cfg.Map }

var errClosed = errors.New("bag: the recording is closed")

// Reset begins the recording anew, at the first instant at which there is a
// message of the state, of every camera and, where one is mapped, of the gripper: a
// hand of which nothing was said yet is not a closed one.
func (b *Backend) Reset(ctx context.Context) (robot.Observation, error) {
	if b.closed {
		return robot.Observation{}, errClosed
	}
	if err := ctx.Err(); err != nil {
		return robot.Observation{}, err
	}
	if err := b.bag.Rewind(); err != nil {
		return robot.Observation{}, err
	}
	b.seen, b.cameras, b.more, b.ready = seen{}, make([]shot, len(b.cfg.Map.Cameras)), false, false
	b.lacks = ""
	var m Message
	for !b.complete() {
		if err := ctx.Err(); err != nil {
			return robot.Observation{}, err
		}
		err := b.bag.Next(&m)
		if errors.Is(err, io.EOF) && b.seen.stateAt.IsZero() && b.lacks != "" {
			return robot.Observation{}, fmt.Errorf("bag: %s: %s %s", b.path, b.cfg.Map.Joints, b.lacks)
		}
		if errors.Is(err, io.EOF) && b.cfg.Hand && b.cfg.Map.Gripper == "" && !b.Handed() {
			return robot.Observation{}, fmt.Errorf("%w in %s: no topic is taken for gripper, and %s has no fingers", ErrHandless, b.path, b.cfg.Map.Joints)
		}
		if errors.Is(err, io.EOF) {
			text := fmt.Sprintf("bag: %s: there is never a message of each of %s", b.path, strings.Join(b.needed(), ", "))
			if g := b.cfg.Map.Gripper; g != "" && b.seen.grippAt.IsZero() {
				text += fmt.Sprintf("; none on %s tells how far fingers are open: name another topic as gripper=TOPIC, or none by gripper=", g)
			}
			return robot.Observation{}, errors.New(text)
		}
		if err != nil {
			return robot.Observation{}, err
		}
		if err := b.take(&m); err != nil {
			return robot.Observation{}, err
		}
		b.tick = m.Time
	}
	if err := b.ahead(); err != nil {
		return robot.Observation{}, err
	}
	b.ready = true
	o, err := b.observe()
	b.was = b.reference()
	return o, err
}

// needed are the topics without which there is no observation.
func (b *Backend) needed() []string {
	m := b.cfg.Map
	m.Target = ""
	if m.Gripper == m.Joints {
		m.Gripper = "" // named once
	}
	if m.States != "" {
		m.Joints, m.Pose = "", ""
	}
	return m.Topics()
}

func (b *Backend) complete() bool {
	if b.seen.stateAt.IsZero() || b.cfg.Map.States == "" && b.cfg.Map.Pose != "" && b.seen.poseAt.IsZero() {
		return false
	}
	if (b.cfg.Map.Gripper != "" || b.cfg.Hand) && !b.Handed() {
		return false
	}
	for i := range b.cameras {
		if b.cameras[i].at.IsZero() {
			return false
		}
	}
	return true
}

// Step returns what was observed at the next control tick.
func (b *Backend) Step(ctx context.Context, _ robot.Command) (robot.Observation, error) {
	switch {
	case b.closed:
		return robot.Observation{}, errClosed
	case ctx.Err() != nil:
		return robot.Observation{}, ctx.Err()
	case !b.ready:
		return robot.Observation{}, errors.New("bag: Step before Reset")
	}
	b.advance()
	if err := b.ahead(); err != nil {
		return robot.Observation{}, err
	}
	if !b.more {
		return robot.Observation{}, b.over()
	}
	o, err := b.observe()
	if err != nil {
		return robot.Observation{}, err
	}
	now := b.reference()
	o.Applied = robot.Command{Delta: franka.Diff(b.was, now), Grip: math.Max(0, math.Min(1, o.State.Grip/span))}
	b.was = now
	return o, nil
}

// over is the end: io.EOF, unless a camera never showed anything.
func (b *Backend) over() error {
	for i := range b.cameras {
		if c := &b.cameras[i]; c.good.IsZero() && c.unread.Count > 0 {
			return fmt.Errorf("bag: %s: none of its pictures can be read: %w", c.unread.Topic, c.unread.Err)
		}
	}
	return io.EOF
}

// longest is the silence after which ticks pass it over even where no age is too old.
const longest = time.Hour

// advance moves on to the next tick; where all that was seen is too old, to the first with
// a message. A clock that was set while it was recorded leaves decades between two.
func (b *Backend) advance() {
	newest := b.seen.stateAt
	for i := range b.cameras {
		if at := b.cameras[i].at; at.After(newest) {
			newest = at
		}
	}
	age := b.tick.Sub(newest)
	if wait := b.held.Time.Sub(b.tick); b.more && wait > 0 && (age > longest || b.cfg.Stale > 0 && age > b.cfg.Stale) {
		b.tick = b.tick.Add((wait - 1) / b.cfg.Period * b.cfg.Period) // the tick before it
	}
	b.tick = b.tick.Add(b.cfg.Period)
}

// reference is what commands move: the controller's target, or the tool.
func (b *Backend) reference() robot.Pose {
	if b.Targeted() {
		return b.seen.target
	}
	return b.seen.state.EE
}

// ahead takes all messages up to the tick, and holds the one after it.
func (b *Backend) ahead() error {
	for {
		if !b.more {
			err := b.bag.Next(&b.held)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			b.more = true
		}
		if b.held.Time.After(b.tick) {
			return nil
		}
		b.more = false
		if err := b.take(&b.held); err != nil {
			return err
		}
	}
}

// take keeps what a message says.
func (b *Backend) take(m *Message) error {
	d, err := m.Conn.Decoder()
	if err != nil {
		return err
	}
	s, k := &b.seen, &b.cfg.Map
	for i := range k.Cameras {
		if k.Cameras[i].Topic == m.Topic {
			c := &b.cameras[i]
			if !c.at.IsZero() {
				c.seq++
			}
			// Decoded only if it is the newest at a tick.
			c.conn, c.data, c.at, c.done = m.Conn, append(c.data[:0], m.Data...), m.Time, false
		}
	}
	at := func(header time.Time) time.Time {
		if header.IsZero() {
			return m.Time
		}
		return header
	}
	switch m.Topic {
	case k.States:
		if err = d.Franka(m.Data, &s.franka); err != nil {
			break
		}
		f := &s.franka
		s.state.Q, s.state.DQ, s.state.EE, s.state.Wrench, s.state.Stamp, s.stateAt = f.Q, f.DQ, f.EE, f.Wrench, at(f.Stamp), m.Time
	case k.Joints:
		if d.at.arm { // the joints of a FrankaState, and not its pose
			if err = d.Franka(m.Data, &s.franka); err == nil {
				f := &s.franka
				s.joints = Joints{Position: append(s.joints.Position[:0], f.Q[:]...), Velocity: append(s.joints.Velocity[:0], f.DQ[:]...)}
				err = b.joints(m.Time, at(f.Stamp))
			}
		} else if err = d.Joints(m.Data, &s.joints); err == nil {
			err = b.joints(m.Time, at(s.joints.Stamp))
		}
	case k.Gripper:
		if err = d.Joints(m.Data, &s.joints); err == nil {
			err = b.fingers(m.Time)
		}
	case k.Target:
		if err = d.Pose(m.Data, &s.stamped); err == nil {
			first := s.targetAt.IsZero()
			s.target, s.targetAt, s.targetIn = s.stamped.Pose, m.Time, s.stamped.Frame
			if first && b.ready { // until now it was the tool that counted
				b.was = s.target
			}
		}
	case k.Pose:
		if err = d.Pose(m.Data, &s.stamped); err == nil && k.States == "" {
			s.state.EE, s.poseAt, s.poseIn = s.stamped.Pose, m.Time, s.stamped.Frame
		}
	}
	if err != nil {
		return fmt.Errorf("bag: %s at %v: %w", m.Topic, m.Time, err)
	}
	return nil
}

func (b *Backend) observe() (robot.Observation, error) {
	o := robot.Observation{State: b.seen.state, By: robot.ByLog}
	if age := b.tick.Sub(b.seen.stateAt); b.cfg.Stale > 0 && age > b.cfg.Stale {
		return o, fmt.Errorf("%w: bag: the state at %v is %v old", robot.ErrStale, b.tick, age)
	}
	for i := range b.cameras {
		c := &b.cameras[i]
		if age := b.tick.Sub(c.at); b.cfg.Stale > 0 && age > b.cfg.Stale {
			return o, fmt.Errorf("%w: bag: camera %s at %v: its picture is %v old", robot.ErrStale, b.cfg.Map.Cameras[i].Name, b.tick, age)
		}
		if !c.done {
			if err := b.decode(c, b.cfg.Map.Cameras[i]); err != nil {
				return o, err
			}
		}
		if c.good.IsZero() {
			return o, fmt.Errorf("%w: bag: camera %s at %v: none of its pictures can be read yet (%w)", robot.ErrStale, b.cfg.Map.Cameras[i].Name, b.tick, c.unread.Err)
		}
		if age := b.tick.Sub(c.good); b.cfg.Stale > 0 && age > b.cfg.Stale {
			return o, fmt.Errorf("%w: bag: camera %s at %v: its last picture that can be read is %v old", robot.ErrStale, b.cfg.Map.Cameras[i].Name, b.tick, age)
		}
		o.Frames = append(o.Frames, c.frame)
	}
	return o, nil
}

// decode makes a frame of a camera's newest picture. Of one that is broken it keeps the frame
// of before, as if it had not come.
func (b *Backend) decode(c *shot, of Camera) error {
	c.done = true
	var f robot.Frame // the one before is published
	if want := b.cfg.Decode; want == nil || want(of.Name, c.seq) {
		d, err := c.conn.Decoder()
		if err != nil {
			return err
		}
		if err := d.Image(c.data, &f); err != nil {
			c.unread.Add(of.Topic, c.at, err)
			return nil
		}
	}
	if f.Camera, f.Seq = of.Name, c.seq; f.Stamp.IsZero() {
		f.Stamp = c.at
	}
	c.frame, c.good = f, c.at
	return nil
}

// Close closes the recording.
func (b *Backend) Close() error {
	b.closed = true
	return b.bag.Close()
}
