package cli

import (
	"bytes"
	"context"
	"errors"
	"image/jpeg"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
)

// tiny is a session of a second or two that still goes through every stage.
const tiny = `
seed: 5
robot: {task: reach, horizon: 30, cameras: [{name: front, width: 64, height: 64}]}
demos: {good: 3, bad: 3}
encoder: {keypoints: 4, steps: 5}
reward: {experts: 2, triplets: 8, dim: 4}
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
	return lab{t, dir, file, []string{"RAPPORT_OUT=" + filepath.Join(dir, "runs")}}
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

// learner is the bytes of the learner's newest checkpoint.
func (l lab) learner() []byte {
	l.t.Helper()
	s, err := store.Open(l.session())
	if err != nil {
		l.t.Fatal(err)
	}
	defer s.Close()
	v, b, err := s.LatestCheckpoint(l.t.Context(), "learner")
	if err != nil || v != 6 {
		l.t.Fatalf("the learner's checkpoint is of %d episodes, %v", v, err)
	}
	return b
}

// reference is the learner of a session that nothing disturbed.
var reference = sync.OnceValue(func() []byte { return nil })

func undisturbed(t *testing.T) []byte {
	t.Helper()
	if b := reference(); b != nil {
		return b
	}
	l := newLab(t)
	l.must("run")
	b := l.learner()
	reference = func() []byte { return b }
	return b
}

func TestSessionLeavesEverything(t *testing.T) {
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
	// A second session takes the next free name, and names are taken once.
	l.must("run", "--set", "session.episodes=1")
	if _, err := os.Stat(filepath.Join(l.dir, "runs", "reach-002", "report.html")); err != nil {
		t.Error(err)
	}
	code, said := l.run(t.Context(), &console{}, "run", "--set", "name=reach-001")
	if code != exitFailed || !strings.Contains(said, "--resume") {
		t.Errorf("a taken name: exit code %d:\n%s", code, said)
	}
}

func TestInterruptAtAnyStageGoesOnToTheSameBits(t *testing.T) {
	want := undisturbed(t)
	for _, stage := range []string{"demonstrations", "encoder", "features", "preferences", "clone", "evaluate before",
		"warm-up", "fine-tune        3/6", "evaluate after", "report"} {
		t.Run(stage, func(t *testing.T) {
			l := newLab(t)
			l.interrupted(stage, "run")
			l.must("run", "--resume")
			if !bytes.Equal(l.learner(), want) {
				t.Error("the resumed session learned something else than the undisturbed one")
			}
		})
	}
}

func TestAnotherSeedIsAnotherSession(t *testing.T) {
	want := undisturbed(t)
	l := newLab(t)
	l.must("run", "--set", "seed=6")
	if bytes.Equal(l.learner(), want) {
		t.Error("two seeds gave the same bits")
	}
}

func TestDamagedCheckpointNamesTheRemedyAndIsMended(t *testing.T) {
	want := undisturbed(t)
	l := newLab(t)
	l.interrupted("fine-tune        5/6", "run")
	for _, kind := range []string{"learner", "policy", "reward", "encoder"} {
		files, err := filepath.Glob(filepath.Join(l.session(), "checkpoints", kind+"-*"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		last := files[len(files)-1]
		b, err := os.ReadFile(last)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 4
		if err := os.WriteFile(last, b, 0o600); err != nil {
			t.Fatal(err)
		}
		code, out := l.run(t.Context(), &console{}, "run", "--resume")
		if code != exitFailed || !strings.Contains(out, last) || !strings.Contains(out, "--drop-checkpoint "+kind) {
			t.Fatalf("damaged %s: exit code %d:\n%s", kind, code, out)
		}
		l.must("run", "--resume", "--drop-checkpoint", kind)
		if !bytes.Equal(l.learner(), want) {
			t.Errorf("after mending %s the session learned something else", kind)
		}
	}
}

func TestFullDiskLosesNothing(t *testing.T) {
	want := undisturbed(t)
	l := newLab(t)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	// A file-size limit makes the kernel refuse writes as a full disk does.
	fill := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 8 << 10, Max: old.Max}); err != nil {
			t.Error(err)
		}
	}
	code, out := l.run(t.Context(), &console{on: "fine-tune        3/6", do: fill}, "run")
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if code != exitFailed || !strings.Contains(out, l.session()) || !strings.Contains(out, "free space") {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	l.must("run", "--resume")
	if !bytes.Equal(l.learner(), want) {
		t.Error("with room again the session learned something else")
	}
}

func TestBadInputIsNamed(t *testing.T) {
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	for _, tt := range []struct {
		name string
		args []string
		env  string
		code int
		want []string
	}{
		{"two bad values", []string{"run", "--set", "robot.task=juggle", "--set", "learner.batch=3"}, "", exitUsage, []string{"robot.task", "learner.batch"}},
		{"a camera that the arm lacks", []string{"run", "--set", "robot.cameras=[{name: roof, width: 64, height: 64}]"}, "", exitUsage, []string{"robot.cameras[0].name", "roof", "front, wrist"}},
		{"unknown key", []string{"run", "--set", "robot.tsk=reach"}, "", exitUsage, []string{"robot.tsk"}},
		{"unknown variable", []string{"run"}, "RAPPORT_SEEED=1", exitUsage, []string{"RAPPORT_SEEED"}},
		{"unknown flag", []string{"run", "--fast"}, "", exitUsage, []string{"--fast"}},
		{"unknown command", []string{"fly"}, "", exitUsage, []string{"fly"}},
		{"argument too many", []string{"run", "now"}, "", exitUsage, []string{"now"}},
		{"drop without resume", []string{"run", "--drop-checkpoint", "learner"}, "", exitUsage, []string{"--resume"}},
		{"nothing to resume", []string{"run", "--resume"}, "", exitFailed, []string{"rapport run"}},
		{"one seed to reproduce", []string{"reproduce", "--seeds", "1"}, "", exitUsage, []string{"--seeds"}},
		{"port in use", []string{"run", "--set", "bus.listen=" + port.Addr().String()}, "", exitFailed, []string{port.Addr().String()}},
		{"no server", []string{"run", "--set", "bus.url=nats://127.0.0.1:1"}, "", exitFailed, []string{"127.0.0.1:1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			if tt.env != "" {
				l.env = append(l.env, tt.env)
			}
			code, out := l.run(t.Context(), &console{}, tt.args...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, w := range tt.want {
				if !strings.Contains(out, w) {
					t.Errorf("the error does not name %q:\n%s", w, out)
				}
			}
			if left, err := os.ReadDir(filepath.Join(l.dir, "runs")); err == nil && len(left) > 0 {
				t.Errorf("left half a session: %v", left)
			}
		})
	}
}

func TestMissingGLNamesTheRemedy(t *testing.T) {
	t.Setenv("RAPPORT_EGL", "libnowhere.so")
	l := newLab(t)
	code, out := l.run(t.Context(), &console{}, "run")
	if code != exitFailed || !strings.Contains(out, "libegl1") || !strings.Contains(out, "robot.render=raster") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	// The remedy works.
	l.must("run", "--set", "robot.render=raster", "--set", "session.episodes=1")
}

// A session whose backend no longer gives a camera that its encoder looks at.
func TestMissingCameraNamesIt(t *testing.T) {
	l := newLab(t)
	l.interrupted("fine-tune        2/6", "run")
	code, out := l.run(t.Context(), &console{}, "run", "--resume", "--set", "robot.cameras=[{name: wrist, width: 64, height: 64}]")
	if code != exitFailed || !strings.Contains(out, "front") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	s, err := store.Open(l.session())
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.Episodes(t.Context(), policy.Online)
	if err := errors.Join(err, s.Close()); err != nil || len(rows) == 0 {
		t.Errorf("%d episodes are left, %v", len(rows), err)
	}
	l.must("run", "--resume")
}

func TestPicture(t *testing.T) {
	l := newLab(t)
	out := filepath.Join(l.dir, "arm.jpg")
	l.must("picture", "--ticks", "2", "--width", "64", "--height", "48", "-o", out)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	c, err := jpeg.DecodeConfig(bytes.NewReader(b))
	if err != nil || c.Width != 64 || c.Height != 48 {
		t.Errorf("a picture of %dx%d, %v", c.Width, c.Height, err)
	}
	if code, said := l.run(t.Context(), &console{}, "picture", "--width", "3"); code != exitUsage || !strings.Contains(said, "--width") {
		t.Errorf("three pixels: exit code %d: %s", code, said)
	}
}
