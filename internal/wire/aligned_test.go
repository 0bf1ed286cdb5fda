package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/reward/label"
)

// tinyAlign is a small alignment of reaching.
func tinyAlign(t *testing.T) config.Config {
	t.Helper()
	c := tiny(t)
	for _, kv := range []string{
		"name=a", "robot.horizon=30", "learner.kind=diffusion", "reward.triplets=0", "policy.diffusion.channels=[8]", "policy.diffusion.draws=3", "policy.diffusion.steps=10", "policy.diffusion.horizon=8", "policy.diffusion.exec=7", "policy.clone.batch=16",
		"align.rollouts=8", "align.labels=6", "align.pairs=20", "align.rounds=7", "align.chunks=2", "align.rehearse=1", "align.best=0.5", "align.query=random",
	} {
		key, value, _ := strings.Cut(kv, "=")
		if err := c.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func quiet(tell Progress) Options {
	if tell == nil {
		tell = func(string, int, int, string) {}
	}
	return Options{Tell: tell, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Time{} }}
}

// steps does some steps of an alignment, and returns what they said.
func steps(ctx context.Context, t *testing.T, dir string, sets []string, tell Progress, names ...string) (notes []string, err error) {
	t.Helper()
	a, err := OpenAlign(dir, nil, sets, quiet(tell))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	a.Simulate()
	for _, name := range names {
		note, err := a.Do(ctx, name)
		if err != nil {
			return notes, err
		}
		notes = append(notes, note)
	}
	return notes, nil
}

func begunAlign(t *testing.T) string {
	t.Helper()
	dir, err := BeginAlign(tinyAlign(t))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// wantErr says that err must name all of words.
func wantErr(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v, want %q in it", err, w)
		}
	}
}

// An alignment that is stopped wherever it may be, and gone on with, ends as one that
// was not; done again, it does nothing.
func TestAlignmentsGoOn(t *testing.T) {
	tried := []string{"align.trials=2"}
	whole, parts := begunAlign(t), begunAlign(t)
	if _, err := steps(t.Context(), t, whole, tried, nil, AlignSteps()...); err != nil {
		t.Fatal(err)
	}
	for _, stage := range []string{"rollouts", "align"} {
		ctx, stop := context.WithCancel(t.Context())
		_, err := steps(ctx, t, parts, tried, func(s string, done, _ int, _ string) {
			if s == stage && (stage == "rollouts" && done == 3 || done == 6) {
				stop()
			}
		}, AlignSteps()...)
		stop()
		if err == nil {
			t.Fatalf("not stopped in %s", stage)
		}
	}
	if _, err := os.Stat(filepath.Join(parts, alignFolder, runFile)); err != nil {
		t.Errorf("the interrupted aligner kept nothing: %v", err)
	}
	if _, err := steps(t.Context(), t, parts, tried, nil, AlignSteps()...); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"chains/rollout-00000.safetensors", "chains/rollout-00007.safetensors", judgementFile, rankingFile, tuneFile, policyFile} {
		x, errX := os.ReadFile(filepath.Join(whole, alignFolder, name))
		y, errY := os.ReadFile(filepath.Join(parts, alignFolder, name))
		if errX != nil || errY != nil || !bytes.Equal(x, y) {
			t.Errorf("%s differs after stops (%v, %v)", name, errX, errY)
		}
	}
	offered := filepath.Join(parts, alignFolder, policyFile)
	if err := os.Remove(offered); err != nil {
		t.Fatal(err)
	}
	notes, err := steps(t.Context(), t, parts, tried, nil, AlignRollouts, AlignEncoder, AlignSynthetic, AlignTune)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(offered); err != nil || sum(b) != tuneOf(t, parts).Policy {
		t.Errorf("the policy's file is not there again (%v)", err)
	}
	for _, n := range notes {
		if !strings.Contains(n, "made before") {
			t.Errorf("done again: %s", n)
		}
	}
	a, err := OpenAlign(whole, nil, nil, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Result()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	testAlignIsBegunFrom(t, whole)
	testAlignIsAsAsked(t, whole, tried)
	testAlignRecalls(t, whole, parts)
	if err != nil || r.Answers != 6 || r.Rollouts != 8 || r.Person != "a simulated person" || r.Before.Success.Of != 2 || r.After.Success.Of != 2 || r.Right < 0 {
		t.Errorf("result %+v, %v", r, err)
	}
	testAlignDrifts(t, whole)
	testAlignTrials(t, whole, tried)
	testAlignSettings(t, whole)
	testAlignPeople(t, whole)
	testAlignRoot(t, parts)
	testAlignWithoutLooks(t, parts, tried)
	testAlignDamage(t, parts)
}

