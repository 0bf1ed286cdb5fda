package classifier

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
)

// Config configures Train. Zero fields take the defaults named, which are ours.
type Config struct {
	Hidden int // units of tanh; 0: logistic regression
	// Decay is the weight of ½‖w‖² beside the mean loss; 0: 0.01, negative: none.
	Decay float64
	// Jitter is the deviation of noise on the standardised input at every step,
	// for encoders whose frames cannot be augmented any more; 0: none.
	Jitter float64
	Steps  int     // of Adam over all shots; 400
	Rate   float64 // 0.03
	Folds  int     // of cross-validation; 5, fewer if there are fewer groups
	// Precision is the least that is accepted; 0.9.
	Precision float64
	Seed      uint64
}

func (c Config) withDefaults() Config {
	if c.Decay == 0 {
		c.Decay = 0.01
	}
	c.Decay = max(0, c.Decay)
	if c.Steps == 0 {
		c.Steps = 400
	}
	if c.Rate == 0 {
		c.Rate = 0.03
	}
	if c.Folds == 0 {
		c.Folds = 5
	}
	if c.Precision == 0 {
		c.Precision = 0.9
	}
	return c
}

func (c Config) validate() error {
	bad := func(x float64) bool { return x-x != 0 }
	switch {
	case c.Hidden < 0 || c.Steps < 1 || c.Folds < 2:
		return fmt.Errorf("classifier: %d hidden units, %d steps, %d folds, want none or more, one and two at least", c.Hidden, c.Steps, c.Folds)
	case bad(c.Decay) || !(c.Jitter >= 0) || bad(c.Jitter) || !(c.Rate > 0) || bad(c.Rate):
		return fmt.Errorf("classifier: decay %v, jitter %v, rate %v, want finite, and a positive rate", c.Decay, c.Jitter, c.Rate)
	case !(c.Precision > 0) || c.Precision > 1:
		return fmt.Errorf("classifier: precision %v, want more than 0 and at most 1", c.Precision)
	}
	return nil
}

// least are the marked frames of either side below which nothing is measured.
const least = 4

func check(shots []Shot) (D int, err error) {
	var n [2]int
	groups := [2]map[string]bool{{}, {}}
	for i, s := range shots {
		if i == 0 {
			D = len(s.Input)
		}
		if len(s.Input) != D || D == 0 {
			return 0, fmt.Errorf("classifier: frame %d (%s): input of %d numbers, want %d: was it embedded by another encoder?", i, s.Group, len(s.Input), D)
		}
		for j, v := range s.Input {
			if v-v != 0 {
				return 0, fmt.Errorf("classifier: frame %d (%s): input[%d] is %v", i, s.Group, j, v)
			}
		}
		if !s.Copy {
			k := 0
			if s.Success {
				k = 1
			}
			n[k]++
			groups[k][s.Group] = true
		}
	}
	for k, what := range [2]string{"not done", "done"} {
		if n[k] < least {
			return 0, fmt.Errorf("classifier: %d frames marked as %s, want %d at least; mark more with rapport reward classifier collect", n[k], what, least)
		}
		if len(groups[k]) < 2 {
			return 0, fmt.Errorf("classifier: all frames marked as %s are of one episode, so nothing can be measured on another; mark frames of a second one", what)
		}
	}
	return D, nil
}

// Train learns from shots, and measures what it learns on groups that it has not
// seen. Every fold's threshold and calibration come from the other folds, so the
// figures are those of a classifier in use. If the precision is below the one
// asked for, the report comes with an error that wraps ErrPrecision.
func Train(ctx context.Context, shots []Shot, c Config) (Model, Report, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return Model{}, Report{}, err
	}
	if _, err := check(shots); err != nil {
		return Model{}, Report{}, err
	}
	said, err := cross(ctx, shots, c)
	if err != nil {
		return Model{}, Report{}, err
	}
	rep := report(said, c)
	rep.Groups = groups(shots)
	m, err := fit(ctx, shots, c, rand.New(rand.NewPCG(c.Seed, 0x636c6173))) // "clas"
	if err != nil {
		return Model{}, rep, err
	}
	m.Slope, m.Offset = platt(said)
	m.Threshold = choose(said, m.Slope, m.Offset, c.aim())
	m.Measured = rep.Measured
	rep.Threshold = m.Threshold
	if got := rep.Measured.Precision(); !(got >= c.Precision) {
		return Model{}, rep, fmt.Errorf("%w: %.2f on frames it has not learned from, want %.2f: mark more frames, above all failures that look like successes; or ask for less (--precision)",
			ErrPrecision, got, c.Precision)
	}
	return m, rep, nil
}

