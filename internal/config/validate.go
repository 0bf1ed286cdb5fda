package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// fileName holds what is safe as one folder's name and in a NATS subject.
var fileName = regexp.MustCompile(`^[A-Za-z0-9_-]{0,64}$`)

// problems collects what is wrong, each with its key and a remedy.
type problems []error

func (p *problems) need(ok bool, key, format string, args ...any) {
	if !ok {
		*p = append(*p, fmt.Errorf("config: %s %s", key, fmt.Sprintf(format, args...)))
	}
}

func (p *problems) oneOf(key, got string, want ...string) {
	p.need(slices.Contains(want, got), key, "is %q; want one of %s", got, strings.Join(want, ", "))
}

func (p *problems) within(key string, got, lo, hi float64) {
	p.need(got >= lo && got <= hi && !math.IsNaN(got), key, "is %g; want %g to %g", got, lo, hi)
}

func (p *problems) hidden(key string, widths []int) {
	p.need(len(widths) > 0 && len(widths) <= 8, key, "has %d layers; want 1 to 8, as [128, 128]", len(widths))
	for _, w := range widths {
		p.within(key, float64(w), 1, 4096)
	}
}

// Validate returns every problem of c, joined, or nil.
func (c Config) Validate() error {
	p := c.problems()
	if c.Encoder.Kind == "onnx" {
		p.file("encoder.onnx", c.Encoder.ONNX, "export the backbone with torch.onnx.export and name the file")
	}
	c.Reward.files(&p)
	return errors.Join(p...)
}

// where are the problems of where a session lies.
func (c Config) where(p *problems) {
	p.need(fileName.MatchString(c.Name), "name", "is %q; want at most 64 letters, digits, - and _", c.Name)
	p.need(c.Out != "", "out", "is empty; name a folder")
}

