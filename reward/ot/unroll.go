package ot

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
)

// Unroll takes a fixed number of Sinkhorn sweeps and differentiates them, one
// after the other from the last: what automatic differentiation of the
// iterations gives (Genevay, Peyré, Cuturi, Learning generative models with
// Sinkhorn divergences, 2018, algorithm 1). The derivative is that of the plan
// after so many sweeps, exact however far from the optimum it is; Solver.Gradient
// is that of the optimum. It works in logarithms, so that any ε is safe, and
// remembers two vectors a sweep instead of two matrices. One goroutine uses it.
//
//	u := ot.Unroll{Epsilon: 0.02, Sweeps: 100}
//	err := u.Solve(&p, c, n, m)
//	u.Gradient(dst, &p, c) // of the Solve before
type Unroll struct {
	Epsilon float64 // the weight of the entropy; it must be positive
	// Sweeps is how often the columns and then the rows are met, after the rows
	// were met once. Zero takes DefaultSweeps.
	Sweeps int

	k           kernel
	alpha, beta []float64 // (Sweeps+1,n) and (Sweeps+1,m): the potentials over ε after each
	a, b        []float64
	s, t        []float64 // (m,)
	da          []float64 // (n,)
	db          []float64 // (m,)

	// Of a cost within safe of ε, for which kernel and scalings are enough and
	// need no logarithms: kern (n,m) = exp((min of the row − C)/ε), and the
	// scalings after each sweep in alpha and beta. The gradient is then a product
	// of two long matrices, left (n,2·Sweeps+1) and right (2·Sweeps+1,m).
	quick             bool
	kern, left, right []float64
}

// safe bounds the cost's range over ε such that no product of scalings overflows.
const safe = 300

// DefaultSweeps of an Unroll: at γ = 50 and the cosine cost the plans of videos of
// 45 frames are then within a tenth of their marginals, where sweeps converge
// slowly; Solver takes Newton steps there.
const DefaultSweeps = 100

func (u *Unroll) sweeps() int {
	if u.Sweeps == 0 {
		return DefaultSweeps
	}
	return u.Sweeps
}

// Solve takes the sweeps for uniform weights. c (n,m) is read only, and must stay
// for Gradient and Pullback. It panics if c has another size, and fails on a cost
// that is not finite.
func (u *Unroll) Solve(p *Plan, c []float64, n, m int) error {
	if n <= 0 || m <= 0 || len(c) != n*m || u.Sweeps < 0 {
		panic(badShape)
	}
	if err := (&Solver{Epsilon: u.Epsilon}).check(); err != nil {
		return err
	}
	lo, hi, err := span(c, m)
	if err != nil {
		return err
	}
	u.a, u.b = resize(u.a, n), resize(u.b, m)
	fill(u.a, 1/float64(n))
	fill(u.b, 1/float64(m))
	p.P = resize(p.P, n*m)
	k, K := &u.k, u.sweeps()
	k.reset(c, u.a, u.b, p.P, 1)
	k.inv = 1 / u.Epsilon
	fill(k.u, 1)
	fill(k.v, 1)
	fill(k.beta, 0)
	u.quick = (hi-lo)/u.Epsilon <= safe
	u.alpha, u.beta = resize(u.alpha, (K+1)*n), resize(u.beta, (K+1)*m)
	if u.quick {
		k.coldRows()
		for i := range K + 1 {
			if i > 0 {
				k.columns()
				k.rows()
			}
			copy(u.beta[i*m:], k.v)
			copy(u.alpha[i*n:], k.u)
		}
		u.kern = resize(u.kern, n*m)
		copy(u.kern, k.k)
		k.plan(p)
		k.k = nil
		p.Iterations, p.Newton = K, 0
		return nil
	}
	for i := range K + 1 {
		if i > 0 {
			k.logColumns()
		}
		copy(u.beta[i*m:], k.beta)
		k.logRows()
		copy(u.alpha[i*n:], k.alpha)
	}
	k.exponentiate()
	k.sums()
	k.plan(p)
	k.k = nil
	p.Iterations, p.Newton = K, 0
	return nil
}

// sums writes the column sums of K to s, for u = v = 1.
func (k *kernel) sums() {
	fill(k.s, 0)
	for i := range k.n {
		for j, x := range k.k[i*k.m : (i+1)*k.m] {
			k.s[j] += x
		}
	}
}

// Gradient writes the derivative of ⟨P(C),C⟩ after the sweeps by C (n,m) to dst.
// p and c are those of the last Solve.
func (u *Unroll) Gradient(dst []float64, p *Plan, c []float64) {
	u.Pullback(dst, p, c)
	for i, x := range p.P {
		dst[i] += x
	}
}

