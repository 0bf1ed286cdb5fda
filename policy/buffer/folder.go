package buffer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/rapport-rl/rapport/internal/flock"
)

// placed says where an episode is on disk.
type placed struct {
	segment        uint64   // its number
	off, size      int64    // bytes of rows and frames there
	rowSum, pixSum []uint32 // (T+1,) checksums of each input's row and frames
	record         int64    // bytes of its record in the journal
	seg            *segment // nil in memory
}

// segment is a file of episodes. Each is its T+1 rows (observation, action; the
// last without one), float32, then the frames of its T+1 inputs.
type segment struct {
	number uint64
	path   string
	file   *os.File
	end    int64 // where the next episode goes
	live   int   // episodes in it
}

// folder is where a buffer keeps rows and frames: a lock, a journal and segments
// of two kinds. Those of episodes that stay, as demonstrations and
// interventions do, grow in number. The others go round: when the last episode
// of a segment has gone, its file is the next to be written.
type folder struct {
	dir      string
	lock     *os.File
	journal  *journal
	limit    int64 // bytes from which on a segment is full
	segments map[uint64]*segment
	filling  [2]*segment // by kind; nil before the first episode
	newest   uint64      // number of a segment
	spare    *segment    // without episodes
	pen      pen
}

// The kinds of segments, which begin their names.
var kinds = [2]string{"ring", "keep"}

var segmentName = regexp.MustCompile(`^(ring|keep)-([0-9]{8,19})\.seg$`)

func (f *folder) path(kind int, number uint64) string {
	return filepath.Join(f.dir, fmt.Sprintf("%s-%08d.seg", kinds[kind], number))
}

// claim makes a folder if it is not there, and keeps others out of it.
func claim(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("buffer: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("buffer: %w", err)
	}
	if err := flock.Try(f); err != nil {
		who, _ := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("buffer: lock %s: %w", dir, err)
		}
		return nil, fmt.Errorf("%w: %s belongs to process %s: end it, or use another folder", ErrLocked, dir, strings.TrimSpace(string(who)))
	}
	// The number is for the message alone: the lock goes with its process.
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	}
	if err != nil {
		return nil, fmt.Errorf("buffer: %w", errors.Join(err, flock.Release(f)))
	}
	return f, nil
}

// open gives b what its folder holds.
func (b *Buffer) open(dir string, limit int64) (err error) {
	lock, err := claim(dir)
	if err != nil {
		return err
	}
	f := &folder{dir: dir, lock: lock, limit: limit, segments: make(map[uint64]*segment)}
	b.disk = f
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	names, err := f.list()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "journal")
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(names) > 0:
		return broken(path, "is missing beside %d segments", len(names))
	case errors.Is(err, fs.ErrNotExist):
		return b.compact(path)
	case err != nil:
		return fmt.Errorf("buffer: %w", err)
	}
	if err := b.load(path, data); err != nil {
		return err
	}
	return f.attach(b, names)
}

// load does what a journal tells, and leaves it ready to be written on.
func (b *Buffer) load(path string, data []byte) error {
	var other error
	first := true
	end, err := readJournal(path, data, func(kind byte, body []byte) (err error) {
		switch {
		case other != nil:
			return nil
		case !first:
			return b.apply(kind, body)
		case kind != recView:
			return errors.New("it does not begin with the view")
		}
		first = false
		other, err = b.readCover(filepath.Dir(path), body)
		return err
	})
	switch {
	case err != nil:
		return err
	case other != nil:
		return other
	case first:
		return broken(path, "has no record")
	}
	evict := b.surplus(nil) // the capacity may be another
	for range evict {
		b.evict()
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("buffer: %w", err)
	}
	j := &journal{path: path, file: file, end: end, kept: end, live: fileHead}
	for _, e := range b.order {
		if e.run != nil {
			j.live += e.run.record
		} else {
			j.live += goneSize(e.id)
		}
	}
	b.disk.journal = j
	// What is beyond the end was never promised, and must not be taken for
	// more than that later.
	if err = file.Truncate(end); err == nil {
		if err = file.Sync(); err == nil {
			err = j.mark(end)
		}
	}
	if err != nil {
		return fmt.Errorf("buffer: mend journal: %w", err)
	}
	if evict > 0 {
		return b.compact(path)
	}
	b.tidy()
	return nil
}

