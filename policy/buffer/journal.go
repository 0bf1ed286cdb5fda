package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// The journal tells in order what became of the buffer: a head of 32 bytes
// (magic, length that is certain to be there, checksum of both), then records
// of a head of 16 bytes (kind, length and checksum of the body, checksum of the
// head and of its place in the file) and a body. All is little-endian.
//
// A record counts once it is whole. The length in the file's head is written
// after the record is on the disk, so what is missing or wrong below that
// length is damage, and what is beyond it and not whole was never promised.
const (
	magic      = "RAPREPL1"
	fileHead   = 32
	recordHead = 16
)

// The kinds of records.
const (
	recView    = 'V' // the view, first of all
	recEpisode = 'E' // an episode was taken
	recGone    = 'G' // an episode was taken, and has gone since
	recLabel   = 'L' // an episode has new rewards
	recRewind  = 'W' // the episodes from one on are forgotten
	recForget  = 'X' // one episode is forgotten
)

type journal struct {
	path string
	file *os.File
	end  int64 // bytes in use
	kept int64 // of them, known to be on the disk
	live int64 // bytes that a new journal would take
	// stuck is set when a record that failed could not be taken back.
	stuck error
}

// appendRecord appends a record that will stand at byte at of the file.
func appendRecord(dst []byte, at int64, kind byte, body []byte) []byte {
	var h [recordHead]byte
	h[0] = kind
	binary.LittleEndian.PutUint32(h[4:], uint32(len(body)))
	binary.LittleEndian.PutUint32(h[8:], checksum(body))
	binary.LittleEndian.PutUint32(h[12:], headSum(h[:12], at))
	return append(append(dst, h[:]...), body...)
}

func headSum(head []byte, at int64) uint32 {
	var place [8]byte
	binary.LittleEndian.PutUint64(place[:], uint64(at))
	return crc32.Update(checksum(head), castagnoli, place[:])
}

// record reads the record at byte at of data; ok is false if it is not whole.
func record(data []byte, at int64) (kind byte, body []byte, ok bool) {
	rest := data[at:]
	if len(rest) < recordHead {
		return 0, nil, false
	}
	n := binary.LittleEndian.Uint32(rest[4:])
	if binary.LittleEndian.Uint32(rest[12:]) != headSum(rest[:12], at) || uint64(len(rest)-recordHead) < uint64(n) {
		return 0, nil, false
	}
	body = rest[recordHead : recordHead+int(n)]
	return rest[0], body, checksum(body) == binary.LittleEndian.Uint32(rest[8:])
}

func fileHeadOf(committed int64) []byte {
	h := make([]byte, fileHead)
	copy(h, magic)
	binary.LittleEndian.PutUint64(h[8:], uint64(committed))
	binary.LittleEndian.PutUint32(h[16:], checksum(h[:16]))
	return h
}

// readJournal calls apply for each record of a journal, and returns the length
// of what is whole.
func readJournal(path string, data []byte, apply func(kind byte, body []byte) error) (int64, error) {
	if len(data) < fileHead || string(data[:8]) != magic {
		return 0, broken(path, "is not a journal of a replay")
	}
	if binary.LittleEndian.Uint32(data[16:]) != checksum(data[:16]) {
		return 0, broken(path, "has a damaged head")
	}
	committed := binary.LittleEndian.Uint64(data[8:])
	if committed < fileHead || committed > uint64(len(data)) {
		return 0, broken(path, "has %d bytes, of %d that were written", len(data), committed)
	}
	at := int64(fileHead)
	for at < int64(len(data)) {
		kind, body, ok := record(data, at)
		next := at + recordHead + int64(len(body))
		if at < int64(committed) && (!ok || next > int64(committed)) {
			return 0, broken(path, "is damaged at byte %d", at)
		}
		if !ok {
			break
		}
		if err := apply(kind, body); err != nil {
			return 0, broken(path, "has an impossible record at byte %d: %v", at, err)
		}
		at = next
	}
	return at, nil
}

// append adds a record. With sync it is on the disk afterwards, and known to be:
// without, it outlives the process but maybe not the power. What fails changes
// nothing.
func (j *journal) append(kind byte, body []byte, sync bool) error {
	if j.stuck != nil {
		return j.stuck
	}
	if len(body) > 1<<31 {
		return fmt.Errorf("buffer: record of %d bytes", len(body))
	}
	rec := appendRecord(nil, j.end, kind, body)
	end := j.end + int64(len(rec))
	_, err := j.file.WriteAt(rec, j.end)
	if err == nil && sync {
		if err = j.file.Sync(); err == nil {
			err = j.mark(end)
		}
	}
	if err != nil {
		if back := errors.Join(j.file.Truncate(j.end), j.mark(j.kept)); back != nil {
			j.stuck = fmt.Errorf("buffer: %s takes nothing any more, since a failed record could not be taken back (%w): mend the disk and open the folder again", j.path, back)
		}
		return fmt.Errorf("buffer: write journal: %w", err)
	}
	j.end = end
	if sync {
		j.kept = end
	}
	return nil
}

// mark notes that the first n bytes are on the disk.
func (j *journal) mark(n int64) error {
	_, err := j.file.WriteAt(fileHeadOf(n), 0)
	return err
}

// close leaves the journal on the disk.
func (j *journal) close() error {
	err := j.file.Sync()
	if err == nil && j.stuck == nil {
		err = j.mark(j.end)
	}
	return errors.Join(err, j.file.Close())
}

// writeJournal puts a new journal in place of the one at path, all or nothing.
// A journal that comes with an error is in place, but maybe not after the next
// loss of power.
func writeJournal(path string, records []byte) (*journal, error) {
	part := path + ".new"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("buffer: %w", err)
	}
	end := fileHead + int64(len(records))
	_, err = f.Write(fileHeadOf(end))
	if err == nil {
		_, err = f.Write(records)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return nil, fmt.Errorf("buffer: write %s: %w", part, errors.Join(err, f.Close(), os.Remove(part)))
	}
	return &journal{path: path, file: f, end: end, kept: end, live: end}, syncDir(filepath.Dir(path))
}

// syncDir makes the names in a folder outlive the power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return fmt.Errorf("buffer: %w", err)
	}
	return nil
}
