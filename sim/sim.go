// Package sim holds what simulators share: ground truth, which only simulated
// people, evaluation and tests may read.
//
// Learners, rewards and perception never import this package; a test over the
// import graph holds that, so no reward can leak the truth into learning.
package sim

import (
	"errors"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// ErrUnstable says that the physics of a step came to numbers that are none: what was asked of the simulated arm pressed things
// together harder than its solver bears. A Reset goes on.
var ErrUnstable = errors.New("the simulated physics became unstable")

// Body is the true pose of a named object.
type Body struct {
	Name string
	Pose robot.Pose
	// Disliked marks an object that the person does not want at the goal.
	Disliked bool
}

// Truth is what a simulator knows about the present instant and a camera does
// not tell.
type Truth struct {
	Stamp  time.Time
	Bodies []Body
	// Distance is the task's distance to the goal, m; people prefer small.
	Distance float64
	// Reward is the task's ground-truth reward of the last step.
	Reward float64
	// Success says whether the task would count as done if the episode ended now.
	Success bool
	// Preferred and Undesired tell how it was done, in tasks where people care:
	// Preferred says that it is done (Success) as they like it, Undesired that
	// since the episode's beginning something happened that they do not want,
	// whether it is done or not. Never both; both false where the task has no styles.
	Preferred, Undesired bool
	// Grasp names the part of the object by which the hand lifted it last, empty if
	// it never did or the task has no styles.
	Grasp string
}
