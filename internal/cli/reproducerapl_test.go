package cli

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/wire"
)

func TestReproduceRAPLTellsWhatIsWrongWithItsFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--kinds", "taste"}, `--kinds names "taste"`},
		{[]string{"--tasks", "cook"}, `--tasks names "cook"`},
		{[]string{"--tasks", ""}, "--tasks names nothing"},
		{[]string{"--kinds", ""}, "--kinds names nothing"},
		{[]string{"--tasks", "group,group"}, "--tasks names group twice"}, // whose seeds would count twice
		{[]string{"--kinds", "rapl,gail,rapl"}, "--kinds names rapl twice"},
		{[]string{"--policies", "rapl:30,rapl:30"}, "--policies names rapl:30 twice"},
		{[]string{"--kinds", "rapl,kagi"}, `--kinds names "kagi"; want some of rapl,`}, // without waypoints
		{[]string{"--kinds", "rapl,heron"}, `--kinds names "heron"`},
		{[]string{"--kinds", "rapl,vlm-rm"}, "encoder.kind"},
		{[]string{"--rollouts", "0"}, "--rollouts is 0"},
		{[]string{"--held-out", "0"}, "--held-out 0"},
		{[]string{"--policies-only"}, "--policies names nothing"},
		{[]string{"--policies-only", "--tasks", "cross", "--policies", "rapl"}, "no policy on the task cross"},
		{[]string{"--set", "reward.gamma=0.9"}, "correlated is --gamma"},
		{[]string{"--set", "robot.task=reach"}, "those of --tasks"},
		{[]string{"--set", "reward.kind=rlhf"}, "those of --kinds"},
		{[]string{"--labels", "3"}, "want numbers from 4 on"},
		{[]string{"--seeds", "0"}, `"0" for "--seeds"`},
		{[]string{"--policies", "rapl:x"}, "want a number of labels"},
		{[]string{"--policies", "taste"}, `--policies names "taste"`},
		{[]string{"--policies", "kagi"}, `--policies names "kagi"`}, // its scale would be unknown
		{[]string{"--policies", "rapl", "--policy-seeds", "0"}, `"0" for "--policy-seeds"`},
	} {
		var out, errs bytes.Buffer
		code := Main(append([]string{"reproduce", "rapl", "--to", t.TempDir()}, c.args...), nil, &out, &errs)
		if code != exitUsage || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%v: code %d, %q; want %d and %q", c.args, code, errs.String(), exitUsage, c.want)
		}
	}
}

func TestPoliciesAreMadeByRewardsOfKnownScale(t *testing.T) {
	for _, k := range raplKinds {
		if !(spread[k] > 0) {
			t.Errorf("the spread of %s is %v", k, spread[k])
		}
	}
	if len(spread) != len(raplKinds) {
		t.Errorf("%d spreads of %d kinds", len(spread), len(raplKinds))
	}
}

