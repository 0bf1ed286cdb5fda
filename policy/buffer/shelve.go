package buffer

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/rapport-rl/rapport/policy"
)

// pen writes an episode to a segment, where nothing counts until the journal
// says so.
type pen struct {
	file *os.File
	at   int64 // where buf goes
	buf  []byte
}

// Write takes p, and sees to it that not too much is held back.
func (p *pen) Write(b []byte) (int, error) {
	p.buf = append(p.buf, b...)
	if len(p.buf) < 1<<20 {
		return len(b), nil
	}
	return len(b), p.flush()
}

func (p *pen) flush() error {
	n, err := p.file.WriteAt(p.buf, p.at)
	p.at += int64(n)
	p.buf = p.buf[:0]
	return err
}

// shelve puts a converted episode into the folder for good. What fails leaves
// everything as it was.
func (b *Buffer) shelve(r *run, e *policy.Episode, evict int) (err error) {
	f, kind := b.disk, b.kind(r)
	if f.journal.stuck != nil {
		return f.journal.stuck
	}
	s := f.filling[kind]
	if s == nil || s.end >= f.limit {
		if s, err = f.next(kind); err != nil {
			return fmt.Errorf("buffer: new segment: %w", err)
		}
	}
	p := &f.pen
	*p = pen{file: s.file, at: s.end, buf: p.buf[:0]}
	defer func() {
		if err != nil {
			_ = s.file.Truncate(s.end) // gives the room back; nobody reads there
		}
	}()
	if err := b.writeRows(r, p); err != nil {
		return b.adding(e, err)
	}
	if err := b.pack(r, e, p); err != nil {
		return b.adding(e, err)
	}
	if err := p.flush(); err != nil {
		return b.adding(e, err)
	}
	if err := s.file.Sync(); err != nil {
		return b.adding(e, err)
	}
	r.segment, r.off, r.size = s.number, s.end, p.at-s.end
	body := appendEpisode(nil, r, evict)
	r.record = int64(recordHead + len(body))
	if err := f.journal.append(recEpisode, body, true); err != nil {
		return b.adding(e, err)
	}
	f.journal.live += r.record
	r.seg = s
	s.end, s.live = p.at, s.live+1
	r.obs, r.act = nil, nil
	return nil
}

// adding says of what a write failed, and what to do about it.
func (b *Buffer) adding(e *policy.Episode, err error) error {
	return fmt.Errorf("buffer: episode %s was not added to %s: %w; the replay is as it was: mend that and add it again", e.ID, b.disk.dir, err)
}

// writeRows writes the rows of an episode, of which pen holds some back.
func (b *Buffer) writeRows(r *run, out io.Writer) error {
	r.rowSum = make([]uint32, r.len()+1)
	row := make([]byte, 0, b.stride())
	for t := range r.rowSum {
		row = appendFloats(row[:0], r.obs[t*b.dim:(t+1)*b.dim])
		if t < r.len() {
			row = appendFloats(row, r.act[t*b.acts:(t+1)*b.acts])
		}
		r.rowSum[t] = checksum(row)
		if _, err := out.Write(row); err != nil {
			return err
		}
	}
	return nil
}

func appendFloats(dst []byte, v []float32) []byte {
	for _, x := range v {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	return dst
}

// compact writes the journal at path anew, without what has become void.
func (b *Buffer) compact(path string) error {
	records, err := b.records()
	if err != nil {
		return err
	}
	j, err := writeJournal(path, records)
	if j == nil {
		return err
	}
	if old := b.disk.journal; old != nil {
		_ = old.file.Close() // it has no name any more
	}
	b.disk.journal, j.stuck = j, err
	return err
}

// tidy compacts the journal when most of it is void. That saves room alone, so
// where it fails the old one goes on.
func (b *Buffer) tidy() {
	if j := b.disk.journal; j.stuck == nil && j.end-j.live > max(j.live, b.disk.limit/256) {
		_ = b.compact(j.path)
	}
}
