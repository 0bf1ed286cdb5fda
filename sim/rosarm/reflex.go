package rosarm

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// thresholds are those of the arm's collision detection: above the lower ones it
// reports a contact, above the upper ones it stops.
type thresholds struct {
	torqueLow, torqueHigh [7]float64 // Nm, of each joint
	forceLow, forceHigh   [6]float64 // N and Nm, of each axis
}

// factory returns the thresholds that franka_ros starts with.
func factory() thresholds {
	return thresholds{
		torqueLow:  [7]float64{20, 20, 18, 18, 16, 14, 12},
		torqueHigh: [7]float64{20, 20, 18, 18, 16, 14, 12},
		forceLow:   [6]float64{20, 20, 20, 25, 25, 25},
		forceHigh:  [6]float64{20, 20, 20, 25, 25, 25},
	}
}

// valid refuses what the arm would.
func (t *thresholds) valid() error {
	for i := range t.torqueLow {
		if !(t.torqueLow[i] > 0) || !(t.torqueHigh[i] >= t.torqueLow[i]) {
			return fmt.Errorf("torque thresholds of joint %d are %g and %g Nm; want 0 < lower <= upper", i+1, t.torqueLow[i], t.torqueHigh[i])
		}
	}
	for i := range t.forceLow {
		if !(t.forceLow[i] > 0) || !(t.forceHigh[i] >= t.forceLow[i]) {
			return fmt.Errorf("force thresholds of axis %d are %g and %g; want 0 < lower <= upper", i+1, t.forceLow[i], t.forceHigh[i])
		}
	}
	return nil
}

// feeling smooths what the arm feels, as its own estimate is smoothed.
type feeling struct {
	wrench [6]float64 // N and Nm at the tool centre point, base frame
	torque [7]float64 // Nm, what the wrench does at the joints
	dq     [7]float64 // rad/s, one look ago
	known  bool
}

// smoothing is the time constant of the estimate, s: a few cycles of the arm's
// 1 kHz.
const smoothing = 0.01

// feel takes in a state that comes dt seconds after the one before, and returns
// the arm's own errors: the names of the fields of franka_msgs/Errors.
func (f *feeling) feel(s *robot.State, dt float64, t *thresholds, l *franka.Limits) (errs []string) {
	a := 1 - math.Exp(-dt/smoothing)
	_, jac := franka.Jacobian(&s.Q)
	for i := range f.wrench {
		f.wrench[i] += a * (s.Wrench[i] - f.wrench[i])
	}
	f.torque = [7]float64{}
	for j := range f.torque {
		for i := range f.wrench {
			f.torque[j] += jac[i][j] * f.wrench[i]
		}
	}
	over := func(name string, n int, is func(i int) bool) {
		for i := range n {
			if is(i) {
				errs = append(errs, name)
				return
			}
		}
	}
	over("cartesian_reflex", 6, func(i int) bool { return math.Abs(f.wrench[i]) > t.forceHigh[i] })
	over("joint_reflex", 7, func(i int) bool { return math.Abs(f.torque[i]) > t.torqueHigh[i] })
	over("joint_position_limits_violation", 7, func(i int) bool { return s.Q[i] < l.Min[i] || s.Q[i] > l.Max[i] })
	over("joint_velocity_violation", 7, func(i int) bool { return math.Abs(s.DQ[i]) > l.Vel[i] })
	// A jump in velocity is what no motor makes: ten times the largest
	// acceleration, over the time of a look.
	over("joint_motion_generator_velocity_discontinuity", 7, func(i int) bool {
		return f.known && math.Abs(s.DQ[i]-f.dq[i]) > 10*l.Acc[i]*dt
	})
	f.dq, f.known = s.DQ, true
	return errs
}
