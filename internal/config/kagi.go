package config

// validate reports what is wrong with the keys of reward.kagi by themselves.
func (k KAGI) validate(p *problems) {
	p.oneOf("reward.kagi.source", k.Source, "auto", "vlm", "task", "clicks")
	p.oneOf("reward.kagi.marks", k.Marks, "plan", "candidates")
	p.within("reward.kagi.points", float64(k.Points), 1, 12)
	p.need(k.Marks == "candidates" || k.Segmenter == "" && k.Points == 1, "reward.kagi.marks", "is plan, but reward.kagi.segmenter and points are of candidates; want candidates, or neither")
	p.oneOf("reward.kagi.form", k.Form, "furthest", "nearest")
	p.oneOf("reward.kagi.sparse", k.Sparse, "truth", "classifier", "judge", "none")
	p.within("reward.kagi.confirm", float64(k.Confirm), 1, 100)
	p.within("reward.kagi.tolerance", k.Tolerance, 1e-4, 1)
	p.within("reward.kagi.top", k.Top, 1e-3, 1)
}
