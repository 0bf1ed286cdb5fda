package report

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Interval returns the mean of values, one a seed, and the half-width of its
// 95 % interval by Student's t distribution. One value alone has no interval:
// half is +Inf.
func Interval(values []float64) (mean, half float64) {
	n := float64(len(values))
	if n < 2 {
		return stat.Mean(values, nil), math.Inf(1)
	}
	mean, sd := stat.MeanStdDev(values, nil)
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(0.975)
	return mean, t * sd / math.Sqrt(n)
}

// Quantile is the smallest of the values that a share p of them, in [0, 1], does
// not exceed, and the median, p = 0.5, of an even number the mean of the middle
// two; NaN of none.
func Quantile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	if n := len(v); p == 0.5 && n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return stat.Quantile(p, stat.Empirical, v, nil)
}