// testAlignWithoutLooks: a hand that emptied what was seen while tuning is told, and it is made again.
func testAlignWithoutLooks(t *testing.T, dir string, sets []string) {
	t.Helper()
	was := tuneOf(t, dir)
	was.Report.Looks = nil
	b, err := json.Marshal(was)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, alignFolder, tuneFile)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = steps(t.Context(), t, dir, sets, nil, AlignEvaluate)
	wantErr(t, err, file+" is damaged", "rapport align tune "+dir)
}

// testAlignIsAsAsked: no step passes off as what is asked for what others were told before.
func testAlignIsAsAsked(t *testing.T, dir string, done []string) {
	t.Helper()
	for _, tt := range []struct{ set, step, missing string }{
		{"align.labels=3", AlignEvaluate, AlignEncoder},
		{"align.by=rlhf", AlignEvaluate, AlignEncoder},
		{"reward.steps=31", AlignEvaluate, AlignEncoder},
		{"align.pairs=21", AlignEvaluate, AlignSynthetic},
		{"align.aligner=d3po", AlignEvaluate, AlignTune},
		{"align.by=rlhf", AlignSynthetic, AlignEncoder},
		{"align.labels=3", AlignSynthetic, AlignEncoder},
		{"align.by=rlhf", AlignTune, AlignEncoder},
		{"align.labels=3", AlignTune, AlignEncoder},
		{"align.pairs=21", AlignTune, AlignSynthetic},
	} {
		notes, err := steps(t.Context(), t, dir, slices.Concat(done, []string{tt.set}), nil, tt.step)
		if err == nil {
			t.Errorf("%s with %s: %q", tt.step, tt.set, notes)
			continue
		}
		wantErr(t, err, "of other answers or settings", "rapport align "+tt.missing+" "+dir)
	}
	if _, err := steps(t.Context(), t, dir, done, nil, AlignEvaluate); err != nil {
		t.Errorf("with what it was done: %v", err)
	}
}

