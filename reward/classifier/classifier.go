// Package classifier tells success from one look: a logistic or small network on the
// encoder's embedding, or on where tracked points are, learned from a few frames that
// somebody marked as done and not done. Its precision and recall are measured by cross-validation
// before it may be used, since a sparse reward that pays for failures teaches them:
// the fine-tuned vision-language model of RoboFuME (Yang et al. 2023,
// arXiv:2310.15145) had a precision of 15 % on one of its tasks.
//
//	m, rep, err := classifier.Train(ctx, shots, classifier.Config{})
//	if errors.Is(err, classifier.ErrPrecision) { … rep says how far from it }
//	p, err := m.Succeeded(ctx, features) // ½ and more: done
package classifier

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/perception"
)

// Shot is a frame that somebody marked.
type Shot struct {
	// Group names what the frame is of, such as an episode. Frames of one group look
	// alike, so that cross-validation never parts them.
	Group   string    `json:"group"`
	Input   []float32 `json:"input"` // (N,), of Sees.Input
	Success bool      `json:"success"`
	// Copy says that the frame is a changed copy (an augmentation) of another: it is
	// learned from and never measured on.
	Copy bool `json:"copy,omitempty"`
}

// ErrPrecision says that no threshold reaches the precision asked for.
var ErrPrecision = errors.New("classifier: precision too low to be used")

// Model is a trained classifier. Its zero value is not valid.
type Model struct {
	Sees   Sees      `json:"sees"`
	Mean   []float64 `json:"mean"`   // (N,) of the frames learned from
	Factor []float64 `json:"factor"` // (N,) one over their deviation
	Hidden int       `json:"hidden"` // units; 0: logistic
	W      []float64 `json:"w"`      // (Hidden,N), row-major; (N,) for logistic
	B      []float64 `json:"b"`      // (Hidden,); none for logistic
	V      []float64 `json:"v"`      // (Hidden,); none for logistic
	C      float64   `json:"c"`
	// Slope and Offset make log odds of the network's output: a z + b (Platt 1999).
	Slope  float64 `json:"slope"`
	Offset float64 `json:"offset"`
	// Threshold is the calibrated chance from which success is believed.
	Threshold float64 `json:"threshold"`
	Measured  Measure `json:"measured"` // before use, by cross-validation
}

// Validate reports wrong shapes and numbers that are not finite.
func (m Model) Validate() error {
	D, w, h := len(m.Mean), m.Hidden*len(m.Mean), m.Hidden
	if m.Hidden == 0 {
		w = D
	}
	if D == 0 || m.Hidden < 0 || len(m.Factor) != D || len(m.W) != w || len(m.B) != h || len(m.V) != h {
		return fmt.Errorf("classifier: %d means, %d factors, %d hidden units with %d, %d and %d weights do not fit", D, len(m.Factor), m.Hidden, len(m.W), len(m.B), len(m.V))
	}
	for _, x := range [][]float64{m.Mean, m.Factor, m.W, m.B, m.V, {m.C, m.Slope, m.Offset}} {
		for _, v := range x {
			if v-v != 0 {
				return fmt.Errorf("classifier: a parameter is %v", v)
			}
		}
	}
	if !(m.Slope > 0) || !(m.Threshold > 0) || !(m.Threshold < 1) {
		return fmt.Errorf("classifier: slope %v and threshold %v, want positive, and the threshold below 1", m.Slope, m.Threshold)
	}
	return m.Sees.Validate()
}

// Dim is the width N of the inputs it is for.
func (m Model) Dim() int { return len(m.Mean) }

// Chance is the calibrated chance that the input x (N,) shows success.
func (m Model) Chance(x []float32) (float64, error) {
	z, err := m.odds(x)
	return sigmoid(z), err
}

// Margin is how far, in log odds, f is above the threshold; below 0 success is not
// believed.
func (m Model) Margin(f perception.Features) (float64, error) {
	x, err := m.Sees.Input(f)
	if err != nil {
		return 0, err
	}
	z, err := m.odds(x)
	return z - logit(m.Threshold), err
}

// Succeeded implements reward.Success: σ(margin).
func (m Model) Succeeded(ctx context.Context, f perception.Features) (float64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	z, err := m.Margin(f)
	return sigmoid(z), err
}

func (m Model) odds(x []float32) (float64, error) {
	if len(x) != len(m.Mean) {
		return 0, fmt.Errorf("classifier: input of %d numbers, want %d: was it trained with another encoder?", len(x), len(m.Mean))
	}
	y := m.raw(x)
	if y-y != 0 {
		return 0, errors.New("classifier: its input is not finite")
	}
	return m.Slope*y + m.Offset, nil
}

// raw is the network's output.
func (m *Model) raw(x []float32) float64 {
	D := len(m.Mean)
	y := m.C
	if m.Hidden == 0 {
		for i, w := range m.W {
			y += w * (float64(x[i]) - m.Mean[i]) * m.Factor[i]
		}
		return y
	}
	for h, v := range m.V {
		a := m.B[h]
		for i, w := range m.W[h*D : (h+1)*D] {
			a += w * (float64(x[i]) - m.Mean[i]) * m.Factor[i]
		}
		y += v * math.Tanh(a)
	}
	return y
}

func sigmoid(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

func logit(p float64) float64 { return math.Log(p) - math.Log1p(-p) }

// softplus is log(1 + e^z).
func softplus(z float64) float64 { return max(z, 0) + math.Log1p(math.Exp(-math.Abs(z))) }
