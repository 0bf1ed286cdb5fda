// Package impedance is the Cartesian impedance controller that runs beside a
// simulated Franka arm, once per physics step.
//
// On the real arm this law runs at 1 kHz inside the robot's own controller;
// Go only sends it targets. In simulation the same law has to run somewhere, so
// that a policy meets the same lag, the same compliance and the same torque
// limits in both worlds. The law is
//
//	τ = Jᵀ(K e − D v) + N(k_q(q₀ − q) − d_q q̇) + bias,   D = 2√K
//
// with e the pose error of the interpolated target in the base frame, v = J q̇
// the twist of the tool centre point and N the projector onto J's null space. A target that
// arrives once per control period is reached at the end of that period, so the
// torque has no steps; the sum is clamped to the joint torque limits, and its
// change per tick to the torque rate limit, as the robot would refuse more.
//
//	c := impedance.New(impedance.Default())
//	c.Reset(pose, q, bias)
//	c.SetTarget(next, 0.05)
//	var tau [7]float64
//	c.Torque(&tau, &impedance.Input{Q: q, DQ: dq, Bias: bias}, 0.001)
//
// Nothing here allocates. A Controller belongs to one goroutine.
package impedance

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// Config holds the gains and limits. Its zero value is no use; start from
// Default.
type Config struct {
	Trans float64 // translational stiffness, N/m
	Rot   float64 // rotational stiffness, Nm/rad

	Posture        float64    // stiffness of the posture spring, Nm/rad
	PostureDamping float64    // damping of the posture spring, Nm s/rad
	Damping        float64    // λ of the damped pseudo-inverse in the null-space projector
	Torque         [7]float64 // largest torque per joint, Nm
	Rate           float64    // largest change of torque, Nm/s
}

// Default returns stiffness 1500 N/m and 150 Nm/rad, which hold a Panda within
// 0.63 mm and 0.17°, and the Panda's torque limits: 87 Nm (joints 1 to 4),
// 12 Nm (5 to 7), 1000 Nm/s (Franka control parameters).
func Default() Config {
	return Config{
		Trans: 1500, Rot: 150,
		Posture: 10, PostureDamping: 2 * math.Sqrt(10),
		Damping: 1e-3,
		Torque:  [7]float64{87, 87, 87, 87, 12, 12, 12},
		Rate:    1000,
	}
}

// Validate names the first field that no arm could be driven with.
func (c Config) Validate() error {
	for _, f := range []struct {
		name string
		v    float64
	}{
		{"Trans", c.Trans}, {"Rot", c.Rot}, {"Damping", c.Damping}, {"Rate", c.Rate},
		{"Torque[0]", c.Torque[0]}, {"Torque[1]", c.Torque[1]}, {"Torque[2]", c.Torque[2]},
		{"Torque[3]", c.Torque[3]}, {"Torque[4]", c.Torque[4]}, {"Torque[5]", c.Torque[5]}, {"Torque[6]", c.Torque[6]},
	} {
		if !(f.v > 0) || math.IsInf(f.v, 0) {
			return fmt.Errorf("impedance: %s is %g, want a positive number", f.name, f.v)
		}
	}
	if !(c.Posture >= 0) || !(c.PostureDamping >= 0) {
		return fmt.Errorf("impedance: posture spring %g Nm/rad, %g Nm s/rad, want none negative", c.Posture, c.PostureDamping)
	}
	return nil
}

// Input is what the controller reads at one tick.
type Input struct {
	Q, DQ [7]float64 // rad, rad/s
	Bias  [7]float64 // gravity, Coriolis and centrifugal torque to cancel, Nm
}

// Controller is one arm's controller.
type Controller struct {
	cfg       Config
	dTrans    float64 // 2√Trans, Ns/m
	dRot      float64 // 2√Rot, Nm s/rad
	from, to  robot.Pose
	now       robot.Pose // the interpolated target
	t, period float64    // s since SetTarget; s until the target is reached
	posture   [7]float64 // rad
	last      [7]float64 // torque of the previous tick, Nm
}

// New returns a controller with c's gains, which must be valid.
func New(c Config) *Controller {
	if c.Validate() != nil {
		panic("impedance: invalid config")
	}
	return &Controller{cfg: c, dTrans: 2 * math.Sqrt(c.Trans), dRot: 2 * math.Sqrt(c.Rot)}
}

// Reset makes the controller hold pose with posture q, as if it had already
// been commanding torque (usually the bias torque that holds the arm up).
func (c *Controller) Reset(pose robot.Pose, q, torque [7]float64) {
	c.from, c.to, c.now = pose, pose, pose
	c.t, c.period = 0, 0
	c.posture, c.last = q, torque
}

// SetTarget moves the target to p, in a straight line from wherever the target
// is now, within period seconds; the orientation takes the shorter arc.
func (c *Controller) SetTarget(p robot.Pose, period float64) {
	c.from, c.to = c.now, p
	c.t, c.period = 0, period
}

// Target is the interpolated target of the last tick.
func (c *Controller) Target() robot.Pose { return c.now }

// Torque advances the target by dt seconds and stores the joint torques for
// this tick in dst, Nm.
func (c *Controller) Torque(dst *[7]float64, in *Input, dt float64) {
	c.advance(dt)
	ee, jac := franka.Jacobian(&in.Q)

	// The wrench K e − D v at the tool centre point, base frame.
	w := franka.Diff(ee, c.now)
	for i := range w {
		var v float64
		for j, dq := range in.DQ {
			v += jac[i][j] * dq
		}
		if i < 3 {
			w[i] = c.cfg.Trans*w[i] - c.dTrans*v
		} else {
			w[i] = c.cfg.Rot*w[i] - c.dRot*v
		}
	}
	var tau [7]float64
	for j := range tau {
		tau[j] = c.cfg.Posture*(c.posture[j]-in.Q[j]) - c.cfg.PostureDamping*in.DQ[j]
	}
	project(&tau, &jac, c.cfg.Damping)

	step := c.cfg.Rate * dt
	for j := range tau {
		t := tau[j] + in.Bias[j]
		for i := range w {
			t += jac[i][j] * w[i]
		}
		t = clamp(t, -c.cfg.Torque[j], c.cfg.Torque[j])
		t = clamp(t, c.last[j]-step, c.last[j]+step)
		c.last[j], dst[j] = t, t
	}
}

// project takes out of the joint torque t whatever asks for a force at the tool
// centre point, and leaves (I − J⁺J)t with J⁺ = Jᵀ(JJᵀ + λ²I)⁻¹. λ keeps it
// bounded where the arm is singular; along a direction of singular value σ it
// leaves a share λ²/(σ²+λ²).
func project(t *[7]float64, jac *[6][7]float64, lambda float64) {
	var v [6]float64
	for i := range v {
		for j := range t {
			v[i] += jac[i][j] * t[j]
		}
	}
	u := franka.Solve(jac, &v, lambda)
	for j := range t {
		t[j] -= u[j]
	}
}

func (c *Controller) advance(dt float64) {
	c.t += dt
	// Half a tick of slack: period is a multiple of dt only up to rounding.
	if c.t+dt/2 >= c.period {
		c.now = c.to
		return
	}
	d := franka.Diff(c.from, c.to)
	for i := range d {
		d[i] *= c.t / c.period
	}
	c.now = franka.Move(c.from, &d)
}

func clamp(x, lo, hi float64) float64 { return min(max(x, lo), hi) }
