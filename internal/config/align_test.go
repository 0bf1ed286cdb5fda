package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestAlignmentErrorsNameTheKey(t *testing.T) {
	sets := map[string]string{
		"align.rollouts": "3", "align.labels": "1", "align.ask": "marks", "align.clips": "9", "align.by": "truth", "align.pairs": "0",
		"align.chunks": "-1", "align.aligner": "sft", "align.beta": "-1", "align.rank": "-1", "align.rehearse": "-1", "align.rate": "0", "align.rounds": "0", "align.patience": "-1", "align.trials": "-1",
		"align.budget": "0", "align.lambda": "2", "align.near": "0",
	}
	var all []string
	for k, v := range sets {
		all = append(all, k+"="+v)
	}
	_, err := Load("", nil, all)
	for k := range sets {
		if err == nil || !strings.Contains(err.Error(), k) {
			t.Errorf("error %v, want %s", err, k)
		}
	}
}

func TestAlignersAreAskedForWhatTheyLearnFrom(t *testing.T) {
	for _, tt := range []struct{ sets, want string }{
		{"align.aligner=fdpo", "align.aligner is fdpo"},
		{"align.ask=segments", "align.by is rapl"},
		{"align.ask=segments align.by=rlhf align.labels=61", "align.labels is 61"},
		{"align.ask=segments align.by=rlhf align.labels=60 align.aligner=fdpo", ""},
		{"align.ask=segments align.by=labels align.aligner=d3po", ""},
		{"align.aligner=ppd align.rank=4 align.person=ann", "align.by is rapl"},
		{"align.aligner=ppd align.rank=4 align.person=ann align.by=labels align.ask=segments", "align.ask is segments"},
		{"align.aligner=ppd align.person=ann align.by=labels", "align.rank is 0"},
		{"align.aligner=pareto", "align.by is rapl"},
		{"align.aligner=pareto align.by=labels align.ask=segments", "align.ask is segments"},
		{"align.aligner=pareto align.by=labels", ""},
		{"align.aligner=dragon align.weigh=doubt", ""},
		{"align.weigh=trust", "align.weigh is"},
		{"align.aligner=rm-filter align.weigh=leverage", ""},
		{"align.taste=vpl", "align.taste is vpl"},
		{"align.by=pal", "align.person is empty"},
		{"align.by=labels align.trials=8", "align.trials is 8"},
		{"align.by=rlhf align.trials=8", ""},
		{"align.by=pal align.person=ann align.aligner=rwr", ""},
		{"align.aligner=ppd align.rank=4 align.by=labels", "align.person is empty"},
		{"align.aligner=ppd align.rank=4 align.person=ann align.by=labels", ""},
	} {
		_, err := Load("", nil, strings.Fields(tt.sets))
		if got := fmt.Sprint(err); (err == nil) != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %v, want %q", tt.sets, err, tt.want)
		}
	}
}

// A policy that draws chunks learns a task with styles without further settings.
func TestChunksFitTheTasksWithStyles(t *testing.T) {
	for _, tt := range []struct {
		sets           []string
		shape, predict string
		steps, bad     int
	}{
		{[]string{"robot.task=cup", "learner.kind=diffusion"}, "mlp", "action", 3000, 15},
		{[]string{"robot.task=fork", "learner.kind=diffusion", "demos.good=8"}, "mlp", "action", 3000, 15},
		{[]string{"robot.task=chips", "learner.kind=diffusion", "policy.diffusion.shape=transformer", "policy.diffusion.predict=velocity", "policy.clone.steps=500", "demos.bad=3"}, "transformer", "velocity", 500, 3},
		{[]string{"robot.task=cup", "learner.kind=diffusion", "policy.diffusion.process=flow"}, "mlp", "noise", 3000, 15},
		{[]string{"robot.task=cup"}, "unet", "noise", 2000, 25},
		{[]string{"robot.task=group", "learner.kind=diffusion"}, "unet", "noise", 2000, 25},
	} {
		c, err := Load("", nil, tt.sets)
		if err != nil {
			t.Fatal(err)
		}
		d := c.Policy.Diffusion
		if d.Shape != tt.shape || d.Predict != tt.predict || c.Policy.Clone.Steps != tt.steps || c.Demos.Bad != tt.bad {
			t.Errorf("%v: %s, %s, %d steps, %d bad; want %s, %s, %d, %d", tt.sets, d.Shape, d.Predict, c.Policy.Clone.Steps, c.Demos.Bad, tt.shape, tt.predict, tt.steps, tt.bad)
		}
	}
}

func TestNoiseOnTheWayIsOfDiffusions(t *testing.T) {
	for _, sets := range [][]string{{"policy.diffusion.eta=1.5"}, {"policy.diffusion.eta=0.5", "policy.diffusion.process=flow"}} {
		if _, err := Load("", nil, sets); err == nil || !strings.Contains(err.Error(), "policy.diffusion.eta") {
			t.Errorf("%v: error %v", sets, err)
		}
	}
	if c, err := Load("", nil, []string{"policy.diffusion.eta=1"}); err != nil || c.Policy.Diffusion.Eta != 1 {
		t.Errorf("eta %g, %v", c.Policy.Diffusion.Eta, err)
	}
}
