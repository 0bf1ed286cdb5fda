package config

import "slices"

// XMagical is the name of the world in two dimensions.
const XMagical = "xmagical"

// fitWorld gives xmagical's values to what is at the tabletop's defaults: they
// belong to an arm at a table, and nobody wants them for a stick in an arena.
func (c *Config) fitWorld() {
	if c.Robot.World != XMagical {
		return
	}
	d := Default()
	if c.Robot.Horizon == d.Robot.Horizon {
		c.Robot.Horizon = 100
		if c.Robot.Body == "long" {
			c.Robot.Horizon = 50
		}
	}
	if slices.Equal(c.Robot.Cameras, d.Robot.Cameras) {
		c.Robot.Cameras = []Camera{{Name: "top", Width: 96, Height: 96}}
	}
	if c.Guard.Workspace == d.Guard.Workspace {
		c.Guard.Workspace = Box{Min: [3]float64{-1.1, -1.1, -0.1}, Max: [3]float64{1.1, 1.1, 0.1}}
	}
	if c.Guard.Speed == d.Guard.Speed {
		c.Guard.Speed = 0.8
	}
	if slices.Equal(c.Policy.Axes, d.Policy.Axes) {
		c.Policy.Axes = []string{"x", "rz"}
		if c.Robot.Body == "gripper" {
			c.Policy.Axes = append(c.Policy.Axes, "grip")
		}
	}
	if c.Policy.Scale == d.Policy.Scale {
		c.Policy.Scale = 0.1 // 0.8 m/s for a tick of 125 ms
	}
}

// cameras are the names that the simulated world knows.
func (r Robot) cameras() []string {
	if r.World == XMagical {
		return []string{"top"}
	}
	return []string{"front", "wrist"}
}

func (r Robot) validateWorld(p *problems) {
	p.oneOf("robot.world", r.World, "tabletop", XMagical)
	p.oneOf("robot.embodiment", r.Body, "short", "medium", "long", "gripper")
	p.oneOf("robot.layout", r.Layout, "test", "demo")
	if r.World == XMagical {
		p.oneOf("robot.task", r.Task, "sweep", "avoid", "group")
		p.need(r.Kind == "sim", "robot.world", "is xmagical, but robot.kind is %s; that world is a simulation: want robot.kind sim", r.Kind)
		return
	}
	p.oneOf("robot.task", r.Task, TabletopTasks()...)
}
