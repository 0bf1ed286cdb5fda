package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// bagEpisodes plays a recording of somebody else: observations at control ticks, and
// the commands that its log holds. Where the state or a camera was silent for a second,
// an episode ends, and another begins when it is back. An error may be of a part alone; the
// rest was added. Pictures of an episode take at most so many bytes.
func bagEpisodes(ctx context.Context, path string, topics map[string]string, most int64, add func(policy.Episode) error) (notes []string, err error) {
	m, notes, err := bagMapping(path, topics, true)
	if err != nil {
		return notes, fmt.Errorf("wire: convert %s: %w", path, err)
	}
	if len(namedCameras(topics)) == 0 {
		dim, err := unreadable(ctx, path, m.Cameras)
		if err != nil {
			return notes, err
		}
		if len(dim) < len(m.Cameras) { // or else its first picture tells why
			for _, topic := range slices.Sorted(maps.Keys(dim)) {
				notes = append(notes, fmt.Sprintf("%s: %s is left out, since its pictures cannot be read (%v); name the cameras that are to be taken by --map", path, topic, dim[topic]))
			}
			m.Cameras = slices.DeleteFunc(m.Cameras, func(c bag.Camera) bool { return dim[c.Topic] != nil })
		}
	}
	s := &stretch{id: recordingID(path), add: add, most: most}
	more, err := s.play(ctx, path, m)
	for _, n := range more {
		if !slices.ContainsFunc(s.faults, func(f error) bool { return n == faultNote(path, f) }) { // the error says it
			notes = append(notes, n)
		}
	}
	if err = errors.Join(append(s.faults, err)...); err != nil {
		return notes, fmt.Errorf("wire: convert %s: %w", path, err)
	}
	return notes, nil
}

// unreadable says of which cameras none of the first pictures can be read, and why.
func unreadable(ctx context.Context, path string, cams []bag.Camera) (map[string]error, error) {
	why, left := map[string]error{}, map[string]int{} // by topic
	var topics []string
	for _, c := range cams {
		topics = append(topics, c.Topic)
		left[c.Topic] = 20 // a second of pictures, of which one may be broken
	}
	if len(topics) == 0 {
		return nil, nil
	}
	b, err := bag.Open(path, bag.Options{Topics: topics})
	if err != nil {
		return nil, fmt.Errorf("wire: convert %s: %w", path, err)
	}
	var m bag.Message
	for len(left) > 0 && b.Next(&m) == nil {
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(err, b.Close())
		}
		if left[m.Topic] == 0 {
			continue
		}
		var f robot.Frame
		d, err := m.Conn.Decoder()
		if err == nil {
			err = d.Image(m.Data, &f)
		}
		if why[m.Topic] = err; err == nil {
			delete(why, m.Topic)
			delete(left, m.Topic)
		} else if left[m.Topic]--; left[m.Topic] == 0 {
			delete(left, m.Topic)
		}
	}
	return why, b.Close()
}

// recordingID names a recording by its file.
func recordingID(path string) string {
	return strings.TrimSuffix(filepath.Base(filepath.Clean(path)), filepath.Ext(path))
}

// bagMapping guesses which topic of a recording is which; topics overrule it. If alone, named
// cameras stand in for all that were guessed.
func bagMapping(path string, topics map[string]string, alone bool) (m bag.Mapping, notes []string, err error) {
	b, err := bag.Open(path, bag.Options{})
	if err != nil {
		return m, nil, err
	}
	m, reasons := bag.Guess(b.Info())
	if err := b.Close(); err != nil {
		return m, nil, err
	}
	named := namedCameras(topics)
	for _, r := range reasons {
		what, topic, _ := strings.Cut(r, ": ")
		topic, _, _ = strings.Cut(topic, ", ")
		_, said := topics[strings.TrimPrefix(strings.Replace(what, "no gripper", "gripper", 1), "camera ")]
		camera := what == "no camera" || strings.HasPrefix(what, "camera ")
		if !said && !(camera && (alone && len(named) > 0 || named[topic])) { // nobody overruled it
			notes = append(notes, path+": taken for "+r)
		}
	}
	m.Cameras = slices.DeleteFunc(m.Cameras, func(c bag.Camera) bool { return alone && len(named) > 0 || named[c.Topic] })
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		if err := m.Set(name + "=" + topics[name]); err != nil {
			return m, notes, err
		}
	}
	return m, notes, nil
}

// namedCameras are the topics that are said to be cameras'.
func namedCameras(topics map[string]string) map[string]bool {
	named := map[string]bool{}
	for n, topic := range topics {
		if topic != "" && !slices.Contains(config.NoCameras(), n) {
			named[topic] = true
		}
	}
	return named
}

