package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/internal/wire"
)

func TestReproduceKAGIRefusesWhatItCannotDo(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--seeds", "0"}, `"0" for "--seeds"`},
		{[]string{"--tasks", "cup"}, `--tasks names "cup"`}, // no plan comes with it
		{[]string{"--tasks", ""}, "--tasks names nothing"},
		{[]string{"--kinds", ""}, "--kinds names nothing"},
		{[]string{"--set", "seed=7"}, "--set seed=7: the seeds are those of --seeds"},
		{[]string{"--set", "robot.task=group"}, "those of --tasks"},
		{[]string{"--set", "reward.kind=rapl"}, "that of --kinds"},
		{[]string{"--set", "name=mine"}, "named by their task"},
		{[]string{"--set", "out=there"}, "that of --to"},
		{[]string{"--kinds", "luck"}, `--kinds names "luck"`},
		{[]string{"--kinds", "sparse,offline"}, "offline without kagi"},
		{[]string{"--kinds", "sparse,classifier"}, "classifier without kagi"},
		{[]string{"--demos", "0"}, "--demos is 0"},
		{[]string{"--steps", "-1"}, "--steps is -1"},
		{[]string{"--tasks", "reach", "--set", "reward.kagi.form=fast"}, "reward.kagi.form"},
	} {
		var out, errs bytes.Buffer
		args := append([]string{"reproduce", "kagi", "--to", t.TempDir()}, tt.args...)
		if code := Main(args, nil, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%v: exit %d: %s", tt.args, code, errs.String())
		}
	}
}