// problems are those of Validate but for files that are not there.
func (c Config) problems() (p problems) {
	c.where(&p)
	c.Robot.validate(&p)
	c.Guard.validate(&p, c.Robot.Kind == "sim")
	if c.Robot.Kind == "ros" { // a reset goes there unasked
		at, w := c.Robot.ROS.Start.At, c.Guard.Workspace
		p.need(w.holds(at), "robot.ros.start.at", "is %v m, outside of guard.workspace, from %v to %v m; an episode cannot begin there", at, w.Min, w.Max)
	}
	p.within("demos.good", float64(c.Demos.Good), 2, 10000)
	p.within("demos.bad", float64(c.Demos.Bad), 0, 10000)
	p.oneOf("encoder.kind", c.Encoder.Kind, "conv", "onnx")
	p.within("encoder.size", float64(c.Encoder.Size), 16, 1024)
	p.within("encoder.keypoints", float64(c.Encoder.Keypoints), 1, 256)
	p.within("encoder.colours", float64(c.Encoder.Colours), 0, 64)
	p.within("encoder.steps", float64(c.Encoder.Steps), 1, 1e6)
	c.Reward.validate(&p, c.Robot.Kind, c.Session.From, c.Demos.Bad)
	p.need(c.Reward.Person == "" || c.Session.From != "" || c.People.answers(c.Reward.Person), "reward.person", "is %s, who is none of people.groups, and nobody else answers a session that begins from no other; name one of them, or an earlier session where %[1]s answered as session.from", c.Reward.Person)
	c.Reward.visual(&p, c.Robot.Kind, c.Encoder.Kind)
	p.within("reward.experts", float64(c.Reward.Experts), 1, 100)
	p.need(c.Reward.Experts <= c.Demos.Good || c.Reward.Kind == "kagi", "reward.experts", "is %d, but demos.good is %d: the preferred videos are picked among the good ones", c.Reward.Experts, c.Demos.Good)
	p.within("reward.triplets", float64(c.Reward.Triplets), 0, 10000)
	p.need(c.Reward.Triplets == 0 || c.Demos.Bad > 0, "reward.triplets", "is %d, but demos.bad is 0: there is nothing to prefer the good ones to", c.Reward.Triplets)
	p.within("reward.dim", float64(c.Reward.Dim), 1, 512)
	p.within("reward.gamma", c.Reward.Gamma, 1e-3, 1e4)
	p.oneOf("reward.cost", c.Reward.Cost, "cosine", "l2")
	p.oneOf("reward.train", c.Reward.Train, "head", "mlp", "all")
	p.need(c.Reward.Train != "all" || c.Encoder.Kind == "conv", "reward.train", "is all, but encoder.kind is %s, which is frozen; want head or mlp", c.Encoder.Kind)
	p.oneOf("reward.gradient", c.Reward.Gradient, "implicit", "unrolled", "envelope")
	p.within("reward.temperature", c.Reward.Temperature, 1e-3, 1e4)
	p.oneOf("reward.query", c.Reward.Query, "random", "information")
	c.People.validate(&p)
	c.Policy.validate(&p)
	p.oneOf("learner.kind", c.Learner.Kind, "rlpd", "calql", "iql", "ppo", "bc", "diffusion")
	p.oneOf("learner.device", c.Learner.Device, "auto", "cpu", "cuda")
	p.within("learner.critics", float64(c.Learner.Critics), 2, 100)
	p.hidden("learner.hidden", c.Learner.Hidden)
	p.within("learner.batch", float64(c.Learner.Batch), 2, 8192)
	p.need(c.Learner.Batch%2 == 0, "learner.batch", "is %d; want an even number: half demonstrations, half online", c.Learner.Batch)
	p.within("learner.rate", c.Learner.Rate, 1e-7, 0.1)
	p.within("learner.gamma", c.Learner.Gamma, 0, 0.9999)
	p.within("learner.warmup", float64(c.Learner.Warmup), 0, 1e7)
	p.within("learner.updates", float64(c.Learner.Updates), 1, 1e5)
	p.within("learner.steps", float64(c.Learner.Steps), 1, 100)
	p.within("learner.scale", c.Learner.Scale, 1e-6, 1e6)
	p.within("learner.alpha", c.Learner.Alpha, 1e-6, 10)
	p.within("learner.clone", c.Learner.Clone, 0, 1000)
	p.within("learner.residual", c.Learner.Residual, 0, 10)
	p.need(c.Learner.Residual == 0 || slices.Contains([]string{"rlpd", "calql"}, c.Learner.Kind) && c.Policy.Sees != "pixels", "learner.residual",
		"is %g, but learner.kind is %s and policy.sees is %s; want 0, or rlpd or calql, and features: a trunk that is trained would change what the clone sees", c.Learner.Residual, c.Learner.Kind, c.Policy.Sees)
	p.within("learner.iql.expectile", c.Learner.IQL.Expectile, 0.5, 0.999)
	p.oneOf("learner.iql.head", c.Learner.IQL.Head, "gaussian", "deterministic")
	p.within("learner.iql.beta", c.Learner.IQL.Beta, 1e-3, 1e3)
	p.within("learner.calql.weight", c.Learner.CalQL.Weight, 1e-6, 1e3)
	p.within("learner.replay.priority", c.Learner.Replay.Priority, 0, 1)
	p.within("learner.replay.jpeg", float64(c.Learner.Replay.JPEG), 0, 100)
	p.need(slices.Contains([]string{"", "session"}, c.Learner.Replay.Dir), "learner.replay.dir", "is %q; want session, or nothing for a replay in memory", c.Learner.Replay.Dir)
	p.within("learner.replay.capacity", float64(c.Learner.Replay.Capacity), 0, 1e9)
	replays := slices.Contains([]string{"rlpd", "calql", "iql"}, c.Learner.Kind)
	p.need(replays || c.Learner.Replay == Replay{}, "learner.replay", "is set, but learner.kind is %s, which does not have it; leave it out, or take rlpd, calql or iql", c.Learner.Kind)
	p.need(c.Learner.Replay.JPEG == 0 || c.Policy.Sees == "pixels", "learner.replay.jpeg", "is %d, but policy.sees is %s, so there are no frames to keep; want 0", c.Learner.Replay.JPEG, c.Policy.Sees)
	p.within("learner.drm", float64(c.Learner.DrM), 0, 1e9)
	p.need(c.Learner.DrM == 0 || c.Learner.Kind == "rlpd", "learner.drm", "is %d, but learner.kind is %s; want 0, or rlpd", c.Learner.DrM, c.Learner.Kind)
	p.within("learner.noise", c.Learner.Noise, 0, 10)
	p.need(c.Learner.Noise == 0 || c.Learner.DrM > 0, "learner.noise", "is %g, but learner.drm is 0, whose noise it is; want 0, or learner.drm 10000", c.Learner.Noise)
	p.within("learner.ppo.episodes", float64(c.Learner.PPO.Episodes), 1, 1e5)
	p.need(c.Learner.Kind != "ppo" || c.Learner.Batch <= c.Learner.PPO.Episodes*c.Robot.Horizon, "learner.batch", "is %d, but ppo has %d ticks an update to draw it from, learner.ppo.episodes (%d) of robot.horizon (%d); want a smaller batch, or more episodes", c.Learner.Batch, c.Learner.PPO.Episodes*c.Robot.Horizon, c.Learner.PPO.Episodes, c.Robot.Horizon)
	p.within("learner.ppo.epochs", float64(c.Learner.PPO.Epochs), 1, 1000)
	p.within("learner.ppo.auxiliary", c.Learner.PPO.Auxiliary, 0, 100)
	p.need(c.Learner.PPO.Auxiliary == 0 || c.Learner.Kind == "ppo" && c.Policy.Sees == "pixels", "learner.ppo.auxiliary", "is %g, but learner.kind is %s and policy.sees is %s; want 0, or ppo and pixels, whose trunk it trains", c.Learner.PPO.Auxiliary, c.Learner.Kind, c.Policy.Sees)
	p.need(len(c.Robot.Markers) == 0 || c.Reward.Kind == "kagi" || c.Reward.Sees != "features", "robot.markers", "is set, but reward.kind is %s and reward.sees features, so that no camera's place matters; want an empty list, or reward.kind kagi", c.Reward.Kind)
	p.need(c.Policy.Sees != "points" || c.Policy.Keys && (c.Reward.Kind == "kagi" || c.Reward.Sees != "features"), "policy.sees", "is points, but policy.keys is %v, reward.kind %s and reward.sees %s, so that it would see none; want policy.keys true, and reward.kind kagi or reward.sees points", c.Policy.Keys, c.Reward.Kind, c.Reward.Sees)
	if c.Policy.Sees == "pixels" {
		p.need(c.Session.Record, "session.record", "is false, but policy.sees is pixels: a session is gone on with from the frames in its files")
	}
	p.within("session.episodes", float64(c.Session.Episodes), 1, 1e7)
	p.within("session.evaluate", float64(c.Session.Evaluate), 1, 1e5)
	p.within("session.checkpoint", float64(c.Session.Checkpoint), 1, 1e6)
	for _, kind := range []string{"panda", "fr3"} {
		p.need(c.Robot.Kind != "ros" || !strings.Contains(c.Robot.ROS.ArmID, kind) || c.Guard.Arm == kind, "guard.arm", "is %s, but robot.ros.arm_id is %s: the limits would be another arm's; want %s", c.Guard.Arm, c.Robot.ROS.ArmID, kind)
	}
	p.need(c.Robot.Kind != "ros" || c.Session.From != "", "session.from", "is empty, but robot.kind is ros: nobody demonstrates there, so encoder, reward and cloned policy come from an earlier session; name its folder, as runs/group-001")
	p.oneOf("session.policy", c.Session.Policy, "cloned", "tuned")
	if c.Session.Policy == "tuned" {
		p.need(c.Session.From != "", "session.policy", "is tuned, but session.from names no session whose fine-tuned policy that were; want cloned, or session.from")
		// Others go on by critics that know their policy, which rapport run --resume keeps.
		p.need(c.Learner.Kind == "diffusion", "session.policy", "is tuned, but learner.kind is %s, which begins with a cloned policy, beside critics that know nothing yet; want cloned, or go on with that session itself", c.Learner.Kind)
		p.need(c.Demos.Filter == "", "session.policy", "is tuned, but demos.filter is set, by which a policy is cloned anew; want cloned, or no demos.filter")
	}
	c.recordings(&p)
	p.within("session.realign", float64(c.Session.Realign), 0, 1e6)
	p.need(c.Session.Realign == 0 || Comparing(c.Reward.Kind), "session.realign", "is %d, but reward.kind is %s, which learns from no answers; want 0, or reward.kind rapl, rlhf, btt or pal", c.Session.Realign, c.Reward.Kind)
	p.need(c.Session.Realign == 0 || c.Session.Record && c.Policy.Sees != "pixels", "session.realign", "is %d, but policy.sees is %s and session.record %v; want features or points, and true, for what is learned again", c.Session.Realign, c.Policy.Sees, c.Session.Record)
	p.oneOf("session.orphan", c.Session.Orphan, "go", "hold")
	c.practice(&p)
	c.Align.validate(&p)
	c.Teleop.validate(&p)
	p.need(c.Teleop.Input == "none" || c.Robot.Kind != "sim" || c.Robot.Pace == "real", "teleop.input", "is %q, but robot.pace is %s: nobody can steer a simulation that runs quicker than the clock; want robot.pace real", c.Teleop.Input, c.Robot.Pace)
	p.oneOf("perception.gate", c.Frames.Gate, "none", "count", "hold")
	p.within("perception.min_brightness", c.Frames.Brightness, 0, 255)
	p.within("perception.max_brightness", c.Frames.Glare, 0, 255)
	p.within("perception.min_contrast", c.Frames.Contrast, 0, 128)
	p.within("perception.min_sharpness", c.Frames.Sharpness, 0, 1e6)
	p.within("perception.max_repeats", float64(c.Frames.Repeats), 0, 1e6)
	c.Bus.validate(&p)
	return p
}

