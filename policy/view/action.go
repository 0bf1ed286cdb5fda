package view

import (
	"errors"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/robot"
)

// Action maps actions in [-1,1]^k to commands and back.
type Action struct {
	// Axes lists the axes of robot.Command.Delta that the policy moves, in the
	// order of the action: 0 to 2 translate along x, y, z, 3 to 5 rotate about
	// them. The other axes stay still.
	Axes []int
	// Scale is the translation of a unit action, m; wanted with axes 0 to 2.
	Scale float64
	// Turn is the rotation of a unit action, rad; wanted with axes 3 to 5.
	Turn float64
	// MoveGrip adds the opening as the last number of the action, -1 closed to
	// 1 open. Without it the opening is always Grip.
	MoveGrip bool
	Grip     float64 // 0 closed .. 1 open
}

// Validate reports everything that is wrong with a.
func (a Action) Validate() error {
	var errs []error
	if err := axes("Axes", a.Axes, 6); err != nil {
		errs = append(errs, err)
	} else {
		for _, axis := range a.Axes {
			if s := a.unit(axis); !(s > 0 && !math.IsInf(s, 0)) {
				field := "Scale"
				if axis > 2 {
					field = "Turn"
				}
				errs = append(errs, fmt.Errorf("view: %s is %v, want a positive amount for axis %d", field, s, axis))
			}
		}
	}
	if a.Dim() == 0 {
		errs = append(errs, errors.New("view: the policy moves nothing: set Axes or MoveGrip"))
	}
	if !(a.Grip >= 0 && a.Grip <= 1) {
		errs = append(errs, fmt.Errorf("view: Grip is %v, want 0 (closed) to 1 (open)", a.Grip))
	}
	return errors.Join(errs...)
}

// Dim is the length k of an action.
func (a Action) Dim() int {
	if a.MoveGrip {
		return len(a.Axes) + 1
	}
	return len(a.Axes)
}

// Command is the command of the action act (Dim(),); act is clamped to [-1,1].
func (a Action) Command(act []float32) robot.Command {
	if len(act) != a.Dim() {
		panic("view: action of another length than Dim")
	}
	c := robot.Command{Grip: a.Grip}
	for i, axis := range a.Axes {
		c.Delta[axis] = clamp(float64(act[i])) * a.unit(axis)
	}
	if a.MoveGrip {
		c.Grip = (clamp(float64(act[len(a.Axes)])) + 1) / 2
	}
	return c
}

// Row writes the action of the command c to dst (Dim(),), clamped to [-1,1].
// It returns what the action cannot express, as the largest such part in
// units of the action: a move along an axis that the policy does not have, or
// beyond its range. A fixed opening counts as expressed.
func (a Action) Row(dst []float32, c robot.Command) (lost float64) {
	if len(dst) != a.Dim() {
		panic("view: action of another length than Dim")
	}
	rest := c.Delta
	for i, axis := range a.Axes {
		s := a.unit(axis)
		v := clamp(c.Delta[axis] / s)
		dst[i] = float32(v)
		rest[axis] -= v * s
	}
	for axis, v := range rest {
		s := a.unit(axis)
		if s <= 0 { // no axis of this kind: any unit tells that it moved
			s = 1
		}
		lost = max(lost, math.Abs(v)/s)
	}
	if a.MoveGrip {
		dst[len(a.Axes)] = float32(clamp(2*c.Grip - 1))
	}
	return lost
}

func (a Action) unit(axis int) float64 {
	if axis > 2 {
		return a.Turn
	}
	return a.Scale
}

func clamp(v float64) float64 { return min(1, max(-1, v)) }
