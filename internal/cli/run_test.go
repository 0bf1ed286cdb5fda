package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/internal/store"
)

// tiny is a session of a second or two that still goes through every stage.
const tiny = `
seed: 5
robot: {task: reach, horizon: 20, cameras: [{name: front, width: 64, height: 64}]}
demos: {good: 3, bad: 3}
encoder: {keypoints: 4, steps: 2}
reward: {experts: 2, triplets: 8, dim: 4, steps: 0}
policy: {hidden: [16], clone: {steps: 30}}
learner: {critics: 2, hidden: [16], batch: 16, warmup: 4, updates: 2}
session: {episodes: 6, evaluate: 2, checkpoint: 2}
`

// console is what a command prints; do is called once, when a line with on in it
// is printed.
type console struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	on   string
	do   func()
	done bool
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.do != nil && !c.done && strings.Contains(string(p), c.on) {
		c.done = true
		c.do()
	}
	return c.buf.Write(p)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}

// lab is a folder with a session file.
type lab struct {
	t    *testing.T
	dir  string
	file string
	env  []string
}

func newLab(t *testing.T) lab {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "session.yaml")
	if err := os.WriteFile(file, []byte(tiny), 0o600); err != nil {
		t.Fatal(err)
	}
	return lab{t, dir, file, []string{"RAPPORT_OUT=" + filepath.Join(dir, "runs"), "XDG_RUNTIME_DIR=" + dir}}
}

// lasts sets the horizon of the lab's sessions.
func (l lab) lasts(ticks int) {
	l.t.Helper()
	longer := strings.Replace(tiny, "horizon: 20", fmt.Sprintf("horizon: %d", ticks), 1)
	if err := os.WriteFile(l.file, []byte(longer), 0o600); err != nil || longer == tiny {
		l.t.Fatal(err, longer)
	}
}

// run runs a command with the session file and returns exit code and output.
func (l lab) run(ctx context.Context, c *console, args ...string) (int, string) {
	l.t.Helper()
	code := run(ctx, append(args, "-c", l.file), l.env, c, c)
	return code, c.String()
}

// must runs a command that has to succeed.
func (l lab) must(args ...string) string {
	l.t.Helper()
	code, out := l.run(l.t.Context(), &console{}, args...)
	if code != exitDone {
		l.t.Fatalf("rapport %s ended with %d:\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// interrupted runs a command until it prints on.
func (l lab) interrupted(on string, args ...string) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.t.Context())
	defer cancel()
	code, out := l.run(ctx, &console{on: on, do: cancel}, args...)
	if code != exitInterrupted || !strings.Contains(out, "--resume") {
		l.t.Fatalf("interrupted at %q: exit code %d:\n%s", on, code, out)
	}
}

func (l lab) session() string { return filepath.Join(l.dir, "runs", "reach-001") }

// outcome is what a finished session learned and what its report is made of.
type outcome struct {
	Learner       string // SHA-256 of the newest checkpoint
	Returns, Hits []store.Point
	Before, After string
}

func (l lab) outcome() outcome {
	l.t.Helper()
	return outcomeOf(l.t, l.session())
}

func outcomeOf(t *testing.T, dir string) outcome {
	t.Helper()
	ctx := t.Context()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var o outcome
	var errs [6]error
	var v uint64
	v, _, errs[0] = s.LatestCheckpoint(ctx, "learner")
	if errs[0] == nil {
		o.Learner, errs[0] = s.CheckpointSum(ctx, "learner")
	}
	o.Returns, errs[1] = s.Metric(ctx, "episode", "return")
	o.Hits, errs[2] = s.Metric(ctx, "episode", "success")
	o.Before, errs[3] = s.Marked(ctx, "success before")
	o.After, errs[4] = s.Marked(ctx, "success after")
	errs[5] = s.Close()
	if err := errors.Join(errs[:]...); err != nil || v != 6 || len(o.Returns) != 6 || len(o.Hits) != 6 || o.Before == "" || o.After == "" {
		t.Fatalf("the session is not whole: learner of %d episodes, %d returns, %d successes, %q, %q, %v", v, len(o.Returns), len(o.Hits), o.Before, o.After, err)
	}
	return o
}

func TestSessionLeavesEverything(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	out := l.must("run")
	for _, want := range []string{"success before", "success after", "report.html", "fine-tune        6/6"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	for _, name := range []string{"report.html", "session.db", "config.yaml", "episodes/demo-00000.mcap", "episodes/online-00005.mcap"} {
		if st, err := os.Stat(filepath.Join(l.session(), name)); err != nil || st.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if diff := cmp.Diff(undisturbed(t), l.outcome()); diff != "" {
		t.Errorf("one seed gave two sessions:\n%s", diff)
	}
	// A second session takes the next free name, and names are taken once.
	l.interrupted("demonstrations", "run")
	if _, err := os.Stat(filepath.Join(l.dir, "runs", "reach-002", "session.db")); err != nil {
		t.Error(err)
	}
	code, said := l.run(t.Context(), &console{}, "run", "--set", "name=reach-001")
	if code != exitFailed || !strings.Contains(said, "--resume") {
		t.Errorf("a taken name: exit code %d:\n%s", code, said)
	}
}

// One session is interrupted in every stage, and goes on after each.
func TestInterruptAtAnyStageGoesOnToTheSameBits(t *testing.T) {
	want := undisturbed(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	l := newLab(t)
	command := []string{"run"}
	for _, stage := range []string{"demonstrations", "encoder", "features", "preferences", "clone", "evaluate before", "warm-up",
		"fine-tune        1/6", "fine-tune        4/6", "catch up", "evaluate after", "report"} {
		l.interrupted(stage, command...)
		command = []string{"run", "--resume"}
	}
	l.must(command...)
	if diff := cmp.Diff(want, l.outcome()); diff != "" {
		t.Errorf("the resumed session differs from the undisturbed one:\n%s", diff)
	}
}

func TestAnotherSeedIsAnotherSession(t *testing.T) {
	t.Parallel()
	want := undisturbed(t)
	l := newLab(t)
	l.must("run", "--set", "seed=6")
	got := l.outcome()
	if got.Learner == want.Learner || cmp.Equal(got.Returns, want.Returns) {
		t.Error("two seeds gave the same bits")
	}
}

// A line that keeps a reward from defaults of its own is told, and the session goes on with it.
func TestRunTellsWhatAFilePins(t *testing.T) {
	l := newLab(t)
	pinned := strings.Replace(tiny, "policy: {", "policy: {keys: false, ", 1)
	if err := os.WriteFile(l.file, []byte(pinned), 0o600); err != nil || pinned == tiny {
		t.Fatal(err, pinned)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	code, out := l.run(ctx, &console{on: "demonstrations", do: cancel}, "run", "--set", "reward.kind=kagi")
	want := "note: " + l.file + " gives general defaults where task reach with reward kagi has its own; leave out, unless they are meant: policy.keys (false, and not true)\n"
	if code != exitInterrupted || strings.Count(out, want) != 1 {
		t.Errorf("exit code %d, want once %q:\n%s", code, want, out)
	}
}
