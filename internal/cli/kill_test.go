package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// beProgram, in a child's environment, makes this test binary the program.
const beProgram = "BE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		os.Exit(Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
	}
	// Where children note their sessions: not where those of the user are.
	living, err := os.MkdirTemp("", "living")
	if err == nil {
		err = os.Setenv("XDG_RUNTIME_DIR", living)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := errors.Join(tidy(), os.RemoveAll(living)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// child runs a command in a process of its own, to which do happens when it
// prints on, and returns how it ended and what it said.
func (l lab) child(on string, do func(*os.Process) error, args ...string) (*os.ProcessState, string) {
	l.t.Helper()
	cmd := exec.Command(os.Args[0], append(args, "-c", l.file)...)
	cmd.Env = append(append(os.Environ(), l.env...), beProgram+"=yes")
	c := &console{on: on, do: func() {
		if err := do(cmd.Process); err != nil {
			l.t.Error(err)
		}
	}}
	cmd.Stdout, cmd.Stderr = c, c
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		l.t.Fatal(err)
	}
	return cmd.ProcessState, c.String()
}

// A process that is killed has no chance to tidy up: files are cut off, and the
// database is left as it was written last.
func TestKilledSessionGoesOnToTheSameBits(t *testing.T) {
	t.Parallel()
	want := undisturbed(t)
	l := newLab(t)
	command := []string{"run"}
	for _, stage := range []string{"encoder", "clone", "fine-tune        2/6", "fine-tune        5/6", "evaluate after", "report"} {
		end, out := l.child(stage, (*os.Process).Kill, command...)
		if w, ok := end.Sys().(syscall.WaitStatus); !ok || w.Signal() != syscall.SIGKILL {
			t.Fatalf("in %s: %v, want killed:\n%s", stage, end, out)
		}
		command = []string{"run", "--resume"}
	}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if end, out := l.child("report", func(p *os.Process) error { return p.Signal(s) }, command...); end.ExitCode() != exitInterrupted {
			t.Errorf("%v: %v, want exit code %d:\n%s", s, end, exitInterrupted, out)
		}
	}
	l.must(command...)
	if diff := cmp.Diff(want, l.outcome()); diff != "" {
		t.Errorf("the killed session differs from the undisturbed one:\n%s", diff)
	}
}
