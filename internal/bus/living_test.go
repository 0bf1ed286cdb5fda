package bus_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/bus"
)

func TestLivingSessionsAreForTheirOwner(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// The first takes none, so the second does.
	l := bus.Living{filepath.Join(dir, "file", "living"), filepath.Join(dir, "rapport", "living")}
	if got, err := l.Folders(); err == nil || got != nil {
		t.Errorf("below a file: %v, %v; want an error", got, err)
	}
	l[0] = filepath.Join("/proc", "rapport")
	if got, err := l.Folders(); err != nil || got != nil {
		t.Errorf("before any: %v, %v", got, err)
	}
	first, second := filepath.Join(dir, "my runs", "a"), filepath.Join(dir, "b")
	leave, err := l.Enter(first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Enter(second); err != nil { // and its process is killed
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{l[1]: 0o700, filepath.Join(l[1], "*"): 0o600} {
		all, err := filepath.Glob(name)
		if err != nil || len(all) == 0 {
			t.Fatal(all, err)
		}
		for _, name := range all {
			if st, err := os.Stat(name); err != nil || st.Mode().Perm() != want {
				t.Errorf("%s: mode %v, %v; want %v", name, st.Mode(), err, want)
			}
		}
	}
	if _, err := l.Enter(second); err != nil { // its next life
		t.Fatal(err)
	}
	if got, err := l.Folders(); err != nil || !cmp.Equal(got, []string{second, first}) {
		t.Errorf("got %v, %v; want both, each once", got, err)
	}
	if err := leave(); err != nil {
		t.Error(err)
	}
	if got, err := l.Folders(); err != nil || !cmp.Equal(got, []string{second}) {
		t.Errorf("got %v, %v; want the second alone", got, err)
	}
	// Somebody else's entries would have processes signalled.
	if err := os.Chmod(l[1], 0o777); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Folders(); err == nil || len(got) > 0 {
		t.Errorf("from a folder that others write to: %v, %v; want an error", got, err)
	}
	if _, err := l.Enter(first); err == nil {
		t.Error("entered into a folder that others write to")
	}
}
