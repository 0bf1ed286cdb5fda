package arm

import (
	"fmt"
	"math"
	"strings"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	frankamsg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
)

// sense turns what franka_ros says into a state, but for the fingers.
//
// O_T_EE is column-major, like franka.Matrix; the wrench comes at the stiffness
// frame K, in that frame, and goes to the tool centre point, in the base frame:
// F = R F_K, τ = R τ_K + r × F with R = O_R_EE EE_R_K and r the way from the tool
// centre point to K.
func sense(m *frankamsg.FrankaState) (robot.State, error) {
	s := robot.State{Stamp: m.Header.Stamp, Q: m.Q, DQ: m.Dq}
	if s.Stamp.IsZero() || s.Stamp.Unix() == 0 {
		return s, fmt.Errorf("arm: franka state: no stamp")
	}
	if err := rigid("O_T_EE", &m.OTEE); err != nil {
		return s, err
	}
	if err := rigid("EE_T_K", &m.EETK); err != nil {
		return s, err
	}
	s.EE = franka.Matrix(&m.OTEE)
	k := franka.Matrix(&m.EETK)
	turn := franka.Mul(s.EE.Q, k.Q)
	w := &m.KFExtHatK
	f := franka.Rotate(turn, [3]float64{w[0], w[1], w[2]})
	t := franka.Rotate(turn, [3]float64{w[3], w[4], w[5]})
	r := franka.Rotate(s.EE.Q, k.P)
	s.Wrench = [6]float64{
		f[0], f[1], f[2],
		t[0] + r[1]*f[2] - r[2]*f[1], t[1] + r[2]*f[0] - r[0]*f[2], t[2] + r[0]*f[1] - r[1]*f[0],
	}
	for _, part := range [][]float64{s.Q[:], s.DQ[:], s.Wrench[:]} {
		for _, v := range part {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return s, fmt.Errorf("arm: franka state: a joint position, velocity or force is %g", v)
			}
		}
	}
	return s, nil
}

// rigid refuses 16 numbers that are no column-major rigid transform: a
// row-major one above all.
func rigid(name string, m *[16]float64) error {
	for _, v := range m {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("arm: franka state: %s holds %g", name, v)
		}
	}
	const slack = 1e-3 // single precision is enough for whoever fills it
	if math.Abs(m[3])+math.Abs(m[7])+math.Abs(m[11])+math.Abs(m[15]-1) > slack {
		return fmt.Errorf("arm: franka state: %s has the last row %g %g %g %g, want 0 0 0 1 (column-major)", name, m[3], m[7], m[11], m[15])
	}
	for i := range 3 {
		for k := range i + 1 {
			var dot, want float64
			for r := range 3 {
				dot += m[4*i+r] * m[4*k+r]
			}
			if i == k {
				want = 1
			}
			if math.Abs(dot-want) > slack {
				return fmt.Errorf("arm: franka state: %s is no rotation: columns %d and %d have the product %g, want %g", name, k, i, dot, want)
			}
		}
	}
	det := m[0]*(m[5]*m[10]-m[6]*m[9]) - m[4]*(m[1]*m[10]-m[2]*m[9]) + m[8]*(m[1]*m[6]-m[2]*m[5])
	if det < 0 {
		return fmt.Errorf("arm: franka state: %s mirrors", name)
	}
	return nil
}

// trip is the error of an arm that stopped itself or was stopped: robot.ErrStopped,
// with what the arm says about it; nil where it did not.
func trip(m *frankamsg.FrankaState) error {
	switch m.RobotMode {
	case frankamsg.Reflex:
		why := m.CurrentErrors.Names()
		if len(why) == 0 {
			why = m.LastMotionErrors.Names()
		}
		if len(why) == 0 {
			why = []string{"no cause given"}
		}
		return fmt.Errorf("%w by a reflex of the arm: %s; look at the arm, then recover it", robot.ErrStopped, strings.ReplaceAll(strings.Join(why, ", "), "_", " "))
	case frankamsg.UserStopped:
		return fmt.Errorf("%w by the user stop; release it, then recover the arm", robot.ErrStopped)
	}
	return nil
}

// follow returns q or −q, whichever is nearer to t: they turn alike.
func follow(q, t [4]float64) [4]float64 {
	if q[0]*t[0]+q[1]*t[1]+q[2]*t[2]+q[3]*t[3] < 0 {
		return [4]float64{-q[0], -q[1], -q[2], -q[3]}
	}
	return q
}
