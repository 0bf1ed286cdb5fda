package tabletop

import (
	"fmt"
	"strings"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

// Task names what has to be done.
type Task string

// The tasks. A task's own file says what it is.
const (
	// Reach: bring the fingers to the red ball that hovers over the table, not
	// to the blue one.
	Reach Task = "reach"
	// Group: push two boxes together across the line.
	Group Task = "group"
	// Clutter: Group, without taking along any of four other boxes.
	Clutter Task = "clutter"
	// Stack: put the red cube on the blue one and let go of it.
	Stack Task = "stack"
	// Almonds: sweep ten almonds into the painted zone.
	Almonds Task = "almonds"
	// Spatula: take the spatula by its handle and lay its blade on the plate.
	Spatula Task = "spatula"
	// Cover: pull the cloth over the box.
	Cover Task = "cover"
)

// Tasks lists the tasks.
func Tasks() []Task {
	return []Task{
		Reach, Group, Clutter,
		Stack, Almonds, Spatula, Cover,
	}
}

// job is a task's row in the table: all that the world has to know of it.
type job struct {
	horizon int // control periods
	layout  func() *layout
	// judge fills in the truth of the present instant. Stamp, bodies and the
	// effort's share of the reward are there already.
	judge func(w *World, t *sim.Truth)
	// act is a demonstrator's next command; his stage is 0 and his habits are
	// drawn at the start of an episode.
	act func(d *Demonstrator) robot.Command
	// guide is a plan of waypoints; nil: there is none.
	guide func(w *World) Guide
	// back says whether the task has a way back, see Backward.
	back bool
}

// jobOf is the table of tasks, nil for what is none.
func jobOf(t Task) *job {
	switch t {
	case Reach:
		return &job{horizon: 45, layout: layoutReach, judge: judgeReach, act: actReach}
	case Group:
		return &job{horizon: 45, layout: layoutGroup, judge: judgeBoxes, act: actGroup}
	case Clutter:
		return &job{horizon: 45, layout: layoutClutter, judge: judgeBoxes, act: actClutter}
	case Stack:
		return &job{horizon: 90, layout: layoutStack, judge: judgeStack, act: actStack, guide: guideStack, back: true}
	case Almonds:
		return &job{horizon: 75, layout: layoutAlmonds, judge: judgeAlmonds, act: actAlmonds, guide: guideAlmonds, back: true}
	case Spatula:
		return &job{horizon: 90, layout: layoutSpatula, judge: judgeSpatula, act: actSpatula, guide: guideSpatula, back: true}
	case Cover:
		return &job{horizon: 90, layout: layoutCover, judge: judgeCover, act: actCover, guide: guideCover, back: true}
	}
	return nil
}

// Horizon is the task's usual length in control periods; 45 as in RAPL for its
// tasks, 0 for what is no task.
func (t Task) Horizon() int {
	if j := jobOf(t); j != nil {
		return j.horizon
	}
	return 0
}

// wanted lists the tasks for an error's remedy.
func wanted() string {
	var names []string
	for _, t := range Tasks() {
		names = append(names, string(t))
	}
	n := len(names) - 1
	return fmt.Sprintf("%s or %s", strings.Join(names[:n], ", "), names[n])
}
