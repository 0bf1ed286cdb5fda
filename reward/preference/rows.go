package preference

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
)

// Scale standardises features: (x − Mean) · Factor, elementwise.
type Scale struct {
	Mean, Factor []float32 // (D,)
}

// NewScale takes mean and deviation of all frames of pairs, which are valid. A
// feature that never changes is left at the scale it has.
func NewScale(pairs []Pair) Scale {
	D := pairs[0].A.D
	sum, square := make([]float64, D), make([]float64, D)
	frames := 0
	for _, p := range pairs {
		for _, c := range [2]*Clip{&p.A, &p.B} {
			frames += c.Len()
			for i, x := range c.Embed {
				sum[i%D] += float64(x)
				square[i%D] += float64(x) * float64(x)
			}
		}
	}
	s := Scale{Mean: make([]float32, D), Factor: make([]float32, D)}
	for j := range sum {
		m := sum[j] / float64(frames)
		dev := math.Sqrt(max(square[j]/float64(frames)-m*m, 0))
		s.Mean[j], s.Factor[j] = float32(m), 1
		if dev > 1e-6*(1+math.Abs(m)) {
			s.Factor[j] = float32(1 / dev)
		}
	}
	return s
}

// Apply writes x (D,), standardised, to dst.
func (s Scale) Apply(dst, x []float32) {
	for j, v := range x {
		dst[j] = (v - s.Mean[j]) * s.Factor[j]
	}
}

// Fits reports a clip that is not valid or of another width.
func (s Scale) Fits(c Clip) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.D != len(s.Mean) {
		return fmt.Errorf("preference: clip %q has %d features, want %d: was it embedded by another encoder?", c.Name, c.D, len(s.Mean))
	}
	return nil
}

// Longest is the number of frames of the longest clip of pairs.
func Longest(pairs []Pair) int {
	T := 1
	for _, p := range pairs {
		T = max(T, p.A.Len(), p.B.Len())
	}
	return T
}

// Rows are B pairs of clips in a graph, for models that are built on nn: clip A of
// pair b is row b, clip B row B+b.
type Rows struct {
	X     *nn.Node // (2B·T, D) frames, standardised
	Share *nn.Node // (2B, T) weight of a frame in what its clip is worth
	B, T  int
	scale Scale
}

// NewRows adds room for B pairs of clips of at most T frames to g.
func NewRows(g *nn.Graph, B, T int, s Scale) *Rows {
	return &Rows{X: g.Input(2*B*T, len(s.Mean)), Share: g.Input(2*B, T), B: B, T: T, scale: s}
}

// Load writes p as pair b. Every frame of a clip has weight share; with 0 they have
// one over their number.
func (r *Rows) Load(b int, p *Pair, share float64) {
	r.LoadClip(b, &p.A, share)
	r.LoadClip(r.B+b, &p.B, share)
}

// LoadClip writes c as a row.
func (r *Rows) LoadClip(row int, c *Clip, share float64) {
	D, n := c.D, c.Len()
	if share == 0 {
		share = 1 / float64(n)
	}
	for i := range n {
		r.scale.Apply(r.X.Value[(row*r.T+i)*D:(row*r.T+i+1)*D], c.Frame(i))
	}
	w := r.Share.Value[row*r.T : (row+1)*r.T]
	clear(w)
	for i := range n {
		w[i] = float32(share)
	}
}

// Pool adds the weighted sum over the frames of what was computed of X: y (2B·T, d)
// becomes (2B, d).
func (r *Rows) Pool(g *nn.Graph, y *nn.Node) *nn.Node {
	d := y.Shape[1]
	return g.Reshape(g.MatMul(g.Reshape(r.Share, 2*r.B, 1, r.T), g.Reshape(y, 2*r.B, r.T, d), false, false), 2*r.B, d)
}

// Sides splits what there is of every clip, (2B, d), into that of A and that of B.
func (r *Rows) Sides(g *nn.Graph, y *nn.Node) (a, b *nn.Node) {
	left, right := make([]int, r.B), make([]int, r.B)
	for i := range r.B {
		left[i], right[i] = i, r.B+i
	}
	return g.Select(y, left), g.Select(y, right)
}

// Node adds the mean loss of answers to pairs whose utilities are d (n,) apart, over
// those that are not Unknown. said (n,) is read at every pass.
func (t Ties) Node(g *nn.Graph, d *nn.Node, said []Verdict, strength float64) *nn.Node {
	if d.Len() != len(said) {
		panic("preference: Ties.Node: differences and verdicts differ in number")
	}
	n := 0.0
	return g.Custom([]*nn.Node{d}, nil, func(out *nn.Node) {
		var sum float64
		n = 0
		for i, v := range said {
			if v != Unknown {
				l, _, _ := t.Loss(v, float64(d.Value[i]), strength)
				sum += l
				n++
			}
		}
		out.Value[0] = float32(sum / max(n, 1))
	}, func(out *nn.Node) {
		for i, v := range said {
			_, byD, _ := t.Loss(v, float64(d.Value[i]), strength)
			d.Grad[i] += out.Grad[0] * float32(byD/max(n, 1))
		}
	})
}