// testAlignMends: what is damaged is made again as it was, by the steps that made it.
func testAlignMends(t *testing.T, dir string, sets []string) {
	t.Helper()
	kept := map[string][]byte{}
	for _, name := range []string{judgementFile, rankingFile, policyFile, tuneFile} {
		b, err := os.ReadFile(filepath.Join(dir, alignFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		kept[name] = b
	}
	a, err := OpenAlign(dir, nil, sets, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{kindReward, kindTuned} {
		harm(t, a, kind)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	notes, err := steps(t.Context(), t, dir, sets, nil, AlignPrepare, AlignEncoder, AlignSynthetic, AlignTune, AlignEvaluate)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "learned again", "made before", "done again, since its checkpoint tuned was damaged"} {
		if !strings.Contains(notes[i], want) {
			t.Errorf("after the damage %q, want %q in it", notes[i], want)
		}
	}
	for name, b := range kept {
		if again, err := os.ReadFile(filepath.Join(dir, alignFolder, name)); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s was not made again as it was (%v)", name, err)
		}
	}
}

// testAlignRecalls: what one opening of an alignment saw of its rollouts, another need not live
// through again; those of another session it must.
func testAlignRecalls(t *testing.T, dir, stranger string) {
	t.Helper()
	lived := 0
	open := func(dir string, o *Alignment) *Alignment {
		a, err := OpenAlign(dir, nil, nil, quiet(func(stage string, _, _ int, _ string) {
			if stage == "truth" {
				lived++
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		a.Recall(o)
		if ts, err := a.truths(t.Context()); err != nil || len(ts) != 8 {
			t.Fatalf("%d truths, %v", len(ts), err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		return a
	}
	for i, o := range []*Alignment{open(dir, nil), open(stranger, nil)} {
		lived = 0
		if open(dir, o); lived != 8*i {
			t.Errorf("%d rollouts were lived through again, want %d", lived, 8*i)
		}
	}
}

// testAlignRoot: what is asked next is what was found best, beside a rollout that is new, or
// once more beside what it beat.
func testAlignRoot(t *testing.T, dir string) {
	t.Helper()
	const had, want = 6, 9
	if _, err := steps(t.Context(), t, dir, []string{"align.query=root", fmt.Sprint("align.labels=", want)}, nil, AlignRank); err != nil {
		t.Fatal(err)
	}
	a, err := OpenAlign(dir, nil, nil, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	ls, err := a.s.store.Labels(t.Context())
	if err := errors.Join(err, a.Close()); err != nil {
		t.Fatal(err)
	}
	if len(ls) != want {
		t.Fatalf("%d answers, want %d", len(ls), want)
	}
	asked, shown, whys := map[string]bool{}, map[string]bool{}, map[string]int{}
	for n, l := range ls {
		best, _ := label.Best(label.Pairs(ls[:n]))
		x, y := l.Query.Sides()
		switch why := l.Query.Why; {
		case n < had:
		case why == "again" && (x.Name() == best.Name() || y.Name() == best.Name()) && shown[y.Name()+x.Name()]:
		case why == "root" && (x.Name() == best.Name() && !asked[y.Name()] || y.Name() == best.Name() && !asked[x.Name()]):
		case why == "random" && len(asked) == 8: // nothing is new
		default:
			t.Errorf("question %d is %+v, the best of %v being %s", n, l.Query, asked, best.Name())
		}
		if n >= had {
			whys[l.Query.Why]++
		}
		asked[x.Name()], asked[y.Name()], shown[x.Name()+y.Name()] = true, true, true
	}
	if whys["again"] == 0 || whys["root"] == 0 {
		t.Errorf("asked %v", whys)
	}
}

// tuneOf is what AlignTune left in dir.
func tuneOf(t *testing.T, dir string) (was tunedBy) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, alignFolder, tuneFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &was); err != nil {
		t.Fatal(err)
	}
	return was
}

// testAlignDrifts: the choice of the round sees the good chunks that were held out.
func testAlignDrifts(t *testing.T, dir string) {
	t.Helper()
	was := tuneOf(t, dir)
	for _, l := range was.Report.Looks[1:] {
		if !(l.Drift > 0) {
			t.Errorf("after round %d the policy is %v nats from good chunks, want some", l.Round, l.Drift)
		}
	}
}

// testAlignTrials: policies that were stopped between two trials are chosen by the same
// ones (TestAlignmentsGoOn compares the files), which count.
func testAlignTrials(t *testing.T, dir string, tried []string) {
	t.Helper()
	was := tuneOf(t, dir)
	for _, l := range was.Report.Looks {
		if l.Tried == nil || !(*l.Tried >= 0 && *l.Tried <= 1) || l.Score > was.kept().Score {
			t.Fatalf("look %+v; kept is %+v", l, was.kept())
		}
	}
	if !strings.Contains(was.note(), "tried episodes better than") {
		t.Errorf("note %q", was.note())
	}
	// What is ranked by answers alone has nothing to rank other episodes by.
	labels := []string{"align.by=labels"}
	_, err := steps(t.Context(), t, dir, slices.Concat(labels, tried), nil, AlignEncoder)
	wantErr(t, err, "align.trials is 2", "align.by rapl")
	if _, err := steps(t.Context(), t, dir, labels, nil, AlignEncoder, AlignSynthetic); err != nil {
		t.Fatal(err)
	}
	_, err = steps(t.Context(), t, dir, tried, nil, AlignTune)
	wantErr(t, err, "of other answers or settings", "rapport align encoder "+dir)
	if _, err := steps(t.Context(), t, dir, nil, nil, AlignEncoder, AlignSynthetic, AlignTune); err != nil {
		t.Fatal(err)
	}
}

func TestEpisodesAreRankedAmongRollouts(t *testing.T) {
	r := rankings{Order: []ranked{{Return: 3}, {Return: 1}, {Return: 1}, {Return: -2}}}
	for ret, want := range map[float64]float64{4: 1, 3: 0.875, 2: 0.75, 1: 0.5, 0: 0.25, -3: 0} {
		if got := r.beaten(ret); got != want {
			t.Errorf("of return %v: %v, want %v", ret, got, want)
		}
	}
	r = rankings{Order: []ranked{{Return: -1}, {Return: -2}, {Return: -3}}}
	if got := r.worth([]outcome{{cut: true}, {ret: -2}, {cut: true}}); got != 0.5/3 {
		t.Errorf("of two episodes that the guard cut off and one like the middle rollout: %v, want a sixth", got)
	}
}

// Rollouts go to the horizon, and what is ranked among them does, too.
func TestTrialsGoToTheHorizon(t *testing.T) {
	a := &Alignment{s: &Session{cfg: tinyAlign(t)}}
	a.s.cfg.Session.End = "success"
	if overOf(a.tried(), nil) != nil {
		t.Error("a trial ends on success")
	}
	if a.s.cfg.Session.End != "success" {
		t.Errorf("the alignment itself goes by session.end %s now", a.s.cfg.Session.End)
	}
}

// Other settings do the steps that they matter to again, with every way of ranking and
// every aligner.
func testAlignSettings(t *testing.T, dir string) {
	for _, tt := range []struct{ by, aligner string }{{"rlhf", "prdp"}, {"labels", "d3po"}, {"labels", "dppo"}, {"labels", "rwr"}, {"labels", "seppo"}, {"labels", "rm-filter"}, {"labels", "alignprop"}, {"labels", "partial"}, {"labels", "dragon"}} {
		sets := []string{"align.by=" + tt.by, "align.aligner=" + tt.aligner, "align.rounds=1"}
		notes, err := steps(t.Context(), t, dir, sets, nil, AlignEncoder, AlignSynthetic, AlignTune)
		if err != nil {
			t.Errorf("%s: %v", sets, err)
			continue
		}
		if !strings.HasPrefix(notes[0], tt.by+" of 6 answers") || !strings.HasPrefix(notes[2], tt.aligner+", round") || strings.Contains(notes[2], "made before") {
			t.Errorf("%s: %q", sets, notes)
		}
		if tt.by == "rlhf" {
			testAlignMends(t, dir, sets)
		}
	}
	testAlignWeighs(t, dir, "dragon", "align.by=labels", "align.rounds=1")
	testAlignWeighs(t, dir, "rm-filter", "align.by=labels", "align.rounds=1")
	for _, by := range []string{"labels", "rlhf"} { // of other answers, which are to marks
		sets := []string{"align.ask=segments", "align.by=" + by, "align.aligner=fdpo", "align.rounds=1"}
		notes, err := steps(t.Context(), t, dir, sets, nil, AlignRank, AlignEncoder, AlignSynthetic, AlignTune)
		if err != nil || !strings.HasPrefix(notes[1], by+" of 6 answers") || !strings.HasPrefix(notes[3], "fdpo, round") {
			t.Errorf("%s: %q, %v", sets, notes, err)
		}
	}
	testAlignWeighs(t, dir, "fdpo", "align.ask=segments", "align.by=rlhf", "align.rounds=1")
	notes, err := steps(t.Context(), t, dir, []string{"align.labels=5", "align.by=labels"}, nil, AlignEncoder)
	if err != nil || !strings.HasPrefix(notes[0], "labels of 5 answers") {
		t.Errorf("of the first 5 answers: %q, %v", notes, err)
	}
	if _, err := steps(t.Context(), t, dir, []string{"robot.horizon=31"}, nil, AlignTune); err == nil {
		t.Error("another world, yet it goes on")
	}
	_, err = steps(t.Context(), t, dir, []string{"align.labels=7"}, nil, AlignEncoder)
	wantErr(t, err, "nothing of the step rank", "rapport align rank")
}

// testAlignWeighs has an aligner weigh its chunks in both ways, which changes what it learns.
func testAlignWeighs(t *testing.T, dir, aligner string, sets ...string) {
	t.Helper()
	sets = append(sets, "align.aligner="+aligner)
	if _, err := steps(t.Context(), t, dir, sets, nil, AlignTune); err != nil {
		t.Fatal(err)
	}
	untrusted := tuneOf(t, dir)
	for _, weigh := range []string{"leverage", "doubt"} {
		weighed := append(slices.Clone(sets), "align.weigh="+weigh)
		notes, err := steps(t.Context(), t, dir, weighed, nil, AlignTune)
		if err != nil || strings.Contains(notes[0], "made before") || reflect.DeepEqual(tuneOf(t, dir).Report, untrusted.Report) {
			t.Errorf("%s: %q, %v, as without", weighed, notes, err)
		}
	}
}

func testAlignDamage(t *testing.T, dir string) {
	for _, tt := range []struct{ file, step, want string }{
		{"chains/rollout-00001.safetensors", AlignTune, "make the rollout again"},
		{rankingFile, AlignTune, "is damaged"},
		{tuneFile, AlignEvaluate, "is damaged"},
	} {
		path := filepath.Join(dir, alignFolder, tt.file)
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := steps(t.Context(), t, dir, []string{"align.rounds=2"}, nil, tt.step)
		wantErr(t, err, tt.want)
	}
}

func TestAlignmentStepsNameWhatIsMissing(t *testing.T) {
	dir := begunAlign(t)
	_, err := steps(t.Context(), t, dir, nil, nil, AlignRollouts)
	wantErr(t, err, "nothing of the step prepare", "rapport align "+dir)
	_, err = steps(t.Context(), t, dir, nil, nil, "polish")
	wantErr(t, err, `no step "polish"`, AlignTune)
	if _, err := steps(t.Context(), t, dir, nil, nil, AlignPrepare); err != nil {
		t.Fatal(err)
	}
	for step, before := range map[string]string{AlignSynthetic: AlignEncoder, AlignTune: AlignSynthetic, AlignEvaluate: AlignTune, AlignEncoder: AlignRank} {
		_, err := steps(t.Context(), t, dir, nil, nil, step)
		wantErr(t, err, "nothing of the step "+before, "rapport align "+before+" "+dir)
	}
	a, err := OpenAlign(dir, nil, nil, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	_, err = a.Do(t.Context(), AlignRank)
	wantErr(t, err, "0 of 6 answers", "rapport align rank")
	_, err = a.Result()
	wantErr(t, err, "nothing of the step evaluate")
	// What was liked best is the only one that is more like itself than others are.
	if _, err := a.Do(t.Context(), AlignRollouts); err != nil {
		t.Fatal(err)
	}
	a.s.cfg.Align.Labels = 2
	for n, worse := range []string{rolloutID(1), rolloutID(2)} {
		q := label.Query{ID: fmt.Sprint("pair", n), Kind: label.Pair, Clips: []label.Clip{{Episode: rolloutID(0)}, {Episode: worse}}}
		if _, err := a.s.store.Append(t.Context(), label.Label{ID: q.ID, Query: q, Choice: label.Left, Annotator: "ann"}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = a.Do(t.Context(), AlignEncoder)
	wantErr(t, err, "2 answers decide 2 comparisons, of which 0 can be learned from", "give more: rapport align "+dir+" --set align.labels=4")
}

func TestOnlyPoliciesOfChunksAreAligned(t *testing.T) {
	for _, tt := range []struct{ set, want string }{
		{"learner.kind=rlpd", "learner.kind is rlpd"},
		{"policy.diffusion.process=flow", "align.aligner is diffusion-dpo, but policy.diffusion.process is flow; of that want one of flow-dpo, rwr, seppo"},
		{"align.aligner=flow-dpo", "align.aligner is flow-dpo, but policy.diffusion.process is diffusion; of that want one of d3po, diffusion-dpo, prdp, dppo, rwr, seppo"},
		{"reward.kind=goal", "reward.kind is goal"},
		{"session.record=false", "session.record is false"},
		{"reward.train=all", "reward.train is all, but the encoder learns from answers about demonstrations"},
	} {
		_, err := AlignConfig("", nil, []string{tt.set})
		wantErr(t, err, tt.want)
	}
	if _, err := AlignConfig("", nil, []string{"reward.train=all", "reward.triplets=1"}); err != nil {
		t.Errorf("an encoder that learns: %v", err)
	}
	all := tinyAlign(t)
	all.Reward.Train = "all"
	_, err := BeginAlign(all)
	wantErr(t, err, "reward.train is all")
	file := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(file, []byte("align: {labels: 40}\nreward: {triplets: 5, train: all}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		file    string
		environ []string
		want    string
	}{ // what an alignment has of its own gives way to what anybody names, and to nothing else
		{"", nil, "cup 60 60 0.001 0"},
		{"", []string{"RAPPORT_ROBOT_TASK=fork", "RAPPORT_DEMOS_BAD=20"}, "fork 60 20 0.001 0"},
		{file, nil, "cup 60 60 0.001 5"},
	} {
		c, err := AlignConfig(tt.file, tt.environ, nil)
		if got := fmt.Sprint(c.Robot.Task, " ", c.Demos.Good, " ", c.Demos.Bad, " ", c.Reward.Enough, " ", c.Reward.Triplets); err != nil || got != tt.want {
			t.Errorf("%s %v: got %s, %v, want %s", tt.file, tt.environ, got, err, tt.want)
		}
	}
	whole := filepath.Join(t.TempDir(), "whole.yaml")
	if err := os.WriteFile(whole, config.DefaultYAML(), 0o600); err != nil {
		t.Fatal(err)
	}
	pins, err := AlignConfig(whole, nil, []string{"learner.kind=diffusion", "robot.task=chips"})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, p := range AlignPinned(pins, whole) {
		keys = append(keys, p.Key+" "+p.Was)
	}
	if got := strings.Join(keys, ", "); got != "reward.triplets 0, demos.good 60, demos.bad 60, reward.enough 0.001" {
		t.Errorf("a file of all defaults pins %s", got)
	}
	meant, err := AlignConfig(file, nil, nil)
	if ps := AlignPinned(meant, file); err != nil || len(ps) > 0 {
		t.Errorf("what is meant is pinned: %v, %v", ps, err)
	}
	c, err := AlignConfig("", nil, nil)
	if err != nil || c.Robot.Task != "cup" || c.Demos.Bad != c.Demos.Good || c.Policy.Diffusion.Predict != "action" {
		t.Errorf("task %s, %d and %d demonstrations, predicts %s, %v", c.Robot.Task, c.Demos.Good, c.Demos.Bad, c.Policy.Diffusion.Predict, err)
	}
}

// An alignment of an earlier session's policy has what nobody asked for as that session has it, and
// is told at once where it cannot go on with its reward or policy.
func TestAlignmentsBeginFromSessions(t *testing.T) {
	run := func(sets ...string) string {
		t.Helper()
		c, err := config.Load("", nil, append([]string{"robot.task=chips"}, sets...))
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "run")
		st, err := founded(dir, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dir := run("learner.kind=diffusion")
	c, err := AlignConfig("", nil, []string{"session.from=" + dir})
	if err = errors.Join(err, alike(c)); err != nil || c.Robot.Task != "chips" || c.Reward.Triplets == 0 || c.Reward.Enough != 0 || c.Learner.Kind != "diffusion" {
		t.Errorf("task %s, %d triplets, enough %g, %v", c.Robot.Task, c.Reward.Triplets, c.Reward.Enough, err)
	}
	c, err = AlignConfig("", nil, []string{"session.from=" + dir, "reward.triplets=5"}) // asked for
	wantErr(t, errors.Join(err, alike(c)), "reward.triplets is 5, was 100")

	for _, tt := range []struct {
		sets []string
		want string
	}{
		{[]string{"learner.kind=diffusion", "reward.kind=truth"}, "reward.kind of %s is truth"},
		{[]string{"learner.kind=rlpd"}, "learner.kind of %s is rlpd"},
	} {
		dir := run(tt.sets...)
		c := tinyAlign(t)
		c.Session.From = dir
		_, err := BeginAlign(c)
		wantErr(t, err, fmt.Sprintf(tt.want, dir), "leave session.from out", "rapport align --set robot.task=chips")
		if err != nil && strings.Contains(err.Error(), "reward.kind=truth") {
			t.Errorf("a remedy that is refused then: %v", err)
		}
	}
}

// Success that fell by more than chance may is told; what chance may do is not.
func TestWorseIsBeyondChance(t *testing.T) {
	of := func(n int) report.Share { return report.Share{Hits: n, Of: 100} }
	for _, tt := range []struct {
		before, after report.Share
		want          bool
	}{
		{of(99), of(51), true}, {of(99), of(93), false}, {of(50), of(99), false}, {of(100), of(92), true},
		{report.Share{Hits: 2, Of: 2}, report.Share{Of: 2}, false}, {report.Share{}, report.Share{}, false},
	} {
		if got := worse(tt.before, tt.after); got != tt.want {
			t.Errorf("%v, then %v: worse %t, want %t", tt.before, tt.after, got, tt.want)
		}
	}
}

func TestFavouritesWereNeverWorse(t *testing.T) {
	o := func(better, worse string) label.Order {
		return label.Order{Better: label.Clip{Episode: better}, Worse: label.Clip{Episode: worse}}
	}
	said := []label.Order{o("a", "b"), o("c", "d"), o("c", "b"), o("e", "a"), o("f", "d")}
	for _, tt := range []struct {
		alike []label.Order
		want  string
	}{
		{nil, "c e"}, // not f, of which there is no room
		{[]label.Order{o("e", "g"), o("g", "b")}, "c f"}, // e is alike to one that is alike to b
		{[]label.Order{o("c", "b"), o("e", "b"), o("f", "b")}, ""},
	} {
		var got []string
		for _, c := range favourites(said, tt.alike, 2) {
			got = append(got, c.Episode)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("alike %v: favourites %q, want %q", tt.alike, s, tt.want)
		}
	}
}
