package impedance

import (
	"math"

	"github.com/rapport-rl/rapport/robot"
)

// twistOf stores J q̇ in dst.
func twistOf(dst *[6]float64, jac *[42]float64, dq *[7]float64) {
	for i := range dst {
		var s float64
		for j, v := range dq {
			s += jac[7*i+j] * v
		}
		dst[i] = s
	}
}

// poseError stores in dst what turns have into want, base frame: a translation
// in metres and a rotation vector in radians.
func poseError(dst *[6]float64, want, have *robot.Pose) {
	for i := range 3 {
		dst[i] = want.P[i] - have.P[i]
	}
	a, b := want.Q, have.Q
	// δ = want · conj(have)
	w := a[0]*b[0] + a[1]*b[1] + a[2]*b[2] + a[3]*b[3]
	x := -a[0]*b[1] + a[1]*b[0] - a[2]*b[3] + a[3]*b[2]
	y := -a[0]*b[2] + a[2]*b[0] - a[3]*b[1] + a[1]*b[3]
	z := -a[0]*b[3] + a[3]*b[0] - a[1]*b[2] + a[2]*b[1]
	if w < 0 { // the shorter arc
		w, x, y, z = -w, -x, -y, -z
	}
	s := math.Sqrt(x*x + y*y + z*z)
	k := 2.0 // sin(θ/2) ≈ θ/2
	if s > 1e-9 {
		k = 2 * math.Atan2(s, w) / s
	}
	dst[3], dst[4], dst[5] = k*x, k*y, k*z
}

// slerp interpolates unit quaternions along the shorter arc; t is 0 at a.
func slerp(a, b [4]float64, t float64) [4]float64 {
	d := a[0]*b[0] + a[1]*b[1] + a[2]*b[2] + a[3]*b[3]
	if d < 0 {
		d = -d
		b = [4]float64{-b[0], -b[1], -b[2], -b[3]}
	}
	u, v := 1-t, t
	if d < 0.9999 { // below this angle the chord is the arc to 1e-9
		th := math.Acos(d)
		u, v = math.Sin(u*th)/math.Sin(th), math.Sin(v*th)/math.Sin(th)
	}
	var q [4]float64
	var n float64
	for i := range q {
		q[i] = u*a[i] + v*b[i]
		n += q[i] * q[i]
	}
	n = math.Sqrt(n)
	for i := range q {
		q[i] /= n
	}
	return q
}

// project replaces the joint torque t by (I − Jᵀ(JJᵀ + λ²I)⁻¹J) t, the part
// that asks for no force at the tool centre point. λ keeps it bounded where
// the arm is singular, at the price of leaving a share λ²/(σ²+λ²) of the
// torque along a direction of singular value σ.
func project(t *[7]float64, jac *[42]float64, lambda float64) {
	var a [6][6]float64 // lower triangle, then its Cholesky factor
	for i := range 6 {
		for k := 0; k <= i; k++ {
			var s float64
			for j := range 7 {
				s += jac[7*i+j] * jac[7*k+j]
			}
			a[i][k] = s
		}
		a[i][i] += lambda * lambda
	}
	var x [6]float64
	for i := range 6 {
		for j, v := range t {
			x[i] += jac[7*i+j] * v
		}
	}
	for i := range 6 {
		for k := 0; k <= i; k++ {
			s := a[i][k]
			for m := range k {
				s -= a[i][m] * a[k][m]
			}
			if i == k {
				// Positive in exact arithmetic; the floor guards rounding.
				a[i][i] = math.Sqrt(max(s, lambda*lambda))
			} else {
				a[i][k] = s / a[k][k]
			}
		}
	}
	for i := range 6 {
		for k := range i {
			x[i] -= a[i][k] * x[k]
		}
		x[i] /= a[i][i]
	}
	for i := 5; i >= 0; i-- {
		for k := i + 1; k < 6; k++ {
			x[i] -= a[k][i] * x[k]
		}
		x[i] /= a[i][i]
	}
	for j := range t {
		for i := range 6 {
			t[j] -= jac[7*i+j] * x[i]
		}
	}
}
