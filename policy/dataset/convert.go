package dataset

import (
	"fmt"
	"math"
	"time"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset/table"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// convert makes an episode of a table. IDs, numbers and origin are the caller's.
func (p *plan) convert(t *table.Table, o Options) (policy.Episode, error) {
	if err := p.fits(t); err != nil {
		return policy.Episode{}, err
	}
	if err := p.finite(t); err != nil {
		return policy.Episode{}, err
	}
	var e policy.Episode
	T := t.Len
	for i := range T {
		in, err := p.input(t, i, p.read(t, i))
		if err != nil {
			return e, err
		}
		e.Inputs = append(e.Inputs, in)
	}
	e.Terminal = p.terminal(t, o.Terminal)
	switch last, ok, err := p.after(t); {
	case err != nil:
		return e, err
	case ok:
		e.Inputs = append(e.Inputs, last)
	case o.Last == Drop || o.Last == "" && !e.Terminal:
		T--
		if T == 0 {
			return e, fmt.Errorf("one step alone, whose outcome is not in the file: nothing to learn from; set last: repeat to keep it")
		}
	default:
		last := e.Inputs[T-1]
		last.Step = T
		e.Inputs = append(e.Inputs, last)
	}
	for i := range e.Inputs {
		e.Inputs[i].State.Stamp = stamp(i, o.FPS)
		for j := range e.Inputs[i].Frames {
			if i == t.Len && len(t.LastFrames) == 0 { // the frames of the step before
				break
			}
			e.Inputs[i].Frames[j].Stamp = stamp(i, o.FPS)
		}
	}
	var err error
	if e.Applied, err = p.commands(t, e.Inputs, T, o.FPS); err != nil {
		return e, err
	}
	e.By, e.Version = make([]robot.Source, T), make([]uint64, T)
	for i := range T {
		e.By[i] = robot.ByLog
		if on(p.human, t, i) {
			e.By[i] = robot.ByHuman
		}
	}
	if len(p.reward.parts) > 0 {
		e.Rewards = make([]float64, T)
		for i := range T {
			e.Rewards[i] = p.reward.row(nil, t, i)[0]
		}
	}
	return e, nil
}

// stamp is the time of a step: datasets hold times since the episode's beginning
// at best.
func stamp(step int, fps float64) time.Time {
	return time.Unix(0, int64(math.Round(float64(step)/fps*1e9))).UTC()
}

// fields are all that the map takes from columns.
func (p *plan) fields() []ref {
	return []ref{p.position, p.rotation, p.joints, p.speeds, p.wrench, p.grip, p.reward, p.done, p.truncated, p.success,
		p.human, p.actPosition, p.actRotation, p.actJoints, p.actGrip}
}

// fits reports a column that is of another width than in the episode by which the
// dataset was described.
func (p *plan) fits(t *table.Table) error {
	for _, r := range p.fields() {
		for _, part := range r.parts {
			if n := len(t.Columns[part.column]); n != part.width*t.Len {
				return fmt.Errorf("%s: column %q: %d numbers in %d steps, want %d a step as elsewhere in the dataset", t.File, part.column, n, t.Len, part.width)
			}
		}
	}
	return nil
}

// finite reports a number that is none among those that are mapped.
func (p *plan) finite(t *table.Table) error {
	for _, r := range p.fields() {
		var row []float64
		for i := range t.Len {
			row = r.row(row, t, i)
			for _, x := range row {
				if math.IsNaN(x) || math.IsInf(x, 0) {
					return fmt.Errorf("%s: column %q: step %d holds %v, which the map needs for %s; mend it, or leave the episode out", t.File, r.parts[0].column, i, x, r.field)
				}
			}
		}
	}
	return nil
}

// reader gives the numbers of a field.
type reader func(dst []float64, r ref) []float64

func (p *plan) read(t *table.Table, i int) reader {
	return func(dst []float64, r ref) []float64 { return r.row(dst, t, i) }
}

// input is the observation of step i.
func (p *plan) input(t *table.Table, i int, get reader) (policy.Input, error) {
	st, err := p.state(get)
	if err != nil {
		return policy.Input{}, fmt.Errorf("%s: step %d: %w", t.File, i, err)
	}
	in := policy.Input{Step: i, State: st}
	if i < len(t.Frames) {
		in.Frames = t.Frames[i]
	}
	return in, nil
}

// after is the observation after the last action, if the file holds it.
func (p *plan) after(t *table.Table) (policy.Input, bool, error) {
	if t.Last == nil || len(p.cameras) > 0 && t.LastFrames == nil {
		return policy.Input{}, false, nil
	}
	for _, r := range []ref{p.position, p.rotation, p.joints, p.speeds, p.wrench, p.grip} {
		row, ok := r.last(nil, t)
		if !ok {
			return policy.Input{}, false, nil
		}
		for _, x := range row {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return policy.Input{}, false, fmt.Errorf("%s: column %q: the observation after the last action holds %v; mend it, or leave the episode out", t.File, r.parts[0].column, x)
			}
		}
	}
	in, err := p.input(t, t.Len, func(dst []float64, r ref) []float64 { xs, _ := r.last(dst, t); return xs })
	in.Frames = t.LastFrames
	for i := range in.Frames {
		in.Frames[i].Seq = uint64(t.Len)
	}
	return in, true, err
}