func (r Robot) validate(p *problems) {
	p.oneOf("robot.kind", r.Kind, "sim", "bag", "ros")
	p.oneOf("robot.pace", r.Pace, "free", "real")
	r.validateWorld(p)
	p.oneOf("robot.look", r.Look, "panda", "orange")
	p.need(r.Look == "panda" || r.Kind == "sim", "robot.look", "is %s, but robot.kind is %s: only a simulated arm has another; want panda", r.Look, r.Kind)
	p.within("robot.horizon", float64(r.Horizon), 2, 10000)
	r.Disturb.validate(p, r.World)
	p.within("robot.timestep", r.Timestep, 0.0005, 0.004)
	// The 50 ms of a control tick must be whole steps of the physics.
	n := 0.05 / r.Timestep
	p.need(math.Abs(n-math.Round(n)) < 1e-6, "robot.timestep", "is %g s; want a divisor of 0.05 s, as 0.001 or 0.002", r.Timestep)
	p.oneOf("robot.render", r.Render, "egl", "raster")
	p.need(len(r.Cameras) > 0, "robot.cameras", "is empty; name at least one, as [{name: front, width: 96, height: 96}]")
	var seen []string
	for i, cam := range r.Cameras {
		key := fmt.Sprintf("robot.cameras[%d]", i)
		if r.Kind == "sim" {
			p.oneOf(key+".name", cam.Name, r.cameras()...)
		}
		p.need(!slices.Contains(seen, cam.Name), key+".name", "is %q for the second time", cam.Name)
		seen = append(seen, cam.Name)
		p.within(key+".width", float64(cam.Width), 16, 1920)
		p.within(key+".height", float64(cam.Height), 16, 1080)
	}
	p.within("robot.moved", r.Moved, 1e-4, 0.1)
	if r.Kind == "ros" {
		r.ROS.validate(p, r.Cameras)
	}
	if r.Kind == "bag" {
		r.Bag.validate(p)
	}
}

