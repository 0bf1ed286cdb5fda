package bag

// WriteOptions says how a recording is written.
type WriteOptions struct {
	// Compression of chunks: "none" or "lz4" in a .bag, "none", "lz4" or "zstd" in
	// an .mcap. Empty: "none" in a .bag, "zstd" in an .mcap.
	Compression string
	Chunk       int    // bytes after which a chunk ends; 0: 768 KiB as rosbag
	Profile     string // of an .mcap: "ros1" (empty), "ros2"
	Library     string // name of the program, in an .mcap
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
