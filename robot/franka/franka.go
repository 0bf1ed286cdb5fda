// Package franka knows the Franka Emika Panda and the Franka Research 3: their
// limits, their kinematics and the quaternions that poses are made of. The two
// arms share their geometry and differ in their limits.
//
// Everything is in SI units and radians; poses are those of the hand's tool
// centre point (between the finger tips) in the base frame. Nothing here
// allocates, so that a guard or a controller may call it at every tick:
//
//	pose, jac := franka.Jacobian(&state.Q)
//	dq := franka.Solve(&jac, &twist, franka.Damping)
//
// Conventions of franka_ros (O_T_EE column-major, quaternions xyzw) end in
// robot/ros; Matrix reads such a transform.
package franka

import (
	"math"

	"github.com/rapport-rl/rapport/robot"
)

// Joints is the number of joints.
const Joints = 7

// Stroke is the distance between the fingers of an open hand, m.
const Stroke = 0.08

// Limits are what an arm must never exceed. Joint limits are per joint, from
// the base to the flange.
type Limits struct {
	Name string
	// Min and Max bound the joint positions, rad. The arm itself stops there.
	Min, Max [Joints]float64
	// SoftMin and SoftMax, rad, and SoftVel, rad/s, are where whoever commands
	// the arm stays, so that it never comes to that.
	SoftMin, SoftMax, SoftVel [Joints]float64
	Vel                       [Joints]float64 // rad/s
	Acc                       [Joints]float64 // rad/s²
	Jerk                      [Joints]float64 // rad/s³
	Torque                    [Joints]float64 // Nm
	TorqueRate                [Joints]float64 // Nm/s
	Linear                    Cartesian       // m/s, m/s², m/s³
	Angular                   Cartesian       // rad/s, rad/s², rad/s³
	Elbow                     Cartesian       // rad/s, rad/s², rad/s³
}

// Cartesian bounds one kind of motion of the tool centre point.
type Cartesian struct{ Vel, Acc, Jerk float64 }

// Panda returns the limits of the Franka Emika Panda (Franka Control Interface
// documentation, "Robot and interface specifications", 2025-08). The soft limits
// keep 0.1 rad and 0.1 rad/s from the hard ones, as Polymetis does.
func Panda() Limits {
	l := Limits{
		Name:       "panda",
		Min:        [Joints]float64{-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973},
		Max:        [Joints]float64{2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973},
		Vel:        [Joints]float64{2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61},
		Acc:        [Joints]float64{15, 7.5, 10, 12.5, 15, 20, 20},
		Jerk:       [Joints]float64{7500, 3750, 5000, 6250, 7500, 10000, 10000},
		Torque:     [Joints]float64{87, 87, 87, 87, 12, 12, 12},
		TorqueRate: each(1000),
		Linear:     Cartesian{1.7, 13, 6500},
		Angular:    Cartesian{2.5, 25, 12500},
		Elbow:      Cartesian{2.175, 10, 5000},
	}
	const margin = 0.1 // rad and rad/s
	for i := range Joints {
		l.SoftMin[i] = l.Min[i] + margin
		l.SoftMax[i] = l.Max[i] - margin
		l.SoftVel[i] = l.Vel[i] - margin
	}
	return l
}

// FR3 returns the limits of the Franka Research 3 (the same source). Its
// velocity limits shrink near the ends of its joints, so the soft limits are the
// rectangle that the documentation suggests, inside which they hold everywhere.
// The elbow's velocity is the smaller one of libfranka 0.15 (1.5), not of the
// documentation (2.62).
func FR3() Limits {
	return Limits{
		Name:       "fr3",
		Min:        [Joints]float64{-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159},
		Max:        [Joints]float64{2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159},
		SoftMin:    [Joints]float64{-2.3093, -1.5133, -2.4937, -2.7478, -2.48, 0.8521, -2.6895},
		SoftMax:    [Joints]float64{2.3093, 1.5133, 2.4937, -0.4461, 2.48, 4.2094, 2.6895},
		SoftVel:    [Joints]float64{2, 1, 1.5, 1.25, 3, 1.5, 3},
		Vel:        [Joints]float64{2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26},
		Acc:        each(10),
		Jerk:       each(5000),
		Torque:     [Joints]float64{87, 87, 87, 87, 12, 12, 12},
		TorqueRate: each(1000),
		Linear:     Cartesian{3.0, 9, 4500},
		Angular:    Cartesian{2.5, 17, 8500},
		Elbow:      Cartesian{1.5, 10, 5000},
	}
}

// Ready returns the arm's usual starting posture, rad: hand down, tool centre
// point at (0.307, 0, 0.487).
func Ready() [Joints]float64 {
	return [Joints]float64{0, -math.Pi / 4, 0, -3 * math.Pi / 4, 0, math.Pi / 2, math.Pi / 4}
}

func each(v float64) (a [Joints]float64) {
	for i := range a {
		a[i] = v
	}
	return a
}

// Matrix reads a transform of 16 numbers in column-major order, as O_T_EE of
// franka_msgs/FrankaState is.
func Matrix(m *[16]float64) robot.Pose {
	r := [3][3]float64{{m[0], m[4], m[8]}, {m[1], m[5], m[9]}, {m[2], m[6], m[10]}}
	return robot.Pose{P: [3]float64{m[12], m[13], m[14]}, Q: quat(&r)}
}
