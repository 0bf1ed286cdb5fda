package cli_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
reward: {experts: 2, triplets: 10, dim: 4, steps: 0}
policy: {hidden: [16], clone: {steps: 50}}
learner: {critics: 2, hidden: [16], batch: 16, warmup: 10, updates: 5}
session: {episodes: 12, evaluate: 4, checkpoint: 3}
`

// patience bounds every wait; it is long, since machines are shared.
const patience = 4 * time.Minute

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
	p := &process{t: t, name: name, cmd: exec.Command(os.Args[0], args...), done: make(chan error, 1), more: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "BE_PROGRAM=yes") // see TestMain
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
	t.Parallel()
	for _, orphan := range []string{"go", "hold"} {
		t.Run(orphan, func(t *testing.T) {
			t.Parallel()
			dir, _, url := brokered(t)
			role := func(name string, more ...string) *process {
				return start(t, dir, name, append([]string{name, "--nats", url, "-c", "s.yaml", "--set", "session.orphan=" + orphan}, more...)...)
			}
			// The learner says how many episodes there are.
			others := []*process{role("perception"), role("scorer"), role("actor", "--set", "session.episodes=5")}
			learner := role("learner")
			learner.await(`^learn +[4-9]/12 `)
			learner.kill()
			actor := others[2]
			if orphan == "go" {
				actor.await(`^act +12/12 `) // it went on without the learner
			} else {
				actor.await(`^hold +\.\.\.`)
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
			for i, id := range checkOnce(t, dir, "runs") {
				// The queue keeps the order, so a lost one would leave a gap.
				if want := fmt.Sprintf("online-%05d", i); id != want {
					t.Errorf("episode %d is %s, want %s", i, id, want)
				}
			}
			if orphan == "go" {
				checkAfterTheEnd(t, dir, url)
			}
		})
	}
}

// checkAfterTheEnd starts processes of a session that is over.
func checkAfterTheEnd(t *testing.T, dir, url string) {
	t.Helper()
	role := func(name string, more ...string) *process {
		return start(t, dir, name, append([]string{name, "--nats", url, "-c", "s.yaml"}, more...)...)
	}
	again := role("learner")
	if code := again.exit(); code != 0 || !strings.Contains(again.said(), "success after") {
		t.Errorf("a learner of a session that is over ended with %d:\n%s", code, again.said())
	}
	changed := role("learner", "--set", "seed=4")
	if code := changed.exit(); code != 1 || !strings.Contains(changed.said(), "seed") {
		t.Errorf("a learner of another configuration ended with %d:\n%s", code, changed.said())
	}
	more := role("learner", "--set", "session.episodes=14")
	if code := more.exit(); code != 1 || !strings.Contains(more.said(), "is over, with 12 episodes") {
		t.Errorf("a learner of more episodes than the session had ended with %d:\n%s", code, more.said())
	}
	alone := start(t, dir, "run", "run", "--resume", "--set", "name=spread", "--set", "session.episodes=14", "--set", "bus.url=")
	if code := alone.exit(); code != 0 {
		t.Errorf("one process that was to go on instead ended with %d:\n%s", code, alone.said())
	}
	late := role("scorer")
	if code := late.exit(); code != 0 || !strings.Contains(late.said(), "this session is over") {
		t.Errorf("a scorer of a session that is over ended with %d:\n%s", code, late.said())
	}
	astray := role("learner", "--set", "out=elsewhere")
	if code := astray.exit(); code != 1 || !strings.Contains(astray.said(), "is not its folder") {
		t.Errorf("a learner without its folder ended with %d:\n%s", code, astray.said())
	}
}

// brokered is a folder with a small session's s.yaml, and a broker that runs there at url.
func brokered(t *testing.T) (dir string, broker *process, url string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "s.yaml"), []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	broker = start(t, dir, "broker", "broker", "--listen", "127.0.0.1:0", "--store", "broker")
	return dir, broker, broker.await(`^(nats://\S+)$`)
}

// Everything but the learner is killed and started again, one after the other;
// the actor in another folder, as on another machine.
func TestEveryProcessMayBeKilled(t *testing.T) {
	t.Parallel()
	dir, broker, url := brokered(t)
	role := func(name string, more ...string) *process {
		return start(t, dir, name, append([]string{name, "--nats", url, "-c", "s.yaml"}, more...)...)
	}
	learner := role("learner")
	perception, scorer, actor := role("perception"), role("scorer"), role("actor")
	learner.await(`^learn +[2-9]/12 `)
	broker.kill()
	actor.await(`^retry +\.\.\.`)
	broker = start(t, dir, "broker", "broker", "--listen", strings.TrimPrefix(url, "nats://"), "--store", "broker")
	broker.await(`^(nats://\S+)$`)
	learner.await(`^learn +[3-9]/12 `)
	actor.kill()
	actor = role("actor", "--set", "out=elsewhere")
	learner.await(`^learn +[4-9]/12 `)
	perception.kill()
	perception = role("perception")
	learner.await(`^learn +[6-9]/12 `)
	scorer.kill()
	scorer = role("scorer")
	learner.await(`^learn +[89]/12 `)
	actor.kill()
	actor = role("actor", "--set", "out=elsewhere")
	for _, p := range []*process{learner, perception, scorer, actor} {
		if code := p.exit(); code != 0 {
			t.Errorf("%s ended with %d", p.name, code)
		}
	}
	checkOnce(t, dir, "runs", "elsewhere")
}

// checkOnce compares what the learner's folder holds with what the actors in
// these folders did, and returns the ids of what was learned from in order.
func checkOnce(t *testing.T, dir string, actors ...string) []string {
	t.Helper()
	ctx := t.Context()
	learned := open(t, filepath.Join(dir, "runs", "spread"))
	defer learned.Close()
	rows, err := learned.Episodes(ctx, policy.Online)
	if err != nil {
		t.Fatal(err)
	}
	points, err := learned.Metric(ctx, "episode", "return")
	if err != nil || len(rows) != 12 || len(points) != 12 {
		t.Fatalf("stored %d episodes and counted %d, %v; want 12", len(rows), len(points), err)
	}
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	found := 0
	for _, name := range actors {
		before := found
		acted := open(t, filepath.Join(dir, name, "spread-actor"))
		defer acted.Close()
		made, err := acted.Episodes(ctx, policy.Online)
		if err != nil {
			t.Fatal(err)
		}
		gap := ""
		for _, m := range made {
			if !slices.Contains(ids, m.ID) {
				gap = m.ID // still queued when the session was over, or lost
				continue
			}
			if gap != "" {
				t.Errorf("%s was learned from, but %s before it was lost", m.ID, gap)
			}
			found++
			checkSame(t, acted, learned, m.ID)
		}
		if found == before {
			t.Errorf("nothing was learned from the actor in %s", name)
		}
	}
	if found != len(ids) {
		t.Errorf("learned from %d episodes, of which the actors made %d", len(ids), found)
	}
	return ids
}

// checkSame compares what an actor and the learner stored of an episode.
func checkSame(t *testing.T, acted, learned *store.Session, id string) {
	t.Helper()
	a, err := acted.Episode(id)
	if err != nil {
		t.Fatal(err)
	}
	b, err := learned.Episode(id)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("%s changed on the way: %s", id, diff)
	}
	withinLimits(t, a)
}

func open(t *testing.T, dir string) *store.Session {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// kill is kill -9.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	p.exit()
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
