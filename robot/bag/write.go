package bag

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteOptions says how a recording is written.
type WriteOptions struct {
	// Compression of chunks: "none" or "lz4" in a .bag, "none", "lz4" or "zstd" in
	// an .mcap. Empty: "none" in a .bag, "zstd" in an .mcap.
	Compression string
	Chunk       int    // bytes after which a chunk ends; 0: 768 KiB as rosbag
	Profile     string // of an .mcap, as "ros1", "ros2"; empty: that of the first message
}

// Writer writes a recording. It is used by one goroutine.
type Writer struct{ to sink }

// sink is a recording of one kind being written.
type sink interface {
	write(*Message) error
	flush() error
	close() error
	abort() error
}

// Write adds a message. Its Conn says what it is; connections are told apart by
// what they say, not by address. Topic and Type are those of Conn.
func (w *Writer) Write(m *Message) error { return w.to.write(m) }

// Flush ends the chunk, so that what was written survives the death of this
// process.
func (w *Writer) Flush() error { return w.to.flush() }

// Close writes the index and gives the file its name; until then it is
// PATH.active, which Open salvages.
func (w *Writer) Close() error { return w.to.close() }

// Abort gives up; the .active file stays as far as it was written.
func (w *Writer) Abort() error { return w.to.abort() }

// Create begins a recording at path, a .bag or an .mcap by its name, which must
// not exist yet; nor may its .active file, the only copy of what a recorder that
// died had written.
func Create(path string, opt WriteOptions) (*Writer, error) {
	if _, err := os.Stat(path); err == nil {
		return nil, fmt.Errorf("bag: %s exists already; choose another name", path)
	}
	if opt.Chunk == 0 {
		opt.Chunk = 768 << 10
	}
	if opt.Chunk < 0 || opt.Chunk > maxChunk/2 {
		return nil, fmt.Errorf("bag: chunks of %d bytes; take 1 to %d", opt.Chunk, maxChunk/2)
	}
	var (
		to  sink
		err error
	)
	switch ext := filepath.Ext(path); ext {
	case ".bag":
		to, err = createRosbag(path, opt)
	case ".mcap":
		to, err = createMCAP(path, opt)
	default:
		return nil, fmt.Errorf("bag: %s: recordings are written as .bag or .mcap, not %q", path, ext)
	}
	if err != nil {
		return nil, err
	}
	return &Writer{to}, nil
}

// Copy writes all that b still gives to w, and returns how many messages that
// were. It ends early with ctx.
func Copy(ctx context.Context, w *Writer, b *Bag) (n int64, err error) {
	var m Message
	for {
		if n%1024 == 0 && ctx.Err() != nil {
			return n, ctx.Err()
		}
		if err := b.Next(&m); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
		if err := w.Write(&m); err != nil {
			return n, err
		}
		n++
	}
}

// maxKnown is how many connections are known by address.
const maxKnown = 1 << 14

// active is the name of a file that is not finished, as rosbag has it.
func active(path string) string { return path + ".active" }

// begin makes the file of a recording that is to be at path.
func begin(path string) (*os.File, error) {
	f, err := os.OpenFile(active(path), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("bag: %s is there, of a recording that was not finished or goes on: save what it holds by rapport bag repair %[1]s OTHER, or remove it", active(path))
	}
	if err != nil {
		return nil, fmt.Errorf("bag: %w", err)
	}
	return f, nil
}

// finish closes f and gives it its name.
func finish(f *os.File, path string) error {
	err := f.Sync()
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(active(path), path)
	}
	if err != nil {
		return fmt.Errorf("bag: %w", err)
	}
	return nil
}
