package buffer

import (
	"errors"
	"fmt"
)

// Reasons why a call fails, to be found by errors.Is.
var (
	// ErrEmpty says that a side has nothing to draw from yet.
	ErrEmpty = errors.New("buffer: empty")
	// ErrClosed says that a Buffer was used after Close.
	ErrClosed = errors.New("buffer: closed")
	// ErrLocked says that another process, or another Buffer, has the folder.
	ErrLocked = errors.New("buffer: folder in use")
	// ErrDamaged says that a file holds something else than was written to it.
	ErrDamaged = errors.New("buffer: damaged file")
)

var errChecksum = errors.New("its checksum differs")

// Damaged is an ErrDamaged that concerns one episode, which Forget gives up.
type Damaged struct {
	File    string // empty in memory
	Episode string
	Part    string // row or frames
	Step    int
	Err     error
}

func (d *Damaged) Error() string {
	return fmt.Sprintf("buffer: %s: the %s of step %d of episode %s cannot be read: %v; put the file back from a copy, or Forget the episode and add it again from its recording",
		d.File, d.Part, d.Step, d.Episode, d.Err)
}

// Unwrap gives ErrDamaged and the reason.
func (d *Damaged) Unwrap() []error { return []error{ErrDamaged, d.Err} }

func (r *run) damaged(part string, t int, err error) error {
	d := &Damaged{Episode: r.id, Part: part, Step: t, Err: err}
	if r.seg != nil {
		d.File = r.seg.path
	}
	return d
}

// broken is an ErrDamaged that concerns more than one episode.
func broken(file, format string, args ...any) error {
	return fmt.Errorf("%w: %s %s; put the file back from a copy, or empty the folder and add the episodes again from their recordings",
		ErrDamaged, file, fmt.Sprintf(format, args...))
}
