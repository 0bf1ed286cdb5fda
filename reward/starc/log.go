package starc

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// Transitions are logged steps of the policy, or the mixture of policies, that made
// them.
type Transitions struct {
	N, D     int
	State    []float64 // (N,D) features of s
	Next     []float64 // (N,D) of s'
	Terminal []bool    // (N) no reward follows s'; nil: after none
	Act      []float64 // (N,A) for any A, including none
}

// DefaultDiscount is the γ of the sessions' learner.
const DefaultDiscount = 0.97

// LogConfig are the parameters of a Log. The zero value is usable.
type LogConfig struct {
	Discount float64 // γ; 0 means DefaultDiscount
	// Basis is how many principal components of the features V is made of, with their
	// squares and the products of the first four; 0 means 12, fewer where the data have
	// fewer.
	Basis int
	// Successors is how many transitions from nearby (s,a) stand for the successors of
	// one; 0 means 10, 1 takes each transition alone.
	Successors int
	// Ridge keeps V bounded where the log says nothing, relative to the mean square of
	// the basis; 0 means 1e-6.
	Ridge float64
}

// Log estimates canonical rewards from transitions. V is that of the policy that made
// them: least squares of the temporal differences (Bradtke, Barto 1996, LSTD),
//
//	Σ φ(s) (φ(s) − γ φ(s'))ᵀ w = Σ φ(s) r
//
// so that shaping by a potential in the span of φ changes nothing but for the ridge.
// The canonical reward of a transition is the mean of r − V(s) + γ V(s') over the
// Successors transitions nearest to its (s,a), itself among them.
type Log struct {
	cfg  LogConfig
	n, m int
	phi  []float64 // (N,M) at s
	diff []float64 // (N,M) φ(s) − γ φ(s')
	lu   mat.LU
	near [][]int // (N) transitions that stand for the successors
}

// most is how many transitions a Log takes: finding neighbours is quadratic.
const most = 20000

// NewLog prepares what rewards on these transitions share.
func NewLog(t Transitions, cfg LogConfig) (*Log, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := t.validate(); err != nil {
		return nil, err
	}
	b := newBasis(t, cfg.Basis)
	l := &Log{cfg: cfg, n: t.N, m: b.width()}
	l.phi, l.diff = make([]float64, l.n*l.m), make([]float64, l.n*l.m)
	places := make([][]float64, l.n) // of (s,a), to measure nearness in
	acts := len(t.Act) / t.N
	scale := spread(t.Act, acts)
	next := make([]float64, l.m)
	a := mat.NewDense(l.m, l.m, nil)
	square := 0.0
	for i := range l.n {
		phi, diff := l.phi[i*l.m:(i+1)*l.m], l.diff[i*l.m:(i+1)*l.m]
		b.at(phi, t.State[i*t.D:(i+1)*t.D])
		copy(diff, phi)
		if t.Terminal == nil || !t.Terminal[i] {
			b.at(next, t.Next[i*t.D:(i+1)*t.D])
			floats.AddScaled(diff, -cfg.Discount, next)
		}
		for j, p := range phi {
			floats.AddScaled(a.RawRowView(j), p, diff)
		}
		square += floats.Dot(phi, phi)
		places[i] = append(slices.Clone(phi[1:1+b.k]), t.Act[i*acts:(i+1)*acts]...)
		for j := range acts {
			places[i][b.k+j] /= scale[j]
		}
	}
	ridge := cfg.Ridge * square / float64(l.m)
	for j := range l.m {
		a.Set(j, j, a.At(j, j)+ridge)
	}
	l.lu.Factorize(a)
	if c := l.lu.Cond(); math.IsInf(c, 1) || math.IsNaN(c) {
		return nil, errors.New("starc: the transitions do not determine a value; give more of them, or a larger ridge")
	}
	l.near = nearest(places, cfg.Successors)
	return l, nil
}

func (c LogConfig) withDefaults() LogConfig {
	if c.Discount == 0 {
		c.Discount = DefaultDiscount
	}
	if c.Basis == 0 {
		c.Basis = 12
	}
	if c.Successors == 0 {
		c.Successors = 10
	}
	if c.Ridge == 0 {
		c.Ridge = 1e-6
	}
	return c
}

func (c LogConfig) validate() error {
	switch {
	case !(c.Discount > 0 && c.Discount < 1):
		return fmt.Errorf("starc: discount is %v, want above 0 and below 1", c.Discount)
	case c.Basis < 1:
		return fmt.Errorf("starc: a basis of %d components, want at least one", c.Basis)
	case c.Successors < 1:
		return fmt.Errorf("starc: %d successors, want at least one", c.Successors)
	case !(c.Ridge >= 0) || math.IsInf(c.Ridge, 1):
		return fmt.Errorf("starc: ridge is %v, want a small positive number", c.Ridge)
	}
	return nil
}

func (t *Transitions) validate() error {
	switch {
	case t.N < 2 || t.N > most:
		return fmt.Errorf("starc: %d transitions, want 2 to %d", t.N, most)
	case t.D < 1 || len(t.State) != t.N*t.D || len(t.Next) != t.N*t.D:
		return fmt.Errorf("starc: %d transitions of %d features with %d and %d numbers", t.N, t.D, len(t.State), len(t.Next))
	case t.Terminal != nil && len(t.Terminal) != t.N || len(t.Act)%t.N != 0:
		return fmt.Errorf("starc: %d transitions with %d ends and %d numbers of actions", t.N, len(t.Terminal), len(t.Act))
	}
	for _, xs := range [][]float64{t.State, t.Next, t.Act} {
		for i, x := range xs {
			if x-x != 0 {
				return fmt.Errorf("starc: number %d of the transitions is %v", i, x)
			}
		}
	}
	return nil
}

