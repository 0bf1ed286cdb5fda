//go:build peers

package hdf5

import (
	"os/exec"
	"testing"
)

// Writes larger files with Debian's h5py, in two more ways, and compares what is
// read with what h5py wrote. Needs python3-h5py.
func TestPeerH5py(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("/usr/bin/python3", "testdata/make.py", dir, "60").CombinedOutput(); err != nil {
		t.Fatalf("h5py: %v\n%s", err, out)
	}
	for _, file := range []string{"default.h5", "v108.h5", "latest.h5", "ordered.h5", "block.h5"} {
		t.Run(file, func(t *testing.T) { agrees(t, dir, file) })
	}
}
