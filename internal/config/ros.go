package config

import (
	"fmt"
	"math"
	"net/url"
	"slices"
)

// ROS configures a real arm, for robot.kind ros.
type ROS struct {
	Master    string       `yaml:"master"`
	ArmID     string       `yaml:"arm_id"`
	Rate      float64      `yaml:"rate"`     // Hz
	Stale     float64      `yaml:"stale"`    // s
	Skew      float64      `yaml:"skew"`     // s
	Frozen    float64      `yaml:"frozen"`   // s
	Wait      float64      `yaml:"wait"`     // s
	Patience  float64      `yaml:"patience"` // s
	Cameras   []ROSCamera  `yaml:"cameras"`
	Load      ROSLoad      `yaml:"load"`
	Collision ROSCollision `yaml:"collision"`
	Stiffness ROSStiffness `yaml:"stiffness"`
	Gripper   ROSGripper   `yaml:"gripper"`
	Start     ROSStart     `yaml:"start"`
	Again     string       `yaml:"again"`
}

// ROSCamera says where the images of a camera of robot.cameras are.
type ROSCamera struct {
	Name       string `yaml:"name"`
	Topic      string `yaml:"topic"`
	Compressed bool   `yaml:"compressed"`
	Info       string `yaml:"info"`
}

// ROSLoad is what the hand carries.
type ROSLoad struct {
	Mass    float64    `yaml:"mass"`    // kg
	Centre  [3]float64 `yaml:"centre"`  // m
	Inertia [9]float64 `yaml:"inertia"` // kg m²
}

// ROSCollision holds the thresholds of contact and collision.
type ROSCollision struct {
	TorqueLower [7]float64 `yaml:"torque_lower"` // Nm
	TorqueUpper [7]float64 `yaml:"torque_upper"`
	ForceLower  [6]float64 `yaml:"force_lower"` // N and Nm
	ForceUpper  [6]float64 `yaml:"force_upper"`
}

// ROSStiffness configures the impedance controller.
type ROSStiffness struct {
	Trans        float64 `yaml:"trans"`         // N/m
	TransDamping float64 `yaml:"trans_damping"` // Ns/m
	Rot          float64 `yaml:"rot"`           // Nm/rad
	RotDamping   float64 `yaml:"rot_damping"`   // Nm s/rad
	Clip         float64 `yaml:"clip"`          // m
	TurnClip     float64 `yaml:"turn_clip"`     // rad
}

// ROSGripper configures the hand.
type ROSGripper struct {
	Kind  string  `yaml:"kind"`
	Home  bool    `yaml:"home"`
	Open  bool    `yaml:"open"`
	Speed float64 `yaml:"speed"` // m/s
	Force float64 `yaml:"force"` // N
}

// ROSStart is where an episode starts, and how the arm gets there.
type ROSStart struct {
	At    [3]float64 `yaml:"at"`    // m
	Yaw   float64    `yaml:"yaw"`   // rad
	Speed float64    `yaml:"speed"` // m/s
	Turn  float64    `yaml:"turn"`  // rad/s
	Lift  float64    `yaml:"lift"`  // m
	// Tolerance is how far At may be, along an axis that the policy does not command, from
	// where the demonstrations of session.from begin, m.
	Tolerance float64 `yaml:"tolerance"`
}

// validate looks at what the arm's own package does not know; that says the rest
// when the arm is opened.
func (r ROS) validate(p *problems, cameras []Camera) {
	if r.Master != "" {
		u, err := url.Parse(r.Master)
		p.need(err == nil && u.Scheme == "http" && u.Host != "", "robot.ros.master", "is %q; want http://HOST:11311", r.Master)
	}
	p.need(r.ArmID != "", "robot.ros.arm_id", "is empty; want panda or fr3, as the launch file says")
	p.within("robot.ros.rate", r.Rate, 10, 50)
	p.within("robot.ros.stale", r.Stale, 0.02, 5)
	p.within("robot.ros.skew", r.Skew, 0.001, 5)
	p.within("robot.ros.frozen", r.Frozen, 0.1, 60)
	p.within("robot.ros.wait", r.Wait, 0.1, 300)
	p.within("robot.ros.patience", r.Patience, 0, 300)
	p.oneOf("robot.ros.gripper.kind", r.Gripper.Kind, "franka", "none")
	p.within("robot.ros.start.yaw", r.Start.Yaw, -math.Pi, math.Pi)
	p.within("robot.ros.start.tolerance", r.Start.Tolerance, 0, 2)
	var names []string
	for i, c := range r.Cameras {
		key := fmt.Sprintf("robot.ros.cameras[%d]", i)
		p.need(c.Name != "" && c.Topic != "", key, "has the name %q and the topic %q; want both", c.Name, c.Topic)
		p.need(!slices.Contains(names, c.Name), key+".name", "is %q for the second time", c.Name)
		names = append(names, c.Name)
	}
	for i, c := range cameras {
		p.need(slices.Contains(names, c.Name), fmt.Sprintf("robot.cameras[%d].name", i), "is %q, but robot.ros.cameras names no topic for it; add {name: %s, topic: /%s/color/image_raw}", c.Name, c.Name, c.Name)
	}
}
