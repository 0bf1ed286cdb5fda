package bag

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/pierrec/lz4/v4"
)

// rosbagWriter writes a bag of version 2.0. Chunks are gathered in memory and
// written whole with their index, so that what a killed process leaves is whole up
// to its last chunk.
type rosbagWriter struct {
	path  string
	f     *os.File
	pos   int64
	opt   WriteOptions
	conns []writtenConn
	byPtr map[*Connection]int

	raw    []byte // records of the chunk that is open
	start  int64
	end    int64
	index  [][]byte // per connection, what its index record holds
	rec    []byte   // scratch
	infos  []byte   // records of the chunks for the end of the file
	chunks uint32
	lz4    *lz4.Writer
	packed bytes.Buffer
	err    error
}

type writtenConn struct {
	Connection
	record []byte // for the end of the file
	inside bool   // of the chunk that is open
}

func createRosbag(path string, opt WriteOptions) (*rosbagWriter, error) {
	w := &rosbagWriter{path: path, opt: opt, byPtr: map[*Connection]int{}, start: -1}
	switch opt.Compression {
	case "", "none":
		w.opt.Compression = "none"
	case "lz4":
		w.lz4 = lz4.NewWriter(&w.packed)
		// What ROS reads: independent blocks, no checksums of blocks.
		if err := w.lz4.Apply(lz4.BlockSizeOption(lz4.Block1Mb), lz4.ConcurrencyOption(1)); err != nil {
			return nil, fmt.Errorf("bag: %w", err)
		}
	default:
		return nil, fmt.Errorf("bag: a .bag is written with compression none or lz4, not %q", opt.Compression)
	}
	f, err := begin(path)
	if err != nil {
		return nil, err
	}
	w.f = f
	w.put([]byte(magic))
	w.put(w.head(0))
	if w.err != nil {
		return nil, errors.Join(w.err, f.Close(), os.Remove(active(path)))
	}
	return w, nil
}

// head is the bag header's record, which takes headSize bytes whatever it says.
func (w *rosbagWriter) head(index int64) []byte {
	h := binary.LittleEndian.AppendUint32(nil, 0)
	h = putField(h, "index_pos", binary.LittleEndian.AppendUint64(nil, uint64(index)))
	h = putField(h, "conn_count", binary.LittleEndian.AppendUint32(nil, uint32(len(w.conns))))
	h = putField(h, "chunk_count", binary.LittleEndian.AppendUint32(nil, w.chunks))
	h = putField(h, "op", []byte{opBagHeader})
	binary.LittleEndian.PutUint32(h, uint32(len(h)-4))
	pad := headSize - len(h) - 4
	h = binary.LittleEndian.AppendUint32(h, uint32(pad))
	return append(h, bytes.Repeat([]byte(" "), pad)...)
}

func putField(b []byte, name string, v []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(name)+1+len(v)))
	b = append(b, name...)
	b = append(b, '=')
	return append(b, v...)
}

func (w *rosbagWriter) put(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.f.Write(b)
	w.pos += int64(n)
	if err != nil {
		w.err = fmt.Errorf("bag: %w", err)
	}
}

// stampOf is a time as two numbers of 32 bits.
func stampOf(b []byte, ns int64) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(ns/1e9))
	return binary.LittleEndian.AppendUint32(b, uint32(ns%1e9))
}

// connect returns the number of a connection, which it makes if it is new.
func (w *rosbagWriter) connect(c *Connection) (int, error) {
	if i, ok := w.byPtr[c]; ok {
		return i, nil
	}
	i := slices.IndexFunc(w.conns, func(o writtenConn) bool {
		return o.Topic == c.Topic && o.Type == c.Type && (c.MD5 == "" || o.MD5 == c.MD5) && o.Caller == c.Caller && o.Latching == c.Latching && bytes.Equal(o.Definition, c.Definition)
	})
	if i < 0 {
		if c.Encoding != ROS1 {
			return 0, fmt.Errorf("bag: %s: messages are encoded as %q, and a .bag holds %s alone; write an .mcap", c.Topic, c.Encoding, ROS1)
		}
		n := writtenConn{Connection: *c}
		if n.MD5 == "" {
			sum, err := MD5(c.Type, c.Definition)
			if err != nil {
				return 0, err
			}
			n.MD5 = sum
		}
		i = len(w.conns)
		h := binary.LittleEndian.AppendUint32(nil, 0)
		h = putField(h, "conn", binary.LittleEndian.AppendUint32(nil, uint32(i)))
		h = putField(h, "op", []byte{opConn})
		h = putField(h, "topic", []byte(c.Topic))
		if len(h) > maxHeader {
			return 0, fmt.Errorf("bag: the topic %.40q... is too long", c.Topic)
		}
		binary.LittleEndian.PutUint32(h, uint32(len(h)-4))
		var d []byte
		if n.Caller != "" {
			d = putField(d, "callerid", []byte(n.Caller))
		}
		if n.Latching {
			d = putField(d, "latching", []byte("1"))
		}
		d = putField(d, "md5sum", []byte(n.MD5))
		d = putField(d, "message_definition", n.Definition)
		d = putField(d, "topic", []byte(n.Topic))
		d = putField(d, "type", []byte(n.Type))
		h = binary.LittleEndian.AppendUint32(h, uint32(len(d)))
		n.record = append(h, d...)
		w.conns = append(w.conns, n)
		w.index = append(w.index, nil)
	}
	if len(w.byPtr) > maxKnown { // somebody makes a new one for every message
		clear(w.byPtr)
	}
	w.byPtr[c] = i
	return i, nil
}

