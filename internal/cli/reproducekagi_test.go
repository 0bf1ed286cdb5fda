package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/internal/wire"
)

func TestReproduceKAGIRefusesWhatItCannotDo(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--seeds", "0"}, "--seeds is 0"},
		{[]string{"--tasks", "cup"}, `--tasks names "cup"`}, // no plan comes with it
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
		"reach-demos20-2.json": `[{"kind":"kagi","before":{"Hits":40,"Of":100},"after":{"Hits":100,"Of":100},"ticks":3000},{"kind":"sparse","before":{"Hits":40,"Of":100},"after":{"Hits":50,"Of":100},"ticks":900}]`,
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
		"| reach-demos20 | kagi | 30.0 ± 127.1 % | 90.0 ± 127.1 % | 2000 ± 12706 |",
		"| reach-demos20 | sparse | 30.0 ± 127.1 % | 40.0 ± 127.1 % | 900 (1 of 2 seeds) |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "reach-demos20-1.json"), []byte("["), 0o644); err != nil {
		t.Fatal(err)
	}
	errs.Reset()
	if code := Main([]string{"reproduce", "kagi", "--to", dir, "--seeds", "1", "--tasks", "reach", "--demos", "0.2"}, nil, &out, &errs); code == 0 || !strings.Contains(errs.String(), "remove it") {
		t.Errorf("a broken file: exit %d: %s", code, errs.String())
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
	if both[1] != alone[0] || after != afresh {
		t.Errorf("after kagi %+v and parameters %s, alone %+v and %s", both[1], after, alone[0], afresh)
	}
	// Nothing begins from dense, whose demonstrations tell no success.
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
	for _, tt := range []struct{ steps, want int }{{0, 1500 + 120*180}, {7, 7}} {
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
}
