package arm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/ros"
	frankamsg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/serl"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// Line is one thing that a survey found.
type Line struct {
	What, Detail string
	Err          error // with the remedy; nil: all is well
}

// heard counts the messages of a topic.
type heard struct {
	name, topic, kind string
	least             float64 // messages a second

	mu      sync.Mutex
	n       int
	bare    int             // of them without a stamp
	size    string          // of images
	offsets []time.Duration // arrival minus stamp
	last    time.Time       // stamp
	by      sources         // of a camera
	several []string        // who published at once
}

// note takes in a message that came at now.
func (h *heard) note(now, stamp time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	if stamp.Unix() > 0 {
		h.last = stamp
		h.offsets = append(h.offsets, now.Sub(stamp))
	} else {
		h.bare++
	}
}

// source takes in who published a message that came at now.
func (h *heard) source(now time.Time, from string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.by.hear(from, now)
	if names := h.by.several(now); len(names) > 1 {
		h.several = names
	}
}

// pixels takes in the size of an image, which is brought to that of c.
func (h *heard) pixels(w, height uint32, c Camera) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.size = fmt.Sprintf("%dx%d pixels", w, height)
	if c.W > 0 && (c.W != int(w) || c.H != int(height)) {
		h.size += fmt.Sprintf(" brought to %dx%d", c.W, c.H)
		if (robot.Frame{W: int(w), H: int(height)}).Squeezed(c.W, c.H) {
			h.size += ", another shape, " + squeezed
		}
	}
}

// unsized says whether nobody knows yet how large a camera's images are.
func (h *heard) unsized() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.size == ""
}

// clocking is how long a survey waits for a clock that goes on.
const clocking = 3 * time.Second

// Survey listens for d to what a backend of cfg would need, and tells of each
// topic how often and how late it comes. It moves and changes nothing.
func Survey(ctx context.Context, n *ros.Node, cfg Config, d time.Duration) (ls []Line, err error) {
	topics, err := n.Topics(ctx)
	if err != nil {
		return nil, fmt.Errorf("arm: survey: %w", err)
	}
	ls = append(ls, Line{What: "ROS master", Detail: fmt.Sprintf("%s, %d topics", n.Master(), len(topics))})
	clock, cancel := context.WithTimeout(ctx, clocking)
	defer cancel()
	if err := runs(clock, n); err != nil { // what comes next goes by it
		return append(ls, Line{What: "clock", Err: err}), ctx.Err()
	}
	states := &heard{name: "arm state", topic: StateTopic, kind: "franka_msgs/FrankaState", least: cfg.Rate}
	joints := &heard{name: "joint states", topic: JointTopic, kind: "sensor_msgs/JointState"}
	controller := &heard{name: "impedance controller", topic: JacobianTopic, kind: "serl_franka_controllers/ZeroJacobian", least: 20}
	hs := []*heard{states, joints, controller}
	state, err := ros.Watch[frankamsg.FrankaState](n, StateTopic)
	if err != nil {
		return ls, fmt.Errorf("arm: survey: %w", err)
	}
	defer state.Close()
	var subs []interface{ Close() error }
	defer func() {
		for _, s := range subs {
			err = errors.Join(err, s.Close())
		}
	}()
	listen := func(s interface{ Close() error }, e error) {
		if e != nil {
			err = errors.Join(err, fmt.Errorf("arm: survey: %w", e))
			return
		}
		subs = append(subs, s)
	}
	listen(ros.Subscribe(n, JointTopic, func(m *std.JointState) { joints.note(n.Now(), m.Header.Stamp) }))
	listen(ros.Subscribe(n, JacobianTopic, func(*serl.ZeroJacobian) { controller.note(n.Now(), time.Time{}) }))
	if !cfg.Gripper.None {
		h := &heard{name: "gripper", topic: FingerTopic, kind: "sensor_msgs/JointState"}
		hs = append(hs, h)
		listen(ros.Subscribe(n, FingerTopic, func(m *std.JointState) { h.note(n.Now(), m.Header.Stamp) }))
	}
	for _, c := range cfg.Cameras {
		h := &heard{name: "camera " + c.Name, topic: n.Resolve(c.Topic), kind: "sensor_msgs/Image", least: cfg.Rate}
		hs = append(hs, h)
		if c.Compressed {
			h.kind = "sensor_msgs/CompressedImage"
			listen(ros.SubscribeFrom(n, c.Topic, func(from string, m *std.CompressedImage) {
				h.note(n.Now(), m.Header.Stamp)
				h.source(n.Now(), from)
				if !h.unsized() || cfg.Decode == nil {
					return
				}
				if f, err := cfg.Decode(m.Data); err == nil { // a session tells of others
					h.pixels(uint32(f.W), uint32(f.H), c)
				}
			}))
		} else {
			listen(ros.SubscribeFrom(n, c.Topic, func(from string, m *std.Image) {
				h.note(n.Now(), m.Header.Stamp)
				h.source(n.Now(), from)
				h.pixels(m.Width, m.Height, c)
			}))
		}
	}
	if err != nil {
		return ls, err
	}
	// States are counted by whoever waits for them, since one node watches a topic once.
	end, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var seq uint64
	for {
		m, s, at, e := state.Wait(end, seq)
		if e != nil {
			break
		}
		seq = s
		states.note(at, m.Header.Stamp)
	}
	<-end.Done()
	if ctx.Err() != nil {
		return ls, ctx.Err()
	}
	many, unasked := doubled(ctx, n, &cfg, "") // what was heard is told all the same
	for _, h := range hs {
		l := h.line(topics, d)
		if e := many[h.topic]; e != nil {
			l.Err = e
		}
		ls = append(ls, l)
	}
	rivals, unknown := shared(ctx, n)
	ls = append(ls, Line{What: "commands", Detail: "nobody commands the arm", Err: errors.Join(unasked, rivals, unknown)})
	if cfg.Again != "" {
		ctx, cancel := context.WithTimeout(ctx, asking)
		defer cancel()
		ls = append(ls, Line{What: "put back", Detail: cfg.Again + " is served", Err: served(ctx, n, cfg.Again)})
	}
	return append(ls, success(state), thresholds(state, cfg.Collision)), nil
}

