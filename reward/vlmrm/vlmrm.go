// Package vlmrm rewards likeness to a sentence: a frame's embedding by the image
// side of a CLIP-like model is compared with that of a prompt which describes the
// goal, on the line from a prompt which describes the beginning (VLM-RM, Rocamonde
// et al. 2024, arXiv:2310.12921). Nobody labels anything.
//
// The image side is an ONNX file (encoder.ONNX). The text side is not run here: text
// embeddings are made once, elsewhere, and read from a file.
//
//	goal, err := vlmrm.Read(goalFile, "goal.json")
//	base, err := vlmrm.Read(baseFile, "baseline.npy")
//	m, err := vlmrm.Of(goal, base, 0.5, cameras)
//	s, err := vlmrm.New(m)
//	err = s.Score(ctx, rewards, traj)
package vlmrm

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/perception"
)

// Model is a goal and a beginning in words, embedded.
type Model struct {
	Goal     []float64 `json:"goal"`     // (d,) unit
	Baseline []float64 `json:"baseline"` // (d,) unit; nil with Alpha 0
	// Alpha is how much of what is off the line from Baseline to Goal is taken away: 0
	// is cosine similarity, 1 looks at the line alone, which is easier to fool.
	Alpha float64 `json:"alpha"`
	// Cameras is how many embeddings of d numbers stand one after the other in a
	// feature, one a camera; the reward is their mean.
	Cameras int `json:"cameras"`
}

// Of makes a model of one or more prompts for either side, (n,d) each: their
// embeddings are scaled to unit length, averaged, and scaled again. base may be
// empty if alpha is 0.
func Of(goal, base [][]float64, alpha float64, cameras int) (Model, error) {
	m := Model{Alpha: alpha, Cameras: cameras}
	var err error
	if m.Goal, err = average("goal", goal); err != nil {
		return m, err
	}
	if len(base) > 0 || alpha != 0 {
		if m.Baseline, err = average("baseline", base); err != nil {
			return m, err
		}
	}
	return m, m.Validate()
}

func average(what string, rows [][]float64) ([]float64, error) {
	if len(rows) == 0 {
		return nil, fmt.Errorf("vlmrm: no %s prompt; name a file with at least one embedding", what)
	}
	sum := make([]float64, len(rows[0]))
	for i, r := range rows {
		if len(r) != len(sum) {
			return nil, fmt.Errorf("vlmrm: %s prompt %d has an embedding of %d numbers, the first of %d", what, i, len(r), len(sum))
		}
		n := floats.Norm(r, 2)
		if !(n > 0) || math.IsInf(n, 0) {
			return nil, fmt.Errorf("vlmrm: %s prompt %d has an embedding of length %v", what, i, n)
		}
		floats.AddScaled(sum, 1/n, r)
	}
	n := floats.Norm(sum, 2)
	if n < 1e-9*float64(len(rows)) {
		return nil, fmt.Errorf("vlmrm: the %s prompts point in opposite directions; take some away", what)
	}
	floats.Scale(1/n, sum)
	return sum, nil
}

// Validate reports wrong shapes and numbers.
func (m Model) Validate() error {
	if len(m.Goal) == 0 || m.Cameras < 1 || !(m.Alpha >= 0) || m.Alpha > 1 {
		return fmt.Errorf("vlmrm: a goal of %d numbers, %d cameras, alpha %v; want numbers, a camera, and alpha from 0 to 1", len(m.Goal), m.Cameras, m.Alpha)
	}
	sides := [][]float64{m.Goal}
	if m.Alpha > 0 || m.Baseline != nil {
		if len(m.Baseline) != len(m.Goal) {
			return fmt.Errorf("vlmrm: the baseline's embedding has %d numbers, the goal's %d; make both with one model", len(m.Baseline), len(m.Goal))
		}
		sides = append(sides, m.Baseline)
		if floats.Distance(m.Goal, m.Baseline, 2) < 1e-9 {
			return fmt.Errorf("vlmrm: goal and baseline have the same embedding, so there is no line from one to the other; describe the beginning differently")
		}
	}
	for _, s := range sides {
		if n := floats.Norm(s, 2); !(math.Abs(n-1) < 1e-6) {
			return fmt.Errorf("vlmrm: an embedding of length %v, want 1", n)
		}
	}
	return nil
}

// Scorer implements reward.Scorer. It is safe for use by several goroutines.
type Scorer struct {
	m    Model
	line []float64 // (d,) unit, from baseline to goal; nil with alpha 0
}

// New makes a Scorer. It keeps m's slices.
func New(m Model) (*Scorer, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	s := &Scorer{m: m}
	if m.Alpha > 0 {
		s.line = make([]float64, len(m.Goal))
		floats.SubTo(s.line, m.Goal, m.Baseline)
		floats.Scale(1/floats.Norm(s.line, 2), s.line)
	}
	return s, nil
}

// At is the reward of one embedding x (d,), which is taken as it is:
//
//	1 − ½ ‖α proj_L(x) + (1−α) x − g‖²
//
// (the paper's equation 3 with definition 1), where L is the line through the
// baseline b and the goal g. With u along it and e = x − g, that is
// 1 − ½ ((u·e)² + (1−α)² (‖e‖² − (u·e)²)).
func (s *Scorer) At(x []float64) float64 { return s.at(x, 1) }

// at takes x times scale.
func (s *Scorer) at(x []float64, scale float64) float64 {
	var along, all float64
	for i, g := range s.m.Goal {
		e := scale*x[i] - g
		all += e * e
		if s.line != nil {
			along += s.line[i] * e
		}
	}
	off := 1 - s.m.Alpha
	return 1 - 0.5*(along*along+off*off*(all-along*along))
}

// Score implements reward.Scorer, on embeddings scaled to unit length. No reward
// depends on another frame.
func (s *Scorer) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(dst) < 1 || len(traj) != len(dst)+1 {
		return fmt.Errorf("vlmrm: %d features for %d rewards, want one more and at least two", len(traj), len(dst))
	}
	d := len(s.m.Goal)
	row := make([]float64, d)
	for t := range dst {
		x := traj[t+1].Embed
		if len(x) != d*s.m.Cameras {
			return fmt.Errorf("vlmrm: frame %d: embedding of %d numbers, want %d for each of %d cameras: are encoder and prompts of one model?", t+1, len(x), d, s.m.Cameras)
		}
		dst[t] = 0
		for c := range s.m.Cameras {
			for i, v := range x[c*d : (c+1)*d] {
				row[i] = float64(v)
			}
			n := floats.Norm(row, 2)
			if !(n > 0) || math.IsInf(n, 0) {
				return fmt.Errorf("vlmrm: frame %d: the embedding of camera %d has length %v", t+1, c, n)
			}
			dst[t] += s.at(row, 1/n) / float64(s.m.Cameras)
		}
	}
	return nil
}
