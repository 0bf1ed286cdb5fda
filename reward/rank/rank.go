// Package rank compares two lists of numbers by their order alone, ties
// included: what a reward is asked first is whether it orders frames and
// episodes as the truth, or another reward, does.
//
//	rho := rank.Spearman(rewards, truth)
//	tau := rank.Kendall(rewards, truth)
//
// gonum has no ranks, and its stat.Kendall is tau-a, which counts a pair that is
// tied in both lists as agreeing (v0.17). Both functions here give NaN where a list
// has no order: fewer than two numbers, all the same, or a NaN among them.
package rank

import (
	"cmp"
	"math"
	"slices"
)

// Ranks writes the ranks of x, from 1 for the smallest, to dst (len(x)) and returns
// it; equal numbers share the mean of theirs. A nil dst is allocated. It panics on
// another length.
func Ranks(dst, x []float64) []float64 {
	if dst == nil {
		dst = make([]float64, len(x))
	}
	if len(dst) != len(x) {
		panic("rank: one rank a number")
	}
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(x[a], x[b]) })
	for i := 0; i < len(order); {
		j := i + 1
		for j < len(order) && x[order[j]] == x[order[i]] {
			j++
		}
		mean := float64(i+j+1) / 2 // of the ranks i+1 .. j
		for _, k := range order[i:j] {
			dst[k] = mean
		}
		i = j
	}
	return dst
}

// Spearman is the rank correlation of x and y: Pearson's of their ranks. It panics if
// their lengths differ.
func Spearman(x, y []float64) float64 {
	if len(x) != len(y) {
		panic("rank: lists of different lengths")
	}
	if len(x) < 2 || unordered(x) || unordered(y) {
		return math.NaN()
	}
	a, b := Ranks(nil, x), Ranks(nil, y)
	mid := float64(len(x)+1) / 2
	var ab, aa, bb float64 // of multiples of ½, so the same order gives 1 to the bit
	for i := range a {
		p, q := a[i]-mid, b[i]-mid
		ab, aa, bb = ab+p*q, aa+p*p, bb+q*q
	}
	return ab / math.Sqrt(aa*bb)
}

// Kendall is tau-b of x and y (Kendall 1945): (C − D) / √((P − X)(P − Y)) of P pairs,
// of which C agree, D disagree, X are tied in x and Y in y. It takes n log n steps
// (Knight 1966). It panics if their lengths differ.
func Kendall(x, y []float64) float64 {
	n := len(x)
	if n != len(y) {
		panic("rank: lists of different lengths")
	}
	if n < 2 || unordered(x) || unordered(y) {
		return math.NaN()
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(x[a], x[b]), cmp.Compare(y[a], y[b]))
	})
	// In the order of x, D is the number of swaps that sort y.
	xs, ys := make([]float64, n), make([]float64, n)
	for i, k := range order {
		xs[i], ys[i] = x[k], y[k]
	}
	both := 0.0
	for i := 0; i < n; {
		j := i + 1
		for j < n && xs[j] == xs[i] && ys[j] == ys[i] {
			j++
		}
		both += pairs(j - i)
		i = j
	}
	swaps := swaps(ys, make([]float64, n))
	all, tx, ty := pairs(n), tied(xs), tied(ys)
	// C + D are the pairs tied in neither.
	agree := all - tx - ty + both - swaps
	return (agree - swaps) / math.Sqrt((all-tx)*(all-ty))
}

func unordered(x []float64) bool {
	same := true
	for _, v := range x {
		if v != v {
			return true
		}
		same = same && v == x[0]
	}
	return same
}

func pairs(n int) float64 { return float64(n) * float64(n-1) / 2 }

// tied counts the pairs of equal neighbours in sorted numbers.
func tied(sorted []float64) float64 {
	sum := 0.0
	for i := 0; i < len(sorted); {
		j := i + 1
		for j < len(sorted) && sorted[j] == sorted[i] {
			j++
		}
		sum += pairs(j - i)
		i = j
	}
	return sum
}

// swaps sorts x by merging, and counts the pairs that stood the wrong way round.
func swaps(x, scratch []float64) float64 {
	if len(x) < 2 {
		return 0
	}
	m := len(x) / 2
	a, b := x[:m], x[m:]
	n := swaps(a, scratch[:m]) + swaps(b, scratch[m:])
	i, j := 0, 0
	for k := range scratch {
		if j == len(b) || i < len(a) && a[i] <= b[j] {
			scratch[k] = a[i]
			i++
			continue
		}
		scratch[k] = b[j]
		j++
		n += float64(len(a) - i)
	}
	copy(x, scratch)
	return n
}
