// Package health tells how able a network still is to learn: how many of its
// neurons have gone dormant, how many directions its features span, and how large
// its weights have grown. All three are signs of lost plasticity, which learners
// that go on for long on changing data suffer from.
//
//	gauge := health.New(critic, 256)
//	v := gauge.Look(rows) // (256, n) as the network reads them
//	metrics = v.Append(metrics, "critic")
package health

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
)

// Vitals are what a Gauge reads.
type Vitals struct {
	// Dormant is the share of the hidden neurons that hardly do anything, over all
	// layers and members.
	Dormant float64
	// Rank is the effective rank of the last hidden layer's features, of the first
	// member of an ensemble; at most the smaller of its width and the batch.
	Rank float64
	// Weight is the root mean square of all weights.
	Weight float64
}

// Append appends the vitals of a network called name.
func (v Vitals) Append(ms []policy.Metric, name string) []policy.Metric {
	return append(ms,
		policy.Metric{Name: name + "_dormant", Value: v.Dormant},
		policy.Metric{Name: name + "_rank", Value: v.Rank},
		policy.Metric{Name: name + "_weight", Value: v.Weight})
}

// Gauge measures a network. It follows what is learned.
type Gauge struct {
	net    *nn.MLP
	params []*nn.Param
	g      *nn.Graph
	x      *nn.Node   // (B, In)
	hidden []*nn.Node // (B, n) or (E, B, n)
	B      int
}

// New returns a Gauge that looks at B rows. A network without hidden layers has
// no neurons that could go dormant.
func New(net *nn.MLP, B int) *Gauge {
	h := &Gauge{net: net, params: net.Params(), g: nn.NewGraph(), B: B}
	h.x = h.g.Input(B, net.Config.In)
	h.hidden = net.Trace(h.g, h.x)
	return h
}

// Idle is the activity below which a neuron is dormant, in units of its layer's
// mean (Xu et al. 2024, arXiv:2310.19668, section 3, tau = 0.025).
const Idle = 0.025

// slack is the share of the singular values' sum that the effective rank leaves
// out (Kumar et al. 2021, arXiv:2010.14498, section 3, delta = 0.01).
const slack = 0.01

// Look measures the network on rows x (B, In).
func (h *Gauge) Look(x []float32) Vitals {
	v := Vitals{Dormant: h.Dormant(x)}
	if len(h.hidden) > 0 {
		last := h.hidden[len(h.hidden)-1]
		v.Rank = rank(last.Value, h.B, last.Shape[len(last.Shape)-1])
	}
	n := 0
	nn.Pull(h.params)
	for _, p := range h.params {
		for _, w := range p.Data {
			v.Weight += float64(w) * float64(w)
		}
		n += len(p.Data)
	}
	v.Weight = math.Sqrt(v.Weight / float64(n))
	return v
}

// Dormant is the share of dormant neurons on rows x (B, In): those whose mean
// absolute activation over the rows is at most Idle times the mean of that over
// their layer (Sokar et al. 2023, arXiv:2302.12902, definition 3.1). It does not
// allocate.
func (h *Gauge) Dormant(x []float32) float64 {
	if copy(h.x.Value, x) != len(h.x.Value) {
		panic("health: rows do not fill the gauge")
	}
	dormant, all := 0, 0
	for _, layer := range h.hidden {
		h.g.ForwardTo(layer)
		n := layer.Shape[len(layer.Shape)-1]
		for m := range len(layer.Value) / (h.B * n) {
			act := layer.Value[m*h.B*n : (m+1)*h.B*n]
			sum := 0.0
			for _, a := range act {
				sum += math.Abs(float64(a))
			}
			for i := range n {
				own := 0.0
				for r := range h.B {
					own += math.Abs(float64(act[r*n+i]))
				}
				if own <= Idle*sum/float64(n) {
					dormant++
				}
			}
			all += n
		}
	}
	if all == 0 {
		return 0
	}
	return float64(dormant) / float64(all)
}

// rank is the smallest k whose k largest singular values make up all but slack of
// their sum, of features (B, n). Of features that are all zero it is 0.
func rank(features []float32, B, n int) float64 {
	a := mat.NewDense(B, n, nil)
	for i := range B * n {
		a.RawMatrix().Data[i] = float64(features[i])
	}
	var svd mat.SVD
	if !svd.Factorize(a, mat.SVDNone) {
		return math.NaN()
	}
	values := svd.Values(nil)
	sum := 0.0
	for _, s := range values {
		sum += s
	}
	if sum == 0 {
		return 0
	}
	part := 0.0
	for k, s := range values {
		if part += s; part >= (1-slack)*sum {
			return float64(k + 1)
		}
	}
	return float64(len(values))
}