// mostSimulated is the largest guard.recover.max_per_hour of a simulated arm.
const mostSimulated = 3600

// ofThePolicy are the causes of faults that a policy itself brings about, by guard.recover's names.
var ofThePolicy = []string{"limits", "nonfinite"}

func (g Guard) validate(p *problems, simulated bool) {
	p.oneOf("guard.arm", g.Arm, "panda", "fr3")
	for i, axis := range []string{"x", "y", "z"} {
		lo, hi := g.Workspace.Min[i], g.Workspace.Max[i]
		p.need(lo < hi && lo > -2 && hi < 2, "guard.workspace", "has %s from %g to %g m; want min < max, both within the arm's 2 m", axis, lo, hi)
	}
	// 1.7 m/s and 2.5 rad/s are the arm's own Cartesian limits.
	p.within("guard.speed", g.Speed, 0.001, 1.7)
	p.within("guard.turn", g.Turn, 0.001, 2.5)
	p.within("guard.lease", g.Lease, 0.05, 10)
	p.oneOf("guard.gate", g.Gate, "auto", "require", "warn", "off")
	most, causes := 60, []string{"stale", "failed", "lease"}
	if simulated { // which nothing breaks, and does several episodes a second
		most, causes = mostSimulated, append(causes, ofThePolicy...)
	}
	p.within("guard.recover.max_per_hour", float64(g.Recover.MaxPerHour), 0, float64(most))
	for _, c := range g.Recover.Causes {
		if !simulated && slices.Contains(ofThePolicy, c) {
			p.need(false, "guard.recover.causes", "names %s, which a policy brings about: on an arm a person looks at it first; want one of %s", c, strings.Join(causes, ", "))
			continue
		}
		p.oneOf("guard.recover.causes", c, causes...)
	}
}

