package tabletop

import (
	"context"
	"errors"
	"fmt"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/sim"
)

// Direction says which of a task's two ways an episode goes.
type Direction int

// The directions.
const (
	// Forward is the task.
	Forward Direction = iota
	// Backward undoes it, as a task of its own with a truth and demonstrators of
	// its own. A robot that does one after the other practises without a person
	// who puts things back (RoboFuME, Yang et al. 2023, arXiv:2310.15145).
	Backward
)

func (d Direction) String() string {
	if d == Backward {
		return "backward"
	}
	return "forward"
}

// HasBackward says whether the task can be undone.
func (t Task) HasBackward() bool {
	j := jobOf(t)
	return j != nil && j.back
}

// Direction is that of the present episode.
func (w *World) Direction() Direction { return w.way }

// travel bounds the way of a Turn, control periods.
const travel = 200

// Turn begins an episode in the given direction with the scene as it is: what lies
// on the table stays, and only the arm goes back to its start, lifted and with the
// hand as it starts, by the same controller and physics as ever. Stamps begin at
// zero again. Reset is what a person does who puts things back besides, and always
// begins Forward.
func (w *World) Turn(ctx context.Context, way Direction) (robot.Observation, error) {
	if w.data == nil {
		return robot.Observation{}, ErrClosed
	}
	if !w.ready {
		return robot.Observation{}, errors.New("tabletop: turn without a reset before it, or after a failed step")
	}
	if way != Forward && !w.job.back {
		return robot.Observation{}, fmt.Errorf("tabletop: the task %s has no way back; want forward", w.cfg.Task)
	}
	if err := ctx.Err(); err != nil {
		return robot.Observation{}, err
	}
	w.ready = false
	if err := w.retreat(); err != nil {
		return robot.Observation{}, fmt.Errorf("tabletop: turn: %w", unstable(err))
	}
	w.tick, w.way = 0, way
	if err := w.data.Kinematics(); err != nil {
		return robot.Observation{}, fmt.Errorf("tabletop: turn: %w", err)
	}
	w.look(robot.Command{})
	obs, err := w.observe()
	w.ready = err == nil
	return obs, err
}

// tries is from how many scenes a person tries to do the task before ResetWay gives up.
const tries = 5

// ResetWay starts the episode that belongs to seed in the given direction, bit for
// bit the same on every call, world and process. For the way back a person does the
// task first: the scene is as a demonstrator leaves it.
func (w *World) ResetWay(ctx context.Context, seed uint64, way Direction) (robot.Observation, error) {
	if way == Forward {
		return w.ResetSeed(ctx, seed)
	}
	if !w.job.back {
		return robot.Observation{}, fmt.Errorf("tabletop: the task %s has no way back; want forward", w.cfg.Task)
	}
	for i := range uint64(tries) {
		// The next try is of another scene; the first is that of the seed.
		ok, err := w.done(ctx, seed+i*0x9e3779b97f4a7c15)
		var obs robot.Observation
		if ok {
			obs, err = w.Turn(ctx, way)
		}
		if errors.Is(err, sim.ErrUnstable) {
			continue // a scene in which nobody did it
		}
		if ok || err != nil {
			return obs, err
		}
	}
	return robot.Observation{}, fmt.Errorf("tabletop: no demonstrator did the task %s in %d scenes, so that there is nothing to undo", w.cfg.Task, tries)
}

// done has a person do the task of a seed, which nobody sees, and says whether it is done.
func (w *World) done(ctx context.Context, seed uint64) (bool, error) {
	w.blind = true
	defer func() { w.blind = false }()
	obs, err := w.ResetSeed(ctx, seed)
	if err != nil {
		return false, err
	}
	d, err := NewDemonstrator(w, Good, seed)
	if err != nil {
		return false, err
	}
	for range w.cfg.Task.Horizon() {
		if obs, err = w.Step(ctx, d.Act(obs)); err != nil {
			return false, err
		}
	}
	return w.truth.Success, nil
}

// retreat opens the hand, lifts it, and brings it to the start.
func (w *World) retreat() error {
	start := w.layout.start
	high := max(start.P[2], carry+0.04)
	stops := [][3]float64{
		w.target.P,
		{w.target.P[0], w.target.P[1], high},
		{start.P[0], start.P[1], high},
		start.P,
	}
	n := 0
	for i, p := range stops {
		wait := 2
		if i == 0 || i == len(stops)-1 {
			wait = 8 // for fingers, and for the arm to come to rest
		}
		for n < travel {
			d := franka.Diff(w.target, robot.Pose{P: p, Q: start.Q})
			far, turn := norm(d[0], d[1], d[2]), norm(d[3], d[4], d[5])
			if far < 1e-6 && turn < 1e-6 {
				if wait == 0 {
					break
				}
				wait--
			}
			for k := range 3 {
				d[k] *= min(1, Speed/max(far, 1e-12))
				d[3+k] *= min(1, 0.05/max(turn, 1e-12))
			}
			w.lead(robot.Command{Delta: d})
			w.arm.SetTarget(w.target, Period.Seconds())
			if err := w.run(w.substeps, w.layout.grip); err != nil {
				return err
			}
			n++
		}
	}
	if d := franka.Diff(w.target, start); norm(d[0], d[1], d[2]) > 1e-3 {
		return errors.New("the arm does not come back to its start; want a reset")
	}
	w.target = start
	return nil
}
