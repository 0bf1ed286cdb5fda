package wire

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// New files are for others to read, as far as the umask lets them, with and without hard links,
// and leave nothing beside them.
func TestNewFilesAreWrittenWhole(t *testing.T) {
	dir := t.TempDir()
	like, err := os.OpenFile(filepath.Join(dir, "like"), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	st, err := like.Stat()
	if err := errors.Join(err, like.Close()); err != nil {
		t.Fatal(err)
	}
	for name, link := range map[string]func(from, to string) error{
		"linked": os.Link, "copied": func(from, to string) error {
			return &os.LinkError{Op: "link", Old: from, New: to, Err: errors.ErrUnsupported}
		},
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(Vacant(path), writeNew(path, []byte(name), link)); err != nil {
			t.Fatal(err)
		}
		got, err := os.Stat(path)
		if err != nil || got.Mode() != st.Mode() {
			t.Errorf("%s: mode %v, want %v; %v", name, got.Mode(), st.Mode(), err)
		}
		wantErr(t, writeNew(path, []byte("other"), link), path+" is there already")
		wantErr(t, Vacant(path), path+" is there already")
		if b, err := os.ReadFile(path); err != nil || string(b) != name {
			t.Errorf("%s holds %q, %v", name, b, err)
		}
	}
	wantErr(t, Vacant(filepath.Join(dir, "no", "where")), "name a file in a folder that is there")
	wantErr(t, Vacant(filepath.Join(dir, "x"), filepath.Join(dir, ".", "x")), "named twice")
	if left, err := filepath.Glob(filepath.Join(dir, ".tmp-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
