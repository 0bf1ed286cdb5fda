package dataset

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset/table"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// Bounds of one command: no arm goes so far in a step, so that the scale or the
// column is wrong. The target may lead the tool by some way.
const (
	maxLead  = 0.1     // m
	maxSpeed = 3.0     // m/s, that of the FR3
	maxTurn  = math.Pi // rad
)

// commands are the first T actions of t, as ours.
func (p *plan) commands(t *table.Table, ins []policy.Input, T int, fps float64) ([]robot.Command, error) {
	out := make([]robot.Command, T)
	target := ins[0].State.EE
	grip := 1.0 // of a hand that is not sensed
	if len(p.grip.parts) > 0 {
		grip = min(1, ins[0].State.Grip/franka.Stroke)
	}
	for i := range T {
		var err error
		c := &out[i]
		at := ins[i].State.EE
		if p.m.Action.Absolute {
			var to robot.Pose
			if to, err = p.target(t, i, at); err == nil {
				from := target
				if p.m.Action.FromState {
					from = at
				}
				c.Delta = franka.Diff(from, to)
				target = to
			}
		} else {
			c.Delta, err = p.move(t, i, at)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: step %d: action: %w", t.File, i, err)
		}
		if m := norm(c.Delta[:3]); m > maxLead+maxSpeed/fps {
			return nil, fmt.Errorf("%s: step %d: action: the tool would move by %.3g m in %.3g s; set action.scale, and action.absolute to %t if these are %s", t.File, i, m, 1/fps, !p.m.Action.Absolute, map[bool]string{true: "moves", false: "positions"}[p.m.Action.Absolute])
		}
		if a := norm(c.Delta[3:]); a > maxTurn+1e-9 {
			return nil, fmt.Errorf("%s: step %d: action: the tool would turn by %.3g rad; set action.turn_scale, or action.absolute if these are poses", t.File, i, a)
		}
		if len(p.actGrip.parts) > 0 {
			grip = p.m.Action.opening(p.actGrip.row(nil, t, i)[0], grip)
		}
		c.Grip = grip
	}
	return out, nil
}

func norm(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x * x
	}
	return math.Sqrt(s)
}

// target is where the absolute action of step i sends the tool, which is at at.
func (p *plan) target(t *table.Table, i int, at robot.Pose) (robot.Pose, error) {
	if len(p.actJoints.parts) > 0 {
		q := [franka.Joints]float64(p.actJoints.row(nil, t, i))
		return franka.Forward(&q), nil
	}
	to := at
	a := &p.m.Action
	for k, x := range p.actPosition.row(nil, t, i) {
		to.P[k] = a.Scale*x - p.m.Base[k]
	}
	if len(p.actRotation.parts) == 0 {
		return to, nil
	}
	v := p.actRotation.row(nil, t, i)
	if len(v) == 3 {
		for k := range v {
			v[k] *= a.TurnScale
		}
	}
	var err error
	to.Q, err = turn(a.RotationAs, v)
	return to, err
}

// move is the delta of step i, of a tool that is at at.
func (p *plan) move(t *table.Table, i int, at robot.Pose) ([6]float64, error) {
	a := &p.m.Action
	var d, r [3]float64
	for k, x := range p.actPosition.row(nil, t, i) {
		d[k] = a.Scale * x
	}
	if len(p.actRotation.parts) > 0 {
		v := p.actRotation.row(nil, t, i)
		for k := range v {
			v[k] *= a.TurnScale
		}
		r = [3]float64(v)
		if a.RotationAs == Euler {
			q, err := turn(Euler, v)
			if err != nil {
				return [6]float64{}, err
			}
			r = franka.Log(q)
		}
	}
	if a.ToolFrame {
		d, r = franka.Rotate(at.Q, d), franka.Rotate(at.Q, r)
	}
	return [6]float64{d[0], d[1], d[2], r[0], r[1], r[2]}, nil
}

// opening is the command of a hand which was commanded to was before.
func (a *Action) opening(x, was float64) float64 {
	v := (x - a.Closed) / (a.Open - a.Closed)
	if !a.Hold {
		return min(1, max(0, v))
	}
	switch {
	case v >= 0.75:
		return 1
	case v <= 0.25:
		return 0
	}
	return was
}
