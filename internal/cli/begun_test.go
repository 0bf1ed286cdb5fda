package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// begun are the sessions that tests begin with, each run once.
var begun = struct {
	mu  sync.Mutex
	all map[string]*earlier
}{all: map[string]*earlier{}}

// earlier is a session's folder that is copied and never used itself.
type earlier struct {
	once sync.Once
	dir  string
	out  outcome // of one that ended
}

// begin runs a session with args until it prints on, or to its end if on is empty,
// unless an earlier test did.
func begin(t *testing.T, on string, args ...string) *earlier {
	t.Helper()
	key := on + "\n" + strings.Join(args, "\n")
	begun.mu.Lock()
	e := begun.all[key]
	if e == nil {
		e = &earlier{}
		begun.all[key] = e
	}
	begun.mu.Unlock()
	e.once.Do(func() {
		l := newLab(t)
		if on == "" {
			l.must(append([]string{"run"}, args...)...)
			e.out = l.outcome()
		} else {
			l.interrupted(on, append([]string{"run"}, args...)...)
		}
		dir, err := os.MkdirTemp("", "rapport-begun-")
		if err == nil {
			err = os.CopyFS(dir, os.DirFS(l.session()))
		}
		if err != nil {
			t.Fatal(err)
		}
		e.dir = dir
	})
	if e.dir == "" {
		t.Fatalf("the session that this test begins with failed: %q", key)
	}
	return e
}

// copyTo puts the session at dir, which must not be there.
func (e *earlier) copyTo(t *testing.T, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(e.dir)); err != nil {
		t.Fatal(err)
	}
}

// went returns a lab in which a session ran as begin has it.
func went(t *testing.T, on string, args ...string) lab {
	t.Helper()
	l := newLab(t)
	begin(t, on, args...).copyTo(t, l.session())
	return l
}

// halfway is where most of what goes wrong later goes wrong: the learner's checkpoint is
// of four episodes, and five are stored.
const halfway = "fine-tune        5/6"

// ended returns a lab with a session that nothing disturbed.
func ended(t *testing.T, args ...string) lab {
	t.Helper()
	return went(t, "", args...)
}

// undisturbed is how a session ends that nothing disturbed.
func undisturbed(t *testing.T) outcome {
	t.Helper()
	return begin(t, "").out
}

// tidy removes the sessions that tests began with.
func tidy() error {
	var err error
	for _, e := range begun.all {
		if e.dir != "" {
			err = errors.Join(err, os.RemoveAll(e.dir))
		}
	}
	return err
}

// earlierIn puts the session of begin beside the lab's own, for session.from.
func (l lab) earlierIn(e *earlier) string {
	l.t.Helper()
	dir := filepath.Join(l.dir, "earlier")
	e.copyTo(l.t, dir)
	return dir
}
