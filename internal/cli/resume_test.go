package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is asked of a session that was configured otherwise is refused by name.
func TestResumeRefusesAnotherConfiguration(t *testing.T) {
	l := newLab(t)
	l.interrupted("features", "run")
	for _, tt := range []struct {
		name, set, env string
		want           []string
	}{
		{"seed", "seed=6", "", []string{"seed is 6, was 5"}},
		{"camera", "robot.cameras=[{name: wrist, width: 64, height: 64}]", "", []string{"robot.cameras", "wrist", "front"}},
		{"size of its frames", "robot.cameras=[{name: front, width: 32, height: 32}]", "", []string{"robot.cameras", "32", "64"}},
		{"learner, by the environment", "session.episodes=7", "RAPPORT_LEARNER_UPDATES=3", []string{"learner.updates is 3, was 2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := l
			if tt.env != "" {
				asked.env = append(asked.env[:1:1], tt.env)
			}
			code, out := asked.run(t.Context(), &console{}, "run", "--resume", "--set", tt.set)
			if code != exitFailed {
				t.Errorf("exit code %d, want %d", code, exitFailed)
			}
			for _, w := range append(tt.want, l.session(), "begin another session") {
				if !strings.Contains(out, w) {
					t.Errorf("the error does not name %q:\n%s", w, out)
				}
			}
		})
	}
	if code, out := l.run(t.Context(), &console{}, "run", "--resume", "--set", "name=nowhere"); code != exitFailed || !strings.Contains(out, "rapport run") || !strings.Contains(out, "nowhere") {
		t.Errorf("no such session: exit code %d:\n%s", code, out)
	}
}

// What may change goes with the session's settings, and not with the defaults, which are another session's.
func TestWhatMayChangeGoesWithTheSessionsOwnSettings(t *testing.T) {
	l := newLab(t)
	l.interrupted("demonstrations", "run", "--set", "reward.kind=kagi", "--set", "robot.pace=real")
	marked := "robot.markers=[../../docs/front.yaml]"
	l.interrupted("demonstrations", "run", "--resume", "--set", "teleop.input=bus", "--set", marked)
	if !bytes.Contains(l.read("config.yaml"), []byte("docs/front.yaml")) {
		t.Error("the markers are not kept")
	}
	if code, out := l.run(t.Context(), &console{}, "eval", "--set", marked); code != exitFailed || !strings.Contains(out, "once its demonstrations are cloned") {
		t.Errorf("eval: exit code %d, want %d, and that there is nothing to evaluate yet:\n%s", code, exitFailed, out)
	}
	for _, args := range [][]string{{"run", "--resume"}, {"eval"}, {"practice", "--resume"}} {
		if code, out := l.run(t.Context(), &console{}, append(args, "--set", "robot.tsk=reach")...); code != exitUsage || !strings.Contains(out, "near it: robot.task") {
			t.Errorf("%v with a key that is none: exit code %d:\n%s", args, code, out)
		}
	}
}

// A session that goes on for more episodes ends as one that was begun with as
// many, and what it ends with is evaluated: not what it once ended with.
func TestLongerSessionIsJudgedAnew(t *testing.T) {
	t.Parallel()
	want := undisturbed(t)
	l := newLab(t)
	l.must("run", "--set", "session.episodes=3")
	was := l.read("report.html")
	out := l.must("run", "--resume", "--set", "session.episodes=6")
	if strings.Contains(out, "evaluate before") || !strings.Contains(out, "evaluate after   2/2") {
		t.Errorf("want only what changed to be evaluated:\n%s", out)
	}
	if diff := cmp.Diff(want, l.outcome()); diff != "" {
		t.Errorf("the longer session differs from one begun as long:\n%s", diff)
	}
	if bytes.Equal(was, l.read("report.html")) || !bytes.Contains(l.read("config.yaml"), []byte("episodes: 6")) {
		t.Error("report or config.yaml is that of the shorter session")
	}
	code, said := l.run(t.Context(), &console{}, "run", "--resume", "--set", "session.episodes=5")
	if code != exitFailed || !strings.Contains(said, "session.episodes is 5") || !strings.Contains(said, "at least 6") {
		t.Errorf("fewer episodes than there are: exit code %d:\n%s", code, said)
	}
	if !bytes.Contains(l.read("config.yaml"), []byte("episodes: 6")) {
		t.Error("what was refused is kept")
	}
	if err := os.WriteFile(filepath.Join(l.session(), "config.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"run", "--resume"}, {"eval"}} { // the defaults would be taken
		if code, said := l.run(t.Context(), &console{}, args...); code != exitFailed || !strings.Contains(said, "config.yaml is missing or empty") {
			t.Errorf("%v with an empty configuration: exit code %d:\n%s", args, code, said)
		}
	}
}

func (l lab) read(name string) []byte {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.session(), name))
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

// Reproduction goes on with sessions that are there, but not with other ones.
func TestReproduceRefusesSessionsOfAnotherConfiguration(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	command := []string{"reproduce", "--seeds", "2", "--set", "session.episodes=1"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if code, out := l.run(ctx, &console{on: "features", do: cancel}, command...); code != exitInterrupted || !strings.Contains(out, "the same command") {
		t.Fatalf("interrupted: exit code %d:\n%s", code, out)
	}
	for _, tt := range []struct{ set, want string }{
		{"learner.updates=3", "learner.updates 2, not 3; leave it so, or keep these apart with --set out=FOLDER"},
		{"perception.gate=hold", "perception.gate none, not hold"}, // which a session may go on with
	} {
		if code, out := l.run(t.Context(), &console{}, append(command, "--set", tt.set)...); code != exitFailed || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit code %d, want %q:\n%s", tt.set, code, tt.want, out)
		}
	}
	table := l.must(append(command, "--offline", "bc,iql", "--steps", "2")...)
	for _, want := range []string{"| seed | cloned", "\n| 1 | ", "\n| 2 | ", "\n| mean | ", "| seed | bc | iql |"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
}

// A report is passed on, and so is a folder.
func TestPasswordIsNotKept(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.env = append(l.env, "RAPPORT_BUS_USER=arm", "RAPPORT_BUS_PASSWORD=open sesame")
	l.must("run", "--set", "session.episodes=1")
	for _, name := range []string{"config.yaml", "report.html"} {
		if b := l.read(name); bytes.Contains(b, []byte("sesame")) || !bytes.Contains(b, []byte("user: arm")) {
			t.Errorf("%s holds the password, or not the user", name)
		}
	}
}

// The command that an interrupt names needs nothing else: no session file, no
// environment, and no luck with which session is the newest.
func TestInterruptNamesTheCommandThatGoesOn(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.interrupted("features", "run", "--set", "name=older", "--set", "session.episodes=1")
	l.interrupted("features", "run", "--set", "name=newer", "--set", "session.episodes=1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, out := l.run(ctx, &console{on: "features", do: cancel}, "run", "--resume", "--set", "name=older")
	_, command, found := strings.Cut(out, "go on with: rapport ")
	if !found {
		t.Fatalf("no command is named:\n%s", out)
	}
	again, stop := context.WithCancel(t.Context())
	defer stop()
	c := &console{on: "features", do: stop}
	if code := run(again, strings.Fields(command), nil, c, c); code != exitInterrupted || !strings.HasSuffix(c.String(), "rapport "+command) {
		t.Errorf("%s: exit code %d:\n%s", command, code, c)
	}
}
