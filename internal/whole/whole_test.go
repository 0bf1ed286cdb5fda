package whole_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rapport-rl/rapport/internal/whole"
)

// holds checks what a file has.
func holds(t *testing.T, file, want string, mode os.FileMode) {
	t.Helper()
	b, err := os.ReadFile(file)
	st, err2 := os.Stat(file)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if string(b) != want || st.Mode().Perm() != mode {
		t.Errorf("%s has %q and mode %v, want %q and %v", filepath.Base(file), b, st.Mode().Perm(), want, mode)
	}
}

// A file of a group's stays the group's, also where somebody was killed while they wrote it.
func TestAFileKeepsItsMode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cameras.json")
	for _, left := range []bool{false, true} {
		err := os.WriteFile(file, []byte("one"), 0o644)
		if left {
			err = errors.Join(err, os.WriteFile(file+".part", []byte("half of something long"), 0o600))
		}
		if err := errors.Join(err, os.Chmod(file, 0o666)); err != nil { // which a umask forbids
			t.Fatal(err)
		}
		if err := whole.Write(file, []byte("two")); err != nil {
			t.Error(err)
		}
		holds(t, file, "two", 0o666)
	}
}

// What can only be written in place is, or what was measured would be lost.
func TestAFileThatCannotBeReplacedIsWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cameras.json")
	other := file + ".other"
	err := errors.Join(os.WriteFile(file, []byte("a long one"), 0o644), os.Chmod(file, 0o666), os.Link(file, other), os.Mkdir(file+".part", 0o755))
	if err != nil {
		t.Fatal(err)
	}
	if err := whole.Write(file, []byte("two")); err != nil {
		t.Error(err)
	}
	holds(t, file, "two", 0o666)
	holds(t, other, "two", 0o666) // in place
	if err := whole.Write(filepath.Join(filepath.Dir(file), "none", "cameras.json"), nil); err == nil {
		t.Error("written in no folder")
	}
}

// A full disk leaves what was there.
func TestAFullDiskLeavesTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cameras.json")
	if err := errors.Join(os.WriteFile(file, []byte("one"), 0o600), os.Symlink("/dev/full", file+".part")); err != nil {
		t.Fatal(err)
	}
	if err := whole.Write(file, []byte("two")); err == nil {
		t.Error("written without room")
	}
	holds(t, file, "one", 0o600)
}
