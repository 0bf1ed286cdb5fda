package wire

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Vacant refuses files that WriteNew could not write, before what takes long or is written
// beside them: one that is there already, and one in a folder that takes none.
func Vacant(paths ...string) error {
	var errs []error
	for i, path := range paths {
		if _, err := os.Lstat(path); err == nil {
			errs = append(errs, thereAlready(path))
			continue
		}
		for _, other := range paths[:i] {
			if filepath.Clean(other) == filepath.Clean(path) {
				errs = append(errs, fmt.Errorf("wire: %s is named twice; write to two files", path))
			}
		}
		tmp, err := unnamed(path)
		if err == nil {
			err = errors.Join(tmp.Close(), os.Remove(tmp.Name()))
		}
		if err != nil {
			if f := (*os.PathError)(nil); errors.As(err, &f) { // which names a file that nobody asked for
				err = f.Err
			}
			errs = append(errs, fmt.Errorf("wire: write %s: %w; name a file in a folder that is there and can be written to", path, err))
		}
	}
	return errors.Join(errs...)
}

// WriteNew writes a file that must not be there yet, whole or not at all.
func WriteNew(path string, data []byte) error { return writeNew(path, data, os.Link) }

func writeNew(path string, data []byte, link func(from, to string) error) error {
	tmp, err := unnamed(path)
	if err != nil {
		return fmt.Errorf("wire: write %s: %w", path, err)
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		// A link, unlike a rename, does not replace what is there.
		if err = link(tmp.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
			err = copyNew(path, data) // as on file systems that have none
		}
	}
	err = errors.Join(err, os.Remove(tmp.Name()))
	if errors.Is(err, os.ErrExist) {
		return thereAlready(path)
	}
	if err != nil {
		return fmt.Errorf("wire: write %s: %w", path, err)
	}
	return nil
}

func thereAlready(path string) error {
	return fmt.Errorf("wire: %s is there already; remove it, or write to another file", path)
}

// unnamed creates a file in the folder of path, for everybody whom the umask lets read it.
func unnamed(path string) (*os.File, error) {
	return createNew(filepath.Join(filepath.Dir(path), ".tmp-"+rand.Text()))
}

func createNew(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
}

// copyNew writes a file in place, and leaves none that is not whole.
func copyNew(path string, data []byte) error {
	f, err := createNew(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
