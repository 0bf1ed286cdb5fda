package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rapport-rl/rapport/policy"
)

// earlier is the folder of episodes of other sessions.
const earlier = "earlier"

func (s *Session) earlierPath(name string) (string, error) {
	if name == "" || len(name) > 200 || strings.ContainsRune(name, 0) || name != filepath.Base(name) || !filepath.IsLocal(name) {
		return "", fmt.Errorf("store: episode name %q is no file name", name)
	}
	return filepath.Join(s.dir, earlier, name+".mcap"), nil
}

// Keep stores an episode of another session under a name, without frames. It is none of
// Episodes: labels are about it, and the other session's folder may go.
func (s *Session) Keep(name string, e policy.Episode) error {
	path, err := s.earlierPath(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return write(path, e, [2]string{})
}

// Kept reads an episode back that Keep stored. ErrNone says that there is none of this name.
func (s *Session) Kept(name string) (policy.Episode, error) {
	path, err := s.earlierPath(name)
	if err != nil { // a label may be about anything
		return policy.Episode{}, fmt.Errorf("%w: %w", ErrNone, err)
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return policy.Episode{}, fmt.Errorf("%w: episode %q in %s", ErrNone, name, filepath.Dir(path))
	} else if err != nil {
		return policy.Episode{}, fmt.Errorf("store: %w", err)
	}
	e, err := load(path)
	if err != nil {
		return e, fmt.Errorf("%w; bring the file back from a copy, or remove it, and what was said of it is left out", err)
	}
	return e, nil
}