func (t Teleop) validate(p *problems) {
	p.oneOf("teleop.input", t.Input, "none", "bus", "joy", "spacenav")
	p.within("teleop.speed", t.Speed, 0.001, 1.7)
	p.within("teleop.turn", t.Turn, 0.001, 2.5)
	p.within("teleop.stale", t.Stale, 0.1, 1) // two control ticks: with less each tick between two readings holds the arm
	p.within("teleop.pause", t.Pause, 0, 60)
	p.within("teleop.deadzone", t.Dead, 0, 0.9)
	p.need(len(t.Axes) == 0 || len(t.Axes) == 6, "teleop.axes", "has %d entries; want none, or six for x y z rx ry rz", len(t.Axes))
	p.within("teleop.deadman", float64(t.Hold), 0, 32)
	p.need(t.Input != "joy" || t.Hold > 0, "teleop.deadman", "is 0, but teleop.input is joy: name the button that must be held for the arm to move")
	for _, a := range t.Axes {
		p.within("teleop.axes", float64(a), -16, 16)
	}
	p.within("teleop.open", float64(t.Open), 0, 32)
	p.within("teleop.close", float64(t.Close), 0, 32)
	if t.Input == "none" {
		return
	}
	p.need(t.Open == 0 || t.Open != t.Close, "teleop.open", "is button %d, and so is teleop.close; want two, or 0 for none", t.Open)
	const both = "is button %d, and so is %s: who takes the arm would move the fingers; want another"
	p.need(t.Input != "joy" || t.Hold == 0 || t.Hold != t.Open, "teleop.deadman", both, t.Hold, "teleop.open")
	p.need(t.Input != "joy" || t.Hold == 0 || t.Hold != t.Close, "teleop.deadman", both, t.Hold, "teleop.close")
}