// stretch is a piece of a recording without silence.
type stretch struct {
	id  string
	n   int // episodes so far
	e   policy.Episode
	add func(policy.Episode) error
	// fit, if set, makes frames what a session wants of them.
	fit func([]robot.Frame) ([]robot.Frame, error)
	// limit is the most steps that are taken of a stretch; 0: all are.
	limit int
	over  int  // steps beyond limit
	hand  bool // a bag has to tell how far the hand is open
	// most is the bytes that an episode's pictures may take, since it is held whole; 0: any.
	most, held int64

	topics *bag.Mapping // of a bag; nil: numbers that are none are an error
	aim    aim
	tie    tie
	hold   hold
	spoilt error   // why the episode cannot be one
	faults []error // what of the recording is not whole, or no episode
}

// play hands over the episodes of the recording at path. What notes tell of damage is among the
// faults too.
func (s *stretch) play(ctx context.Context, path string, m bag.Mapping) (notes []string, err error) {
	s.topics = &m
	late, err := lateness(ctx, path, m)
	if err != nil {
		return nil, err
	}
	k, err := bag.NewBackend(path, bag.BackendConfig{Map: m, Hand: s.hand})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if late != "" {
		notes = append(notes, path+": "+late)
	}
	silent, silence := 0, error(nil)
	obs, err := k.Reset(ctx)
	for {
		switch {
		case err == nil:
			if k.Targeted() {
				s.aim.see(&obs)
			}
			s.hold.see(obs.State.Grip)
			if s.tie.see(&m, &obs.State); s.fit != nil && s.tie.n == poseTicks {
				if err := s.tie.apart(&m); err != nil {
					return notes, fmt.Errorf("robot.bag.topics: %w", err)
				}
			}
			if err := s.take(obs); err != nil {
				return notes, err
			}
		case errors.Is(err, io.EOF):
			if err := s.tie.apart(&m); err != nil && s.fit != nil {
				return notes, fmt.Errorf("robot.bag.topics: %w", err)
			} else if err != nil {
				notes = append(notes, fmt.Sprintf("%s: %v", path, err))
			}
			if err := s.end(); err != nil {
				return notes, err
			}
			none := s.n == 0 && len(s.faults) == 0
			if d := k.Damage(); harmed(d) {
				s.faults = append(s.faults, fmt.Errorf("the recording is not whole, damage: %s; what is whole of it is taken", d))
			} else if !d.None() {
				notes = append(notes, path+": damage: "+d.String())
			}
			if s.n > 1 {
				notes = append(notes, fmt.Sprintf("%s: the arm or a camera was silent, so that it is %d episodes", path, s.n))
			}
			if silent > 0 {
				notes = append(notes, fmt.Sprintf("%s: %d ticks are left out, in which something was silent; first %s (%v)", path, silent, mute(silence, m), silence))
			}
			if pose, target := k.Frames(); pose != "" && target != "" && strings.Trim(pose, "/") != strings.Trim(target, "/") {
				notes = append(notes, fmt.Sprintf("%s: the target of %s is in the frame %s, the pose of %s in %s, and both are read as the arm's base; take the target out by --map target= or robot.bag.topics=[target=], unless their axes agree", path, m.Target, target, m.Pose, pose))
			}
			for _, u := range k.Unread() {
				notes = append(notes, fmt.Sprintf("%s: %v", path, u))
			}
			if s.hand && s.hold.width > 0 {
				notes = append(notes, fmt.Sprintf("%s: the fingers rest on something of %.0f mm, and what was applied is their opening, not what they were told: a policy learns to close to that width, and may not squeeze", path, 1000*s.hold.width))
			}
			if s.fit == nil && !k.Handed() { // of a session's the policy does not command it
				notes = append(notes, path+": nothing tells how far the hand is open: its grip is 0, as if it were closed; name its topic, as --map gripper=/franka_gripper/joint_states")
			}
			if s.over > 0 {
				notes = append(notes, fmt.Sprintf("%s: %d steps lie beyond robot.horizon, %d steps, and are left out", path, s.over, s.limit))
			}
			for _, f := range s.faults {
				notes = append(notes, faultNote(path, f))
			}
			if none {
				return notes, errors.New("there are never two observations that follow each other")
			}
			return notes, nil
		case errors.Is(err, robot.ErrStale):
			if silent++; silent == 1 {
				silence = err
			}
			if err := s.end(); err != nil {
				return notes, err
			}
		default:
			return notes, err
		}
		obs, err = k.Step(ctx, robot.Command{})
	}
}

// faultNote is the note of a fault.
func faultNote(path string, f error) string { return fmt.Sprintf("%s: %v", path, f) }

// mute names the topic of what was silent.
func mute(err error, m bag.Mapping) string {
	for _, c := range m.Cameras {
		if strings.Contains(err.Error(), "camera "+c.Name+" at ") {
			return c.Topic
		}
	}
	return armTopic(m)
}

// armTopic is the topic that the arm's state is of.
func armTopic(m bag.Mapping) string { return cmp.Or(m.States, m.Joints) }

