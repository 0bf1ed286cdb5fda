package ot

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// absorbAt bounds the scalings u and v. Kernel entries below e^-708 are zero,
// so what is left out of the plan stays below 1e-307·1e120 of the mass.
const absorbAt = 1e60

// kernel is the state of the iterations: the plan is
// u[i]·K[i,j]·v[j] with K = exp(α⊕β − C/ε), and u, v are folded into α, β when
// they grow too large.
//
// Once a sweep has met both marginals in turn, a scaling changes by at most
// nm/min(a,b) a sweep and no row or column sum can vanish: the plan's row sums
// are a, and dividing its columns by sums below the mass lowers no entry by
// more than b/mass. So a check after the sweep is early enough.
//
// The innermost loops of this package, over a solver's own numbers and its caller's, are
// marked go:norace: under the race detector they were two fifths of RAPL's tests. Two
// goroutines that share a solver are still found by what sets it up.
type kernel struct {
	n, m int
	inv  float64 // 1/ε
	mass float64
	c    []float64 // (n,m) the caller's
	a, b []float64 // the caller's

	k           []float64 // (n,m)
	alpha, beta []float64
	u, v        []float64
	s           []float64 // (m,) Kᵀu
	top, row    []float64 // (m,) scratch
}

// reset starts a problem whose K is kept in buf (n,m).
func (k *kernel) reset(c, a, b, buf []float64, mass float64) {
	k.n, k.m = len(a), len(b)
	k.c, k.a, k.b, k.mass = c, a, b, mass
	k.k = buf
	for _, x := range [...]*[]float64{&k.alpha, &k.u} {
		*x = resize(*x, k.n)
	}
	for _, x := range [...]*[]float64{&k.beta, &k.v, &k.s, &k.top, &k.row} {
		*x = resize(*x, k.m)
	}
}

// cold starts from nothing: β = 0 and rows met.
func (k *kernel) cold(eps float64) {
	k.inv = 1 / eps
	fill(k.beta, 0)
	fill(k.v, 1)
	k.coldRows()
	// A column out of every row's reach: meet it in logarithms.
	if floats.Min(k.s) < 1/absorbAt {
		k.fold()
		k.logColumns()
		k.exponentiate()
		k.rows()
	}
}

// warm goes on at another ε from the column potentials at hand.
func (k *kernel) warm(eps float64) {
	k.fold()
	ratio := 1 / (eps * k.inv)
	for j := range k.beta {
		l := math.Log(k.b[j])
		k.beta[j] = (k.beta[j]-l)*ratio + l
	}
	k.inv = 1 / eps
	k.logRows()
	k.logColumns()
	k.exponentiate()
	k.rows()
}

// columns meets the column marginals, after rows.
//
//go:norace
func (k *kernel) columns() {
	for j, s := range k.s {
		k.v[j] = k.b[j] / s
	}
}

// residual is the L1 error of the columns over the mass, after rows.
//
//go:norace
func (k *kernel) residual() float64 {
	var e float64
	for j, s := range k.s {
		e += math.Abs(k.v[j]*s - k.b[j])
	}
	return e / k.mass
}

// settle absorbs the scalings into the potentials if one left the safe range.
//
//go:norace
func (k *kernel) settle() {
	for _, x := range [2][]float64{k.u, k.v} {
		for _, y := range x {
			if y > absorbAt || y < 1/absorbAt {
				k.fold()
				k.exponentiate()
				k.rows()
				return
			}
		}
	}
}

// fold moves u and v into α and β. K is stale until exponentiate.
func (k *kernel) fold() {
	for i, u := range k.u {
		k.alpha[i] += math.Log(u)
		k.u[i] = 1
	}
	for j, v := range k.v {
		k.beta[j] += math.Log(v)
		k.v[j] = 1
	}
}

// arguments writes row i of α⊕β − C/ε.
func (k *kernel) arguments(dst []float64, i int) {
	c := k.c[i*k.m : (i+1)*k.m]
	beta := k.beta[:len(c)]
	dst = dst[:len(c)]
	a := k.alpha[i]
	for j, x := range c {
		dst[j] = a + (beta[j] - x*k.inv)
	}
}

// logRows meets the row marginals in logarithms, from β alone.
func (k *kernel) logRows() {
	for i := range k.n {
		k.alpha[i] = 0
		k.arguments(k.row, i)
		hi := floats.Max(k.row)
		floats.AddConst(-hi, k.row)
		expAll(k.row)
		k.alpha[i] = math.Log(k.a[i]/floats.Sum(k.row)) - hi
	}
}

// logColumns meets the column marginals in logarithms.
func (k *kernel) logColumns() {
	fill(k.top, math.Inf(-1))
	for i := range k.n {
		k.arguments(k.row, i)
		for j, x := range k.row {
			k.top[j] = max(k.top[j], x)
		}
	}
	fill(k.s, 0)
	for i := range k.n {
		k.arguments(k.row, i)
		floats.Sub(k.row, k.top)
		expAll(k.row)
		floats.Add(k.s, k.row)
	}
	for j := range k.beta {
		k.beta[j] += math.Log(k.b[j]/k.s[j]) - k.top[j]
	}
}

// plan writes the solution at hand. p.P may be K's own buffer, which is then no
// longer K.
func (k *kernel) plan(p *Plan) {
	n, m, eps := k.n, k.m, 1/k.inv
	p.N, p.M, p.Epsilon = n, m, eps
	p.P, p.F, p.G = resize(p.P, n*m), resize(p.F, n), resize(p.G, m)
	p.Cost = k.planInto(p.P)
	for i := range n {
		p.F[i] = (k.alpha[i] + math.Log(k.u[i])) * eps
	}
	for j := range m {
		p.G[j] = (k.beta[j] + math.Log(k.v[j])) * eps
	}
	p.Residual = k.residual()
}
