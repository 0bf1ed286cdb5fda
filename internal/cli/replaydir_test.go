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
