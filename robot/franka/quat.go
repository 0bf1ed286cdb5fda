package franka

import (
	"math"

	"github.com/rapport-rl/rapport/robot"
)

// Mul returns the product ab of two quaternions wxyz: the rotation b, then a.
func Mul(a, b [4]float64) [4]float64 {
	return [4]float64{
		a[0]*b[0] - a[1]*b[1] - a[2]*b[2] - a[3]*b[3],
		a[0]*b[1] + a[1]*b[0] + a[2]*b[3] - a[3]*b[2],
		a[0]*b[2] - a[1]*b[3] + a[2]*b[0] + a[3]*b[1],
		a[0]*b[3] + a[1]*b[2] - a[2]*b[1] + a[3]*b[0],
	}
}

// Conj returns the inverse of a unit quaternion.
func Conj(q [4]float64) [4]float64 { return [4]float64{q[0], -q[1], -q[2], -q[3]} }

// Unit returns q at length 1, or no rotation if q has no direction.
func Unit(q [4]float64) [4]float64 {
	n := math.Sqrt(q[0]*q[0] + q[1]*q[1] + q[2]*q[2] + q[3]*q[3])
	if !(n > 0) || math.IsInf(n, 0) {
		return [4]float64{1, 0, 0, 0}
	}
	return [4]float64{q[0] / n, q[1] / n, q[2] / n, q[3] / n}
}

// Rotate turns v by the unit quaternion q.
func Rotate(q [4]float64, v [3]float64) [3]float64 {
	// v + 2w(u×v) + 2u×(u×v) with u the vector part.
	tx := 2 * (q[2]*v[2] - q[3]*v[1])
	ty := 2 * (q[3]*v[0] - q[1]*v[2])
	tz := 2 * (q[1]*v[1] - q[2]*v[0])
	return [3]float64{
		v[0] + q[0]*tx + q[2]*tz - q[3]*ty,
		v[1] + q[0]*ty + q[3]*tx - q[1]*tz,
		v[2] + q[0]*tz + q[1]*ty - q[2]*tx,
	}
}

// Exp returns the unit quaternion of the rotation vector v (axis times angle,
// rad).
func Exp(v [3]float64) [4]float64 {
	angle := math.Sqrt(v[0]*v[0] + v[1]*v[1] + v[2]*v[2])
	if angle < 1e-9 { // sin(a/2)/a is 1/2 to machine precision
		return Unit([4]float64{1, v[0] / 2, v[1] / 2, v[2] / 2})
	}
	s, c := math.Sincos(angle / 2)
	s /= angle
	return [4]float64{c, v[0] * s, v[1] * s, v[2] * s}
}

// Log returns the rotation vector of the unit quaternion q, of length at most π.
func Log(q [4]float64) [3]float64 {
	if q[0] < 0 { // the shorter of the two ways round
		q = [4]float64{-q[0], -q[1], -q[2], -q[3]}
	}
	n := math.Sqrt(q[1]*q[1] + q[2]*q[2] + q[3]*q[3])
	if n < 1e-9 {
		return [3]float64{2 * q[1], 2 * q[2], 2 * q[3]}
	}
	k := 2 * math.Atan2(n, q[0]) / n
	return [3]float64{q[1] * k, q[2] * k, q[3] * k}
}

// Move returns p moved by the delta of a robot.Command: translated, and turned
// about its own origin, both in the base frame.
func Move(p robot.Pose, delta *[6]float64) robot.Pose {
	for i := range 3 {
		p.P[i] += delta[i]
	}
	p.Q = Unit(Mul(Exp([3]float64{delta[3], delta[4], delta[5]}), p.Q))
	return p
}

// Diff returns the delta which moves a to b, so that Move(a, Diff(a, b)) is b.
func Diff(a, b robot.Pose) [6]float64 {
	r := Log(Mul(b.Q, Conj(a.Q)))
	return [6]float64{b.P[0] - a.P[0], b.P[1] - a.P[1], b.P[2] - a.P[2], r[0], r[1], r[2]}
}

// quat reads the rotation matrix r, by rows (Shepperd 1978): the largest of the
// four components comes first, so that no division is by a small one. The
// result has w >= 0.
func quat(r *[3][3]float64) [4]float64 {
	xx, yy, zz := r[0][0], r[1][1], r[2][2]
	var q [4]float64
	switch t := xx + yy + zz; {
	case t >= xx && t >= yy && t >= zz:
		q = [4]float64{1 + t, r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]}
	case xx >= yy && xx >= zz:
		q = [4]float64{r[2][1] - r[1][2], 1 + xx - yy - zz, r[0][1] + r[1][0], r[0][2] + r[2][0]}
	case yy >= zz:
		q = [4]float64{r[0][2] - r[2][0], r[0][1] + r[1][0], 1 + yy - xx - zz, r[1][2] + r[2][1]}
	default:
		q = [4]float64{r[1][0] - r[0][1], r[0][2] + r[2][0], r[1][2] + r[2][1], 1 + zz - xx - yy}
	}
	if q[0] < 0 {
		q = [4]float64{-q[0], -q[1], -q[2], -q[3]}
	}
	return Unit(q)
}
