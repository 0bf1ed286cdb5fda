package judge

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/vlm"
	"github.com/rapport-rl/rapport/robot"
)

// Pairs tells which of two moments is nearer to a goal, as offline RL-VLM-F asks
// (Venkataraman et al. 2024, arXiv:2411.05273, after RL-VLM-F, Wang et al. 2024,
// arXiv:2402.03681): first for a description of both and of how they differ with
// regard to the goal, then, with that, for the better one, 0, 1 or −1 for none.
type Pairs struct {
	Model Model
	// Goal is a phrase, as "to push the red disc onto the green one".
	Goal string

	Asked   int // pairs
	Swapped int // of them told by their place: the answer changed with the order
	None    int // of them without a difference or a readable answer
}

var described = json.RawMessage(`{"type":"object","properties":{"first":{"type":"string"},"second":{"type":"string"},"difference":{"type":"string"}},"required":["first","second","difference"],"additionalProperties":false}`)

var which = json.RawMessage(`{"type":"object","properties":{"better":{"type":"integer","enum":[0,1,-1]}},"required":["better"],"additionalProperties":false}`)

// Compare asks in both orders. Only what both agree on is an answer; otherwise it is
// preference.Unknown, as is what the model would not or could not say. An endpoint that
// does not answer is an error that wraps vlm.ErrBusy: its silence says nothing of a pair,
// and each asking has tried it for minutes already.
func (p *Pairs) Compare(ctx context.Context, a, b []robot.Frame) (preference.Verdict, error) {
	if p.Model == nil || strings.TrimSpace(p.Goal) == "" {
		return preference.Unknown, errors.New("judge: no model or no goal: name an endpoint, and say what the goal is")
	}
	if len(a) == 0 || len(a) != len(b) {
		return preference.Unknown, errors.New("judge: two moments with an image each of the same cameras are wanted")
	}
	p.Asked++
	one, err := p.ask(ctx, a, b)
	if err != nil {
		return preference.Unknown, err
	}
	if one == preference.Unknown {
		p.None++
		return one, nil
	}
	two, err := p.ask(ctx, b, a)
	switch two = two.Flip(); {
	case err != nil:
		return preference.Unknown, err
	case two == preference.Unknown:
		p.None++
	case one != two:
		p.Swapped++
		return preference.Unknown, nil
	}
	return two, nil
}

func (p *Pairs) ask(ctx context.Context, a, b []robot.Frame) (preference.Verdict, error) {
	images := append(append([]robot.Frame{}, a...), b...)
	told, err := p.Model.Ask(ctx, Prompt{
		System: system, Images: images, Schema: described,
		Text: "The first half of the images shows one moment, the second half another, by the same cameras in the same order. Describe what each shows. The goal is " +
			p.Goal + ". How do the two differ with regard to the goal?",
	})
	if ctx.Err() != nil {
		return preference.Unknown, ctx.Err()
	}
	if fatal(err) || errors.Is(err, vlm.ErrBusy) {
		return preference.Unknown, err
	}
	if err != nil {
		return preference.Unknown, nil
	}
	b2, err := p.Model.Ask(ctx, Prompt{
		System: system, Images: images, Schema: which,
		Text: "The first half of the images shows moment 0, the second half moment 1. Somebody described them so:\n" + string(told) +
			"\nThe goal is " + p.Goal + ". In which moment is it achieved better? Answer 0, 1, or -1 if neither is better or you cannot tell.",
	})
	if ctx.Err() != nil {
		return preference.Unknown, ctx.Err()
	}
	if fatal(err) || errors.Is(err, vlm.ErrBusy) {
		return preference.Unknown, err
	}
	var said struct {
		Better *int `json:"better"`
	}
	if err != nil || json.Unmarshal(b2, &said) != nil || said.Better == nil {
		return preference.Unknown, nil
	}
	switch *said.Better {
	case 0:
		return preference.First, nil
	case 1:
		return preference.Second, nil
	}
	return preference.Unknown, nil
}
