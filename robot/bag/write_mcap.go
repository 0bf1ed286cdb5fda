package bag

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/foxglove/mcap/go/mcap"
)

// mcapWriter writes an MCAP file.
type mcapWriter struct {
	path    string
	f       *os.File
	opt     WriteOptions
	lib     *mcap.Writer
	libOpt  *mcap.WriterOptions
	conns   []Connection
	byPtr   map[*Connection]uint16
	schemas []mcap.Schema
	seq     []uint32
	ready   bool
	err     error
	waiting mcap.Message // the newest message if held, which flush ends its chunk with
	held    bool
}

func createMCAP(path string, opt WriteOptions) (*mcapWriter, error) {
	w := &mcapWriter{path: path, opt: opt, byPtr: map[*Connection]uint16{}}
	// The library's default level of lz4 takes ten times as long for little.
	w.libOpt = &mcap.WriterOptions{Chunked: true, ChunkSize: int64(opt.Chunk), IncludeCRC: true, CompressionLevel: mcap.CompressionLevelFastest, OverrideLibrary: true}
	switch opt.Compression {
	case "none":
		w.libOpt.Compression = mcap.CompressionNone
	case "lz4":
		w.libOpt.Compression = mcap.CompressionLZ4
	case "", "zstd":
		w.libOpt.Compression = mcap.CompressionZSTD
	default:
		return nil, fmt.Errorf("bag: an .mcap is written with compression none, lz4 or zstd, not %q", opt.Compression)
	}
	f, err := begin(path)
	if err != nil {
		return nil, err
	}
	w.f = f
	if w.lib, err = mcap.NewWriter(f, w.libOpt); err != nil {
		return nil, errors.Join(fmt.Errorf("bag: %w", err), f.Close(), os.Remove(active(path)))
	}
	if opt.Profile != "" {
		if err := w.begin(opt.Profile); err != nil {
			return nil, errors.Join(err, w.abort(), os.Remove(active(path)))
		}
	}
	return w, nil
}

func (w *mcapWriter) begin(profile string) error {
	w.ready = true
	return w.keep(w.lib.WriteHeader(&mcap.Header{Profile: profile, Library: "rapport"}))
}

func (w *mcapWriter) keep(err error) error {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("bag: %s: %w", active(w.path), err)
	}
	return w.err
}

func profileOf(c *Connection) string {
	switch c.Encoding {
	case ROS1:
		return "ros1"
	case CDR:
		return "ros2"
	}
	return ""
}

func (w *mcapWriter) connect(c *Connection) (uint16, error) {
	if i, ok := w.byPtr[c]; ok {
		return i, nil
	}
	i := slices.IndexFunc(w.conns, func(o Connection) bool {
		return o.Topic == c.Topic && o.Type == c.Type && (c.MD5 == "" || o.MD5 == c.MD5) && o.Encoding == c.Encoding && o.Schema == c.Schema &&
			o.Caller == c.Caller && o.Latching == c.Latching && bytes.Equal(o.Definition, c.Definition)
	})
	if i < 0 {
		if len(w.conns) >= math.MaxUint16 {
			return 0, fmt.Errorf("bag: more than %d connections do not fit into an .mcap", math.MaxUint16)
		}
		schema, err := w.schema(c)
		if err != nil {
			return 0, err
		}
		i = len(w.conns)
		ch := &mcap.Channel{ID: uint16(i), SchemaID: schema, Topic: c.Topic, MessageEncoding: c.Encoding, Metadata: map[string]string{}}
		if c.Encoding == ROS1 {
			// As bag2mcap does.
			ch.Metadata["topic"], ch.Metadata["md5sum"] = c.Topic, c.MD5
			if c.Caller != "" {
				ch.Metadata["callerid"] = c.Caller
			}
			if c.Latching {
				ch.Metadata["latching"] = "1"
			}
		}
		if err := w.keep(w.lib.WriteChannel(ch)); err != nil {
			return 0, err
		}
		w.conns = append(w.conns, *c)
		w.seq = append(w.seq, 0)
	}
	if len(w.byPtr) > maxKnown { // somebody makes a new one for every message
		clear(w.byPtr)
	}
	w.byPtr[c] = uint16(i)
	return uint16(i), nil
}

// schema returns the number of a definition; 0 is none.
func (w *mcapWriter) schema(c *Connection) (uint16, error) {
	if c.Type == "" && len(c.Definition) == 0 {
		return 0, nil
	}
	name := c.Type
	if c.Encoding == CDR && c.Schema == "ros2msg" {
		name = ros2Type(name)
	}
	for i := range w.schemas {
		if s := &w.schemas[i]; s.Name == name && s.Encoding == c.Schema && bytes.Equal(s.Data, c.Definition) {
			return s.ID, nil
		}
	}
	s := mcap.Schema{ID: uint16(len(w.schemas) + 1), Name: name, Encoding: c.Schema, Data: c.Definition}
	w.schemas = append(w.schemas, s)
	return s.ID, w.keep(w.lib.WriteSchema(&s))
}

// ros2Type is "package/msg/Type".
func ros2Type(name string) string {
	if a, b, ok := bytes.Cut([]byte(name), []byte("/")); ok && !bytes.Contains(b, []byte("/")) {
		return string(a) + "/msg/" + string(b)
	}
	return name
}

func (w *mcapWriter) write(m *Message) error {
	if w.err != nil {
		return w.err
	}
	if !w.ready {
		if err := w.begin(profileOf(m.Conn)); err != nil {
			return err
		}
	}
	// The chunk takes the channel's record before the message's.
	if err := w.release(); err != nil {
		return err
	}
	id, err := w.connect(m.Conn)
	if err != nil {
		return err
	}
	ns := m.Time.UnixNano()
	if ns < 0 {
		return fmt.Errorf("bag: %s: the stamp %v is before 1970, which an .mcap cannot hold", m.Topic, m.Time)
	}
	w.waiting = mcap.Message{ChannelID: id, Sequence: w.seq[id], LogTime: uint64(ns), PublishTime: uint64(ns), Data: append(w.waiting.Data[:0], m.Data...)}
	w.seq[id]++
	w.held = true
	return nil
}

// release writes the message that waits.
func (w *mcapWriter) release() error {
	if !w.held || w.err != nil {
		return w.err
	}
	w.held = false
	return w.keep(w.lib.WriteMessage(&w.waiting))
}

// flush ends the chunk. The library does so when a message makes it larger than
// a size that it looks up anew each time.
func (w *mcapWriter) flush() error {
	if !w.held {
		return w.err
	}
	w.libOpt.ChunkSize = 0
	err := w.release()
	w.libOpt.ChunkSize = int64(w.opt.Chunk)
	return err
}

func (w *mcapWriter) close() error {
	if w.f == nil {
		return nil
	}
	if !w.ready {
		w.begin("")
	}
	w.release()
	if w.err == nil {
		w.keep(w.lib.Close())
	}
	if err := w.err; err != nil { // abort overwrites it
		return errors.Join(err, w.abort())
	}
	f := w.f
	w.f = nil
	return finish(f, w.path)
}

func (w *mcapWriter) abort() error {
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
