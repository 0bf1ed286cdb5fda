package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A session that demands a dry run stops before the policy moves an arm, and
// goes on once the policy has passed, to the same bits.
func TestGateStandsBeforeThePolicy(t *testing.T) {
	t.Parallel()
	want := undisturbed(t)
	l := newLab(t)
	code, out := l.run(t.Context(), &console{}, "run", "--set", "guard.gate=require")
	check := []string{"guard", "check", "--policy", l.session()}
	if code != exitFailed || !strings.Contains(out, "rapport "+strings.Join(check, " ")) || strings.Contains(out, "evaluate") {
		t.Fatalf("without a dry run: %d\n%s", code, out)
	}
	// Within a tenth of the speed nothing passes, and says why.
	code, out = l.run(t.Context(), &console{}, append(check, "--allow", "0", "--set", "guard.speed=0.002")...)
	for _, want := range []string{"step 0: speed", "limit 0.002", "wish", "applied", "NOT PASSED", "did not pass", "... "} {
		if code != exitFailed || !strings.Contains(out, want) {
			t.Errorf("a slow guard: %d, lacks %q\n%s", code, want, out)
		}
	}
	if code, out := l.run(t.Context(), &console{}, "run", "--resume", "--set", "guard.gate=require"); code != exitFailed || !strings.Contains(out, "not run dry within these limits") {
		t.Errorf("a dry run within other limits: %d\n%s", code, out)
	}
	if code, out := l.run(t.Context(), &console{}, append(check, "--allow", "0", "--explore")...); code == exitFailed {
		if code, out := l.run(t.Context(), &console{}, "run", "--resume", "--set", "guard.gate=require"); code != exitFailed || !strings.Contains(out, "did not pass its dry run") {
			t.Errorf("a dry run that was not passed: %d\n%s", code, out)
		}
	} else {
		t.Errorf("an exploring policy of this scale reaches the speed limit: %d\n%s", code, out)
	}
	out = l.must(append(check, "--allow", "1")...)
	for _, want := range []string{"cloned from the demonstrations", "recordings  6, 120 steps", "not finite  0", "verdict     passed", "kept in     " + l.session()} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	// The learner's warm-up made another policy of the clone.
	demand := []string{"run", "--resume", "--set", "guard.gate=require"}
	if code, out := l.run(t.Context(), &console{}, demand...); code != exitFailed || !strings.Contains(out, "cloned, as it is after learner.warmup was not run dry") || strings.Contains(out, "fine-tune ") {
		t.Errorf("the policy after the warm-up was not gated: %d\n%s", code, out)
	}
	l.must(append(check, "--allow", "1")...)
	// Interrupted in its fourth episode, it goes on with another policy than that of the checkpoint of two.
	l.interrupted(`fine-tune        4/6`, demand...)
	l.must(append(check, "--allow", "1")...)
	if code, out := l.run(t.Context(), &console{}, demand...); code != exitFailed || !strings.Contains(out, "fine-tuned for 3 episodes was not run dry") || strings.Contains(out, "fine-tune ") {
		t.Errorf("the policy that was learned after the last checkpoint was not gated: %d\n%s", code, out)
	}
	if !strings.Contains(l.must(append(check, "--allow", "1")...), "fine-tuned for 3 episodes") {
		t.Error("the dry run is of another policy than the one that acts next")
	}
	l.must(demand...)
	if diff := cmp.Diff(want, l.outcome()); diff != "" {
		t.Errorf("the session behind the gate differs from the undisturbed one:\n%s", diff)
	}
	// Fine-tuned, it is another policy.
	if code, out := l.run(t.Context(), &console{}, "run", "--resume", "--set", "guard.gate=require", "--set", "session.episodes=8"); code != exitFailed || !strings.Contains(out, "fine-tuned for 6 episodes") {
		t.Errorf("the fine-tuned policy was not gated: %d\n%s", code, out)
	}
	l.must("run", "--resume", "--set", "guard.gate=warn", "--set", "session.episodes=8")
	// A checkpoint is of its session; elsewhere it goes by what was recorded.
	files, err := filepath.Glob(filepath.Join(l.session(), "checkpoints", "tuned-*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("checkpoints %v, %v", files, err)
	}
	episode := filepath.Join(l.session(), "episodes", "online-00001.mcap")
	if out := l.must("guard", "check", "--policy", files[0], "--allow", "1", episode); !strings.Contains(out, "kept in") || !strings.Contains(out, "recordings  1, 20 steps") {
		t.Errorf("a checkpoint:\n%s", out)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	loose := filepath.Join(l.dir, "loose.safetensors")
	if err := os.WriteFile(loose, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var d struct {
		Steps, Altered int
		Violations     []struct{ Wish []float64 }
		Passed         bool
	}
	// The session's encoder saw what was recorded, so both agree but for JPEG.
	if err := json.Unmarshal([]byte(last(l.must("guard", "check", "--policy", loose, "--allow", "1", "--json", episode))), &d); err != nil || d.Steps != 20 || !d.Passed {
		t.Errorf("a loose file: %+v, %v", d, err)
	}
}

// last is the last line of s.
func last(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndex(s, "\n")+1:]
}

func TestGuardCheckRefuses(t *testing.T) {
	l := newLab(t)
	bad := filepath.Join(l.dir, "bad.mcap")
	if err := os.WriteFile(bad, []byte("no recording"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"guard", "check"}, exitUsage, "--policy"},
		{[]string{"guard", "check", "--policy", l.dir, "--allow", "2"}, exitUsage, "share"},
		{[]string{"guard", "check", "--policy", "nowhere"}, exitFailed, "neither"},
		{[]string{"guard", "check", "--policy", l.dir}, exitFailed, "no session's folder"},
		{[]string{"guard", "check", "--policy", bad}, exitFailed, "no recordings"},
		{[]string{"guard", "check", "--policy", bad, bad}, exitFailed, "bad.mcap"},
	} {
		if code, out := l.run(t.Context(), &console{}, tt.args...); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%v: got %d, want %d and %q:\n%s", tt.args, code, tt.code, tt.want, out)
		}
	}
}
