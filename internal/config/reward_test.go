package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The comment of a key that is one of some names has them all.
func TestShippedFileNamesWhoTellsSuccess(t *testing.T) {
	for line := range strings.Lines(string(DefaultYAML())) {
		if !strings.HasPrefix(line, "  success: ") {
			continue
		}
		for _, name := range Successes() {
			if !strings.Contains(line, name+" ") && !strings.Contains(line, name+"\n") {
				t.Errorf("%q lacks %s", line, name)
			}
		}
		return
	}
	t.Error("default.yaml has no reward.success")
}

// What a session began with is read where the files that it names are elsewhere by now.
func TestASessionsFileIsReadWithoutWhatItNames(t *testing.T) {
	c := Default()
	c.Encoder.Kind, c.Encoder.ONNX, c.Reward.Classifier = "onnx", "gone.onnx", "gone.json"
	b, err := c.YAML()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := errors.Join(err, os.WriteFile(file, b, 0o600)); err != nil {
		t.Fatal(err)
	}
	if got, err := Began(file); err != nil || got.Encoder.ONNX != "gone.onnx" {
		t.Errorf("encoder.onnx %q, %v", got.Encoder.ONNX, err)
	}
	_, err = Load(file, nil, nil)
	for _, want := range []string{"encoder.onnx", "reward.classifier"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s in it", err, want)
		}
	}
}

