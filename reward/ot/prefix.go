package ot

import "fmt"

// Prefix solves the transport of a growing sequence, such as a rollout that is
// still running, to a whole one, both with uniform weights. Adding a frame
// exponentiates that frame's costs only and goes on from the potentials at
// hand. One goroutine uses it.
type Prefix struct {
	s       Solver
	c, a, b []float64
	p       Plan
	stale   bool
}

// NewPrefix starts an empty prefix against a sequence of m frames. The settings
// are taken from s, except for its Scaling.
func NewPrefix(s *Solver, m int) (*Prefix, error) {
	if m <= 0 {
		panic(badShape)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	p := &Prefix{s: Solver{Epsilon: s.Epsilon, Tolerance: s.Tolerance, MaxIter: s.MaxIter, Plain: s.Plain}}
	p.b = make([]float64, m)
	fill(p.b, 1/float64(m))
	return p, nil
}

// Len is the number of frames so far.
func (p *Prefix) Len() int { return len(p.a) }

// Add appends a frame by its costs c (m,) against the whole sequence and solves
// anew. A frame with a cost that is not finite is refused and changes nothing;
// a *ConvergenceError leaves the frame added.
func (p *Prefix) Add(c []float64) error {
	m := len(p.b)
	if len(c) != m {
		panic(badShape)
	}
	if _, _, err := span(c, m); err != nil {
		return fmt.Errorf("ot: frame %d: %w", p.Len(), err)
	}
	n := p.Len() + 1
	p.c = append(p.c, c...)
	p.a = append(p.a, 0)
	fill(p.a, 1/float64(n))
	k := &p.s.k
	if n == 1 {
		k.reset(p.c, p.a, p.b, make([]float64, m), 1)
		k.cold(p.s.Epsilon)
	} else {
		k.n, k.c, k.a = n, p.c, p.a
		k.grow()
	}
	p.stale = true
	p.p.Iterations, p.p.Newton = 0, 0
	return p.s.iterate(&p.p, p.s.tolerance(), p.s.limit())
}

// Plan is the coupling of the frames so far. It is valid until the next Add.
func (p *Prefix) Plan() *Plan {
	if p.stale {
		p.s.k.plan(&p.p)
		p.stale = false
	}
	return &p.p
}

// Costs writes what each of the frames so far pays in the plan to dst (n,):
// Σ_j P[i,j]·C[i,j].
func (p *Prefix) Costs(dst []float64) {
	if len(dst) != p.Len() {
		panic(badShape)
	}
	p.s.k.costs(dst)
}

// grow adds the last row of c to the kernel, with a potential that puts the
// row's largest entry at one.
func (k *kernel) grow() {
	i := k.n - 1
	k.alpha = append(k.alpha, 0)
	k.u = append(k.u, 1)
	k.arguments(k.row, i)
	hi := k.row[0]
	for _, x := range k.row {
		hi = max(hi, x)
	}
	k.alpha[i] = -hi
	k.arguments(k.row, i)
	expAll(k.row)
	k.k = append(k.k, k.row...)
	k.rows()
	k.settle()
}

// costs writes Σ_j P[i,j]·C[i,j].
func (k *kernel) costs(dst []float64) {
	for i := range dst {
		row, c := k.k[i*k.m:(i+1)*k.m], k.c[i*k.m:(i+1)*k.m]
		v := k.v[:len(row)]
		c = c[:len(row)]
		var sum float64
		for j, x := range row {
			sum += x * v[j] * c[j]
		}
		dst[i] = k.u[i] * sum
	}
}