// What was finished before it was killed is read, and a session that is gone is not missed.
func TestReproduceKAGIReadsWhatItFinished(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"reach-demos20-1.json": `[{"kind":"kagi","before":{"Hits":20,"Of":100},"after":{"Hits":80,"Of":100},"ticks":1000},{"kind":"sparse","before":{"Hits":20,"Of":100},"after":{"Hits":30,"Of":100},"ticks":0}]`,
		"reach-demos20-2.json": `[{"kind":"kagi","before":{"Hits":40,"Of":100},"after":{"Hits":100,"Of":100},"ticks":3000,"early":{"Hits":18,"Of":20},"late":{"Hits":20,"Of":20}},{"kind":"sparse","before":{"Hits":40,"Of":100},"after":{"Hits":50,"Of":100},"ticks":900}]`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	if code := Main([]string{"reproduce", "kagi", "--to", dir, "--seeds", "2", "--tasks", "reach", "--kinds", "kagi,sparse", "--demos", "0.2"}, nil, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	// Two seeds: Student's t at one degree of freedom is 12.706, times half their difference.
	for _, want := range []string{
		"| reach-demos20 | kagi | 30.0 ± 127.1 % | 90.0 ± 127.1 % | ≤ 2000 ± 12706 (1 of 2 seeds from the start) |",
		"| reach-demos20 | sparse | 30.0 ± 127.1 % | 40.0 ± 127.1 % | 900 (1 of 2 seeds) |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
	var second, told bytes.Buffer
	if code := Main([]string{"reproduce", "kagi", "--to", dir, "--seeds", "2-2", "--tasks", "reach", "--kinds", "kagi", "--demos", "0.2"}, nil, &second, &told); code != 0 || !strings.Contains(second.String(), "| reach-demos20 | kagi | 40.0 % |") {
		t.Errorf("the second seed alone: exit %d: %s%s", code, second.String(), told.String())
	}
	// Files of before do not tell their settings, which is said once.
	if n := strings.Count(errs.String(), "does not tell its settings"); n != 1 {
		t.Errorf("said %d times, want once: %s", n, errs.String())
	}
	if err := os.WriteFile(filepath.Join(dir, "reach-demos20-1.json"), []byte("["), 0o644); err != nil {
		t.Fatal(err)
	}
	errs.Reset()
	if code := Main([]string{"reproduce", "kagi", "--to", dir, "--seeds", "1", "--tasks", "reach", "--demos", "0.2"}, nil, &out, &errs); code == 0 || !strings.Contains(errs.String(), "remove it") {
		t.Errorf("a broken file: exit %d: %s", code, errs.String())
	}
}

// Figures that were made with other settings are not passed off as those of these.
func TestReproduceKAGIRefusesFiguresOfOtherSettings(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--to", dir, "--seeds", "1", "--tasks", "reach", "--kinds", "kagi"}
	// A share that would leave too few of the demonstrations by default is of those that are asked for.
	few := wayRun{share: 0.02, out: dir}
	if now, _, err := few.settings(&app{sets: []string{"demos.good=500", "demos.bad=500"}}, "reach", "kagi", 1); err != nil || now["demos.good"] != "10" {
		t.Errorf("a fiftieth of 500 demonstrations: %v, %v", now, err)
	}
	won := report.Share{Hits: 9, Of: 10}
	of := settings{"reward.kagi.confirm": "2", "learner.updates": "20"}
	if err := keep(filepath.Join(dir, "reach-1.json"), []wayPoint{{Kind: "kagi", Before: won, After: won, Settings: of}, {Kind: "offline", Before: won, After: won, Settings: settings{"learner.updates": "20", "reward.kagi.confirm": "2", "--steps": "7"}}}); err != nil {
		t.Fatal(err)
	}
	fifth := settings{"reward.kagi.confirm": "2", "learner.updates": "20", "--demos": "0.2"}
	if err := keep(filepath.Join(dir, "reach-demos20-1.json"), []wayPoint{{Kind: "kagi", Before: won, After: won, Settings: fifth}}); err != nil {
		t.Fatal(err)
	}
	var levels []robustPoint
	for _, l := range robustLevels {
		levels = append(levels, robustPoint{l.name, won, wire.Sighting{}, settings{"reward.kagi.confirm": "2", "learner.updates": "20", "--starts": "100", "--rollouts": "40"}})
	}
	if err := keep(filepath.Join(dir, "robust-reach-1.json"), levels); err != nil {
		t.Fatal(err)
	}
	same := []string{"--set", "learner.updates=20", "--set", "reward.kagi.confirm=2", "--set", "session.record=true", "--set", "bus.listen=127.0.0.1:0"}
	for _, tt := range []struct {
		args []string
		want string // "": they are taken
	}{
		{same, ""},
		{append(same, "--demos", "0.2"), ""},
		{append(same, "--demos", "0.204"), "reach-demos20-1.json was made with --demos 0.2, not 0.204"}, // a fifth by its name, too
		{append(same, "--kinds", "offline", "--steps", "7"), ""},
		{append(same, "--kinds", "offline"), "--steps 7, not 0"},
		{append(same, "--set", "policy.sees=features"), "reach-1.json was made with policy.sees points, not features; name another folder with --to"},
		{[]string{"--set", "learner.updates=20"}, "reward.kagi.confirm 2, not 3"},
		{[]string{"--set", "reward.kagi.confirm=1"}, "learner.updates 20, not 60; reward.kagi.confirm 2, not 1"},
	} {
		var out, errs bytes.Buffer
		code := Main(slices.Concat([]string{"reproduce", "kagi"}, args, tt.args), nil, &out, &errs)
		if (code == exitDone) != (tt.want == "") || !strings.Contains(errs.String(), tt.want) || tt.want == "" && !strings.Contains(out.String(), " | kagi | 90.0") {
			t.Errorf("%v: exit %d, want %q: %s\n%s", tt.args, code, tt.want, errs.String(), out.String())
		}
	}
	robust := slices.Concat([]string{"reproduce", "robust"}, args[:6])
	for _, tt := range []struct {
		args []string
		want string
	}{
		{same, ""},
		{nil, "robust-reach-1.json was made with learner.updates 20, not 60"},
		{append(same, "--starts", "50"), "--starts 100, not 50"},
	} {
		var out, errs bytes.Buffer
		if code := Main(slices.Concat(robust, tt.args), nil, &out, &errs); (code == exitDone) != (tt.want == "") || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("robust %v: exit %d, want %q: %s", tt.args, code, tt.want, errs.String())
		}
	}
}

// Encoder, clone and demonstrations are made once for all kinds of a seed, which changes
// nothing of what comes out.
func TestReproduceKAGIMakesOnceWhatKindsShare(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "s.yaml")
	if err := os.WriteFile(file, []byte(`
robot: {horizon: 12, cameras: [{name: front, width: 64, height: 64}]}
demos: {good: 2, bad: 2}
encoder: {keypoints: 6, steps: 5}
reward: {experts: 2}
policy: {hidden: [16], clone: {steps: 20}}
learner: {critics: 2, hidden: [16], batch: 16, warmup: 10, updates: 5}
session: {episodes: 2, evaluate: 1, checkpoint: 2}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	points := func(to, kinds string) (ps []wayPoint, tuned string) {
		t.Helper()
		var out, errs bytes.Buffer
		to = filepath.Join(dir, to)
		if code := Main([]string{"reproduce", "kagi", "-c", file, "--to", to, "--seeds", "1", "--tasks", "reach", "--kinds", kinds}, nil, &out, &errs); code != 0 {
			t.Fatalf("exit %d: %s", code, errs.String())
		}
		if ok, err := found(filepath.Join(to, "reach-1.json"), &ps); !ok || err != nil {
			t.Fatal(ok, err)
		}
		s, err := store.Open(filepath.Join(to, "reach-dense-1"))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if tuned, err = s.CheckpointSum(t.Context(), "tuned"); err != nil {
			t.Fatal(err)
		}
		return ps, tuned
	}
	both, after := points("both", "kagi,dense")
	alone, afresh := points("alone", "dense")
	if cmp.Diff(both[1], alone[0]) != "" || after != afresh {
		t.Errorf("after kagi %+v and parameters %s, alone %+v and %s", both[1], after, alone[0], afresh)
	}
	// Nothing begins from dense, whose demonstrations tell no success.
	// What was made tells how: the file is taken with the same settings, and not without them.
	if got := both[0].Settings; got["learner.updates"] != "5" || got["reward.experts"] != "2" || got["seed"] != "" {
		t.Errorf("made with %v, want those of %s", got, file)
	}
	r := wayRun{share: 1, out: filepath.Join(dir, "alone")}
	fresh, err := r.config(&app{}, "reach", "sparse", 1)
	if err != nil {
		t.Fatal(err)
	}
	if fresh, err = r.begin(fresh, "reach", 1, alone); err != nil || fresh.Session.From != "" {
		t.Errorf("sparse begins from %q (%v), want from nothing", fresh.Session.From, err)
	}
	c, err := config.Load(filepath.Join(dir, "both", "reach-dense-1", "config.yaml"), nil, nil)
	if want := filepath.Join(dir, "both", "reach-kagi-1"); err != nil || c.Session.From != want {
		t.Errorf("dense begins from %q (%v), want %q", c.Session.From, err, want)
	}
	// What robust disturbs may itself have begun from another, as kagi's after sparse's does.
	mine := filepath.Join(dir, "both", "reach-kagi-1", "config.yaml")
	b, err := os.ReadFile(mine)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte("from: \"\"")) {
		t.Fatalf("kagi's session began from another: %s", b)
	}
	from := bytes.Replace(b, []byte("from: \"\""), []byte("from: "+filepath.Join(dir, "both", "reach-dense-1")), 1)
	if err := os.WriteFile(mine, from, 0o600); err != nil {
		t.Fatal(err)
	}
	var done []robustPoint
	for _, l := range robustLevels[:len(robustLevels)-1] {
		done = append(done, robustPoint{Level: l.name})
	}
	if err := keep(filepath.Join(dir, "both", "robust-reach-1.json"), done); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := Main([]string{"reproduce", "robust", "-c", file, "--to", filepath.Join(dir, "both"), "--seeds", "1", "--starts", "1", "--rollouts", "1"}, nil, &out, &errs); code != exitDone {
		t.Errorf("robust: exit %d: %s", code, errs.String())
	}
}

// The classifier learns on the demonstrations of kagi's session, and tells success in one
// that begins from it; how it did is written up.
func TestReproduceKAGITellsByAClassifier(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "s.yaml")
	if err := os.WriteFile(file, []byte(`
robot: {cameras: [{name: front, width: 64, height: 64}]}
demos: {good: 6, bad: 2}
encoder: {keypoints: 6, steps: 5}
reward: {experts: 2}
policy: {hidden: [16], clone: {steps: 20}}
learner: {critics: 2, hidden: [16], batch: 16, warmup: 10, updates: 5}
session: {episodes: 1, evaluate: 1, checkpoint: 1}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"reproduce", "kagi", "-c", file, "--to", dir, "--seeds", "1", "--tasks", "reach", "--kinds", "kagi,classifier"}
	var out, errs bytes.Buffer
	if code := Main(args, nil, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	var ps []wayPoint
	if ok, err := found(filepath.Join(dir, "reach-1.json"), &ps); !ok || err != nil || len(ps) != 2 {
		t.Fatal(ps, ok, err)
	}
	m, agreed := ps[1].Measured, ps[1].Agreed
	// 8 demonstrations of 45 steps.
	if m == nil || m.TP+m.FP+m.TN+m.FN != 8*46 || m.TP == 0 || agreed == nil || agreed.Of != 1 {
		t.Fatalf("measured %+v, agreed %+v", m, agreed)
	}
	if want := fmt.Sprintf("| reach | %.1f %% | %.1f %% | %d of 1 episodes |", 100*m.Precision(), 100*m.Recall(), agreed.Hits); !strings.Contains(out.String(), want) {
		t.Errorf("the table lacks %q:\n%s", want, out.String())
	}
	c, err := config.Load(filepath.Join(dir, "reach-classifier-1", "config.yaml"), nil, nil)
	if err != nil || c.Reward.KAGI.Sparse != "classifier" || c.Session.From != filepath.Join(dir, "reach-kagi-1") {
		t.Errorf("%s from %q, error %v", c.Reward.KAGI.Sparse, c.Session.From, err)
	}
}

func TestKindsOfWaysDifferInTheirRewardAlone(t *testing.T) {
	r := wayRun{share: 0.2, out: "runs"}
	a := &app{}
	for _, tt := range []struct {
		kind   string
		top    float64
		sparse string
	}{{"kagi", 0.9, "truth"}, {"sparse", 0.001, "truth"}, {"dense", 0.9, "none"}} {
		c, err := r.config(a, "reach", tt.kind, 3)
		if err != nil {
			t.Fatal(err)
		}
		if k := c.Reward.KAGI; k.Top != tt.top || k.Sparse != tt.sparse {
			t.Errorf("%s: top %g, sparse %s; want %g and %s", tt.kind, k.Top, k.Sparse, tt.top, tt.sparse)
		}
		if c.Name != "reach-demos20-"+tt.kind+"-3" || c.Demos.Good != 3 || c.Reward.Experts != 3 || c.Seed != 3 {
			t.Errorf("%s: %s of %d demonstrations, %d experts, seed %d", tt.kind, c.Name, c.Demos.Good, c.Reward.Experts, c.Seed)
		}
	}
}

func TestOfflineLearnsAsLongAsTheSessionBesideIt(t *testing.T) {
	for _, tt := range []struct{ steps, want int }{{0, 8000 + 120*180}, {7, 7}} {
		r := wayRun{share: 1, steps: tt.steps, out: "runs"}
		c, err := r.config(&app{}, "stack", "kagi", 1)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.stepsOf(c); got != tt.want {
			t.Errorf("--steps %d: %d steps beside stack, want %d", tt.steps, got, tt.want)
		}
	}
}

func TestSoonCountsTicksToNineTenths(t *testing.T) {
	var os []wire.Outcome
	for i := range 60 { // nothing in the first 20, all after
		os = append(os, wire.Outcome{Ticks: 10, Success: i >= 20})
	}
	// 18 of the last 20 are reached with episode 38.
	if got := soon(os); got != 380 {
		t.Errorf("%d ticks, want 380", got)
	}
	if got := soon(os[:20]); got != 0 {
		t.Errorf("%d ticks without success, want 0", got)
	}
	if got := soon(nil); got != 0 {
		t.Errorf("%d ticks without episodes, want 0", got)
	}
	if got := soon(os[18:22]); got != 40 { // fewer episodes than are looked at
		t.Errorf("%d ticks of four episodes, want 40", got)
	}
	// Who does as well from the start has the ticks of the episodes that are looked at, which are told apart.
	for _, tt := range []struct {
		os    []wire.Outcome
		ready bool
	}{{os, false}, {os[30:], true}, {os[18:22], true}, {os[:20], false}} {
		n := len(tt.os)
		p := wayPoint{Early: of(tt.os[:min(lately, n)]), Late: of(tt.os[max(0, n-lately):])}
		if got := p.ready(); got != tt.ready {
			t.Errorf("first %v, last %v: from the start %t", p.Early, p.Late, got)
		}
	}
}
