package rosarm

import (
	"math"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/franka/impedance"
)

// gains are the parameters of the impedance controller, as its
// dynamic_reconfigure names them.
type gains struct {
	trans, transDamping float64 // N/m, Ns/m
	rot, rotDamping     float64 // Nm per unit of a quaternion's vector part, Nm s/rad
	null, null1         float64 // Nm/rad; of joint 1 a factor
	transMin, transMax  [3]float64
	rotMin, rotMax      [3]float64
}

// standard returns the defaults of serl_franka_controllers.
func standard() gains {
	g := gains{trans: 2000, transDamping: 89, rot: 150, rotDamping: 7, null: 0.2, null1: 100}
	for i := range 3 {
		g.transMin[i], g.transMax[i] = -0.01, 0.01
		g.rotMin[i], g.rotMax[i] = -0.05, 0.05
	}
	return g
}

const (
	alpha      = 0.005 // share of a new target that is taken over at each 1 ms
	torqueStep = 1.0   // Nm, largest change of torque in 1 ms
	nullLambda = 0.2   // damping of the null-space projector
)

// law is the Cartesian impedance controller of serl_franka_controllers:
//
//	τ = Jᵀ(−K e − D Jq̇) + (I − JᵀJ⁺ᵀ)(k_n(q₀ − q) − 2√k_n q̇) + bias
//
// with the error e clipped on each axis, its turning part the vector part of a
// quaternion (half the angle), and target and gains filtered by alpha per
// millisecond. Its integral part, which is off by default, is left out.
type law struct {
	want, have  gains // asked for; filtered
	target, now robot.Pose
	posture     [7]float64
	last        [7]float64 // Nm
	brake       bool       // the arm has stopped itself, and holds posture
}

// start makes the controller hold where the arm is.
func (l *law) start(q, torque [7]float64) {
	l.target = franka.Forward(&q)
	l.now, l.posture, l.last, l.brake = l.target, q, torque, false
}

// stop makes the arm brake where it is.
func (l *law) stop(q [7]float64) { l.posture, l.brake = q, true }

func (l *law) torque(tau *[7]float64, in *impedance.Input, dt float64) {
	step := torqueStep * dt / 0.001
	limits := impedance.Default().Torque
	var want [7]float64
	if l.brake {
		for i := range want {
			want[i] = 400*(l.posture[i]-in.Q[i]) - 40*in.DQ[i] + in.Bias[i]
		}
	} else {
		l.filter(1 - math.Pow(1-alpha, dt/0.001))
		want = l.impedance(in)
	}
	for i := range want {
		t := min(max(want[i], -limits[i]), limits[i])
		if !l.brake { // brakes are not torques
			t = min(max(t, l.last[i]-step), l.last[i]+step)
		}
		l.last[i], tau[i] = t, t
	}
}

func (l *law) filter(a float64) {
	mix := func(have *float64, want float64) { *have += a * (want - *have) }
	mix(&l.have.trans, l.want.trans)
	mix(&l.have.transDamping, l.want.transDamping)
	mix(&l.have.rot, l.want.rot)
	mix(&l.have.rotDamping, l.want.rotDamping)
	mix(&l.have.null, l.want.null)
	mix(&l.have.null1, l.want.null1)
	d := franka.Diff(l.now, l.target)
	for i := range d {
		d[i] *= a
	}
	l.now = franka.Move(l.now, &d)
}

func (l *law) impedance(in *impedance.Input) [7]float64 {
	ee, jac := franka.Jacobian(&in.Q)
	var e [6]float64
	for i := range 3 {
		e[i] = min(max(ee.P[i]-l.now.P[i], l.want.transMin[i]), l.want.transMax[i])
	}
	d := franka.Mul(l.now.Q, franka.Conj(ee.Q))
	sign := 1.0
	if d[0] < 0 {
		sign = -1
	}
	for i := range 3 {
		e[3+i] = min(max(-sign*d[1+i], l.want.rotMin[i]), l.want.rotMax[i])
	}
	var w, null [6]float64
	for i := range w {
		var v float64
		for j, dq := range in.DQ {
			v += jac[i][j] * dq
		}
		if i < 3 {
			w[i] = -l.have.trans*e[i] - l.have.transDamping*v
		} else {
			w[i] = -l.have.rot*e[i] - l.have.rotDamping*v
		}
	}
	var t0 [7]float64
	for j := range t0 {
		k, c := 1.0, 1.0
		if j == 0 {
			k, c = l.have.null1, 2*math.Sqrt(l.have.null1)
		}
		t0[j] = l.have.null*k*(l.posture[j]-in.Q[j]) - 2*math.Sqrt(l.have.null)*c*in.DQ[j]
		for i := range null {
			null[i] += jac[i][j] * t0[j]
		}
	}
	u := franka.Solve(&jac, &null, nullLambda)
	for j := range t0 {
		t0[j] += in.Bias[j] - u[j]
		for i := range w {
			t0[j] += jac[i][j] * w[i]
		}
	}
	return t0
}