// list finds the segments of a folder, by number.
func (f *folder) list() (map[uint64]int, error) {
	dir, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, fmt.Errorf("buffer: %w", err)
	}
	names := make(map[uint64]int)
	for _, d := range dir {
		m := segmentName.FindStringSubmatch(d.Name())
		if m == nil {
			continue
		}
		number, err := strconv.ParseUint(m[2], 10, 63)
		if err != nil {
			continue
		}
		kind := 0
		if m[1] == kinds[1] {
			kind = 1
		}
		if _, twice := names[number]; twice {
			return nil, broken(f.dir, "has two segments of number %d", number)
		}
		names[number] = kind
		f.newest = max(f.newest, number)
	}
	return names, nil
}

// attach opens the segments that the episodes of b are in, and does away with
// the others.
func (f *folder) attach(b *Buffer, names map[uint64]int) error {
	for _, e := range b.order {
		r := e.run
		if r == nil {
			continue
		}
		s := f.segments[r.segment]
		if s == nil {
			kind, ok := names[r.segment]
			if !ok {
				return broken(f.path(b.kind(r), r.segment), "is missing, and holds episode %s", r.id)
			}
			s = &segment{number: r.segment, path: f.path(kind, r.segment)}
			f.segments[r.segment] = s
			file, err := os.OpenFile(s.path, os.O_RDWR, 0)
			if err != nil {
				return fmt.Errorf("buffer: %w", err)
			}
			s.file = file
			if last := f.filling[kind]; last == nil || s.number > last.number {
				f.filling[kind] = s
			}
		}
		r.seg = s
		s.live++
		s.end = max(s.end, r.off+r.size)
	}
	for _, s := range f.segments {
		st, err := s.file.Stat()
		if err != nil {
			return fmt.Errorf("buffer: %w", err)
		}
		if st.Size() < s.end {
			return broken(s.path, "has %d bytes, of %d that were written", st.Size(), s.end)
		}
	}
	for number, kind := range names {
		if f.segments[number] == nil {
			// One that cannot be removed takes room, and nothing else.
			_ = os.Remove(f.path(kind, number))
		}
	}
	return nil
}

// kind is the kind of segment that r goes to.
func (b *Buffer) kind(r *run) int {
	if r.demos() > 0 {
		return 1
	}
	return 0
}

// next makes the segment that is filled next.
func (f *folder) next(kind int) (*segment, error) {
	number := f.newest + 1
	s := &segment{number: number, path: f.path(kind, number)}
	var err error
	if f.spare != nil {
		if err = os.Rename(f.spare.path, s.path); err != nil {
			return nil, err
		}
		s.file, f.spare = f.spare.file, nil
	} else if s.file, err = os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644); err != nil {
		return nil, err
	}
	if err := syncDir(f.dir); err != nil {
		return nil, errors.Join(err, s.file.Close(), os.Remove(s.path))
	}
	full := f.filling[kind]
	f.newest, f.filling[kind], f.segments[number] = number, s, s
	if full != nil && full.live == 0 {
		f.retire(full)
	}
	return s, nil
}

// leave notes that an episode has gone from its segment.
func (f *folder) leave(r *run) {
	s := r.seg
	f.journal.live += goneSize(r.id) - r.record
	s.live--
	switch {
	case s.live > 0:
	case s == f.filling[0] || s == f.filling[1]:
		s.end = 0
	default:
		f.retire(s)
	}
}

// retire keeps the file of a segment without episodes for the next, or removes
// it. One that cannot be removed is found by the next open.
func (f *folder) retire(s *segment) {
	delete(f.segments, s.number)
	if f.spare == nil {
		f.spare = s
		return
	}
	_ = s.file.Close()
	_ = os.Remove(s.path)
}

func (f *folder) close() error {
	var errs []error
	if f.journal != nil {
		errs = append(errs, f.journal.close())
	}
	for _, s := range f.segments {
		if s.file != nil {
			errs = append(errs, s.file.Close())
		}
	}
	if f.spare != nil {
		errs = append(errs, f.spare.file.Close())
	}
	if err := errors.Join(append(errs, flock.Release(f.lock))...); err != nil {
		return fmt.Errorf("buffer: close %s: %w", f.dir, err)
	}
	return nil
}
