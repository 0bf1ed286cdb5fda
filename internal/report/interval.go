package report

import (
	"math"

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
