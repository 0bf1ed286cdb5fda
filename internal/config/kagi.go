package config

// validate reports what is wrong with the keys of reward.kagi; on says that
// reward.kind is kagi.
func (k KAGI) validate(p *problems, on bool, robot string) {
	p.oneOf("reward.kagi.source", k.Source, "auto", "vlm", "task", "clicks")
	p.oneOf("reward.kagi.marks", k.Marks, "plan", "candidates")
	p.oneOf("reward.kagi.form", k.Form, "furthest", "nearest")
	p.oneOf("reward.kagi.sparse", k.Sparse, "truth", "classifier", "judge", "none")
	p.within("reward.kagi.tolerance", k.Tolerance, 1e-4, 1)
	p.within("reward.kagi.top", k.Top, 1e-3, 1)
	if !on {
		return
	}
	p.need(robot != "bag", "reward.kind", "is kagi, but robot.kind is bag: recordings have no tracked points; want rapl")
	p.need(robot != "ros" || k.Cameras != "", "reward.kagi.cameras", "is empty, but robot.kind is ros; name the file of the calibrated cameras")
}
