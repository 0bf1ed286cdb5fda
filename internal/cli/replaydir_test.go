package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A session whose replay is in its folder ends as one in memory, also where it was
// stopped before its first checkpoint, and after the folder was damaged and removed.
func TestReplayInTheFolderGoesOnToTheSameBits(t *testing.T) {
	t.Parallel()
	want := undisturbed(t)
	l := newLab(t)
	l.interrupted("fine-tune        1/6", "run", "--set", "learner.replay.dir=session")
	l.interrupted("fine-tune        3/6", "run", "--resume")
	journal := filepath.Join(l.session(), "replay", "journal")
	if err := os.WriteFile(journal, []byte("no journal"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := l.run(t.Context(), &console{}, "run", "--resume")
	if code != exitFailed || !strings.Contains(out, "remove "+filepath.Dir(journal)) {
		t.Errorf("a damaged replay: exit code %d, want %d and the remedy:\n%s", code, exitFailed, out)
	}
	if err := os.RemoveAll(filepath.Dir(journal)); err != nil {
		t.Fatal(err)
	}
	l.must("run", "--resume")
	if diff := cmp.Diff(want, l.outcome()); diff != "" {
		t.Errorf("the session with its replay in the folder ends otherwise:\n%s", diff)
	}
	if _, err := os.Stat(journal); err != nil {
		t.Error(err)
	}
}

// An interrupted replay that wrote films is not refused in the words that end it.
func TestInterruptedWritingSaysHowToBeginAgain(t *testing.T) {
	empty, part := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(part, "films"), 0o755); err != nil {
		t.Fatal(err)
	}
	for out, want := range map[string]string{
		"": "the same command", empty: "the same command", filepath.Join(empty, "new"): "the same command",
		part: "the same command, once " + part + " is removed, or with another by --out",
	} {
		a := &app{again: "the same command"}
		if a.restart(out, "another by --out"); a.again != want {
			t.Errorf("%q: %s", out, a.again)
		}
	}
}
