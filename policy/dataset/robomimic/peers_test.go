//go:build peers

package robomimic

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// Writes the files of testdata anew with Debian's h5py. Needs python3-h5py.
func TestPeerH5py(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("/usr/bin/python3", "testdata/make.py", dir).CombinedOutput(); err != nil {
		t.Fatalf("h5py: %v\n%s", err, out)
	}
	agrees(t, filepath.Join(dir, "robosuite.hdf5"))
}
