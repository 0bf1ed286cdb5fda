package robomimic

import (
	"encoding/json"
	"strings"

	"github.com/rapport-rl/rapport/policy/dataset/table"
)

// env is what the attribute env_args says.
type env struct {
	Version string `json:"env_version"`
	Kwargs  struct {
		Robots     names      `json:"robots"`
		Freq       float64    `json:"control_freq"`
		Controller controller `json:"controller_configs"`
	} `json:"env_kwargs"`
}

func parse(text string) (env, error) {
	var e env
	err := json.Unmarshal([]byte(text), &e)
	return e, err
}

// names is a name or several.
type names []string

func (n *names) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*n = names{one}
		return nil
	}
	var many []string
	if json.Unmarshal(b, &many) == nil {
		*n = many
	}
	return nil // of no other use than to be shown
}

// controller is robosuite's, up to 1.4 as it is, from 1.5 one for each part of the body.
type controller struct {
	Type  string                `json:"type"`
	Max   limits                `json:"output_max"`
	Delta *bool                 `json:"control_delta"` // up to 1.4
	Input string                `json:"input_type"`    // from 1.5: delta or absolute
	Parts map[string]controller `json:"body_parts"`
}

// limits is a number, or one for each axis.
type limits []float64

func (l *limits) UnmarshalJSON(b []byte) error {
	var one float64
	if json.Unmarshal(b, &one) == nil {
		*l = limits{one, one, one, one, one, one}
		return nil
	}
	var many []float64
	if json.Unmarshal(b, &many) == nil {
		*l = many
	}
	return nil
}

func (c controller) control() table.Control {
	if right, ok := c.Parts["right"]; ok && c.Type != "OSC_POSE" {
		return right.control()
	}
	out := table.Control{Kind: c.Type, Absolute: c.Delta != nil && !*c.Delta || strings.EqualFold(c.Input, "absolute")}
	// One scale for all three axes, as every robosuite controller that is shipped.
	if m := c.Max; len(m) >= 3 && m[0] == m[1] && m[0] == m[2] {
		out.Scale = m[0]
		if len(m) >= 6 && m[3] == m[4] && m[3] == m[5] {
			out.Turn = m[3]
		}
	}
	return out
}
