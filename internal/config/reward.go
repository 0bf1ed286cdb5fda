package config

import "slices"

// RewardKinds lists the values of reward.kind.
func RewardKinds() []string {
	return []string{"rapl", "features", "goal", "tcc", "rlhf", "gail", "kagi", "uvd", "perceptual", "vlm-rm", "truth"}
}

func (r Reward) validate(p *problems, robot string, bad int) {
	p.oneOf("reward.kind", r.Kind, RewardKinds()...)
	p.within("reward.steps", float64(r.Steps), 0, 1e6)
	p.oneOf("reward.form", r.Form, "transport", "goal")
	p.oneOf("reward.sees", r.Sees, "features", "points", "objects")
	if r.Sees != "features" {
		p.need(!slices.Contains([]string{"kagi", "vlm-rm", "truth"}, r.Kind), "reward.sees", "is %s, but reward.kind is %s, which compares no embeddings of videos; want features", r.Sees, r.Kind)
		p.need(r.Train != "all", "reward.sees", "is %s, but reward.train is all, which trains the encoder; want reward.train head or mlp, or reward.sees features", r.Sees)
		p.need(robot != "bag", "reward.sees", "is %s, but robot.kind is bag: recordings have no tracked points; want features", r.Sees)
		p.need(robot != "ros" || r.KAGI.Cameras != "", "reward.kagi.cameras", "is empty, but robot.kind is ros and reward.sees is %s; name the file of the calibrated cameras", r.Sees)
	}
	p.need(r.Form == "transport" || r.Kind == "tcc", "reward.form", "is %s, but reward.kind is %s; want transport, or reward.kind tcc", r.Form, r.Kind)
	p.need(r.Kind != "truth" || robot != "ros", "reward.kind", "is truth, but robot.kind is ros: nobody knows the truth of a real arm; want rapl")
	p.need(r.Kind != "gail" || bad > 0, "reward.kind", "is gail, but demos.bad is 0: it learns to tell the preferred demonstrations from others; want demos.bad 25, say")
	r.KAGI.validate(p, r.Kind == "kagi", robot)
	p.need(r.Kind != "rlhf" || r.Triplets > 0, "reward.triplets", "is 0, but reward.kind is rlhf, which learns from comparisons alone; want 100, say")
}