// lateness tells how many ticks are missed until the last of the topics begins.
func lateness(ctx context.Context, path string, m bag.Mapping) (string, error) {
	needed := []string{armTopic(m)}
	if m.States == "" && m.Pose != "" {
		needed = append(needed, m.Pose)
	}
	for _, c := range m.Cameras {
		needed = append(needed, c.Topic)
	}
	if len(needed) < 2 || needed[0] == "" { // which is told when it is played
		return "", nil
	}
	b, err := bag.Open(path, bag.Options{Topics: needed})
	if err != nil {
		return "", err
	}
	var msg bag.Message
	var first time.Time
	seen := map[string]bool{}
	for len(seen) < len(needed) && b.Next(&msg) == nil {
		if err := ctx.Err(); err != nil {
			return "", errors.Join(err, b.Close())
		}
		if seen[msg.Topic] = true; first.IsZero() {
			first = msg.Time
		}
	}
	d := msg.Time.Sub(first)
	if n := d / tabletop.Period; n > 0 && len(seen) == len(needed) {
		return fmt.Sprintf("the first %d ticks are left out: %s begins %v after the first topic", n, msg.Topic, d.Round(time.Millisecond)), b.Close()
	}
	return "", b.Close()
}

func (s *stretch) take(o robot.Observation) (err error) {
	t := len(s.e.Inputs)
	if s.limit > 0 && t > s.limit {
		s.over++
		return nil
	}
	if what := s.endless(o, t); what != "" && s.spoilt == nil {
		s.spoilt = fmt.Errorf("%s at %s, step %d, is not finite", what, clock(o.State.Stamp), t)
		if s.topics == nil {
			return s.spoilt
		}
	}
	if s.fit != nil {
		if o.Frames, err = s.fit(o.Frames); err != nil {
			return err
		}
	}
	if err := s.weigh(o, t); err != nil {
		return err
	}
	s.e.Inputs = append(s.e.Inputs, policy.Input{Step: t, State: o.State, Frames: o.Frames})
	if t > 0 {
		s.e.Applied, s.e.By, s.e.Version = append(s.e.Applied, o.Applied), append(s.e.By, o.By), append(s.e.Version, 0)
	}
	return nil
}

// weigh counts what the new pictures of an observation take.
func (s *stretch) weigh(o robot.Observation, t int) error {
	for i, f := range o.Frames {
		if t == 0 || i >= len(s.e.Inputs[t-1].Frames) || s.e.Inputs[t-1].Frames[i].Seq != f.Seq {
			s.held += int64(len(f.Pix))
		}
	}
	if s.most > 0 && s.held > s.most {
		return fmt.Errorf("the pictures of its episode take more than %.3g GB at %s, step %d, which is what there is memory for; cut it by rapport bag convert --from and --to, or name fewer cameras by --map", float64(s.most)/1e9, clock(o.State.Stamp), t)
	}
	return nil
}

// endless says which numbers of an observation are none; "": all are.
func (s *stretch) endless(o robot.Observation, t int) string {
	m := bag.Mapping{}
	if s.topics != nil {
		m = *s.topics
	}
	of := func(what string, topics ...string) string {
		if topic := cmp.Or(topics...); topic != "" {
			return what + " of " + topic
		}
		return what
	}
	pose := m.Pose
	if m.States != "" {
		pose = ""
	}
	st := &o.State
	switch {
	case !finite(st.Q[:]) || !finite(st.DQ[:]) || !finite(st.Wrench[:]):
		return of("the state", m.States, m.Joints)
	case !finite(st.EE.P[:]) || !finite(st.EE.Q[:]):
		return of("the pose", pose, m.States, m.Joints)
	case !finite([]float64{st.Grip}):
		return of("the gripper", m.Gripper, m.Joints)
	case t > 0 && (!finite(o.Applied.Delta[:]) || !finite([]float64{o.Applied.Grip})):
		return of("the target", m.Target, pose, m.States, m.Joints)
	}
	return ""
}

func (s *stretch) end() error {
	e, spoilt, a := s.e, s.spoilt, s.aim
	s.e, s.spoilt, s.held, s.aim = policy.Episode{}, nil, 0, aim{}
	if spoilt == nil && a.n > restTicks && !a.moved && a.way > tooFar {
		spoilt = fmt.Errorf("the target of %s stands still while the tool goes %.0f mm, so that it is not what moved it; take it out by --map target= or robot.bag.topics=[target=]", s.topics.Target, 1000*a.way)
	}
	if spoilt != nil {
		s.faults = append(s.faults, fmt.Errorf("an episode of %d steps is left out: %w", len(e.Applied), spoilt))
		return nil
	}
	if len(e.Inputs) < 2 {
		return nil
	}
	s.n++
	e.ID, e.Seq, e.Origin = s.id, uint64(s.n-1), policy.Demo
	if s.n > 1 {
		e.ID = fmt.Sprintf("%s-%d", s.id, s.n)
	}
	return s.add(e)
}
