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
// with e the pose error of the interpolated target in the base frame, v the
// measured twist and N the projector onto the null space of J. A target that
// arrives once per control period is reached at the end of that period, so the
// torque has no steps; the sum is clamped to the joint torque limits, and its
// change per tick to the torque rate limit, as the robot would refuse more.
//
//	c := impedance.New(impedance.Default())
//	c.Reset(pose, q, bias)
//	c.SetTarget(next, 0.05)
//	var tau [7]float64
//	c.Torque(&tau, &impedance.Input{Q: q, DQ: dq, EE: pose, J: jac, Bias: bias}, 0.001)
//
// Nothing here allocates. A Controller belongs to one goroutine.
package impedance

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/robot"
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
	Q, DQ [7]float64  // rad, rad/s
	EE    robot.Pose  // measured tool centre point, base frame
	J     [42]float64 // geometric Jacobian (6,7), row-major: translation, then rotation, base frame
	Bias  [7]float64  // gravity, Coriolis and centrifugal torque to cancel, Nm
}

// Controller is one arm's controller.
type Controller struct {
	cfg        Config
	dTrans     float64 // 2√Trans, Ns/m
	dRot       float64 // 2√Rot, Nm s/rad
	from, to   robot.Pose
	now        robot.Pose // the interpolated target
	t, period  float64    // s since SetTarget; s until the target is reached
	posture    [7]float64 // rad
	last       [7]float64 // torque of the previous tick, Nm
	err, twist [6]float64
	null       [7]float64
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

	// Wrench K e − D v at the tool centre point, base frame.
	twistOf(&c.twist, &in.J, &in.DQ)
	poseError(&c.err, &c.now, &in.EE)
	var w [6]float64
	for i := range 3 {
		w[i] = c.cfg.Trans*c.err[i] - c.dTrans*c.twist[i]
		w[3+i] = c.cfg.Rot*c.err[3+i] - c.dRot*c.twist[3+i]
	}
	for j := range c.null {
		c.null[j] = c.cfg.Posture*(c.posture[j]-in.Q[j]) - c.cfg.PostureDamping*in.DQ[j]
	}
	project(&c.null, &in.J, c.cfg.Damping)

	step := c.cfg.Rate * dt
	for j := range dst {
		tau := in.Bias[j] + c.null[j]
		for i := range 6 {
			tau += in.J[7*i+j] * w[i]
		}
		tau = clamp(tau, -c.cfg.Torque[j], c.cfg.Torque[j])
		tau = clamp(tau, c.last[j]-step, c.last[j]+step)
		c.last[j], dst[j] = tau, tau
	}
}

func (c *Controller) advance(dt float64) {
	c.t += dt
	// Half a tick of slack: period is a multiple of dt only up to rounding.
	if c.t+dt/2 >= c.period {
		c.now = c.to
		return
	}
	a := c.t / c.period
	for i := range c.now.P {
		c.now.P[i] = c.from.P[i] + a*(c.to.P[i]-c.from.P[i])
	}
	c.now.Q = slerp(c.from.Q, c.to.Q, a)
}

func clamp(x, lo, hi float64) float64 { return min(max(x, lo), hi) }
