package config

import (
	"cmp"
	"slices"
)

// TabletopTasks lists the values of robot.task at the table.
func TabletopTasks() []string {
	return []string{
		"reach", "group", "clutter",
		"stack", "almonds", "spatula", "cover",
		"cup", "chips", "fork",
	}
}

// Disturb is what evaluation sees besides.
type Disturb struct {
	Camera      float64 `yaml:"camera"` // m
	Turn        float64 `yaml:"turn"`   // rad
	Light       float64 `yaml:"light"`
	Distractors int     `yaml:"distractors"`
}

func (d Disturb) validate(p *problems, world string) {
	p.within("robot.disturb.camera", d.Camera, 0, 0.3)
	p.within("robot.disturb.turn", d.Turn, 0, 0.3)
	p.within("robot.disturb.light", d.Light, -0.5, 1)
	p.within("robot.disturb.distractors", float64(d.Distractors), 0, 6)
	p.need(d == Disturb{} || world != XMagical, "robot.disturb", "is set, but robot.world is %s, which has nothing to disturb; want zeros", world)
}

// wants are a task's own values of keys whose defaults are those of Group.
type wants struct {
	axes    []string
	scale   float64 // m (or rad) a tick
	horizon int     // control ticks
	good    int     // demonstrations
}

// wantsOf is the table of what tasks want; the defaults for what is not in it.
func wantsOf(task string) (wants, bool) {
	switch task {
	case "stack":
		return wants{[]string{"x", "y", "z", "grip"}, 0.0125, 90, 30}, true
	case "almonds":
		return wants{[]string{"x", "y", "z"}, 0.0125, 75, 30}, true
	case "spatula", "cover":
		return wants{[]string{"x", "y", "z", "grip"}, 0.0125, 90, 30}, true
	case "cup", "chips", "fork":
		return wants{[]string{"x", "y", "z", "grip"}, 0.0125, 75, 15}, true
	}
	return wants{}, false
}

// fitTask gives the task's values to what is at the defaults, which are those of
// pushing boxes. A learner that nobody named stays empty where the task has none of its own.
func (c *Config) fitTask() {
	w, ok := wantsOf(c.Robot.Task)
	if !ok || c.Robot.World == XMagical {
		return
	}
	d := Default()
	if slices.Equal(c.Policy.Axes, d.Policy.Axes) {
		c.Policy.Axes = w.axes
	}
	if c.Policy.Scale == d.Policy.Scale {
		c.Policy.Scale = w.scale
	}
	if c.Robot.Horizon == d.Robot.Horizon {
		c.Robot.Horizon = w.horizon
	}
	if c.Demos.Good == d.Demos.Good {
		c.Demos.Good = w.good
	}
	c.fitCare(d)
	c.fitStyle(d)
}

// fitStyle gives the values with which a policy that draws chunks learns a task in
// which people care how, and as much of the way that they dislike as of the other
// (docs/styles.md has the figures).
func (c *Config) fitStyle(d Config) {
	if c.Learner.Kind != "diffusion" || !slices.Contains([]string{"cup", "chips", "fork"}, c.Robot.Task) {
		return
	}
	if c.Demos.Bad == d.Demos.Bad {
		c.Demos.Bad = c.Demos.Good
	}
	f, e := &c.Policy.Diffusion, d.Policy.Diffusion
	if f.Process == e.Process && f.Predict == e.Predict {
		f.Predict = "action"
	}
	if f.Shape == e.Shape {
		f.Shape = "mlp"
	}
	if c.Policy.Clone.Steps == d.Policy.Clone.Steps {
		c.Policy.Clone.Steps = 3000
	}
}

// fitCare gives the values that keep what a hand holds from being let go of: few
// demonstrators who drop it, little exploration, and a policy that stays near what
// was demonstrated. By waypoints it is learned from the better of what was done, where RLPD
// tries what nobody did and drops it (docs/tasks.md has the figures).
func (c *Config) fitCare(d Config) {
	switch c.Robot.Task {
	case "stack", "spatula", "cover":
		if c.Demos.Bad == d.Demos.Bad {
			c.Demos.Bad = 10
		}
	case "almonds":
	default:
		return
	}
	// What is seen by one camera and carried is known to 2 or 3 cm.
	if c.Reward.KAGI.Tolerance == d.Reward.KAGI.Tolerance {
		c.Reward.KAGI.Tolerance = 0.035
	}
	if c.Learner.Clone == d.Learner.Clone {
		c.Learner.Clone = 100
	}
	if c.Learner.Alpha == d.Learner.Alpha {
		c.Learner.Alpha = 0.01
	}
	if c.Reward.Kind != "kagi" {
		return
	}
	if c.Learner.Kind = cmp.Or(c.Learner.Kind, "iql"); c.Learner.Kind != "iql" {
		return
	}
	if c.Learner.Updates == d.Learner.Updates {
		c.Learner.Updates = 180
	}
	// What comes after a state moves its value by 0.005 (the targets', IQL's) times 1 - gamma^3 = 0.087 a
	// step: after 1/(0.005 * 0.087) = 2,290 steps it is at 63 % of what it tends to, after these at 97 %.
	// Advantages of values that are on the way are of how far each is, and spoiled what was cloned (ADR 23).
	if c.Learner.Warmup == d.Learner.Warmup {
		c.Learner.Warmup = 8000
	}
	c.Learner.IQL.Decay = true
	if c.Policy.Clone.Std == d.Policy.Clone.Std {
		c.Policy.Clone.Std = 0.1
	}
}

// fitWaypoints gives what a policy learns by waypoints with (docs/kagi.md has the figures): the
// places of the points that they are paid for, and these alone, and episodes that end with
// success where something tells it while they run.
func (c *Config) fitWaypoints(named Config) {
	if named.Reward.Kind != "kagi" {
		return
	}
	c.Policy.Keys = true
	if named.Policy.Keys {
		c.Policy.Sees = "points"
	}
	if s := named.Reward.KAGI.Sparse; s == "classifier" || s == "truth" && named.Robot.Kind == "sim" {
		c.Session.End = "success"
	}
}
