package align

import (
	"fmt"
	"math"
	"slices"
)

// Leverage tells how far the features z (D,) of a sample are from those that a linear
// head of a reward was fitted to, and trusts less what is far (PrefPaint, Liu et al.
// 2024, arXiv:2410.21966, section 3: the error of the head is bounded by a multiple of
// the leverage):
//
//	b = sqrt(z' V^-1 z),  V = ridge I + sum z_i z_i',  weight = clamp(exp(-Alpha b + Beta), Lo, Hi)
//
// The published settings are Alpha 0.05, Beta 0.7, Lo 1, Hi 2.21, for |V^-1 z| of their
// features; Calibrate sets others by the labelled data. Start anew when the encoder
// changes.
type Leverage struct {
	Alpha, Beta, Lo, Hi float64

	inverse []float64 // (D, D) of V
	z       []float64
}

// NewLeverage returns a Leverage of D features with no data and the published weights.
func NewLeverage(D int, ridge float64) (*Leverage, error) {
	if D < 1 || !(ridge > 0) || math.IsInf(ridge, 0) {
		return nil, fmt.Errorf("align: leverage of %d features with the ridge %v, want at least 1 and a positive number", D, ridge)
	}
	l := &Leverage{Alpha: 0.05, Beta: 0.7, Lo: 1, Hi: 2.21, inverse: make([]float64, D*D), z: make([]float64, D)}
	for i := range D {
		l.inverse[i*D+i] = 1 / ridge
	}
	return l, nil
}

// Add counts the features of a labelled sample (Sherman and Morrison 1950).
func (l *Leverage) Add(z []float64) {
	s := 1 + l.times(z)
	for i, a := range l.z {
		for j, b := range l.z {
			l.inverse[i*len(z)+j] -= a * b / s
		}
	}
}

// times writes V^-1 z to l.z and gives z' V^-1 z.
func (l *Leverage) times(z []float64) float64 {
	D := len(l.z)
	if len(z) != D {
		panic("align: Leverage: another number of features")
	}
	sum := 0.0
	for i := range D {
		l.z[i] = 0
		for j, v := range z {
			l.z[i] += l.inverse[i*D+j] * v
		}
		sum += z[i] * l.z[i]
	}
	return sum
}

// Of is the leverage b of z.
func (l *Leverage) Of(z []float64) float64 { return math.Sqrt(max(0, l.times(z))) }

// Weight is that of a sample with the features z.
func (l *Leverage) Weight(z []float64) float64 {
	return min(l.Hi, max(l.Lo, math.Exp(-l.Alpha*l.Of(z)+l.Beta)))
}

// Calibrate sets the weights so that 95 of 100 samples like the labelled ones zs have
// the weight 1 and what is three times as far as those has one of 0.05, falling to 0.
func (l *Leverage) Calibrate(zs [][]float64) error {
	var bs []float64
	for _, z := range zs {
		bs = append(bs, l.Of(z))
	}
	slices.Sort(bs)
	if len(bs) == 0 || !(bs[len(bs)*95/100] > 0) {
		return fmt.Errorf("align: leverage: %d labelled samples tell no distance, want some whose features are not 0", len(bs))
	}
	q := bs[len(bs)*95/100]
	l.Lo, l.Hi = 0, 1
	l.Alpha = math.Log(20) / (2 * q)
	l.Beta = l.Alpha * q
	return nil
}
