package bus

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Living are folders, each a user's on one machine, that say where the sessions lie which are
// driven, so that whoever stops them need not know: an entry is the path of a session's folder,
// whose address is there (ReadAddress). A killed process leaves its entry.
type Living []string

// Enter notes the session in dir in the first of the folders that takes it, until leave is
// called.
func (l Living) Enter(dir string) (leave func() error, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("bus: living: %w", err)
	}
	errs := []error{errors.New("bus: living: no folder takes the session's entry")}
	for _, folder := range l {
		path, err := enter(folder, dir)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		return func() error {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("bus: living: %w", err)
			}
			return nil
		}, nil
	}
	return nil, errors.Join(errs...)
}

func enter(folder, dir string) (path string, err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	if err := private(folder); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(dir))
	path = filepath.Join(folder, hex.EncodeToString(sum[:8]))
	return path, os.WriteFile(path, []byte(dir), 0o600)
}

// Folders are those of the sessions that were entered, sorted; a folder that is not there has none.
func (l Living) Folders() (dirs []string, err error) {
	var errs []error
	for _, folder := range l {
		entries, err := os.ReadDir(folder)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err = errors.Join(err, private(folder)); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, e := range entries {
			b, err := os.ReadFile(filepath.Join(folder, e.Name()))
			if errors.Is(err, os.ErrNotExist) {
				continue // left meanwhile
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if dir := strings.TrimSpace(string(b)); filepath.IsAbs(dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), errors.Join(errs...)
}

// private refuses a folder in which others could name sessions, whose processes are signalled.
func private(folder string) error {
	st, err := os.Lstat(folder)
	if err != nil {
		return err
	}
	if who, ok := st.Sys().(*syscall.Stat_t); !st.IsDir() || st.Mode().Perm()&0o077 != 0 || ok && int(who.Uid) != os.Getuid() {
		return fmt.Errorf("bus: living: %s is not a folder that its owner alone may read; remove it", folder)
	}
	return nil
}