// Pullback carries a gradient back through the sweeps: for a loss with ∂L/∂P = g
// (n,m), it writes ∂L/∂C (n,m) to dst, which may not be g. With α_i = log a_i −
// log Σ_j exp(β_j − C_ij/ε), and β likewise from α, a half sweep's derivative is
// the coupling that it makes, over its marginals.
func (u *Unroll) Pullback(dst []float64, p *Plan, g []float64) {
	n, m, k := p.N, p.M, &u.k
	if len(dst) != n*m || len(g) != n*m || n != k.n || m != k.m {
		panic(badShape)
	}
	inv := k.inv
	u.da, u.db, u.s, u.t = resize(u.da, n), resize(u.db, m), resize(u.s, m), resize(u.t, m)
	fill(u.da, 0)
	fill(u.db, 0)
	for i := range n { // P = exp(α⊕β − C/ε)
		row, gi, di := p.P[i*m:(i+1)*m], g[i*m:(i+1)*m], dst[i*m:(i+1)*m]
		var sum float64
		for j, x := range row {
			y := x * gi[j]
			sum += y
			u.db[j] += y
			di[j] = -y * inv
		}
		u.da[i] = sum
	}
	if u.quick {
		u.back(dst, n, m)
		return
	}
	for s := u.sweeps(); s >= 0; s-- {
		// The rows, α from β: a coupling whose rows sum to a.
		copy(k.alpha, u.alpha[s*n:(s+1)*n])
		copy(k.beta, u.beta[s*m:(s+1)*m])
		for i, d := range u.da {
			k.arguments(u.t, i)
			expAll(u.t)
			d /= u.a[i]
			di := dst[i*m : (i+1)*m]
			for j, x := range u.t {
				x *= d
				u.db[j] -= x
				di[j] += x * inv
			}
		}
		if s == 0 {
			return // β = 0 at first, whatever C is
		}
		// The columns, β from the α before: one whose columns sum to b.
		copy(k.alpha, u.alpha[(s-1)*n:s*n])
		for j, d := range u.db {
			u.s[j] = d / u.b[j]
		}
		for i := range u.da {
			k.arguments(u.t, i)
			expAll(u.t)
			di := dst[i*m : (i+1)*m]
			var sum float64
			for j, x := range u.t {
				x *= u.s[j]
				sum += x
				di[j] += x * inv
			}
			u.da[i] = -sum
		}
		fill(u.db, 0)
	}
}

// back is the rest of Pullback with scalings: every half sweep adds to dst the
// kernel times an outer product, all of which are taken at once.
func (u *Unroll) back(dst []float64, n, m int) {
	k, K := &u.k, u.sweeps()
	w := 2*K + 1
	u.left, u.right = resize(u.left, w*n), resize(u.right, w*m) // (w,n) and (w,m)
	at := 0
	add := func(l, r []float64) {
		copy(u.left[at*n:], l)
		copy(u.right[at*m:], r)
		at++
	}
	x, y := resize(u.t, max(n, m)), resize(u.s, max(n, m))
	u.t, u.s = x, y
	for s := K; ; s-- {
		a, b := u.alpha[s*n:(s+1)*n], u.beta[s*m:(s+1)*m]
		for i, d := range u.da {
			x[i] = d / u.a[i] * a[i]
		}
		add(x[:n], b)
		if s == 0 {
			break
		}
		fill(y[:m], 0)
		for i := range n {
			floats.AddScaled(y[:m], x[i], u.kern[i*m:(i+1)*m])
		}
		a = u.alpha[(s-1)*n : s*n]
		for j, v := range b {
			// db is what is left of it, over the marginal, times the scaling.
			y[j] = (u.db[j] - v*y[j]) / u.b[j] * v
			u.db[j] = 0
		}
		add(a, y[:m])
		for i := range n {
			u.da[i] = -a[i] * floats.Dot(u.kern[i*m:(i+1)*m], y[:m])
		}
	}
	sum := resize(k.row, n*m)
	k.row = sum
	blas64.Gemm(blas.Trans, blas.NoTrans, 1,
		blas64.General{Rows: at, Cols: n, Stride: n, Data: u.left[:at*n]},
		blas64.General{Rows: at, Cols: m, Stride: m, Data: u.right[:at*m]},
		0, blas64.General{Rows: n, Cols: m, Stride: m, Data: sum})
	for i, v := range u.kern {
		dst[i] += v * sum[i] * k.inv
	}
	k.row = k.row[:m]
}

// Distance is the largest marginal error of p for uniform weights, relative to
// the mass: what a plan after too few sweeps shows.
func (p *Plan) Distance() float64 {
	var rows, cols float64
	for i := range p.N {
		var s float64
		for _, x := range p.P[i*p.M : (i+1)*p.M] {
			s += x
		}
		rows += math.Abs(s - 1/float64(p.N))
	}
	for j := range p.M {
		var s float64
		for i := range p.N {
			s += p.P[i*p.M+j]
		}
		cols += math.Abs(s - 1/float64(p.M))
	}
	return max(rows, cols)
}
