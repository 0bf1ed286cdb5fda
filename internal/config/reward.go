package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// RewardKinds lists the values of reward.kind.
func RewardKinds() []string {
	return []string{"rapl", "features", "goal", "tcc", "rlhf", "btt", "pal", "heron", "gail", "kagi", "uvd", "perceptual", "vlm-rm", "truth"}
}

// Comparing says whether a kind of reward learns from comparisons.
func Comparing(kind string) bool { return kind == "rapl" || preferring(kind) }

// preferring says whether a kind learns from nothing else.
func preferring(kind string) bool { return kind == "rlhf" || kind == "btt" || kind == "pal" }

// HeronCriteria lists what reward.heron.order may name.
func HeronCriteria() []string { return []string{"success", "force", "time", "path"} }

// Unfit says why a reward is none for a robot of a kind; nil where it may be one.
func (r Reward) Unfit(robot string) error {
	switch {
	case robot == "bag" && r.Kind == "kagi":
		return errors.New("reward.kind is kagi, but robot.kind is bag: recordings have no tracked points")
	case robot == "bag" && r.Sees != "features":
		return fmt.Errorf("reward.sees is %s, but robot.kind is bag: recordings have no tracked points", r.Sees)
	case robot == "ros" && r.Kind == "truth":
		return errors.New("reward.kind is truth, but robot.kind is ros: nobody knows the truth of a real arm")
	}
	return nil
}

func (r Reward) validate(p *problems, robot, from string, bad int) {
	if err := r.Unfit(robot); err != nil {
		want := "rapl"
		if r.Kind != "kagi" && r.Kind != "truth" {
			want = "features"
		}
		if from != "" { // whose reward is taken
			want += ", and as session.from a session whose reward is so"
		}
		*p = append(*p, fmt.Errorf("config: %w; want %s", err, want))
	}
	p.oneOf("reward.kind", r.Kind, RewardKinds()...)
	p.within("reward.steps", float64(r.Steps), 0, 1e6)
	p.within("reward.enough", r.Enough, 0, 1)
	p.oneOf("reward.form", r.Form, "transport", "goal")
	p.oneOf("reward.sees", r.Sees, "features", "points", "objects")
	if r.Sees != "features" {
		p.need(!slices.Contains([]string{"kagi", "vlm-rm", "truth"}, r.Kind), "reward.sees", "is %s, but reward.kind is %s, which compares no embeddings of videos; want features", r.Sees, r.Kind)
		p.need(r.Train != "all", "reward.sees", "is %s, but reward.train is all, which trains the encoder; want reward.train head or mlp, or reward.sees features", r.Sees)
	}
	p.need(r.Form == "transport" || r.Kind == "tcc", "reward.form", "is %s, but reward.kind is %s; want transport, or reward.kind tcc", r.Form, r.Kind)
	p.need(r.Kind != "gail" || bad > 0, "reward.kind", "is gail, but demos.bad is 0: it learns to tell the preferred demonstrations from others; want demos.bad 25, say")
	r.KAGI.validate(p)
	p.need(r.Kind != "kagi" && r.Sees == "features" || robot != "ros" || r.KAGI.Cameras != "", "reward.kagi.cameras", "is empty, but robot.kind is ros; name the file of the calibrated cameras")
	p.need(!preferring(r.Kind) || r.Triplets > 0, "reward.triplets", "is 0, but reward.kind is %s, which learns from comparisons alone; want 100, say", r.Kind)
	p.need(r.Person == "" || preferring(r.Kind), "reward.person", "is %s, but reward.kind is %s, which knows nobody by name; leave it empty, or take rlhf, btt or pal", r.Person, r.Kind)
	p.oneOf("reward.btt.model", r.BTT.Model, "rao-kupper", "davidson")
	least := map[string]float64{"rao-kupper": 1}[r.BTT.Model]
	p.need(r.BTT.Strength == 0 || r.BTT.Strength > least && r.BTT.Strength <= 1e3, "reward.btt.strength", "is %g; want 0 to learn it, or a number above %g to 1000", r.BTT.Strength, least)
	p.need(len(r.HERON.Order) > 0, "reward.heron.order", "is empty; want one at least of %s, the most important first", strings.Join(HeronCriteria(), ", "))
	for i, c := range r.HERON.Order {
		p.oneOf(fmt.Sprintf("reward.heron.order[%d]", i), c, HeronCriteria()...)
		p.need(slices.Index(r.HERON.Order, c) == i, fmt.Sprintf("reward.heron.order[%d]", i), "is %s, which is there before; want each once", c)
	}
	p.within("reward.heron.margin", r.HERON.Margin, 0, 10)
	p.within("reward.pal.prototypes", float64(r.PAL.Prototypes), 1, 64)
}