// thresholds says what of the collision thresholds can be known: no message of
// franka_ros tells which hold (FrankaState has no field for them, and the services
// that set them answer whether the arm took them), so that nothing can be compared with
// what is configured. What shows is a contact that is felt with those that hold.
func thresholds(state *ros.Latest[frankamsg.FrankaState], c Collision) Line {
	l := Line{What: "collision thresholds", Detail: fmt.Sprintf("cannot be read back: the arm tells nobody which hold; a session sets those of robot.ros.collision at its start (from %g Nm and %g N on it stops itself)",
		slices.Min(c.Torque.Upper[:]), slices.Min(c.Force.Upper[:3]))}
	m, _, _ := state.Get()
	if m == nil {
		return l
	}
	if slices.ContainsFunc(m.CartesianContact[:], on) || slices.ContainsFunc(m.JointContact[:], on) {
		l.Err = errors.New("arm: the arm feels a contact; free it, or set the load of its hand (robot.ros.load), before a session begins")
	}
	return l
}

func (h *heard) line(topics []ros.Topic, d time.Duration) Line {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := Line{What: h.name}
	i := slices.IndexFunc(topics, func(t ros.Topic) bool { return t.Name == h.topic })
	switch {
	case i < 0:
		l.Err = fmt.Errorf("arm: nobody publishes %s (%s); start what does, or remap it there", h.topic, h.kind)
		return l
	case topics[i].Type != h.kind && topics[i].Type != "*":
		l.Err = fmt.Errorf("arm: %s is a %s, not a %s; name another topic", h.topic, topics[i].Type, h.kind)
		return l
	case h.n == 0:
		l.Err = fmt.Errorf("arm: %s is published, but nothing came within %v: another version of %s, or a publisher that hangs or cannot be reached (ROS_IP)", h.topic, d, h.kind)
		return l
	}
	rate := float64(h.n) / d.Seconds()
	l.Detail = fmt.Sprintf("%s, %.0f a second", h.topic, rate)
	if h.size != "" {
		l.Detail += ", " + h.size
	}
	if len(h.offsets) > 0 {
		slices.Sort(h.offsets)
		low, mid := h.offsets[0], h.offsets[len(h.offsets)/2]
		l.Detail += fmt.Sprintf(", %.1f ms old on arrival (median; least %.1f)", mid.Seconds()*1000, low.Seconds()*1000)
		if low < -ahead/2 || low > ahead {
			// The least is the way of the message plus what the clocks differ by.
			l.Err = fmt.Errorf("arm: %s: its clock and this machine's differ by about %v; keep both in step, as with chrony", h.topic, low.Round(time.Millisecond))
		}
	}
	if h.bare > 0 && strings.HasPrefix(h.name, "camera ") {
		l.Err = fmt.Errorf("arm: %s has no stamps, so nobody knows how old its images are; have its driver set header.stamp", h.topic)
	}
	if len(h.several) > 1 {
		l.Err = fmt.Errorf("arm: %w", twice(h.topic, h.several))
		return l
	}
	if rate < 0.9*h.least {
		l.Err = fmt.Errorf("arm: %s comes %.0f times a second, %.0f are needed; raise publish_rate of franka_state_controller, or the camera's frame rate", h.topic, rate, h.least)
	}
	return l
}

// success tells how many of the controller's commands reached the arm in time.
func success(state *ros.Latest[frankamsg.FrankaState]) Line {
	l := Line{What: "control loop"}
	m, _, _ := state.Get()
	if m == nil {
		if l.Err = state.Err(); l.Err == nil {
			l.Err = errors.New("arm: no state of the arm came")
		}
		return l
	}
	l.Detail = fmt.Sprintf("mode %s, %.1f %% of commands in time", modeName(m.RobotMode), 100*m.ControlCommandSuccessRate)
	if names := m.CurrentErrors.Names(); len(names) > 0 {
		l.Detail += ", errors: " + strings.Join(names, ", ")
	}
	// libfranka stops the arm after 20 lost in a row; Franka's advice is to look
	// for the cause below 0.95.
	if m.RobotMode == frankamsg.Move && m.ControlCommandSuccessRate < 0.95 {
		l.Err = fmt.Errorf("arm: only %.1f %% of the controller's commands reach the arm in time; use a real-time kernel, its own network card, and performance as CPU governor", 100*m.ControlCommandSuccessRate)
	} else if err := trip(m); err != nil {
		l.Err = fmt.Errorf("arm: %w", err)
	}
	return l
}