// fit minimises the mean of −log p, both classes of equal weight, with weight decay.
func fit(ctx context.Context, shots []Shot, c Config, rng *rand.Rand) (Model, error) {
	D := len(shots[0].Input)
	m := Model{Mean: make([]float64, D), Factor: make([]float64, D), Hidden: c.Hidden, Slope: 1, Threshold: 0.5}
	for i := range D {
		var sum, sq float64
		for _, s := range shots {
			sum += float64(s.Input[i])
		}
		m.Mean[i] = sum / float64(len(shots))
		for _, s := range shots {
			d := float64(s.Input[i]) - m.Mean[i]
			sq += d * d
		}
		m.Factor[i] = 1
		if dev := math.Sqrt(sq / float64(len(shots))); dev > 1e-9 {
			m.Factor[i] = 1 / dev
		}
	}
	net := newNet(D, c.Hidden, rng)
	rows := make([][]float64, len(shots))
	want, weight := make([]float64, len(shots)), make([]float64, len(shots))
	var n [2]float64
	for i, s := range shots {
		rows[i] = make([]float64, D)
		for j, v := range s.Input {
			rows[i][j] = (float64(v) - m.Mean[j]) * m.Factor[j]
		}
		if s.Success {
			want[i] = 1
		}
		n[int(want[i])]++
	}
	for i := range shots {
		weight[i] = 1 / (2 * n[int(want[i])])
	}
	x, g := make([]float64, D), make([]float64, len(net.p))
	m1, m2 := make([]float64, len(net.p)), make([]float64, len(net.p))
	for step := 1; step <= c.Steps; step++ {
		if err := ctx.Err(); err != nil {
			return m, err
		}
		clear(g)
		for i, row := range rows {
			copy(x, row)
			if c.Jitter > 0 {
				for j := range x {
					x[j] += c.Jitter * rng.NormFloat64()
				}
			}
			net.add(g, x, want[i], weight[i])
		}
		net.decay(g, c.Decay)
		adam(net.p, g, m1, m2, step, c.Rate)
	}
	m.W, m.B, m.V, m.C = net.parts()
	return m, nil
}

// adam is Kingma and Ba's (2015, algorithm 1), with its defaults.
func adam(p, g, m1, m2 []float64, t int, rate float64) {
	const b1, b2, eps = 0.9, 0.999, 1e-8
	c1, c2 := 1-math.Pow(b1, float64(t)), 1-math.Pow(b2, float64(t))
	for i := range p {
		m1[i] = b1*m1[i] + (1-b1)*g[i]
		m2[i] = b2*m2[i] + (1-b2)*g[i]*g[i]
		p[i] -= rate * (m1[i] / c1) / (math.Sqrt(m2[i]/c2) + eps)
	}
}

// net is what is trained, all parameters in one slice: W, then B, V and C.
type net struct {
	d, h int
	p    []float64
	act  []float64 // (h,) scratch
}

func newNet(d, h int, rng *rand.Rand) *net {
	n := &net{d: d, h: h, act: make([]float64, h)}
	if h == 0 {
		n.p = make([]float64, d+1) // convex: zeros are as good a beginning as any
		return n
	}
	n.p = make([]float64, h*d+2*h+1)
	r := math.Sqrt(6 / float64(d+h)) // Glorot and Bengio 2010, equation 16
	for i := range h * d {
		n.p[i] = r * (2*rng.Float64() - 1)
	}
	r = math.Sqrt(6 / float64(h+1))
	for i := range h {
		n.p[h*d+h+i] = r * (2*rng.Float64() - 1)
	}
	return n
}

// weights is the number of those that decay and stand first.
func (n *net) weights() int {
	if n.h == 0 {
		return n.d
	}
	return n.h * n.d
}

func (n *net) parts() (w, b, v []float64, c float64) {
	if n.h == 0 {
		return n.p[:n.d], nil, nil, n.p[n.d]
	}
	k := n.h * n.d
	return n.p[:k], n.p[k : k+n.h], n.p[k+n.h : k+2*n.h], n.p[k+2*n.h]
}

// forward is the output at x (d,).
func (n *net) forward(x []float64) float64 {
	w, b, v, y := n.parts()
	if n.h == 0 {
		for i, a := range w {
			y += a * x[i]
		}
		return y
	}
	for h := range n.h {
		a := b[h]
		for i, u := range w[h*n.d : (h+1)*n.d] {
			a += u * x[i]
		}
		n.act[h] = math.Tanh(a)
		y += v[h] * n.act[h]
	}
	return y
}

// add adds the gradient of weight·(softplus(y) − want·y), and returns the loss.
func (n *net) add(g, x []float64, want, weight float64) float64 {
	y := n.forward(x)
	dy := weight * (sigmoid(y) - want)
	if n.h == 0 {
		for i, v := range x {
			g[i] += dy * v
		}
		g[n.d] += dy
		return weight * (softplus(y) - want*y)
	}
	k := n.h * n.d
	for h, a := range n.act {
		g[k+n.h+h] += dy * a
		da := dy * n.p[k+n.h+h] * (1 - a*a)
		g[k+h] += da
		for i, v := range x {
			g[h*n.d+i] += da * v
		}
	}
	g[k+2*n.h] += dy
	return weight * (softplus(y) - want*y)
}

// decay adds the gradient of ½ decay ‖w‖², of all weights but the offsets.
func (n *net) decay(g []float64, decay float64) {
	for i := range n.weights() {
		g[i] += decay * n.p[i]
	}
	for i := range n.h {
		j := n.weights() + n.h + i
		g[j] += decay * n.p[j]
	}
}
