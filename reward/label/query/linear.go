package query

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/rapport-rl/rapport/reward/label"
)

// Answer is one that was given.
type Answer struct {
	X    []float64 // features of the left clip minus those of the right, (D,)
	Left float64   // 1 left, 0 right, ½ a tie
}

// Config configures Fit.
type Config struct {
	// Prior is the deviation of each weight before any answer, in units of the noise;
	// 0: 1 (ours, for features of deviation 1).
	Prior float64
	// Members is the size of the ensemble; 0: 100 (ours).
	Members int
	// Source draws the members.
	Source rand.Source
}

// Linear believes that a clip is worth w·x, x its features, and that people answer
// as Bradley and Terry have it. Its members are draws of w from the posterior, by
// Laplace's approximation: a normal about the most likely w, whose precision is the
// Hessian there (MacKay 1992).
type Linear struct {
	best    []float64
	members [][]float64 // (M,D)
}

// Fit learns from answers about features of dimension dim, of which there may be none. Across
// their differences' span nothing was said, so that the prior stands there: fewer answers than
// features are learned from within it, which takes no longer for wide features.
func Fit(answers []Answer, dim int, c Config) (*Linear, error) {
	if dim < 1 || c.Source == nil {
		return nil, errors.New("query: Fit wants features and a source")
	}
	for i, a := range answers {
		if len(a.X) != dim || !(a.Left >= 0 && a.Left <= 1) {
			return nil, fmt.Errorf("query: answer %d has %d features and says %v; want %d, and 0 to 1", i, len(a.X), a.Left, dim)
		}
		if slices.ContainsFunc(a.X, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }) {
			return nil, fmt.Errorf("query: the features of answer %d are not finite", i)
		}
	}
	prior, members, rng := cmp.Or(c.Prior, 1), cmp.Or(c.Members, 100), rand.New(c.Source)
	switch n := len(answers); {
	case n == 0: // the prior
		l := &Linear{best: make([]float64, dim)}
		for range members {
			w := make([]float64, dim)
			for k := range w {
				w[k] = prior * rng.NormFloat64()
			}
			l.members = append(l.members, w)
		}
		return l, nil
	case n >= dim:
		return laplace(answers, dim, prior, members, rng)
	}
	basis, within, err := span(answers, dim)
	if err != nil {
		return nil, err
	}
	in, err := laplace(within, len(answers), prior, members, rng)
	if err != nil {
		return nil, err
	}
	l := &Linear{best: make([]float64, dim)}
	out := func(w, in []float64) { // w += basis·in
		to := mat.NewVecDense(dim, w)
		var add mat.VecDense
		add.MulVec(basis, mat.NewVecDense(len(in), in))
		to.AddVec(to, &add)
	}
	out(l.best, in.best)
	for _, m := range in.members {
		w := make([]float64, dim)
		for k := range w {
			w[k] = prior * rng.NormFloat64()
		}
		var was mat.VecDense
		was.MulVec(basis.T(), mat.NewVecDense(dim, w))
		for k := range m {
			m[k] -= was.AtVec(k)
		}
		out(w, m)
		l.members = append(l.members, w)
	}
	return l, nil
}

// span is an orthonormal basis (D,N) of the span of N answers' differences, N < D, and those
// in it.
func span(answers []Answer, dim int) (*mat.Dense, []Answer, error) {
	n := len(answers)
	x := mat.NewDense(n, dim, nil)
	for i, a := range answers {
		x.SetRow(i, a.X)
	}
	var svd mat.SVD
	if !svd.Factorize(x, mat.SVDThin) {
		return nil, nil, errors.New("query: the answers' features have no singular values")
	}
	var basis, in mat.Dense
	svd.VTo(&basis)
	in.Mul(x, &basis)
	within := make([]Answer, n)
	for i, a := range answers {
		within[i] = Answer{X: in.RawRowView(i), Left: a.Left}
	}
	return &basis, within, nil
}

