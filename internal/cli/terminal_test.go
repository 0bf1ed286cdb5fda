package cli

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// On a terminal there are bars, and all of them have to end: one that stopped
// short of its total, as catching up does, once kept the program for ever.
func TestResumedSessionEndsOnATerminal(t *testing.T) {
	t.Parallel()
	l := went(t, halfway)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	// script, of Debian's essential packages, runs a command on a terminal.
	cmd := exec.CommandContext(ctx, "script", "-qec", "stty cols 100 rows 40; '"+os.Args[0]+"' run --resume -c '"+l.file+"'", "/dev/null")
	cmd.Env = append(append(os.Environ(), l.env...), beProgram+"=yes", "TERM=xterm")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, want := range []string{"fine-tune", "done", "success after"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the terminal does not show %q:\n%s", want, out)
		}
	}
}
