// Package whole replaces files that took long to make, or that hold more than is written now.
package whole

import (
	"os"
	"path/filepath"
)

// Write writes a file whole or, as where the disk is full, leaves it as it was. What is no file,
// as /dev/stdout, is written to. A link's target is replaced, and keeps its mode.
func Write(file string, data []byte) error {
	mode := os.FileMode(0o644)
	if st, err := os.Stat(file); err == nil {
		if !st.Mode().IsRegular() {
			return os.WriteFile(file, data, mode)
		}
		mode = st.Mode().Perm()
	}
	if linked, err := filepath.EvalSymlinks(file); err == nil {
		file = linked
	}
	part := file + ".part"
	err := os.WriteFile(part, data, mode)
	if err == nil {
		err = os.Rename(part, file)
	}
	if err != nil {
		os.Remove(part)
	}
	return err
}
