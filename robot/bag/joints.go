package bag

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/rapport-rl/rapport/robot/franka"
)

// limbs is which of a JointState's joints are the arm's, by their names: those of
// one prefix with the numbers 1 to 7 or 0 to 6, in any order, as panda_joint1 to
// panda_joint7. Where no joint has such a number seven joints are an arm as they lie.
type limbs struct {
	names   []string
	order   [franka.Joints]int // indices of the arm's joints
	whole   bool               // the arm's are there, once each
	fingers []int
	joints  int // that are no fingers
	arms    int // whole ones
}

// numbered splits a name into what is before its last digit and that digit.
func numbered(name string) (prefix string, n int, ok bool) {
	last := len(name) - 1
	if last < 0 || name[last] < '0' || name[last] > '7' || last > 0 && name[last-1] >= '0' && name[last-1] <= '9' {
		return name, 0, false
	}
	return name[:last], int(name[last] - '0'), true
}

// read learns it of messages with n positions of these names; there may be no names.
func (l *limbs) read(names []string, n int) {
	l.names = append(l.names[:0], names...)
	l.fingers, l.joints, l.arms, l.whole = l.fingers[:0], 0, 0, false
	if len(names) == 0 {
		l.joints = n
		if l.whole = n == len(l.order); l.whole {
			l.arms = 1
			for i := range l.order {
				l.order[i] = i
			}
		}
		return
	}
	type group struct {
		at    [len(l.order) + 1]int // by number
		seen  uint8                 // numbers, as bits
		twice bool
	}
	groups := map[string]*group{}
	var prefixes []string // in the order of the message
	var plain [len(l.order)]int
	for i, name := range names {
		if strings.Contains(name, "finger") {
			l.fingers = append(l.fingers, i)
			continue
		}
		if l.joints < len(plain) {
			plain[l.joints] = i
		}
		l.joints++
		prefix, k, ok := numbered(name)
		if !ok {
			continue
		}
		g := groups[prefix]
		if g == nil {
			g = &group{}
			groups[prefix] = g
			prefixes = append(prefixes, prefix)
		}
		g.twice = g.twice || g.seen&(1<<k) != 0
		g.seen |= 1 << k
		g.at[k] = i
	}
	for _, p := range prefixes {
		g, from := groups[p], 0
		switch {
		case g.twice:
			continue
		case g.seen == 0b1111_1110:
			from = 1
		case g.seen != 0b0111_1111:
			continue
		}
		l.arms++
		copy(l.order[:], g.at[from:])
	}
	if len(groups) == 0 && l.joints == len(plain) {
		l.arms, l.order = 1, plain
	}
	l.whole = l.arms == 1
}

// lacks says why messages with n positions do not tell where the arm is.
func (l *limbs) lacks(n int) string {
	const most = 20
	names := strings.Join(l.names[:min(len(l.names), most)], ", ")
	switch {
	case names == "":
		names = "they have no names"
	case len(l.names) > most:
		names = "they are " + names + ", ..."
	default:
		names = "they are " + names
	}
	const want = "want 7 of one arm, named as panda_joint1 to panda_joint7"
	switch {
	case l.whole:
		return fmt.Sprintf("has %s for %s", several(int64(n), "position"), several(int64(len(l.names)), "name"))
	case l.arms > 1:
		return fmt.Sprintf("has the joints of %d arms, %s; %s", l.arms, want, names)
	}
	return fmt.Sprintf("has %s, %s; %s", several(int64(l.joints), "joint"), want, names)
}

// know learns it of a message whose joints have other names than before.
func (l *limbs) know(m *Joints) {
	if !slices.Equal(m.Names, l.names) || len(l.names) == 0 {
		l.read(m.Names, len(m.Position))
	}
}

// Openings of a hand, m: a Franka's are 0 to 0.08, a little off where it is not calibrated. What
// is beyond is an angle, as a Robotiq's, which is 0 where it is open.
const leastOpen, mostOpen = -0.005, 0.1

// grip takes how far the joints at these indices are open, as far as there are such.
func (b *Backend) grip(joints []int, recorded time.Time) error {
	s, found, sum := &b.seen, false, 0.0
	no := func(x float64) bool { return (x < leastOpen || x > mostOpen) && !math.IsInf(x, 0) } // which is told as what it is
	for _, i := range joints {
		if i >= len(s.joints.Position) {
			continue
		}
		x := s.joints.Position[i]
		if sum, found = sum+x, true; no(x) || no(sum) {
			return fmt.Errorf("fingers at %.3g are not open so far in m, want %g to %g: are they angles? Name another topic as gripper=TOPIC, or none by gripper=", x, leastOpen, mostOpen)
		}
	}
	if found {
		s.state.Grip, s.grippAt = sum, recorded
	}
	return nil
}

// fingers takes all joints of the gripper's message but an arm's, which are beside the
// fingers where a driver merges the two.
func (b *Backend) fingers(recorded time.Time) error {
	l := &b.hand
	l.know(&b.seen.joints)
	if len(l.names) > 0 && l.arms > 0 {
		return b.grip(l.fingers, recorded)
	}
	all := make([]int, len(b.seen.joints.Position))
	for i := range all {
		all[i] = i
	}
	return b.grip(all, recorded)
}

// joints takes the arm's joints, and the fingers if they are among them. What is not
// the whole arm, as a gripper's message on the arm's topic, changes no joint.
func (b *Backend) joints(recorded, stamp time.Time) error {
	s, l := &b.seen, &b.limbs
	n := len(s.joints.Position)
	l.know(&s.joints)
	if g := b.cfg.Map.Gripper; g == "" && !b.cfg.Map.Handless || g == b.cfg.Map.Joints {
		if err := b.grip(l.fingers, recorded); err != nil {
			return err
		}
	}
	if b.cfg.Map.States != "" {
		return nil
	}
	if !l.whole || slices.Max(l.order[:]) >= n {
		if b.lacks == "" || l.joints > b.most { // a gripper's beside it say less
			b.lacks, b.most = l.lacks(n), l.joints
		}
		return nil
	}
	s.state.DQ = [franka.Joints]float64{}
	for k, i := range l.order {
		s.state.Q[k] = s.joints.Position[i]
		if i < len(s.joints.Velocity) {
			s.state.DQ[k] = s.joints.Velocity[i]
		}
	}
	s.state.Stamp, s.stateAt = stamp, recorded
	if b.cfg.Map.Pose == "" {
		s.state.EE = franka.Forward(&s.state.Q)
	}
	return nil
}
