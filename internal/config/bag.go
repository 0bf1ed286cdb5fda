package config

import (
	"fmt"
	"slices"
	"strings"
)

// Bag says what a session learns from that moves nothing, for robot.kind bag.
type Bag struct {
	Files     []string `yaml:"files"`
	Topics    []string `yaml:"topics"`
	Preferred []string `yaml:"preferred"`
}

// NoCameras lists the names in robot.bag.topics that are no camera's.
func NoCameras() []string { return []string{"states", "joints", "gripper", "target", "pose"} }

// validate looks at what does not need the recordings, which a session that is gone
// on with does not need any more.
func (b Bag) validate(p *problems) {
	p.need(len(b.Files) > 0, "robot.bag.files", "is empty, but robot.kind is bag; name recordings, as [monday.bag, more/*.mcap]")
	for i, f := range b.Files {
		p.need(f != "", fmt.Sprintf("robot.bag.files[%d]", i), "is empty; name a recording, as monday.bag")
		p.need(!slices.Contains(b.Files[:i], f), fmt.Sprintf("robot.bag.files[%d]", i), "is %s for the second time", f)
	}
	for i, w := range b.Topics {
		name, topic, ok := strings.Cut(w, "=")
		p.need(ok && name != "" && (topic != "" || slices.Contains(NoCameras(), strings.TrimSpace(name))), fmt.Sprintf("robot.bag.topics[%d]", i), "is %q; want NAME=TOPIC, as wrist=/camera/color/image_raw, where the name is a camera of robot.cameras, or states, joints, gripper, target or pose, which target= and the like take out", w)
	}
}

// recordings looks at what of a session does not go together with recordings.
func (c Config) recordings(p *problems) {
	if c.Robot.Kind != "bag" {
		return
	}
	names := NoCameras()
	for _, cam := range c.Robot.Cameras {
		names = append(names, cam.Name)
	}
	for i, w := range c.Robot.Bag.Topics {
		name, _, ok := strings.Cut(w, "=")
		p.need(!ok || slices.Contains(names, strings.TrimSpace(name)), fmt.Sprintf("robot.bag.topics[%d]", i), "is %q, but nothing is called %s; want one of %s", w, strings.TrimSpace(name), strings.Join(names, ", "))
	}
	p.need(c.Session.From != "" || len(c.Robot.Bag.Preferred) > 0, "session.from", "is empty, but robot.kind is bag: encoder and reward come from an earlier session; name its folder, as runs/group-001, or name in robot.bag.preferred which recordings show what you want")
	p.need(c.Session.From == "" || len(c.Robot.Bag.Preferred) == 0, "robot.bag.preferred", "is set together with session.from, whose reward knows what is preferred already; leave one of them out")
	p.need(len(c.Robot.Bag.Preferred) == 0 || c.Reward.Kind == "rapl", "reward.kind", "is %s, but of robot.bag.preferred only rapl is made; want rapl, or as session.from a session with such a reward in place of robot.bag.preferred", c.Reward.Kind)
	p.need(c.Session.From != "" || c.Reward.Kind != "rapl" || c.Reward.Train != "all" || c.Reward.Triplets == 0, "reward.train", "is all, but robot.kind is bag: the encoder learns from answers of people, and robot.bag.preferred are none; want head or mlp, or as session.from a session whose encoder learned so")
	p.need(c.Learner.Kind != "ppo", "learner.kind", "is ppo, which learns from what its own policy does alone, but robot.kind is bag: what is recorded is done; take iql, calql, rlpd, bc or diffusion")
	p.need(c.Teleop.Input == "none", "teleop.input", "is %q, but robot.kind is bag: nobody steers a recording; want none", c.Teleop.Input)
	p.need(c.Robot.Pace == "free", "robot.pace", "is %s, but robot.kind is bag: recordings are read as quickly as it goes; want free", c.Robot.Pace)
}
