package franka

import (
	"math"

	"github.com/rapport-rl/rapport/robot"
)

// Lengths of the arm, m (franka_description; modified Denavit-Hartenberg after
// Craig, "Introduction to Robotics", chapter 3).
const (
	d1, d3, d5 = 0.333, 0.316, 0.384
	a4, a7     = 0.0825, 0.088 // a5 = -a4
	flange     = 0.107
	tool       = 0.1034 // flange to the point between the finger tips
)

// Reach is further than the tool centre point gets from the base, m: all lengths in a line.
const Reach = d1 + d3 + 2*a4 + d5 + a7 + flange + tool

// Damping is the usual damping of Solve, in the metres and radians of the
// Jacobian: far below the arm's singular values in its workspace (0.1 to 1), so
// that it matters near singularities only (Nakamura & Hanafusa 1986, eq. 15).
const Damping = 0.02

// Forward returns the pose of the tool centre point at the joint positions q.
func Forward(q *[Joints]float64) robot.Pose {
	var z, p [Joints][3]float64
	return chain(q, &z, &p)
}

// Jacobian returns the pose of the tool centre point and its geometric Jacobian:
// rows vx, vy, vz, wx, wy, wz in the base frame, per rad/s of each joint.
func Jacobian(q *[Joints]float64) (robot.Pose, [6][Joints]float64) {
	var z, p [Joints][3]float64
	pose := chain(q, &z, &p)
	return pose, lever(&z, &p, &pose.P)
}

// JacobianAt is the Jacobian of another point that moves with the hand, such as
// the tip of a tool: at, in metres in the base frame.
func JacobianAt(q *[Joints]float64, at [3]float64) [6][Joints]float64 {
	var z, p [Joints][3]float64
	chain(q, &z, &p)
	return lever(&z, &p, &at)
}

func lever(z, p *[Joints][3]float64, at *[3]float64) (j [6][Joints]float64) {
	for i := range Joints {
		a, x, y, w := &z[i], at[0]-p[i][0], at[1]-p[i][1], at[2]-p[i][2]
		j[0][i] = a[1]*w - a[2]*y
		j[1][i] = a[2]*x - a[0]*w
		j[2][i] = a[0]*y - a[1]*x
		j[3][i], j[4][i], j[5][i] = a[0], a[1], a[2]
	}
	return j
}

// chain walks from the base to the tool and leaves each joint's axis in z and a
// point on it in p.
func chain(q *[Joints]float64, z, p *[Joints][3]float64) robot.Pose {
	// r holds the current frame's axes as columns x, y, z.
	x, y, w := [3]float64{1, 0, 0}, [3]float64{0, 1, 0}, [3]float64{0, 0, 1}
	var o [3]float64
	turn := func(i int) { // about the current z, by q[i]
		z[i], p[i] = w, o
		s, c := math.Sincos(q[i])
		for k := range 3 {
			x[k], y[k] = c*x[k]+s*y[k], c*y[k]-s*x[k]
		}
	}
	roll := func() { // +90° about the current x
		for k := range 3 {
			y[k], w[k] = w[k], -y[k]
		}
	}
	unroll := func() { // -90° about the current x
		for k := range 3 {
			y[k], w[k] = -w[k], y[k]
		}
	}
	move := func(a, d float64) { // along the current x and z
		for k := range 3 {
			o[k] += a*x[k] + d*w[k]
		}
	}
	move(0, d1)
	turn(0)
	unroll()
	turn(1)
	roll()
	move(0, d3)
	turn(2)
	move(a4, 0)
	roll()
	turn(3)
	move(-a4, 0)
	unroll()
	move(0, d5)
	turn(4)
	roll()
	turn(5)
	move(a7, 0)
	roll()
	turn(6)
	move(0, flange+tool)
	// The hand sits on the flange at -45° about z.
	for k := range 3 {
		x[k], y[k] = math.Sqrt2/2*(x[k]-y[k]), math.Sqrt2/2*(x[k]+y[k])
	}
	r := [3][3]float64{{x[0], y[0], w[0]}, {x[1], y[1], w[1]}, {x[2], y[2], w[2]}}
	return robot.Pose{P: o, Q: quat(&r)}
}

// Solve returns the joint motion that makes the Cartesian motion v, by damped
// least squares: Jᵀ(JJᵀ + λ²I)⁻¹v (Wampler 1986, eq. 9), with λ = damping > 0.
// v is in m and rad (or per second), and so is the result in rad (or rad/s).
func Solve(j *[6][Joints]float64, v *[6]float64, damping float64) [Joints]float64 {
	f := Factor(j, damping)
	return f.Solve(v)
}

// Factors is a Jacobian that was made ready to solve for several motions.
type Factors struct {
	j *[6][Joints]float64
	l [6][6]float64 // lower Cholesky factor of JJᵀ + λ²I; reciprocals on its diagonal
}

// Factor prepares j, which must not change while the result is in use. It
// panics if damping is not positive.
func Factor(j *[6][Joints]float64, damping float64) Factors {
	if !(damping > 0) {
		panic("franka: damping must be positive")
	}
	f := Factors{j: j}
	l := &f.l
	for r := range 6 {
		for c := 0; c <= r; c++ {
			var s float64
			for k := range Joints {
				s += j[r][k] * j[c][k]
			}
			if r == c {
				s += damping * damping
			}
			for k := range c {
				s -= l[r][k] * l[c][k]
			}
			if r == c {
				l[r][r] = 1 / math.Sqrt(s)
			} else {
				l[r][c] = s * l[c][c]
			}
		}
	}
	return f
}

// Solve is the function Solve for the prepared Jacobian.
func (f *Factors) Solve(v *[6]float64) (dq [Joints]float64) {
	l, y := &f.l, *v
	for r := range 6 {
		for k := range r {
			y[r] -= l[r][k] * y[k]
		}
		y[r] *= l[r][r]
	}
	for r := 5; r >= 0; r-- {
		for k := r + 1; k < 6; k++ {
			y[r] -= l[k][r] * y[k]
		}
		y[r] *= l[r][r]
	}
	for i := range Joints {
		for r := range 6 {
			dq[i] += f.j[r][i] * y[r]
		}
	}
	return dq
}
