package cli

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A terminal that is closed, or an ssh that is lost, ends a session as Ctrl-C does, though
// the shell hangs up a second time.
func TestHangUpEndsASessionInOrder(t *testing.T) {
	t.Parallel()
	// Under nohup it is ignored; what is caught here, a child takes as it comes.
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	defer signal.Stop(c)
	want := undisturbed(t)
	l := newLab(t)
	twice := func(p *os.Process) error { return errors.Join(p.Signal(syscall.SIGHUP), p.Signal(syscall.SIGHUP)) }
	for _, stage := range []string{"clone", "fine-tune        2/6"} {
		command := []string{"run"}
		if stage != "clone" {
			command = append(command, "--resume")
		}
		if end, out := l.child(stage, twice, command...); end.ExitCode() != exitInterrupted || !strings.Contains(out, "rapport run --resume") {
			t.Fatalf("in %s: %v, want exit code %d and how to go on:\n%s", stage, end, exitInterrupted, out)
		}
	}
	l.must("run", "--resume")
	if diff := cmp.Diff(want, l.outcome()); diff != "" {
		t.Errorf("the session that was hung up on differs from the undisturbed one:\n%s", diff)
	}
}

// What reads the output may end before, as head does.
func TestOutputThatNobodyReads(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	gone := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		defer w.Close()
		var said bytes.Buffer
		cmd := exec.CommandContext(t.Context(), os.Args[0], append(args, "-c", l.file)...)
		cmd.Env = append(append(os.Environ(), l.env...), beProgram+"=yes")
		cmd.Stdout, cmd.Stderr = w, &said
		if args[0] == "run" {
			cmd.Stderr = w // its progress, too
		}
		if err := cmd.Run(); err != nil {
			t.Errorf("rapport %s: %v\n%s", strings.Join(args, " "), err, said.String())
		}
		return cmd, &said
	}
	for _, args := range [][]string{{"help"}, {"config"}, {"config", "--resolved"}} {
		if _, said := gone(args...); said.Len() > 0 {
			t.Errorf("rapport %s complains: %s", strings.Join(args, " "), said.String())
		}
	}
	gone("run")
	l.outcome() // is whole
}
