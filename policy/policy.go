// Package policy holds episodes, and the ports of what acts and what learns.
package policy

import (
	"context"
	"fmt"
	"io"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/robot"
)

// Input is what a policy sees at one tick: the features of the frames, the arm's
// own state, and the frames themselves where a policy learns from pixels. It has
// no place for simulated ground truth.
type Input struct {
	Step     int // ticks since the reset
	Features perception.Features
	State    robot.State
	Frames   []robot.Frame // nil for policies that go by the features alone
}

// Params is a version of a policy's parameters, as safetensors bytes.
type Params struct {
	Version uint64
	Data    []byte
}

// Policy acts. Act is called by one goroutine, Load may be called by another.
type Policy interface {
	// Act returns the command for in. The command is a wish: the guard decides.
	Act(ctx context.Context, in Input) (robot.Command, error)
	// Load replaces the parameters.
	Load(p Params) error
}

// Origin says where an episode comes from.
type Origin uint8

// The origins of an episode.
const (
	Online Origin = iota // collected by the policy that is being tuned
	Demo                 // given before the session
)

// Episode is one trajectory of T transitions, as applied. Inputs holds T+1
// entries, the others T.
type Episode struct {
	ID       string // unique in a session; what de-duplication goes by
	Seq      uint64 // order of collection, counted by the actor
	Origin   Origin
	Seed     uint64
	Inputs   []Input         // (T+1,)
	Applied  []robot.Command // (T,) what reached the arm
	By       []robot.Source  // (T,) who decided it
	Version  []uint64        // (T,) parameters that acted
	Rewards  []float64       // (T,) nil until a Scorer labelled it
	Terminal bool            // false: truncated, so bootstrap from the last input
}

// Len is the number of transitions T.
func (e *Episode) Len() int { return len(e.Applied) }

// Return is the sum of the rewards, 0 for an unlabelled episode.
func (e *Episode) Return() float64 {
	sum := 0.0
	for _, r := range e.Rewards {
		sum += r
	}
	return sum
}

// Validate reports what is wrong with the lengths of e.
func (e *Episode) Validate() error {
	T := len(e.Applied)
	switch {
	case e.ID == "":
		return fmt.Errorf("policy: episode without an id")
	case T == 0:
		return fmt.Errorf("policy: episode %s is empty", e.ID)
	case len(e.Inputs) != T+1:
		return fmt.Errorf("policy: episode %s has %d inputs for %d commands, want %d", e.ID, len(e.Inputs), T, T+1)
	case len(e.By) != T || len(e.Version) != T:
		return fmt.Errorf("policy: episode %s has %d deciders and %d versions for %d commands", e.ID, len(e.By), len(e.Version), T)
	case e.Rewards != nil && len(e.Rewards) != T:
		return fmt.Errorf("policy: episode %s has %d rewards for %d commands", e.ID, len(e.Rewards), T)
	}
	return nil
}

// Trajectory returns the T+1 features of e, for a reward.Scorer.
func (e *Episode) Trajectory() []perception.Features {
	fs := make([]perception.Features, len(e.Inputs))
	for i := range e.Inputs {
		fs[i] = e.Inputs[i].Features
	}
	return fs
}

// Metric is a named number of a training step.
type Metric struct {
	Name  string
	Value float64
}

// Stats is what an Update tells.
type Stats struct {
	Updates uint64 // gradient steps so far
	Metrics []Metric
}

// Learner improves parameters from labelled episodes. It is driven by one
// goroutine.
type Learner interface {
	// Add takes a labelled episode. Adding an id twice changes nothing.
	Add(ctx context.Context, e Episode) error
	// Update does one round of gradient steps.
	Update(ctx context.Context) (Stats, error)
	// Latest returns the newest parameters for a Policy.
	Latest(ctx context.Context) (Params, error)
}

// Keeper is a Learner whose state outlives its process. Save writes all but the
// episodes; a Learner of the same configuration to which the same episodes were
// added in the same order, and which Restores that, goes on to the same bits.
// What Restore refuses changes nothing.
type Keeper interface {
	Learner
	Save(w io.Writer) error
	Restore(r io.Reader) error
}
