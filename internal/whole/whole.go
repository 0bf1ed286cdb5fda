// Package whole replaces files that took long to make, or that hold more than is written now.
package whole

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// Write writes a file whole or, as where the disk is full, leaves it as it was. What is no file,
// as /dev/stdout, is written to. A link's target is replaced, and keeps its mode. A file that
// cannot be replaced, as one that is mounted by itself, or whose folder may not be written to, is
// written in place.
func Write(file string, data []byte) error {
	mode, there := os.FileMode(0o644), false
	if st, err := os.Stat(file); err == nil {
		if !st.Mode().IsRegular() {
			return os.WriteFile(file, data, mode)
		}
		mode, there = st.Mode().Perm(), true
	}
	if linked, err := filepath.EvalSymlinks(file); err == nil {
		file = linked
	}
	part := file + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err == nil {
		_, err = f.Write(data)
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(part)
			return err
		}
		if there { // whatever the umask is, or the mode of a part that was left by who was killed
			err = os.Chmod(part, mode)
		}
		if err == nil {
			err = os.Rename(part, file)
		}
		if err != nil {
			os.Remove(part)
		}
	}
	if err == nil || !there || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return err
	}
	return os.WriteFile(file, data, mode)
}
