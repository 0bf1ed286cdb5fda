package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReproducePracticeRefusesWhatItCannotDo(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--seeds", "0"}, `"0" for "--seeds"`},
		{[]string{"--tasks", "reach"}, `--tasks names "reach"`},
		{[]string{"--tasks", ""}, "--tasks names nothing"},
		{[]string{"--set", "seed=7"}, "those of --seeds"},
		{[]string{"--set", "reward.kind=rapl"}, "KAGI's"},
		{[]string{"--tasks", "stack", "--set", "practice.reminder=0"}, "practice.reminder"},
	} {
		var out, errs bytes.Buffer
		args := append([]string{"reproduce", "practice", "--to", t.TempDir()}, tt.args...)
		if code := Main(args, nil, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%v: exit %d: %s", tt.args, code, errs.String())
		}
	}
}

// A practice, and beside it sessions that a person resets, begin from one clone a way; what
// is done is read, and what is missing of it is made.
func TestReproducePracticeBesideAPerson(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "s.yaml")
	if err := os.WriteFile(file, []byte(`
robot: {horizon: 60, cameras: [{name: front, width: 64, height: 64}]}
demos: {good: 3, bad: 1}
encoder: {keypoints: 6, steps: 5}
reward: {experts: 2}
policy: {hidden: [16], clone: {steps: 20}}
learner: {critics: 2, hidden: [16], batch: 16, warmup: 10, updates: 5}
session: {episodes: 1, evaluate: 1, checkpoint: 1}
practice: {reminder: 1}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	reproduce := func(more ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		args := append([]string{"reproduce", "practice", "-c", file, "--to", dir, "--seeds", "1", "--tasks", "stack"}, more...)
		if code := Main(args, nil, &out, &errs); code != 0 {
			t.Fatalf("exit %d: %s", code, errs.String())
		}
		return out.String()
	}
	alone := reproduce()
	both := reproduce("--apart")
	var p practicePoint
	if ok, err := found(filepath.Join(dir, "stack-1.json"), &p); !ok || err != nil || p.Apart == nil {
		t.Fatal(p, ok, err)
	}
	for way, name := range practiceWays {
		if p.Practised[way].Before != p.Apart[way].Before {
			t.Errorf("%s: cloned, %+v of the practice and %+v of the session beside it", name, p.Practised[way].Before, p.Apart[way].Before)
		}
	}
	// Nothing is stacked by such a policy: a person comes at the beginning and after it failed.
	if p.Episodes != 2 || p.Resets != 2 {
		t.Errorf("%d resets in %d episodes, want 2 in 2", p.Resets, p.Episodes)
	}
	row := fmt.Sprintf("| stack | backward | %.1f %% | %.1f %% | ", 100*p.Practised[1].Before.Rate(), 100*p.Practised[1].After.Rate())
	for out, want := range map[string]string{alone: row + "– |", both: fmt.Sprintf("%s%.1f %% |", row, 100*p.Apart[1].After.Rate())} {
		if !strings.Contains(out, want) || !strings.Contains(out, "stack: a person put the scene back 2 times in 2 episodes") {
			t.Errorf("the table lacks %q:\n%s", want, out)
		}
	}
	if again := reproduce("--apart"); again != both {
		t.Errorf("read again:\n%s\nwant\n%s", again, both)
	}
	var out, errs bytes.Buffer
	other := []string{"reproduce", "practice", "-c", file, "--to", dir, "--seeds", "1", "--tasks", "stack", "--set", "learner.updates=6"}
	if code := Main(other, nil, &out, &errs); code != exitFailed || !strings.Contains(errs.String(), "stack-1.json was made with learner.updates 5, not 6") {
		t.Errorf("figures of other settings: exit %d: %s", code, errs.String())
	}
}