// laplace is Fit with features of whose every direction something may have been said.
func laplace(answers []Answer, dim int, prior float64, members int, rng *rand.Rand) (*Linear, error) {
	l := &Linear{best: make([]float64, dim)}
	chol, err := climb(l.best, answers, 1/(prior*prior))
	if err != nil {
		return nil, err
	}
	// H = U ᵀU, so that U⁻¹z has the covariance H⁻¹.
	var u mat.TriDense
	chol.UTo(&u)
	for range members {
		z := mat.NewVecDense(dim, nil)
		for k := range dim {
			z.SetVec(k, rng.NormFloat64())
		}
		var w mat.VecDense
		if err := w.SolveVec(&u, z); err != nil {
			return nil, fmt.Errorf("query: %w", err)
		}
		member := make([]float64, dim)
		for k := range dim {
			member[k] = l.best[k] + w.AtVec(k)
		}
		l.members = append(l.members, member)
	}
	return l, nil
}

// steps bounds Newton's steps, of which strictly convex logistic regression takes
// about ten.
const steps = 50

// climb brings w to the most likely weights and returns the Hessian's factor there.
func climb(w []float64, answers []Answer, precision float64) (*mat.Cholesky, error) {
	dim := len(w)
	grad, hess := make([]float64, dim), make([]float64, dim*dim) // of hess the upper half
	g, h := mat.NewVecDense(dim, grad), mat.NewSymDense(dim, hess)
	var chol mat.Cholesky
	var step mat.VecDense
	loss := objective(w, answers, precision)
	next := make([]float64, dim)
	for range steps {
		clear(hess)
		for k := range dim {
			grad[k], hess[k*dim+k] = precision*w[k], precision
		}
		for _, a := range answers {
			p := sigmoid(dot(w, a.X))
			for k, x := range a.X {
				grad[k] += (p - a.Left) * x
				row, c := hess[k*dim+k:(k+1)*dim], p*(1-p)*x
				for j, y := range a.X[k:] {
					row[j] += c * y
				}
			}
		}
		if !chol.Factorize(h) {
			return nil, errors.New("query: the answers' features are too large")
		}
		if err := chol.SolveVecTo(&step, g); err != nil {
			return nil, fmt.Errorf("query: %w", err)
		}
		// Half steps until the loss falls: far out a whole one may go too far.
		scale, found := 1.0, false
		for range 40 {
			for k := range dim {
				next[k] = w[k] - scale*step.AtVec(k)
			}
			if l := objective(next, answers, precision); l < loss {
				copy(w, next)
				loss, found = l, true
				break
			}
			scale /= 2
		}
		if !found || mat.Norm(&step, 2) < 1e-9 {
			break
		}
	}
	return &chol, nil
}

// objective is minus the logarithm of the posterior, but for a constant.
func objective(w []float64, answers []Answer, precision float64) float64 {
	l := precision / 2 * dot(w, w)
	for _, a := range answers {
		z := dot(w, a.X)
		// −y log σ(z) − (1 − y) log σ(−z)
		l += math.Log1p(math.Exp(-math.Abs(z))) + max(z, 0) - a.Left*z
	}
	return l
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

// Weights are the most likely ones (D,).
func (l *Linear) Weights() []float64 { return l.best }

// Of is the belief about clips of features x (D,).
func (l *Linear) Of(x func(label.Clip) ([]float64, error)) Belief {
	return &Utilities{Of: func(c label.Clip) ([]float64, error) {
		f, err := x(c)
		if err != nil {
			return nil, err
		}
		if len(f) != len(l.best) {
			return nil, fmt.Errorf("query: episode %s has %d features, want %d", c.Episode, len(f), len(l.best))
		}
		u := make([]float64, len(l.members))
		for m, w := range l.members {
			u[m] = dot(w, f)
		}
		return u, nil
	}}
}