// What is in the folder is read, not made again.
func TestReproduceRAPLWritesUpWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	for seed := range 2 {
		var ps []wire.Point
		for i, n := range []int{30, 150} {
			ps = append(ps, wire.Point{Kind: "rapl", Look: "panda", Labels: n, Negative: 0.2*float64(i+1) + 0.1*float64(seed), Negatives: 9, All: 0.5, Of: 12, Accuracy: 0.75, Spread: 0.1})
		}
		ps = append(ps, wire.Point{Kind: "features", Look: "panda", Negative: -0.25, Negatives: 9, All: 0.125, Of: 12, Accuracy: 0.5, Spread: 0.1})
		of := settings{"--rollouts": "200", "--held-out": "100", "--gamma": "1"}
		if err := writeFile(filepath.Join(dir, []string{"group-1.csv", "group-2.csv"}[seed]), ps, map[string]settings{"rapl": of, "features": of}); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"reproduce", "rapl", "--seeds", "2", "--tasks", "group", "--kinds", "rapl,features", "--labels", "150,30", "--to", dir}
	var out, errs bytes.Buffer
	if code := Main(args, nil, &out, &errs); code != exitDone {
		t.Fatalf("code %d: %s", code, errs.String())
	}
	// By Student's t with one degree of freedom, 12.706 × 0.0707/√2.
	for _, want := range []string{
		"| rapl | 0.45 ± 0.64 | 0.59, 0.61, 0.47 |", "| features | -0.25 ± 0.00 |", "| rapl | 75 ± 0 |",
		"| task | reward | 30 | 150 |", "| group | rapl | 0.25 ± 0.64 | 0.45 ± 0.64 |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "| group | features |") {
		t.Error("features depend on labels")
	}
	b, err := os.ReadFile(filepath.Join(dir, "rewards.csv"))
	if err != nil || strings.Count(string(b), "\n") != 7 {
		t.Errorf("rewards.csv: %v\n%s", err, b)
	}
	f, err := os.Open(filepath.Join(dir, "rewards.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Error(err)
	}
	if code := Main(append(args, "--seeds", "2-2"), nil, &out, &errs); code != exitDone {
		t.Fatalf("the second seed alone: code %d: %s", code, errs.String())
	}
	if b, err := os.ReadFile(filepath.Join(dir, "rewards.csv")); err != nil || strings.Count(string(b), "\n") != 4 || strings.Count(string(b), "group,2,") != 3 {
		t.Errorf("rewards.csv of the second seed alone: %v\n%s", err, b)
	}
	for _, other := range []struct{ flag, value, want string }{
		{"--set", "reward.experts=3", "group-1.csv was made with reward.experts 6, not 3; name another folder"},
		{"--gamma", "0.5", "--gamma 1, not 0.5"},
	} {
		errs.Reset()
		if code := Main(append(args, other.flag, other.value), nil, &out, &errs); code != exitFailed || !strings.Contains(errs.String(), other.want) {
			t.Errorf("of other settings: code %d, want %q: %s", code, other.want, errs.String())
		}
	}
	// A file of before has no column of settings.
	old := strings.Join(pointHead, ",") + "\nrapl,panda,150,0.5,9,0.5,12,0.75,0.1\n"
	if err := os.WriteFile(filepath.Join(dir, "group-1.csv"), []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
	errs.Reset()
	before := []string{"reproduce", "rapl", "--seeds", "1", "--tasks", "group", "--kinds", "rapl", "--to", dir}
	if code := Main(before, nil, &out, &errs); code != exitDone || !strings.Contains(errs.String(), "does not tell its settings") {
		t.Errorf("a file of before: code %d: %s", code, errs.String())
	}
	if err := os.WriteFile(filepath.Join(dir, "group-1.csv"), []byte("kind\nx\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code := Main(args, nil, &out, &errs); code != exitFailed || !strings.Contains(errs.String(), "it is made again") {
		t.Errorf("code %d: %s", code, errs.String())
	}
}

// tinyRAPL makes the comparison small.
var tinyRAPL = []string{"--seeds", "1", "--rollouts", "8", "--held-out", "4", "--set", "demos.good=6", "--set", "demos.bad=6", "--set", "encoder.steps=2",
	"--set", "robot.render=raster", "--set", "robot.cameras=[{name: front, width: 32, height: 32}]"}

// Group and cross are made together, and what one of them has already stays as it is.
func TestReproduceRAPLMakesOfTwoTasksWhatIsMissing(t *testing.T) {
	to := t.TempDir()
	cross := filepath.Join(to, "cross-1.csv")
	args := append([]string{"reproduce", "rapl", "--tasks", "group,cross", "--kinds", "truth", "--labels", "4", "--to", to}, tinyRAPL...)
	there := []wire.Point{{Kind: "truth", Look: "orange", Negative: 0.75, Negatives: 9, All: 0.5, Of: 12, Accuracy: 0.75, Spread: 0.1}}
	for _, tt := range []struct {
		of   settings
		code int
		want string
	}{
		{settings{"--rollouts": "200", "--held-out": "100", "--gamma": "1"}, exitFailed, "cross-1.csv was made with --held-out 100, not 4"},
		{nil, exitDone, "does not tell its settings"}, // and is taken as it is
	} {
		if err := writeFile(cross, there, map[string]settings{"truth": tt.of}); err != nil {
			t.Fatal(err)
		}
		was, err := os.ReadFile(cross)
		if err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		if code := Main(args, nil, &out, &errs); code != tt.code || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("of %v: code %d, %s; want %d and %q", tt.of, code, errs.String(), tt.code, tt.want)
		}
		if now, err := os.ReadFile(cross); err != nil || !bytes.Equal(was, now) {
			t.Errorf("of %v: cross-1.csv was %s and is %s, %v", tt.of, was, now, err)
		}
		if _, err := os.Stat(filepath.Join(to, "group-1.csv")); (err == nil) != (tt.code == exitDone) {
			t.Errorf("of %v: group-1.csv: %v", tt.of, err)
		}
	}
}

// Figures of other numbers of labels stay, and are those that would be made with these.
func TestReproduceRAPLKeepsOtherNumbersOfLabels(t *testing.T) {
	to := t.TempDir()
	file := filepath.Join(to, "group-1.csv")
	run := func(to, labels string) {
		t.Helper()
		var out, errs bytes.Buffer
		args := append([]string{"reproduce", "rapl", "--tasks", "group", "--kinds", "rapl,truth", "--labels", labels, "--to", to, "--set", "reward.steps=2"}, tinyRAPL...)
		if code := Main(args, nil, &out, &errs); code != exitDone {
			t.Fatalf("--labels %s: code %d, %s", labels, code, errs.String())
		}
	}
	run(to, "10")
	was, by, err := readFile(file)
	if err != nil {
		t.Fatal(err)
	}
	run(to, "8")
	got, of, err := readFile(file)
	if d := cmp.Diff(by, of); err != nil || d != "" {
		t.Error(err, d)
	}
	together := t.TempDir()
	run(together, "8,10")
	want, _, err := readFile(filepath.Join(together, "group-1.csv"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(was, want...) {
		if !slices.Contains(got, p) {
			t.Errorf("%v is not among %v", p, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d figures, want %d: %v", len(got), len(want), got)
	}
}

func TestPointsComeBackFromTheirFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.csv")
	want := []wire.Point{{Kind: "rlhf", Look: "orange", Labels: 75, Negative: 1.0 / 3, Negatives: 4, All: -0.1, Of: 5, Accuracy: 0.9, Spread: 2}}
	of := map[string]settings{"rlhf": {"learner.updates": "20", "robot.markers": "[a, b]"}}
	if err := writeFile(file, want, of); err != nil {
		t.Fatal(err)
	}
	got, by, err := readFile(file)
	if d := cmp.Diff(want, got) + cmp.Diff(of, by); err != nil || d != "" {
		t.Error(err, d)
	}
	if got, _, err := readFile(file + ".none"); got != nil || err != nil {
		t.Errorf("a file that is not there: %v, %v", got, err)
	}
}