// Len is the number of transitions.
func (l *Log) Len() int { return l.n }

// Canonical is the canonical form of rewards (N) of the transitions.
func (l *Log) Canonical(rewards []float64) (Canonical, error) {
	if len(rewards) != l.n {
		return Canonical{}, fmt.Errorf("starc: %d rewards of %d transitions", len(rewards), l.n)
	}
	b := mat.NewVecDense(l.m, nil)
	for i, r := range rewards {
		if r-r != 0 {
			return Canonical{}, fmt.Errorf("starc: reward %d is %v", i, r)
		}
		floats.AddScaled(b.RawVector().Data, r, l.phi[i*l.m:(i+1)*l.m])
	}
	w := mat.NewVecDense(l.m, nil)
	if err := l.lu.SolveVecTo(w, false, b); err != nil && !errors.As(err, new(mat.Condition)) {
		return Canonical{}, fmt.Errorf("starc: value: %w", err)
	}
	td := make([]float64, l.n)
	size := floats.Norm(rewards, math.Inf(1))
	for i := range td {
		v := floats.Dot(l.diff[i*l.m:(i+1)*l.m], w.RawVector().Data)
		td[i] = rewards[i] - v
		size = max(size, math.Abs(v))
	}
	c := Canonical{C: make([]float64, l.n), Size: size}
	for i, near := range l.near {
		for _, j := range near {
			c.C[i] += td[j]
		}
		c.C[i] /= float64(len(near))
	}
	return c, nil
}

// paired is how many components have products in the basis, beside the squares of all.
const paired = 4

// basis is φ: 1, the leading principal components at unit variance, their squares, and
// the products of the first few.
type basis struct {
	k    int
	mean []float64
	axes []float64 // (k,D), scaled
}

func (b *basis) width() int {
	q := min(b.k, paired)
	return 1 + 2*b.k + q*(q-1)/2
}

func (b *basis) at(dst, x []float64) {
	dst[0] = 1
	for i := range b.k {
		axis := b.axes[i*len(x) : (i+1)*len(x)]
		z := floats.Dot(axis, x) - floats.Dot(axis, b.mean)
		dst[1+i], dst[1+b.k+i] = z, z*z-1
	}
	at := 1 + 2*b.k
	for i := range min(b.k, paired) {
		for j := range i {
			dst[at] = dst[1+i] * dst[1+j]
			at++
		}
	}
}

// newBasis finds the components of the states by the eigenvectors of their covariance.
func newBasis(t Transitions, most int) *basis {
	b := &basis{mean: make([]float64, t.D)}
	for i := range t.N {
		floats.AddScaled(b.mean, 1/float64(t.N), t.State[i*t.D:(i+1)*t.D])
	}
	cov := mat.NewSymDense(t.D, nil)
	row := mat.NewVecDense(t.D, nil)
	for i := range t.N {
		floats.SubTo(row.RawVector().Data, t.State[i*t.D:(i+1)*t.D], b.mean)
		cov.SymRankOne(cov, 1/float64(t.N), row)
	}
	var eig mat.EigenSym
	if !eig.Factorize(cov, true) {
		return b // never for finite numbers
	}
	values := eig.Values(nil) // rising
	var vectors mat.Dense
	eig.VectorsTo(&vectors)
	top := values[t.D-1]
	for i := t.D - 1; i >= 0 && b.k < min(most, (t.N-1)/4); i-- {
		if !(values[i] > 1e-10*top) {
			break
		}
		for d := range t.D {
			b.axes = append(b.axes, vectors.At(d, i)/math.Sqrt(values[i]))
		}
		b.k++
	}
	return b
}

// spread is the standard deviation of each column of xs (N,w), 1 where nothing varies.
func spread(xs []float64, w int) []float64 {
	out := make([]float64, w)
	for j := range out {
		sum, square, n := 0.0, 0.0, 0.0
		for i := j; i < len(xs); i += w {
			sum, square, n = sum+xs[i], square+xs[i]*xs[i], n+1
		}
		if out[j] = math.Sqrt(max(0, square/n-sum*sum/(n*n))); out[j] < 1e-9 {
			out[j] = 1
		}
	}
	return out
}

// nearest lists for each place the k nearest ones, itself first.
func nearest(places [][]float64, k int) [][]int {
	out := make([][]int, len(places))
	type far struct {
		d float64
		j int
	}
	found := make([]far, 0, k+1)
	for i, p := range places {
		found = append(found[:0], far{-1, i})
		for j, q := range places {
			if j == i || k == 1 {
				continue
			}
			d := 0.0
			for x := range p {
				d += (p[x] - q[x]) * (p[x] - q[x])
			}
			if len(found) == k && d >= found[k-1].d {
				continue
			}
			at := len(found)
			for at > 0 && found[at-1].d > d {
				at--
			}
			found = slices.Insert(found, at, far{d, j})
			found = found[:min(k, len(found))]
		}
		for _, f := range found {
			out[i] = append(out[i], f.j)
		}
	}
	return out
}
