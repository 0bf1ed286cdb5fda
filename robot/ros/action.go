package ros

import (
	"fmt"
	"strings"
	"time"

	"github.com/bluenviron/goroslib/v2/pkg/msgs/actionlib_msgs"
	"github.com/bluenviron/goroslib/v2/pkg/msgs/std_msgs"

	"github.com/rapport-rl/rapport/robot/ros/tcpros"
)

// Status of a goal, in actionlib's numbers.
type Status uint8

// The states of a goal.
const (
	Pending Status = iota
	Active
	Preempted
	Succeeded
	Aborted
	Rejected
	Preempting
	Recalling
	Recalled
	Lost
)

var statusNames = [...]string{"pending", "active", "preempted", "succeeded", "aborted", "rejected", "preempting", "recalling", "recalled", "lost"}

// String is the state in a word.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// over says whether a goal's state is final.
func (s Status) over() bool {
	switch s {
	case Preempted, Succeeded, Aborted, Rejected, Recalled, Lost:
		return true
	}
	return false
}

// ErrGoal says how a goal ended that did not succeed.
type ErrGoal struct {
	Action string
	Status Status
	Text   string // the server's
}

// Error implements error.
func (e *ErrGoal) Error() string {
	s := "ros: " + e.Action + ": the goal was " + e.Status.String()
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// The messages of an action's topics. ROS knows each under a name of its own,
// which actionKinds gives.
type actionGoal[G any] struct {
	Header std_msgs.Header
	GoalId actionlib_msgs.GoalID
	Goal   G
}

type actionFeedback[F any] struct {
	Header   std_msgs.Header
	Status   actionlib_msgs.GoalStatus
	Feedback F
}

type actionResult[R any] struct {
	Header std_msgs.Header
	Status actionlib_msgs.GoalStatus
	Result R
}

// actionKinds are the kinds of the goal, feedback and result topics. A goal
// called NameGoal belongs to NameActionGoal; so does goroslib's NameActionGoal,
// which is ROS's NameGoal.
func actionKinds[G, F, R any]() (goal, feedback, result tcpros.Kind, err error) {
	inner, err := tcpros.KindOf[G]()
	if err != nil {
		return goal, feedback, result, err
	}
	name := strings.TrimSuffix(strings.TrimSuffix(inner.Type, "Goal"), "Action")
	if name == inner.Type {
		return goal, feedback, result, fmt.Errorf("ros: goal %s is not called NameGoal", inner.Type)
	}
	if goal, err = tcpros.KindOf[actionGoal[G]](); err != nil {
		return goal, feedback, result, err
	}
	if feedback, err = tcpros.KindOf[actionFeedback[F]](); err != nil {
		return goal, feedback, result, err
	}
	if result, err = tcpros.KindOf[actionResult[R]](); err != nil {
		return goal, feedback, result, err
	}
	for part, k := range map[string]*tcpros.Kind{"Goal": &goal, "Feedback": &feedback, "Result": &result} {
		k.Type = name + "Action" + part
		k.Definition = strings.ReplaceAll(k.Definition, name+"Action"+part, name+part)
	}
	return goal, feedback, result, nil
}

func header(t time.Time) std_msgs.Header { return std_msgs.Header{Stamp: t} }
