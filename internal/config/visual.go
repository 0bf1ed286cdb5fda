package config

import "os"

// Visual configures the small visual rewards: reward.kind uvd, perceptual and vlm-rm.
type Visual struct {
	Gap      int     `yaml:"gap"`   // of uvd, frames
	Steps    int     `yaml:"steps"` // of perceptual
	Goal     string  `yaml:"goal"`  // of vlm-rm: files of embeddings
	Baseline string  `yaml:"baseline"`
	Alpha    float64 `yaml:"alpha"`
}

// Successes lists the values of reward.success.
func Successes() []string { return []string{"none", "truth", "classifier", "audits"} }

// visual says what is wrong with the small visual rewards and with who tells success.
func (r Reward) visual(p *problems, robot, encoder string) {
	v := r.Visual
	p.within("reward.visual.gap", float64(v.Gap), 1, 10000)
	p.within("reward.visual.steps", float64(v.Steps), 2, 32)
	p.within("reward.visual.alpha", v.Alpha, 0, 1)
	if r.Kind == "vlm-rm" {
		p.need(encoder == "onnx", "reward.kind", "is vlm-rm, but encoder.kind is %s: frames and prompts must be embedded by one model; want encoder.kind onnx, with its image side", encoder)
	}
	p.oneOf("reward.success", r.Success, Successes()...)
	p.need(r.Success != "truth" || robot != "ros", "reward.success", "is truth, but robot.kind is ros: nobody knows the truth of a real arm; want classifier, audits, or none")
}

// files says which files of the reward cannot be read.
func (r Reward) files(p *problems) {
	if r.Kind == "vlm-rm" {
		p.file("reward.visual.goal", r.Visual.Goal, "write the embeddings of one or more prompts of the goal to a .json or .npy file and name it")
		if r.Visual.Alpha > 0 {
			p.file("reward.visual.baseline", r.Visual.Baseline, "write the embeddings of prompts of how an episode begins to a .json or .npy file and name it, or set reward.visual.alpha to 0")
		}
	}
	if r.Classifier != "" {
		p.file("reward.classifier", r.Classifier, "write it by rapport reward classifier train --out FILE")
	}
}

// file says that name cannot be read, and how there comes to be such a file.
func (p *problems) file(key, name, remedy string) {
	_, err := os.Stat(name)
	p.need(err == nil, key, "names %q, which cannot be read (%v); %s", name, err, remedy)
}