func TestKindsOfRewardsThatCannotBeAreRefused(t *testing.T) {
	for _, c := range []struct {
		sets []string
		want string // "" is fine
	}{
		{[]string{"reward.kind=tcc", "reward.form=goal"}, ""},
		{[]string{"reward.kind=truth"}, ""},
		{[]string{"reward.kind=gail"}, ""},
		{[]string{"robot.look=orange"}, ""},
		{[]string{"reward.kind=taste"}, "want one of rapl, features, goal, tcc, rlhf, btt, pal, heron, gail, kagi, uvd, perceptual, vlm-rm, truth"},
		{[]string{"reward.form=goal"}, "want transport, or reward.kind tcc"},
		{[]string{"reward.kind=rlhf", "reward.triplets=0"}, "learns from comparisons alone"},
		{[]string{"reward.kind=pal", "reward.triplets=0"}, "learns from comparisons alone"},
		{[]string{"reward.kind=pal", "people.groups=[{name: ann, share: 1, distance: 1}]", "reward.person=ann"}, ""},
		{[]string{"reward.kind=pal", "reward.person=ann", "session.from=runs/a"}, ""},
		{[]string{"reward.kind=pal", "reward.person=ann"}, "reward.person is ann, who is none of people.groups"},
		{[]string{"reward.person=simulated"}, "reward.kind is rapl, which knows nobody by name"},
		{[]string{"reward.kind=pal", "reward.pal.prototypes=0"}, "reward.pal.prototypes is 0; want 1 to 64"},
		{[]string{"reward.kind=btt", "reward.btt.model=davidson", "reward.btt.strength=0.5", "session.realign=5"}, ""},
		{[]string{"reward.kind=heron", "reward.heron.order=[force, success]", "reward.triplets=0"}, ""},
		{[]string{"reward.heron.order=[]"}, "reward.heron.order is empty"},
		{[]string{"reward.heron.order=[speed]"}, "want one of success, force, time, path"},
		{[]string{"reward.heron.order=[path, path]"}, "reward.heron.order[1] is path, which is there before"},
		{[]string{"reward.heron.margin=-1"}, "reward.heron.margin is -1"},
		{[]string{"reward.kind=btt", "reward.btt.strength=1"}, "reward.btt.strength is 1; want 0 to learn it, or a number above 1"},
		{[]string{"reward.btt.model=elo"}, "want one of rao-kupper, davidson"},
		{[]string{"reward.kind=goal", "session.realign=5"}, "session.realign is 5, but reward.kind is goal"},
		{[]string{"reward.kind=gail", "demos.bad=0", "reward.triplets=0"}, "tell the preferred demonstrations from others"},
		{[]string{"reward.kind=truth", "robot.kind=ros", "session.from=runs/a"}, "nobody knows the truth of a real arm; want rapl, and as session.from a session whose reward is so"},
		{[]string{"reward.kind=kagi", "robot.kind=bag", "robot.bag.files=[a.bag]", "robot.bag.preferred=[a.bag]"}, "recordings have no tracked points; want rapl"},
		{[]string{"reward.kind=kagi", "robot.kind=bag", "robot.bag.files=[a.bag]", "session.from=runs/a"}, "recordings have no tracked points; want rapl, and as session.from a session whose reward is so"},
		{[]string{"reward.sees=points", "robot.kind=bag", "robot.bag.files=[a.bag]", "session.from=runs/a"}, "recordings have no tracked points; want features, and as session.from a session whose reward is so"},
		{[]string{"robot.look=orange", "robot.kind=ros", "session.from=runs/a"}, "only a simulated arm has another"},
		{[]string{"reward.kind=kagi", "reward.kagi.source=clicks", "reward.kagi.marks=candidates"}, ""},
		{[]string{"policy.sees=points"}, "policy.sees is points, but policy.keys is false, reward.kind rapl and reward.sees features, so that it would see none"},
		{[]string{"policy.sees=points", "policy.keys=true", "reward.sees=points"}, ""},
		{[]string{"policy.sees=points", "reward.kind=kagi"}, ""},
		{[]string{"policy.sees=points", "reward.kind=kagi", "policy.keys=false"}, "policy.keys is false, reward.kind kagi"},
		{[]string{"policy.sees=points", "policy.keys=true", "reward.sees=points", "reward.kind=rlhf", "session.realign=5"}, ""},
		{[]string{"learner.kind=ppo", "robot.horizon=32", "learner.ppo.episodes=4", "learner.batch=128"}, ""},
		{[]string{"learner.kind=ppo", "robot.horizon=20", "learner.ppo.episodes=5", "learner.batch=128"}, "learner.batch is 128, but ppo has 100 ticks an update"},
		{[]string{"policy.clone.std=0"}, "policy.clone.std is 0; want 0.01 to 2"},
		{[]string{"reward.kind=kagi", "practice.mate=back", "reward.kagi.plan=there.json"}, "practice goes there and back, which are two plans"},
		{[]string{"reward.kind=kagi", "practice.mate=back", "reward.kagi.sparse=classifier", "session.from=runs/a", "session.end=success"}, ""},
		{[]string{"practice.mate=back", "reward.classifier=nowhere.json"}, "a classifier knows one way"},
		{[]string{"practice.mate=back", "robot.kind=ros", "session.from=runs/a"}, "reward.kagi.sparse is truth under reward.kind rapl, but somebody has to tell success"},
		{[]string{"reward.kind=kagi", "practice.mate=back", "robot.kind=ros", "session.from=runs/a", "reward.kagi.cameras=c.json", "reward.kagi.sparse=classifier", "session.end=success"}, ""},
		{[]string{"practice.mate=back", "robot.kind=bag"}, "nothing moves in a recording"},
		{[]string{"robot.kind=bag", "robot.bag.files=[a.bag]", "robot.bag.preferred=[a.bag]", "reward.train=all"}, "reward.train is all, but robot.kind is bag: the encoder learns from answers of people, and robot.bag.preferred are none; want head or mlp"},
		{[]string{"robot.kind=bag", "robot.bag.files=[a.bag]", "robot.bag.preferred=[a.bag]", "reward.train=mlp"}, ""},
		{[]string{"robot.kind=bag", "robot.bag.files=[a.bag]", "robot.bag.preferred=[a.bag]", "reward.kind=rlhf"}, "reward.kind is rlhf, but of robot.bag.preferred only rapl is made"},
		{[]string{"robot.kind=bag", "robot.bag.files=[a.bag]", "session.from=runs/a", "reward.train=all"}, ""},
		{[]string{"robot.kind=bag", "robot.bag.files=[a.bag]", "session.from=runs/a", "robot.bag.topics=[target=, gripper=]"}, ""},
		{[]string{"robot.kind=bag", "robot.bag.files=[a.bag]", "session.from=runs/a", "robot.cameras=[{name: front, width: 64, height: 64}]", "robot.bag.topics=[front=]"}, `robot.bag.topics[0] is "front="; want NAME=TOPIC`},
		{[]string{"reward.kagi.marks=things"}, "want one of plan, candidates"},
		{[]string{"reward.kagi.segmenter=things.onnx"}, "reward.kagi.segmenter and points are of candidates"},
		{[]string{"reward.kagi.points=3"}, "reward.kagi.segmenter and points are of candidates"},
		{[]string{"reward.kind=kagi", "reward.kagi.marks=candidates", "reward.kagi.points=0"}, "want 1 to 12"},
		{[]string{"reward.kind=kagi", "reward.kagi.marks=candidates", "reward.kagi.points=3", "reward.kagi.segmenter=things.onnx"}, ""},
		{[]string{"reward.kind=kagi", "robot.kind=ros", "session.from=runs/a"}, "name the file of the calibrated cameras"},
		{[]string{"reward.sees=objects", "reward.kind=rlhf", "reward.train=mlp"}, ""},
		{[]string{"reward.sees=points", "robot.kind=ros", "session.from=runs/a", "reward.kagi.cameras=c.json"}, ""},
		{[]string{"robot.markers=[front.yaml]"}, "no camera's place matters"},
		{[]string{"reward.kind=kagi", "robot.markers=[front.yaml]"}, ""},
		{[]string{"reward.kind=kagi", "robot.moved=0"}, "robot.moved"},
		{[]string{"reward.sees=points", "robot.kind=ros", "session.from=runs/a"}, "name the file of the calibrated cameras"},
		{[]string{"reward.sees=things"}, "want one of features, points, objects"},
		{[]string{"reward.sees=points", "reward.kind=kagi"}, "compares no embeddings of videos; want features"},
		{[]string{"reward.sees=points", "reward.train=all"}, "which trains the encoder"},
		{[]string{"reward.steps=-1"}, "reward.steps is -1"},
		{[]string{"reward.enough=-1"}, "reward.enough is -1"},
		{[]string{"reward.kind=uvd", "reward.visual.gap=9", "reward.success=truth"}, ""},
		{[]string{"reward.kind=perceptual", "reward.visual.steps=1"}, "reward.visual.steps is 1; want 2 to 32"},
		{[]string{"reward.kind=vlm-rm"}, "want encoder.kind onnx"},
		{[]string{"reward.kind=vlm-rm", "reward.visual.goal=nowhere.json"}, "\"nowhere.json\", which cannot be read"},
		{[]string{"reward.kind=vlm-rm"}, "reward.visual.alpha to 0"},
		{[]string{"reward.visual.alpha=2"}, "reward.visual.alpha is 2"},
		{[]string{"reward.success=perhaps"}, "want one of none, truth, classifier, audits"},
		{[]string{"reward.success=truth", "robot.kind=ros", "session.from=runs/a"}, "nobody knows the truth of a real arm; want classifier, audits"},
		{[]string{"reward.classifier=nowhere.json"}, "rapport reward classifier train"},
		{[]string{"reward.kind=kagi", "reward.kagi.sparse=perhaps"}, "want one of truth, classifier, judge, none"},
		{[]string{"reward.kind=kagi", "reward.kagi.sparse=judge"}, "session.from is empty"},
		{[]string{"reward.kind=kagi", "reward.kagi.sparse=judge", "session.from=runs/a", "session.end=success"}, "asked at the horizon alone"},
		{[]string{"reward.kind=kagi", "reward.kagi.sparse=judge", "session.from=runs/a", "session.record=false"}, "looks at frames"},
		{[]string{"reward.kind=kagi", "reward.kagi.sparse=judge", "reward.kagi.cameras=c.json", "robot.kind=ros", "session.from=runs/a"}, ""},
		{[]string{"reward.kind=kagi", "reward.kagi.sparse=classifier", "reward.kagi.cameras=c.json", "robot.kind=ros", "session.from=runs/a", "session.end=success"}, ""},
		{[]string{"reward.kind=kagi", "reward.kagi.sparse=none", "reward.kagi.cameras=c.json", "robot.kind=ros", "session.from=runs/a", "session.end=success"}, "and reward.kagi.sparse classifier"},
		{[]string{"robot.look=green"}, "want one of panda, orange"},
	} {
		_, err := Load("", nil, c.sets)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: error %v, want %q", c.sets, err, c.want)
		}
	}
}
