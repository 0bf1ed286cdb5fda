package cli

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
)

func TestDamagedCheckpointNamesTheRemedyAndIsMended(t *testing.T) {
	t.Parallel()
	want := undisturbed(t)
	l := went(t, halfway)
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
		if diff := cmp.Diff(want, l.outcome()); diff != "" {
			t.Errorf("after mending %s the session differs:\n%s", kind, diff)
		}
	}
}

// The disk is full in one stage after the other; each time there is room again,
// the session goes on.
func TestFullDiskLosesNothing(t *testing.T) {
	t.Parallel()
	want := undisturbed(t)
	l := newLab(t)
	// A file-size limit makes the kernel refuse writes as a full disk does. It is
	// set on a child alone, since the test's own log is a file too.
	full := func(p *os.Process) error {
		// Stopped meanwhile, so that it is full in this stage and not in the next.
		return errors.Join(p.Signal(syscall.SIGSTOP), exec.Command("prlimit", "--pid", strconv.Itoa(p.Pid), "--fsize=8192:").Run(), p.Signal(syscall.SIGCONT))
	}
	command := []string{"run"}
	for _, stage := range []string{"demonstrations", "features", "clone", "evaluate before", "warm-up", "fine-tune        3/6", "report"} {
		end, out := l.child(stage, full, command...)
		if end.ExitCode() != exitFailed || !strings.Contains(out, l.session()) || !strings.Contains(out, "free space") {
			t.Fatalf("full in %s: %v:\n%s", stage, end, out)
		}
		if _, err := os.Stat(filepath.Join(l.session(), "report.html")); err == nil {
			t.Errorf("full in %s: left half a report", stage)
		}
		command = []string{"run", "--resume"}
	}
	l.must(command...)
	if diff := cmp.Diff(want, l.outcome()); diff != "" {
		t.Errorf("with room again the session differs:\n%s", diff)
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
		{"help with no command", []string{"help", "nosuch"}, "", exitUsage, []string{`"nosuch"`, "rapport help"}},
		{"help with no subcommand", []string{"help", "reward", "nosuch"}, "", exitUsage, []string{`"reward nosuch"`}},
		{"help with a command", []string{"help", "reward", "probe"}, "", exitDone, []string{"rapport reward probe [RUN]"}},
		{"unknown subcommand", []string{"fault", "nosuch"}, "", exitUsage, []string{`no command "nosuch" in rapport fault`, "rapport help fault"}},
		{"address without an equals sign", []string{"run", "--dashboard", "127.0.0.1:9000"}, "", exitUsage, []string{"rapport run takes no arguments", "--dashboard=127.0.0.1:9000"}},
		{"labels of no session", []string{"label", "nosuch"}, "", exitUsage, []string{"rapport: nosuch is neither"}},
		{"rewards on nothing", []string{"reward", "compare", "nowhere"}, "", exitFailed, []string{"nowhere", "name recordings"}},
		{"columns in no file", []string{"data", "convert", "x", "y", "--columns", "mpa.yaml"}, "", exitUsage, []string{"--columns: open mpa.yaml"}},
		{"argument too many", []string{"run", "now"}, "", exitUsage, []string{"now"}},
		{"drop without resume", []string{"run", "--drop-checkpoint", "learner"}, "", exitUsage, []string{"--resume"}},
		{"drop what is no checkpoint", []string{"run", "--resume", "--drop-checkpoint", "learnr"}, "", exitUsage, []string{"learnr", "encoder, reward, policy, learner"}},
		{"nothing to resume", []string{"run", "--resume"}, "", exitFailed, []string{"rapport run"}},
		{"a seed where seeds are walked through", []string{"reproduce", "--set", "seed=7"}, "", exitUsage, []string{"--set seed=7", "--seeds"}},
		{"seeds from the last to the first", []string{"reproduce", "--seeds", "5-4"}, "", exitUsage, []string{"--seeds", "as 4-5"}},
		{"a learner that there is none of", []string{"reproduce", "--offline", "bc,luck"}, "", exitUsage, []string{"--offline names luck", "learner.kind"}},
		{"a learner that learns from no recordings", []string{"reproduce", "--offline", "ppo"}, "", exitUsage, []string{"--offline names ppo", "want some of bc"}},
		{"no steps", []string{"reproduce", "--offline", "bc", "--steps", "0"}, "", exitUsage, []string{"--steps is 0"}},
		{"a learner twice", []string{"reproduce", "--offline", "bc,bc"}, "", exitUsage, []string{"--offline names bc twice"}},
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
	l.must("run", "--set", "robot.render=raster", "--set", "session.episodes=1", "--set", "robot.horizon=10")
}

// A session whose backend no longer gives a camera that its encoder looks at.
func TestMissingCameraNamesIt(t *testing.T) {
	t.Parallel()
	l := went(t, halfway)
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

func TestDamagedEpisodeAndDatabaseAreNamed(t *testing.T) {
	t.Parallel()
	l := went(t, halfway)
	for _, name := range []string{"episodes/online-00000.mcap", "episodes/demo-00001.mcap", "session.db"} {
		path := filepath.Join(l.session(), name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := append([]byte("overwritten"), good[len("overwritten"):]...)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		code, out := l.run(t.Context(), &console{}, "run", "--resume")
		if code != exitFailed || !strings.Contains(out, path) || !strings.Contains(out, "from a copy") {
			t.Errorf("damaged %s: exit code %d:\n%s", name, code, out)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.must("run", "--resume") // the remedy works
}
