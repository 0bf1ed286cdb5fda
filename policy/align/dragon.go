package align

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// Sets is the Judge who values sets of chunks and not single ones (DRAGON, Bai et al.
// 2025, arXiv:2504.15217): value says how good a set of features phi is, such as how
// near its distribution is to that of exemplars (Frechet), or how diverse it is (Vendi).
// Of each two samples of a Group that follow each other, one goes into the set D+ and the
// other into D-, and they are swapped one by one while that raises value(D+). What is in D+
// wins; where the swap makes no difference in the end, it is a tie. Aligners by pairs then
// bring the policy towards D+ and away from D-.
//
// A set hides the single chunk that is dangerous: let a guard have its veto first.
func Sets(phi func(s *Sample) []float64, value func(set [][]float64) float64) Judge {
	return func(ctx context.Context, b *Batch) error {
		b.Pairs = b.Pairs[:0]
		var liked [][]float64  // of D+
		var others [][]float64 // of D-
		for i := 0; i+1 < len(b.Samples); i++ {
			if b.Samples[i].Group != b.Samples[i+1].Group {
				continue
			}
			b.Pairs = append(b.Pairs, Pair{Win: i, Lose: i + 1})
			liked, others = append(liked, phi(&b.Samples[i])), append(others, phi(&b.Samples[i+1]))
			i++
		}
		if len(b.Pairs) == 0 {
			return errors.New("align: sets: no two samples are of one observation: draw at least 2 for each (RunConfig.Each)")
		}
		best := value(liked)
		for raised := true; raised; {
			raised = false
			for i := range b.Pairs {
				if err := ctx.Err(); err != nil {
					return err
				}
				p := &b.Pairs[i]
				liked[i], others[i] = others[i], liked[i]
				switch v := value(liked); {
				case math.IsNaN(v):
					return fmt.Errorf("align: sets: the value of a set is %v", v)
				case v > best:
					best, raised = v, true
					p.Win, p.Lose = p.Lose, p.Win
				default:
					p.Tie = v == best
					liked[i], others[i] = others[i], liked[i]
				}
			}
		}
		return nil
	}
}

// Frechet tells how far sets of features are from exemplars, as between Gaussians of
// their means and covariances (Dowson and Landau 1982; as of pictures Heusel et al. 2017,
// arXiv:1706.08500):
//
//	d^2 = |m - m'|^2 + tr(C + C' - 2 (C C')^1/2)
//
// Covariances shrink towards their diagonals, since those of few chunks are noise. Sets
// are compared only with sets of the same size, whose noise is the same.
type Frechet struct {
	shrink float64
	mean   []float64
	cov    *mat.SymDense
	root   *mat.SymDense // of cov
}

// NewFrechet returns that of exemplars (n, D), whose off-diagonal covariances count
// 1 - shrink.
func NewFrechet(exemplars [][]float64, shrink float64) (*Frechet, error) {
	if len(exemplars) < 2 || len(exemplars[0]) == 0 || !(shrink >= 0 && shrink <= 1) {
		return nil, fmt.Errorf("align: frechet: %d exemplars that shrink by %v, want at least 2 of some features, and a number from 0 to 1", len(exemplars), shrink)
	}
	for i, e := range exemplars {
		if len(e) != len(exemplars[0]) {
			return nil, fmt.Errorf("align: frechet: exemplar %d has %d features, want %d as the first", i, len(e), len(exemplars[0]))
		}
	}
	f := &Frechet{shrink: shrink}
	f.mean, f.cov = f.moments(exemplars)
	vals, vecs, err := eigen(f.cov)
	if err != nil {
		return nil, err
	}
	D := len(vals)
	f.root = mat.NewSymDense(D, nil)
	for i := range D {
		for j := i; j < D; j++ {
			sum := 0.0
			for k, v := range vals {
				sum += math.Sqrt(max(0, v)) * vecs.At(i, k) * vecs.At(j, k)
			}
			f.root.SetSym(i, j, sum)
		}
	}
	return f, nil
}

// Of is the squared distance of a set (n, D), NaN where it has none.
func (f *Frechet) Of(set [][]float64) float64 {
	D := len(f.mean)
	if len(set) < 2 {
		return math.NaN()
	}
	mean, cov := f.moments(set)
	d := 0.0
	for i := range D {
		d += (mean[i]-f.mean[i])*(mean[i]-f.mean[i]) + cov.At(i, i) + f.cov.At(i, i)
	}
	var half, both mat.Dense
	half.Mul(f.root, cov)
	both.Mul(&half, f.root)
	sym := mat.NewSymDense(D, nil)
	for i := range D {
		for j := i; j < D; j++ {
			sym.SetSym(i, j, (both.At(i, j)+both.At(j, i))/2)
		}
	}
	vals, _, err := eigen(sym)
	if err != nil {
		return math.NaN()
	}
	for _, v := range vals {
		d -= 2 * math.Sqrt(max(0, v))
	}
	return max(0, d)
}

// moments are the mean of a set and its shrunk covariance.
func (f *Frechet) moments(set [][]float64) ([]float64, *mat.SymDense) {
	D := len(set[0])
	x := mat.NewDense(len(set), D, nil)
	for i, z := range set {
		x.SetRow(i, z) // panics at another number of features
	}
	mean := make([]float64, D)
	for j := range mean {
		mean[j] = stat.Mean(mat.Col(nil, j, x), nil)
	}
	cov := mat.NewSymDense(D, nil)
	stat.CovarianceMatrix(cov, x, nil)
	for i := range D {
		for j := i + 1; j < D; j++ {
			cov.SetSym(i, j, (1-f.shrink)*cov.At(i, j))
		}
	}
	return mean, cov
}

// Vendi tells how many different things a set (n, D) holds, from 1 to n (Friedman and
// Dieng 2022, arXiv:2210.02410): e^H of the eigenvalues of K/n, where two
// of a distance d are alike by K = e^(-d^2/2 scale^2).
func Vendi(set [][]float64, scale float64) float64 {
	n := len(set)
	if n == 0 {
		return 0
	}
	k := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			d := 0.0
			for e, v := range set[i] {
				d += (v - set[j][e]) * (v - set[j][e])
			}
			k.SetSym(i, j, math.Exp(-d/(2*scale*scale))/float64(n))
		}
	}
	vals, _, err := eigen(k)
	if err != nil {
		return math.NaN()
	}
	h := 0.0
	for _, v := range vals {
		if v > tiniest {
			h -= v * math.Log(v)
		}
	}
	return math.Exp(h)
}

// eigen gives the values and vectors of a symmetric matrix.
func eigen(m *mat.SymDense) ([]float64, *mat.Dense, error) {
	var e mat.EigenSym
	if !e.Factorize(m, true) {
		return nil, nil, errors.New("align: a matrix has no eigenvalues: are all features finite?")
	}
	var vecs mat.Dense
	e.VectorsTo(&vecs)
	return e.Values(nil), &vecs, nil
}
