// Package judge asks a vision-language model what it sees: whether a task is done,
// and which of two images shows it done better. What a model says is asked for more
// than once, with the order of images swapped where there are two, since such models
// prefer a place (VL-RewardBench, Li et al. 2024, arXiv:2411.17451); and its precision
// on marked frames is measured before it may pay anybody. Whatever is not a clear
// answer is "don't know", never a success.
//
//	m, err := judge.Remember(judge.Over(client), client.Model(), "answers.jsonl")
//	j := judge.Judge{Model: m, Task: "the cup stands on the plate"}
//	rep, err := j.Measure(ctx, marked, 0.9) // refuses an imprecise judge
//	p, err := j.Look(ctx, frames)           // ½ and more: done; reward.ErrUnknown
package judge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/classifier"
	"github.com/rapport-rl/rapport/reward/vlm"
	"github.com/rapport-rl/rapport/robot"
)

// Prompt is what a model is asked.
type Prompt struct {
	System string
	Text   string
	Images []robot.Frame
	// Schema is the JSON schema of the answer.
	Schema json.RawMessage
	// Turn tells askings of the same apart, from 0.
	Turn int
}

// Model answers prompts. An error is what kept it from answering.
type Model interface {
	Ask(ctx context.Context, p Prompt) ([]byte, error)
}

// Judge tells whether a task is done. The zero value lacks Model and Task.
type Judge struct {
	Model Model
	// Task is a sentence that is true when the task is done.
	Task string
	// Times is how often the same is asked; 3. More than half must say yes.
	Times int
	// Tell is told by Measure how many of its moments it has asked of; nil: nobody is.
	Tell func(done, total int)
}

// times is Times, or what 0 stands for.
func (j *Judge) times() int {
	if j.Times == 0 {
		return 3
	}
	return j.Times
}

// Calls is how many times a model is asked of n moments, at most: what is remembered need not be.
func (j *Judge) Calls(n int) int { return n * j.times() }

const system = `You look at images from the cameras of a robot arm. You answer only what can be seen. If you cannot tell, you say so.`

var yesNo = json.RawMessage(`{"type":"object","properties":{"seen":{"type":"string"},"done":{"type":"string","enum":["yes","no","unknown"]}},"required":["seen","done"],"additionalProperties":false}`)

// Votes counts answers.
type Votes struct {
	Yes, No, Unknown int
	// Silent is why the model was asked no further: what was not asked is unknown. nil: it
	// answered.
	Silent error
}

// Ask asks Times times. Answers that cannot be read count as unknown. So does all that is
// left once an endpoint does not answer, since each asking has tried it for minutes
// already. One that refuses, or the end of ctx, is an error.
func (j *Judge) Ask(ctx context.Context, frames []robot.Frame) (Votes, error) {
	var v Votes
	if j.Model == nil || strings.TrimSpace(j.Task) == "" {
		return v, errors.New("judge: no model or no task: name an endpoint, and write the task as a sentence that is true when it is done")
	}
	if len(frames) == 0 {
		return v, errors.New("judge: no image to look at")
	}
	times := j.times()
	if times < 0 {
		return v, fmt.Errorf("judge: to be asked %d times, want once at least", times)
	}
	for i := 0; i < times && v.Silent == nil; i++ {
		b, err := j.Model.Ask(ctx, Prompt{
			System: system, Schema: yesNo, Images: frames, Turn: i,
			Text: "The images show one moment. Say in a sentence what you see, then whether this is true: " + j.Task,
		})
		if ctx.Err() != nil {
			return v, ctx.Err()
		}
		if fatal(err) {
			return v, err
		}
		if errors.Is(err, vlm.ErrBusy) {
			v.Unknown += times - i
			v.Silent = err
			continue
		}
		var said struct {
			Done string `json:"done"`
		}
		if err != nil || json.Unmarshal(b, &said) != nil {
			v.Unknown++
			continue
		}
		switch said.Done {
		case "yes":
			v.Yes++
		case "no":
			v.No++
		default:
			v.Unknown++
		}
	}
	return v, nil
}

// Look is the share of yes among the answers if more than half are yes or no alike;
// otherwise the error wraps reward.ErrUnknown, and vlm.ErrBusy besides where that is
// because the endpoint does not answer.
func (j *Judge) Look(ctx context.Context, frames []robot.Frame) (float64, error) {
	v, err := j.Ask(ctx, frames)
	if err != nil {
		return 0, err
	}
	n := v.Yes + v.No + v.Unknown
	if 2*v.Yes <= n && 2*v.No <= n {
		if v.Silent != nil {
			return 0, fmt.Errorf("judge: %w: %w", reward.ErrUnknown, v.Silent)
		}
		return 0, fmt.Errorf("judge: %d yes, %d no and %d times nothing clear: %w", v.Yes, v.No, v.Unknown, reward.ErrUnknown)
	}
	return float64(v.Yes) / float64(n), nil
}

// Shot is a marked moment.
type Shot struct {
	Frames  []robot.Frame
	Success bool
}

// ErrPrecision says that a judge is too often wrong when it says yes.
var ErrPrecision = errors.New("judge: precision too low to be used")

// Report is how a judge did on marked moments.
type Report struct {
	Measured classifier.Measure `json:"measured"`
	Unknown  int                `json:"unknown"` // moments without a clear answer, counted as not done
}

// String is a line.
func (r Report) String() string {
	return fmt.Sprintf("%v, %d without a clear answer", r.Measured, r.Unknown)
}

// Measure asks of every marked moment, and refuses a judge whose precision is below
// the one asked for (0: 0.9), or that never says yes, with an error that wraps
// ErrPrecision; the report comes with it. An endpoint that does not answer ends the
// measuring with an error that wraps vlm.ErrBusy: its silence measures nothing.
func (j *Judge) Measure(ctx context.Context, shots []Shot, precision float64) (Report, error) {
	var r Report
	if precision == 0 {
		precision = 0.9
	}
	if !(precision > 0) || precision > 1 {
		return r, fmt.Errorf("judge: precision %v, want more than 0 and at most 1", precision)
	}
	var sides [2]bool
	for _, s := range shots {
		if s.Success {
			sides[1] = true
		} else {
			sides[0] = true
		}
	}
	if !sides[0] || !sides[1] {
		return r, errors.New("judge: frames of success and of failure are wanted to measure by; mark some of either")
	}
	for k, s := range shots {
		p, err := j.Look(ctx, s.Frames)
		if errors.Is(err, vlm.ErrBusy) {
			return r, fmt.Errorf("judge: moment %d of %d: %w", k+1, len(shots), err)
		}
		if errors.Is(err, reward.ErrUnknown) {
			r.Unknown++
			p, err = 0, nil
		}
		if err != nil {
			return r, err
		}
		r.Measured.Add(s.Success, p >= 0.5)
		if j.Tell != nil {
			j.Tell(k+1, len(shots))
		}
	}
	if p := r.Measured.Precision(); !(p >= precision) {
		return r, fmt.Errorf("%w: %.2f, want %.2f: word the task more exactly, take a better model or view, or train a classifier of marked frames", ErrPrecision, p, precision)
	}
	return r, nil
}