func (l Policy) validate(p *problems) {
	p.oneOf("policy.sees", l.Sees, "features", "points", "pixels")
	p.within("policy.trunk.channels", float64(l.Trunk.Channels), 1, 1024)
	p.need(len(l.Trunk.Strides) <= 16, "policy.trunk.strides", "has %d layers; want at most 16", len(l.Trunk.Strides))
	for _, s := range l.Trunk.Strides {
		p.within("policy.trunk.strides", float64(s), 1, 8)
	}
	p.within("policy.trunk.latent", float64(l.Trunk.Latent), 1, 4096)
	p.within("policy.trunk.shift", float64(l.Trunk.Shift), 0, 64)
	d := l.Diffusion
	p.oneOf("policy.diffusion.shape", d.Shape, "unet", "mlp", "transformer")
	p.oneOf("policy.diffusion.process", d.Process, "diffusion", "flow")
	p.oneOf("policy.diffusion.predict", d.Predict, "noise", "action", "velocity")
	p.within("policy.diffusion.history", float64(d.History), 1, 64)
	p.within("policy.diffusion.horizon", float64(d.Horizon), float64(d.History), 1024)
	p.within("policy.diffusion.exec", float64(d.Exec), 1, float64(d.Horizon-d.History+1))
	p.within("policy.diffusion.steps", float64(d.Steps), 1, 10000)
	p.within("policy.diffusion.draws", float64(d.Draws), 1, 10000)
	p.within("policy.diffusion.eta", d.Eta, 0, 1)
	p.need(d.Eta == 0 || d.Process == "diffusion", "policy.diffusion.eta", "is %g, but policy.diffusion.process is %s, which has no noise on the way; want 0", d.Eta, d.Process)
	p.need(d.Process != "diffusion" || d.Draws <= d.Steps, "policy.diffusion.draws", "is %d; want at most the %d of policy.diffusion.steps", d.Draws, d.Steps)
	p.need(len(d.Channels) > 0 && len(d.Channels) <= 8, "policy.diffusion.channels", "has %d levels; want 1 to 8, as [64, 128, 256]", len(d.Channels))
	for _, n := range d.Channels {
		p.need(n > 0 && n%8 == 0 && n <= 4096, "policy.diffusion.channels", "holds %d; want multiples of 8 up to 4096", n)
	}
	p.oneOf("policy.diffusion.sampler.kind", d.Sampler.Kind, "plain", "best", "fk", "guided", "reno", "nrg")
	p.within("policy.diffusion.sampler.draws", float64(d.Sampler.Draws), 1, 1024)
	p.within("policy.diffusion.sampler.scale", d.Sampler.Scale, 0, 1000)
	p.need(d.Sampler.Kind != "nrg" || d.Process == "flow", "policy.diffusion.sampler.kind", "is nrg, but policy.diffusion.process is %s; want guided", d.Process)
	p.need(d.Sampler.Kind != "guided" || d.Process == "diffusion", "policy.diffusion.sampler.kind", "is guided, but policy.diffusion.process is %s; want nrg", d.Process)
	p.need(d.Sampler.Kind != "fk" || d.Process == "diffusion", "policy.diffusion.sampler.kind", "is fk, but policy.diffusion.process is %s, which has no noise on the way; want best", d.Process)
	// 0 is what the package takes for its own default, and with none of the critic fk would be best.
	p.need(d.Sampler.Kind != "fk" || d.Sampler.Scale > 0, "policy.diffusion.sampler.scale", "is 0, but policy.diffusion.sampler.kind is fk, which weighs chunks by it; want more, as 2, or policy.diffusion.sampler.kind best, which does not")
	p.need(d.Sampler.Kind != "reno" || d.Eta == 0, "policy.diffusion.sampler.kind", "is reno, but policy.diffusion.eta is %g; want 0", d.Eta)
	p.need(len(l.Axes) > 0, "policy.axes", "is empty; name what the policy commands, as [x, y]")
	var seen []string
	for _, a := range l.Axes {
		p.oneOf("policy.axes", a, "x", "y", "z", "rx", "ry", "rz", "grip")
		p.need(!slices.Contains(seen, a), "policy.axes", "names %s twice", a)
		seen = append(seen, a)
	}
	p.within("policy.scale", l.Scale, 1e-5, 0.1)
	p.hidden("policy.hidden", l.Hidden)
	p.within("policy.clone.steps", float64(l.Clone.Steps), 1, 1e6)
	p.within("policy.clone.batch", float64(l.Clone.Batch), 1, 8192)
	p.within("policy.clone.rate", l.Clone.Rate, 1e-7, 0.1)
	p.within("policy.clone.std", l.Clone.Std, 0.01, 2)
}

func (b Bus) validate(p *problems) {
	if b.URL != "" {
		u, err := url.Parse(b.URL)
		p.need(err == nil && u.Host != "" && slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme),
			"bus.url", "is %q; want nats://HOST:PORT", bare(b.URL))
		p.need(err != nil || u.User == nil, "bus.url", "names a token, which a session would keep; want nats://HOST:PORT, and bus.user and bus.password")
	}
	if b.Listen != "" {
		_, _, err := net.SplitHostPort(b.Listen)
		p.need(err == nil, "bus.listen", "is %q; want HOST:PORT, as 127.0.0.1:4222", b.Listen)
	}
	p.need(b.URL == "" || b.Listen == "", "bus.listen", "is set together with bus.url: either join a server or be one")
	p.need(b.Password == "" || b.User != "", "bus.user", "is empty, but bus.password is set")
}
