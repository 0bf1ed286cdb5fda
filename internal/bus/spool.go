package bus

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

const (
	spoolExt   = ".episode"
	refusedExt = ".refused" // what no server will ever take
)

// spool is a folder of messages that were not acknowledged yet, in order of
// their numbers. A file that has its name is complete and on the disk.
type spool struct {
	dir  string
	lock *fileLock

	mu    sync.Mutex
	next  uint64
	queue []string // names, oldest first
}

// openSpool takes the folder, and what an earlier process left in it.
func openSpool(dir string) (*spool, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("bus: spool: %w", err)
	}
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("bus: spool %s: %w", dir, err)
	}
	s := &spool{dir: dir, lock: lock}
	es, err := os.ReadDir(dir)
	if err != nil {
		lock.release()
		return nil, fmt.Errorf("bus: spool: %w", err)
	}
	for _, e := range es {
		name := e.Name()
		var n uint64
		// Refused files keep their numbers, so that nothing ever overwrites one.
		if _, err := fmt.Sscanf(name, "%d.", &n); err != nil {
			continue
		}
		s.next = max(s.next, n+1)
		if strings.HasSuffix(name, spoolExt) {
			s.queue = append(s.queue, name)
		}
	}
	slices.SortFunc(s.queue, func(a, b string) int { return cmp.Compare(a, b) })
	return s, nil
}

// put writes b, and returns when it would survive a power cut.
func (s *spool) put(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := fmt.Sprintf("%020d%s", s.next, spoolExt)
	path := filepath.Join(s.dir, name)
	if err := writeSync(path+".part", b); err != nil {
		return fmt.Errorf("bus: spool: %w; is the disk full?", err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		return fmt.Errorf("bus: spool: %w", err)
	}
	if err := syncDir(s.dir); err != nil {
		return fmt.Errorf("bus: spool: %w", err)
	}
	s.next++
	s.queue = append(s.queue, name)
	return nil
}

// head is the oldest message, or no name.
func (s *spool) head() (name string, b []byte, err error) {
	s.mu.Lock()
	if len(s.queue) > 0 {
		name = s.queue[0]
	}
	s.mu.Unlock()
	if name == "" {
		return "", nil, nil
	}
	if b, err = os.ReadFile(filepath.Join(s.dir, name)); err != nil {
		return name, nil, fmt.Errorf("bus: spool: %w", err)
	}
	return name, b, nil
}

// drop forgets the head, which was acknowledged.
func (s *spool) drop(name string) error {
	err := os.Remove(filepath.Join(s.dir, name))
	s.pop(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("bus: spool: %w", err)
	}
	return nil
}

// refuse keeps the head aside for a person to look at.
func (s *spool) refuse(name string) (string, error) {
	aside := filepath.Join(s.dir, strings.TrimSuffix(name, spoolExt)+refusedExt)
	err := os.Rename(filepath.Join(s.dir, name), aside)
	s.pop(name)
	return aside, err
}

func (s *spool) pop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 && s.queue[0] == name {
		s.queue = s.queue[1:]
	}
}

func (s *spool) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

func writeSync(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return closing(f, err)
	}
	if err := f.Sync(); err != nil {
		return closing(f, err)
	}
	return f.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return closing(d, d.Sync())
}
