package kagi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/reward/vlm"
)

// Board is what a model is shown at a reset: a view from above under a grid with
// marks, and one from the side under lines of height, if there are two, and what their labels mean.
type Board struct {
	Images []vlm.Image
	// Marks are the names drawn on the images; each is a point of that name.
	Marks []string
	// Spot is the place above a tile at a line, base frame, m; its error names the
	// label that means nothing.
	Spot func(tile, line string) ([3]float64, error)
	// Start are the marks' places, as far as they are known.
	Start map[string][3]float64
	// Hands are those of the marks that are the hand's. Tolerance is the reward's (Config).
	Hands     []string
	Tolerance float64
	Box       Box // the workspace
}

// Model is asked. *vlm.Client is one.
type Model interface {
	Ask(ctx context.Context, p vlm.Prompt) ([]byte, vlm.Usage, error)
}

// slack is how far a waypoint may lead back, m: a tile's width, about.
const slack = 0.06

// system is filled with how lines of height are shown.
const system = `You plan motions of a robot arm on a table. You see the scene from above with a grid and named marks%s. You name marks, tiles and lines exactly as they are drawn or told.`

// text asks for sub-tasks first, then for a mark for each, then for the way: what is
// to happen should be settled before where.
const text = `The task is: %s

Go about it in this order.
1. Split the task into one to four steps, each of which moves one thing. Reaching for a thing is a step of its own, which moves the hand. Say each step in a few words.
2. For each step name the mark of what moves. The marks are: %s.
3. For each step write the way as one to six waypoints. A waypoint is a tile of the grid (as "c3"), a line of height (as "2") and what the fingers do there (keep, close or open). Each waypoint must bring the thing nearer to where the step ends, and the last is where it ends. Lift things over what is in their way.`

var answerSchema = json.RawMessage(`{"type":"object","properties":{"steps":{"type":"array","minItems":1,"maxItems":4,"items":{"type":"object","properties":{"what":{"type":"string"},"mark":{"type":"string"},"waypoints":{"type":"array","minItems":1,"maxItems":6,"items":{"type":"object","properties":{"tile":{"type":"string"},"line":{"type":"string"},"fingers":{"type":"string","enum":["keep","close","open"]}},"required":["tile","line","fingers"],"additionalProperties":false}}},"required":["what","mark","waypoints"],"additionalProperties":false}}},"required":["steps"],"additionalProperties":false}`)

// Prompt is what is asked about a task.
func (b Board) Prompt(task string) vlm.Prompt {
	lines := "; the numbered lines of height are told in words"
	if len(b.Images) > 1 {
		lines = ", and from the side with numbered lines of height"
	}
	return vlm.Prompt{
		System: fmt.Sprintf(system, lines), Text: fmt.Sprintf(text, task, strings.Join(b.Marks, ", ")), Images: b.Images, Schema: answerSchema,
		Check: func(answer []byte) error { _, err := b.read(answer); return err },
	}
}

// Ask has a model write the waypoints of an episode. One call, whose answer is in the
// image, in the workspace and leads on, or an error.
func Ask(ctx context.Context, m Model, task string, b Board) ([]Leg, vlm.Usage, error) {
	answer, use, err := m.Ask(ctx, b.Prompt(task))
	if err != nil {
		return nil, use, err
	}
	legs, err := b.read(answer)
	return legs, use, err
}

// read turns an answer into places and judges them.
func (b Board) read(answer []byte) ([]Leg, error) {
	var a struct {
		Steps []struct {
			Mark      string
			Waypoints []struct{ Tile, Line, Fingers string }
		}
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, fmt.Errorf("kagi: the answer: %w", err)
	}
	if len(a.Steps) == 0 {
		return nil, fmt.Errorf("kagi: the answer has no steps")
	}
	var legs []Leg
	for i, s := range a.Steps {
		if !slices.Contains(b.Marks, s.Mark) {
			return nil, fmt.Errorf("kagi: step %d moves %q, which is no mark; the marks are %s", i+1, s.Mark, strings.Join(b.Marks, ", "))
		}
		if len(s.Waypoints) == 0 {
			return nil, fmt.Errorf("kagi: step %d has no waypoints", i+1)
		}
		l := Leg{Point: s.Mark}
		for j, w := range s.Waypoints {
			p, err := b.Spot(w.Tile, w.Line)
			if err != nil {
				return nil, fmt.Errorf("kagi: step %d, waypoint %d: %w", i+1, j+1, err)
			}
			grip := w.Fingers
			if grip == "keep" {
				grip = ""
			}
			l.To, l.Grip = append(l.To, p), append(l.Grip, grip)
		}
		legs = append(legs, l)
	}
	if err := Within(legs, b.Box); err != nil {
		return nil, err
	}
	if err := Onward(legs, b.Start, b.Hands, b.Tolerance); err != nil {
		return nil, err
	}
	return legs, Monotone(legs, b.Start, b.Hands, slack)
}
