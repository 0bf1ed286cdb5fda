package bag

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// file reads any part of a file of known size.
type file struct {
	r    io.ReaderAt
	size int64
	f    *os.File

	// The last stretch that peek has read.
	buf []byte
	off int64
}

func openFile(path string) (*file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("bag: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("bag: %w", err)
	}
	return &file{r: f, size: st.Size(), f: f}, nil
}

func (f *file) close() error {
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f = nil
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("bag: %w", err)
	}
	return nil
}

// read fills p from pos, or as much as there is.
func (f *file) read(pos int64, p []byte) ([]byte, error) {
	if pos < 0 || pos >= f.size {
		return p[:0], nil
	}
	p = p[:min(int64(len(p)), f.size-pos)]
	n, err := f.r.ReadAt(p, pos)
	if err == io.EOF {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("bag: %w", err)
	}
	return p[:n], err
}

// peekSize is how much peek reads at once: a page of small records, yet cheap
// for a hop from chunk to chunk.
const peekSize = 16 << 10

// peek returns up to n bytes at pos, valid until the next call. Fewer are the end
// of the file.
func (f *file) peek(pos int64, n int) ([]byte, error) {
	if pos < 0 || pos >= f.size {
		return nil, nil
	}
	n = int(min(int64(n), f.size-pos))
	if pos >= f.off && pos+int64(n) <= f.off+int64(len(f.buf)) {
		return f.buf[pos-f.off:][:n], nil
	}
	want := int(min(int64(max(n, peekSize)), f.size-pos))
	if cap(f.buf) < want || cap(f.buf) > 1<<20 && want < 1<<18 {
		f.buf = make([]byte, want)
	}
	b, err := f.read(pos, f.buf[:want])
	f.buf, f.off = b, pos
	return b[:min(n, len(b))], err
}

// grow returns a slice of n bytes, in b if it fits.
func grow(b []byte, n int) []byte {
	if cap(b) >= n {
		return b[:n]
	}
	return make([]byte, n)
}

// unix is the time of nanoseconds since 1970, as recordings have them.
func unix(ns int64) time.Time { return time.Unix(0, ns).UTC() }
