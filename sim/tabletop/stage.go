package tabletop

import (
	"errors"
	"fmt"

	"github.com/rapport-rl/rapport/robot"
)

// Tool is the name of the tool centre point to Stage.
const Tool = "tool"

// ErrBeyond says that the arm cannot hold its tool where Stage wants it.
var ErrBeyond = errors.New("tabletop: out of the arm's reach")

// Stage moves one thing of the scene as it stands and nothing else, without time or
// physics: an object, by its name, or the tool, with the hand as it points at the start.
// at is in the base frame, m. Look then draws it, and Truth tells of it. It is for maps
// of a reward over places; after it only a reset makes Step and Drive work again. The
// scene is as it was before if the arm cannot reach.
func (w *World) Stage(name string, at [3]float64) error {
	if w.data == nil {
		return ErrClosed
	}
	if !w.ready && !w.driven && !w.staged {
		return errors.New("tabletop: stage without a reset before it, or after a failed step")
	}
	if err := w.move(name, at); err != nil {
		return err
	}
	w.ready, w.driven, w.staged = false, false, false
	for i := range w.data.QVel() {
		w.data.QVel()[i] = 0
	}
	// Contacts too, by which the truth tells what the hand touches.
	if err := w.data.Forward(); err != nil {
		return fmt.Errorf("tabletop: stage: %w", err)
	}
	w.sense()
	w.past = past{} // a staged scene has none
	w.look(robot.Command{})
	w.staged = true
	return nil
}

func (w *World) move(name string, at [3]float64) error {
	qpos := w.data.QPos()
	if name == Tool {
		q, err := solve(robot.Pose{P: at, Q: w.layout.start.Q})
		if err != nil {
			return fmt.Errorf("%w at [%.3f, %.3f, %.3f]: %w", ErrBeyond, at[0], at[1], at[2], err)
		}
		for i, a := range w.id.q {
			qpos[a] = q[i]
		}
		return nil
	}
	for i, o := range w.layout.objects {
		if o.Name != name {
			continue
		}
		if p := w.id.objects[i]; p.mocap >= 0 {
			copy(w.data.MocapPos()[3*p.mocap:], at[:])
		} else {
			copy(qpos[p.q:], at[:])
		}
		return nil
	}
	return fmt.Errorf("tabletop: nothing here is called %q; there are %s and %v", name, Tool, w.Objects())
}

// Objects names what the task puts into the scene, in the order of Truth.
func (w *World) Objects() []string {
	var names []string
	for _, o := range w.layout.objects {
		names = append(names, o.Name)
	}
	return names
}
