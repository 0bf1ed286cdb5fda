package cli_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot/franka"
)

// small is a session of seconds that still goes through every stage.
const small = `
name: spread
seed: 3
robot: {task: reach, horizon: 30, cameras: [{name: front, width: 64, height: 64}]}
demos: {good: 4, bad: 4}
encoder: {keypoints: 6, steps: 20}
reward: {experts: 2, triplets: 10, dim: 4}
policy: {hidden: [16], clone: {steps: 50}}
learner: {critics: 2, hidden: [16], batch: 16, warmup: 10, updates: 5}
session: {episodes: 12, evaluate: 4, checkpoint: 3}
`

// patience bounds every wait; it is long, since machines are shared.
const patience = 4 * time.Minute

// program builds the command once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rapport")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "rapport")
	out, err := exec.Command("go", "build", "-o", path, "github.com/rapport-rl/rapport/cmd/rapport").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// process is a running command whose lines can be waited for.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	done chan error

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and replaced at every line
}

func start(t *testing.T, dir, name string, args ...string) *process {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: name, cmd: exec.Command(path, args...), done: make(chan error, 1), more: make(chan struct{})}
	p.cmd.Dir = dir
	r, w := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for s := bufio.NewScanner(r); s.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, s.Text())
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
	}()
	go func() {
		err := p.cmd.Wait()
		w.Close()
		p.done <- err
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.said())
		}
	})
	return p
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// await returns the first submatch of the first line that fits.
func (p *process) await(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	limit := time.After(patience)
	for seen := 0; ; {
		p.mu.Lock()
		lines, more := p.lines[seen:], p.more
		p.mu.Unlock()
		for _, l := range lines {
			if m := re.FindStringSubmatch(l); m != nil {
				return m[len(m)-1]
			}
		}
		seen += len(lines)
		select {
		case <-more:
		case err := <-p.done:
			p.done <- err
			p.t.Fatalf("%s ended (%v) before it said %s", p.name, err, pattern)
		case <-limit:
			p.t.Fatalf("%s never said %s", p.name, pattern)
		}
	}
}

// exit waits for the end and returns the exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
		var e *exec.ExitError
		if errors.As(err, &e) {
			return e.ExitCode()
		}
		if err != nil {
			p.t.Fatalf("%s: %v", p.name, err)
		}
		return 0
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.name)
		return -1
	}
}

func TestKilledLearnerLosesNothingAndCountsOnce(t *testing.T) {
	for _, orphan := range []string{"go", "hold"} {
		t.Run(orphan, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "s.yaml"), []byte(small), 0o600); err != nil {
				t.Fatal(err)
			}
			broker := start(t, dir, "broker", "broker", "--listen", "127.0.0.1:0", "--store", "broker")
			url := broker.await(`^(nats://\S+)$`)
			role := func(name string) *process {
				return start(t, dir, name, name, "--nats", url, "-c", "s.yaml", "--set", "session.orphan="+orphan)
			}
			others := []*process{role("perception"), role("scorer"), role("actor")}
			learner := role("learner")
			learner.await(`^learn +[4-9]/12 `)
			if err := learner.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			learner.exit()
			if orphan == "go" {
				others[2].await(`^act +12/12 `) // it went on without the learner
			}
			again := role("learner")
			if code := again.exit(); code != 0 {
				t.Fatalf("the restarted learner ended with %d", code)
			}
			for _, p := range others {
				if code := p.exit(); code != 0 {
					t.Errorf("%s ended with %d", p.name, code)
				}
			}
			for _, want := range []string{"success before", "success after", "report.html"} {
				if !strings.Contains(again.said(), want) {
					t.Errorf("the learner did not say %q", want)
				}
			}
			checkOnce(t, dir)
		})
	}
}

// checkOnce compares what the learner's folder holds with what the actor did.
func checkOnce(t *testing.T, dir string) {
	t.Helper()
	ctx := t.Context()
	learned, acted := open(t, filepath.Join(dir, "runs", "spread")), open(t, filepath.Join(dir, "runs", "spread-actor"))
	got, err := learned.Episodes(ctx, policy.Online)
	if err != nil {
		t.Fatal(err)
	}
	made, err := acted.Episodes(ctx, policy.Online)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 12 || len(made) < 12 {
		t.Fatalf("learned from %d episodes of %d, want 12", len(got), len(made))
	}
	for i, r := range got {
		// The queue keeps the order, so a lost one would leave a gap.
		if want := fmt.Sprintf("online-%05d", i); r.ID != want {
			t.Errorf("episode %d is %s, want %s", i, r.ID, want)
		}
		a, err := acted.Episode(r.ID)
		if err != nil {
			t.Fatal(err)
		}
		b, err := learned.Episode(r.ID)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(fmt.Append(nil, a.Rewards, a.Applied), fmt.Append(nil, b.Rewards, b.Applied)) {
			t.Errorf("%s changed on the way", r.ID)
		}
		withinLimits(t, a)
	}
	points, err := learned.Metric(ctx, "episode", "return")
	if err != nil || len(points) != 12 {
		t.Errorf("the learner counted %d episodes, %v", len(points), err)
	}
}

func open(t *testing.T, dir string) *store.Session {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// withinLimits looks at what reached the arm and what the arm did.
func withinLimits(t *testing.T, e policy.Episode) {
	t.Helper()
	c, limits := config.Default(), franka.Panda()
	const slack = 1e-9
	for i, a := range e.Applied {
		sum := 0.0
		for _, d := range a.Delta[:3] {
			sum += d * d
		}
		if step := c.Guard.Speed * 0.05; sum > step*step+slack {
			t.Errorf("%s: step %d moves the target by more than %g m", e.ID, i, step)
		}
	}
	for i, in := range e.Inputs {
		for j, q := range in.State.Q {
			if q < limits.Min[j] || q > limits.Max[j] {
				t.Errorf("%s: observation %d has joint %d at %g rad", e.ID, i, j+1, q)
			}
		}
	}
}

func TestBrokerOnATakenPort(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir, "first", "broker", "--listen", "127.0.0.1:0", "--store", "a")
	url := first.await(`^nats://(\S+)$`)
	second := start(t, dir, "second", "broker", "--listen", url, "--store", "b")
	if code := second.exit(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	port := url[strings.LastIndex(url, ":")+1:]
	if _, err := strconv.Atoi(port); err != nil || !strings.Contains(second.said(), port) {
		t.Errorf("the error does not name port %s:\n%s", port, second.said())
	}
	if err := first.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := first.exit(); code != 0 {
		t.Errorf("an interrupted broker ended with %d", code)
	}
}

func TestRolesWithoutAServer(t *testing.T) {
	dir := t.TempDir()
	for _, role := range []string{"learner", "perception", "scorer", "actor"} {
		p := start(t, dir, role, role)
		if code := p.exit(); code != 2 || !strings.Contains(p.said(), "--nats") {
			t.Errorf("%s without a server: exit code %d, %s", role, code, p.said())
		}
	}
	p := start(t, dir, "scorer", "scorer", "--nats", "nats://127.0.0.1:1")
	if code := p.exit(); code != 1 || !strings.Contains(p.said(), "127.0.0.1:1") {
		t.Errorf("an absent server: exit code %d, %s", code, p.said())
	}
}