// state is what the arm sensed.
func (p *plan) state(get reader) (robot.State, error) {
	var s robot.State
	copy(s.Q[:], get(nil, p.joints))
	copy(s.DQ[:], get(nil, p.speeds))
	copy(s.Wrench[:], get(nil, p.wrench))
	if len(p.grip.parts) > 0 {
		sum := 0.0
		for _, x := range get(nil, p.grip) {
			sum += math.Abs(x)
		}
		s.Grip = p.m.GripOffset + p.m.GripScale*sum
		// A finger may be pressed together by a hair; a scale that is wrong shows here.
		if s.Grip < -0.02 || s.Grip > 0.3 {
			return s, fmt.Errorf("grip: the fingers would be %.3g m apart; set grip_scale and grip_offset", s.Grip)
		}
		s.Grip = max(0, s.Grip)
	}
	if len(p.position.parts) == 0 {
		s.EE = franka.Forward(&s.Q)
		return s, nil
	}
	for k, x := range get(nil, p.position) {
		s.EE.P[k] = x - p.m.Base[k]
	}
	var err error
	s.EE.Q, err = turn(p.m.RotationAs, get(nil, p.rotation))
	if err != nil {
		return s, fmt.Errorf("rotation: %w", err)
	}
	return s, nil
}

// turn reads a rotation as a unit quaternion wxyz.
func turn(as Turn, v []float64) ([4]float64, error) {
	switch as {
	case RotVec:
		return franka.Exp([3]float64(v)), nil
	case Euler: // about x, then y, then z, all fixed
		x, y, z := franka.Exp([3]float64{v[0], 0, 0}), franka.Exp([3]float64{0, v[1], 0}), franka.Exp([3]float64{0, 0, v[2]})
		return franka.Mul(z, franka.Mul(y, x)), nil
	}
	q := [4]float64(v)
	if as == XYZW {
		q = [4]float64{v[3], v[0], v[1], v[2]}
	}
	// float32 and a controller's drift leave it near length 1; far from it, the
	// columns are wrong.
	if n := math.Sqrt(q[0]*q[0] + q[1]*q[1] + q[2]*q[2] + q[3]*q[3]); !(math.Abs(n-1) < 0.05) {
		return q, fmt.Errorf("the quaternion %v has the length %.3g, want 1; is it really one, and rotation_as %s?", v, n, as)
	}
	return franka.Unit(q), nil
}

// terminal says whether the episode came to an end of the task, so that nothing is
// to be expected after it.
func (p *plan) terminal(t *table.Table, rule Terminal) bool {
	last := t.Len - 1
	switch rule {
	case Always:
		return true
	case Never:
		return false
	case BySuccess:
		if len(p.success.parts) > 0 {
			return on(p.success, t, last)
		}
		return len(p.reward.parts) > 0 && p.reward.row(nil, t, last)[0] > 0
	case ByDone:
		return on(p.done, t, last) && !on(p.truncated, t, last)
	}
	if len(p.success.parts) > 0 {
		return on(p.success, t, last)
	}
	return on(p.done, t, last) && !on(p.truncated, t, last)
}

func on(r ref, t *table.Table, i int) bool {
	return len(r.parts) > 0 && r.row(nil, t, i)[0] != 0
}
