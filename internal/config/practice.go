package config

import "slices"

// waysBack are the tasks that can be undone.
var waysBack = []string{"stack", "almonds", "spatula", "cover"}

// HasWayBack says whether the task of c can be undone in simulation.
func (c Config) HasWayBack() bool {
	return c.Robot.World != XMagical && slices.Contains(waysBack, c.Robot.Task)
}

// practice says what is wrong with the way, the end of episodes, and practice.
func (c Config) practice(p *problems) {
	p.oneOf("robot.way", c.Robot.Way, "forward", "backward")
	p.need(c.Robot.Way != "backward" || c.Robot.Kind != "sim" || c.HasWayBack(), "robot.way", "is backward, but the task %s is not undone in simulation; want forward, or robot.task one of %v", c.Robot.Task, waysBack)
	p.oneOf("session.end", c.Session.End, "horizon", "success")
	told := c.Reward.Kind == "kagi" && c.Reward.KAGI.Sparse == "classifier"
	p.need(c.Session.End != "success" || c.Robot.Kind == "sim" || told, "session.end", "is success, but robot.kind is %s: the simulator tells success while an episode runs, and reward.kagi.sparse classifier; want one of these, or horizon", c.Robot.Kind)
	if c.Reward.Kind == "kagi" && c.Reward.KAGI.Sparse == "judge" {
		p.need(c.Session.From != "", "reward.kagi.sparse", "is judge, but session.from is empty; name a session on whose marked frames the judge was measured (rapport reward judge)")
		p.need(c.Session.Record, "reward.kagi.sparse", "is judge, which looks at frames, but session.record is false; want true")
		p.need(c.Session.End == "horizon", "session.end", "is %s, but reward.kagi.sparse is judge, which is asked at the horizon alone; want horizon", c.Session.End)
	}
	p.need(c.Practice.Mate == "" || c.Reward.Classifier == "", "reward.classifier", "is set, but practice goes there and back, and a classifier knows one way; leave it empty, and each way takes that of the session that it begins from")
	p.within("practice.reminder", float64(c.Practice.Reminder), 1, 1e6)
	p.within("practice.hours", c.Practice.Hours, 0, 1000)
	p.need(fileName.MatchString(c.Practice.Mate), "practice.mate", "is %q; want a session's name", c.Practice.Mate)
	p.need(c.Practice.Mate == "" || c.Robot.Kind != "bag", "practice.mate", "is set, but robot.kind is bag, and nothing moves in a recording; want robot.kind sim or ros")
	p.need(c.Practice.Mate == "" || c.Robot.Kind != "ros" || told || c.Reward.Kind == "kagi" && c.Reward.KAGI.Sparse == "judge", "reward.kagi.sparse", "is %s under reward.kind %s, but somebody has to tell success to a practice on an arm, or a person would be called for all the time; want reward.kind kagi and reward.kagi.sparse classifier or judge", c.Reward.KAGI.Sparse, c.Reward.Kind)
	p.need(c.Practice.Mate == "" || c.Reward.Kind != "kagi" || c.Reward.KAGI.Plan == "", "reward.kagi.plan", "is set, but practice goes there and back, which are two plans; leave it empty, and those that come with the task are taken")
	p.need(c.Practice.Mate == "" || c.Reward.Kind != "truth", "reward.kind", "is truth, which practice does not carry; want another")
}
