package cli

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rapport-rl/rapport/internal/whole"
	"github.com/rapport-rl/rapport/internal/wire"
)

// What took hours is replaced by what is whole, and stays where that cannot be written.
func TestResultsAreReplacedWhole(t *testing.T) {
	dir := t.TempDir()
	file, kept, alias := filepath.Join(dir, "group-1.csv"), filepath.Join(dir, "kept"), filepath.Join(dir, "alias")
	if err := writeFile(file, []wire.Point{{Kind: "rapl"}}, nil); err != nil {
		t.Fatal(err)
	}
	// A second name of the file sees what is written in place.
	if err := errors.Join(os.Link(file, kept), os.Symlink(file, alias), os.Chmod(file, 0o666)); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(alias, []wire.Point{{Kind: "rapl"}, {Kind: "truth"}}, nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{kept: 1, file: 2, alias: 2} {
		if ps, _, err := readFile(name); err != nil || len(ps) != want {
			t.Errorf("%s: %d points, want %d (%v)", name, len(ps), want, err)
		}
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o666 {
		t.Errorf("mode %v, %v; want what it was", st.Mode(), err)
	}
	if err := os.Symlink("/dev/full", file+".part"); err != nil { // as a disk that is full
		t.Fatal(err)
	}
	if err := writeFile(file, nil, nil); err == nil {
		t.Error("written without room")
	}
	if ps, _, err := readFile(file); err != nil || len(ps) != 2 {
		t.Errorf("%d points are left, want 2 (%v)", len(ps), err)
	}
	if err := whole.Write("/dev/null", []byte("x")); err != nil {
		t.Error(err)
	}
}
