package nn

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// AdamConfig configures Adam. Zero fields take the defaults named.
type AdamConfig struct {
	LR          float64 // step size; 3e-4 (RLPD's, arXiv:2302.02948, table 3)
	Beta1       float64 // decay of the mean; 0.9
	Beta2       float64 // decay of the mean square; 0.999
	Eps         float64 // added to the root of the mean square; 1e-8
	WeightDecay float64 // decoupled from the gradient (AdamW); 0
	ClipNorm    float64 // largest norm of the whole gradient; 0 or +Inf: no limit
}

// Adam is the optimiser of Kingma and Ba 2015 (arXiv:1412.6980, algorithm 1),
// with the decoupled weight decay of Loshchilov and Hutter 2019
// (arXiv:1711.05101) if asked for. LR may be changed between steps.
type Adam struct {
	LR     float64
	dev    device.Device
	cfg    AdamConfig
	params []*Param
	mean   [][]float32 // first moments
	square [][]float32 // second moments
	steps  uint64
	norm   float64
	far    *farAdam // where the params are an accelerator's
}

// NewAdam returns an optimiser of params.
func NewAdam(params []*Param, c AdamConfig) *Adam {
	def := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.LR, 3e-4)
	def(&c.Beta1, 0.9)
	def(&c.Beta2, 0.999)
	def(&c.Eps, 1e-8)
	a := &Adam{LR: c.LR, dev: device.Default(), cfg: c, params: params}
	for _, p := range params {
		a.mean = append(a.mean, make([]float32, len(p.Data)))
		a.square = append(a.square, make([]float32, len(p.Data)))
	}
	return a
}

// Step moves the params against their gradients, which it leaves as they are.
func (a *Adam) Step() {
	a.steps++
	c := a.cfg
	scale := 1.0
	if a.far == nil {
		a.far = a.onto()
	}
	if a.far == nil {
		a.norm = GradNorm(a.params)
		if c.ClipNorm > 0 && a.norm > c.ClipNorm {
			scale = c.ClipNorm / a.norm
		}
	}
	t := float64(a.steps)
	root := math.Sqrt(1 - math.Pow(c.Beta2, t))
	k := device.AdamStep{
		Scale: float32(scale),
		B1:    float32(c.Beta1), R1: float32(1 - c.Beta1),
		B2: float32(c.Beta2), R2: float32(1 - c.Beta2),
		Step:  float32(a.LR / (1 - math.Pow(c.Beta1, t)) * root), // so that eps alone carries the root
		Eps:   float32(c.Eps * root),
		Decay: float32(1 - a.LR*c.WeightDecay),
	}
	if a.far != nil {
		a.far.step(k, c.ClipNorm)
		return
	}
	for i, p := range a.params {
		a.dev.Adam(k, p.Data, p.Grad, a.mean[i], a.square[i])
	}
}

// Steps counts the steps done.
func (a *Adam) Steps() uint64 { return a.steps }

// Norm is the norm of the whole gradient at the last Step, before clipping.
func (a *Adam) Norm() float64 {
	if a.far != nil && a.steps > 0 {
		return a.far.adams.Norm()
	}
	return a.norm
}

// State returns the moments and the number of steps, for a checkpoint. The
// arrays are Adam's own.
func (a *Adam) State() []Tensor {
	if a.far != nil {
		a.far.pull(a.mean, a.square)
	}
	ts := []Tensor{{Name: "adam.steps", Shape: []int{2}, Data: splitCount(a.steps)}}
	for i, p := range a.params {
		ts = append(ts,
			Tensor{Name: "adam.mean." + p.Name, Shape: p.Shape, Data: a.mean[i]},
			Tensor{Name: "adam.square." + p.Name, Shape: p.Shape, Data: a.square[i]})
	}
	return ts
}

// Restore takes a State back, found by name among ts.
func (a *Adam) Restore(ts []Tensor) error {
	steps, moments, err := a.take(ts)
	if err != nil {
		return err
	}
	a.steps = steps
	for i, w := range a.State()[1:] {
		copy(w.Data, moments[i])
	}
	if a.far != nil {
		a.far.push(a.mean, a.square)
	}
	return nil
}

// Check says what Restore would refuse of ts, and changes nothing.
func (a *Adam) Check(ts []Tensor) error {
	_, _, err := a.take(ts)
	return err
}

// take finds a State among ts: the steps, then the moments in its order.
func (a *Adam) take(ts []Tensor) (uint64, [][]float32, error) {
	want := a.State()
	got := make([][]float32, len(want))
	for i, w := range want {
		t, err := find(ts, w.Name, w.Shape)
		if err != nil {
			return 0, nil, fmt.Errorf("nn: adam: %w", err)
		}
		got[i] = t.Data
	}
	steps, err := joinCount(got[0])
	if err != nil {
		return 0, nil, fmt.Errorf("nn: adam: %w", err)
	}
	return steps, got[1:], nil
}

// splitCount writes n as two float32 that each hold 24 bits exactly.
func splitCount(n uint64) []float32 {
	return []float32{float32(n >> 24 & (1<<24 - 1)), float32(n & (1<<24 - 1))}
}

func joinCount(d []float32) (uint64, error) {
	for _, v := range d {
		if !(v >= 0 && v < 1<<24) || v != float32(math.Floor(float64(v))) {
			return 0, fmt.Errorf("step count %v is no whole number", d)
		}
	}
	return uint64(d[0])<<24 | uint64(d[1]), nil
}

// GradNorm is the Euclidean norm of all gradients together.
func GradNorm(params []*Param) float64 {
	var s float64
	for _, p := range params {
		if p.twin != nil {
			s += p.twin.far.SumSquares(p.twin.grad)
			continue
		}
		s += device.Default().SumSquares(p.Grad)
	}
	return math.Sqrt(s)
}
