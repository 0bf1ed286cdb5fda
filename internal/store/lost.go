package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrLost says that a folder holds what a session left, without the session.db that
// says what of it counts.
var ErrLost = errors.New("session.db is not there")

// Lost returns nil where dir holds a session.db, or nothing of a session; else an
// error that wraps ErrLost and names what a new session would overwrite.
func Lost(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "session.db")); !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	what, err := leavings(dir)
	if err != nil || what == "" {
		return err
	}
	return fmt.Errorf("store: %s holds %s of a session whose %w; bring it back from a copy, or choose another name or folder (%s)", dir, what, ErrLost, byThemselves)
}

// emptied is hollow where session.db has no byte.
func emptied(dir string) error {
	if st, err := os.Stat(filepath.Join(dir, "session.db")); err != nil || st.Size() > 0 {
		return nil
	}
	return hollow(dir)
}

// hollow says that session.db holds no tables, nil where the folder holds nothing of a
// session either, so that its creator died.
func hollow(dir string) error {
	what, err := leavings(dir)
	if err != nil || what == "" {
		return err
	}
	return fmt.Errorf("%w: %s is empty, though the folder holds %s; bring it back from a copy (%s)", ErrCorrupt, filepath.Join(dir, "session.db"), what, byThemselves)
}

// byThemselves says what episodes without a session.db are good for.
const byThemselves = "the recordings in episodes/ can be learned from by robot.kind bag"

// leavings says what a session left in dir, "" where one was only begun.
func leavings(dir string) (string, error) {
	var what []string
	for _, w := range []struct{ folder, of, called string }{{"episodes", ".mcap", "episode"}, {"checkpoints", "", "checkpoint"}, {"nats", "", ""}} {
		entries, err := os.ReadDir(filepath.Join(dir, w.folder))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("store: %w", err)
		}
		n := 0
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), w.of) {
				n++
			}
		}
		switch {
		case n == 0:
		case w.called == "":
			what = append(what, "the journal")
		case n == 1:
			what = append(what, "1 "+w.called)
		default:
			what = append(what, fmt.Sprintf("%d %ss", n, w.called))
		}
	}
	return strings.Join(what, " and "), nil
}