func (w *rosbagWriter) write(m *Message) error {
	if w.err != nil {
		return w.err
	}
	i, err := w.connect(m.Conn)
	if err != nil {
		return err
	}
	ns := m.Time.UnixNano()
	if ns < 0 || ns/1e9 >= 1<<32 {
		return fmt.Errorf("bag: %s: the stamp %v is outside of what a .bag can hold, 1970 to 2106", m.Topic, m.Time)
	}
	if len(m.Data) > maxChunk-maxHeader {
		return fmt.Errorf("bag: %s: a message of %d bytes; at most %d are written", m.Topic, len(m.Data), maxChunk-maxHeader)
	}
	if !w.conns[i].inside {
		w.raw = append(w.raw, w.conns[i].record...)
		w.conns[i].inside = true
	}
	if w.start < 0 || ns < w.start {
		w.start = ns
	}
	w.end = max(w.end, ns)
	w.index[i] = stampOf(w.index[i], ns)
	w.index[i] = binary.LittleEndian.AppendUint32(w.index[i], uint32(len(w.raw)))
	var id [4]byte
	var at [8]byte
	binary.LittleEndian.PutUint32(id[:], uint32(i))
	stampOf(at[:0], ns)
	head := len(w.raw)
	w.raw = binary.LittleEndian.AppendUint32(w.raw, 0)
	w.raw = putField(w.raw, "conn", id[:])
	w.raw = putField(w.raw, "op", []byte{opMessage})
	w.raw = putField(w.raw, "time", at[:])
	binary.LittleEndian.PutUint32(w.raw[head:], uint32(len(w.raw)-head-4))
	w.raw = binary.LittleEndian.AppendUint32(w.raw, uint32(len(m.Data)))
	w.raw = append(w.raw, m.Data...)
	if len(w.raw) >= w.opt.Chunk {
		return w.flush()
	}
	return nil
}

func (w *rosbagWriter) flush() error {
	if len(w.raw) == 0 || w.err != nil {
		return w.err
	}
	data := w.raw
	if w.lz4 != nil {
		w.packed.Reset()
		w.lz4.Reset(&w.packed)
		_, err := w.lz4.Write(w.raw)
		if err == nil {
			err = w.lz4.Close()
		}
		if err != nil {
			w.err = fmt.Errorf("bag: %w", err)
			return w.err
		}
		data = w.packed.Bytes()
	}
	at := w.pos
	h := binary.LittleEndian.AppendUint32(w.rec[:0], 0)
	h = putField(h, "compression", []byte(w.opt.Compression))
	h = putField(h, "op", []byte{opChunk})
	h = putField(h, "size", binary.LittleEndian.AppendUint32(nil, uint32(len(w.raw))))
	binary.LittleEndian.PutUint32(h, uint32(len(h)-4))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(data)))
	w.put(h)
	w.put(data)
	var counts []byte
	for i, ix := range w.index {
		if len(ix) == 0 {
			continue
		}
		id, n := binary.LittleEndian.AppendUint32(nil, uint32(i)), binary.LittleEndian.AppendUint32(nil, uint32(len(ix)/12))
		counts = append(append(counts, id...), n...)
		h = binary.LittleEndian.AppendUint32(h[:0], 0)
		h = putField(h, "conn", id)
		h = putField(h, "count", n)
		h = putField(h, "op", []byte{opIndex})
		h = putField(h, "ver", []byte{1, 0, 0, 0})
		binary.LittleEndian.PutUint32(h, uint32(len(h)-4))
		h = binary.LittleEndian.AppendUint32(h, uint32(len(ix)))
		w.put(h)
		w.put(ix)
		w.index[i] = ix[:0]
		w.conns[i].inside = false
	}
	w.rec = h
	h = binary.LittleEndian.AppendUint32(nil, 0)
	h = putField(h, "chunk_pos", binary.LittleEndian.AppendUint64(nil, uint64(at)))
	h = putField(h, "count", binary.LittleEndian.AppendUint32(nil, uint32(len(counts)/8)))
	h = putField(h, "end_time", stampOf(nil, w.end))
	h = putField(h, "op", []byte{opChunkInfo})
	h = putField(h, "start_time", stampOf(nil, w.start))
	h = putField(h, "ver", []byte{1, 0, 0, 0})
	binary.LittleEndian.PutUint32(h, uint32(len(h)-4))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(counts)))
	w.infos = append(append(w.infos, h...), counts...)
	w.chunks++
	w.raw, w.start, w.end = w.raw[:0], -1, 0
	return w.err
}

func (w *rosbagWriter) close() error {
	if w.f == nil {
		return nil
	}
	w.flush()
	at := w.pos
	for i := range w.conns {
		w.put(w.conns[i].record)
	}
	w.put(w.infos)
	if w.err == nil {
		if _, err := w.f.WriteAt(w.head(at), int64(len(magic))); err != nil {
			w.err = fmt.Errorf("bag: %w", err)
		}
	}
	if err := w.err; err != nil { // abort overwrites it
		return errors.Join(err, w.abort())
	}
	f := w.f
	w.f = nil
	return finish(f, w.path)
}

func (w *rosbagWriter) abort() error {
	if w.f == nil {
		return nil
	}
	err := w.f.Close()
	w.f = nil
	w.err = errors.New("bag: writing was given up")
	if err != nil {
		return fmt.Errorf("bag: %w", err)
	}
	return nil
}
