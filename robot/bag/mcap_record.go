package bag

import (
	"encoding/binary"
)

// The records of an MCAP file (mcap.dev/spec) by their first byte; 8 bytes of
// length follow.
const (
	mcapHeader     = 0x01
	mcapFooter     = 0x02
	mcapSchema     = 0x03
	mcapChannel    = 0x04
	mcapMessage    = 0x05
	mcapChunk      = 0x06
	mcapIndex      = 0x07
	mcapChunkIndex = 0x08
	mcapStatistics = 0x0b
	mcapLast       = 0x0f
	mcapPrivate    = 0x80 // from here on
)

// mcapMagic begins and ends a file.
const mcapMagic = "\x89MCAP0\r\n"

// mcapHead is a record's first byte and its length.
const mcapHead = 9

// cursor reads little-endian numbers and strings; once something is missing, bad
// stays true and all is zero.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n uint64) []byte {
	if c.bad || n > uint64(len(c.b)) {
		c.bad = true
		return nil
	}
	p := c.b[:n:n]
	c.b = c.b[n:]
	return p
}

func (c *cursor) u16() uint16 {
	if p := c.take(2); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if p := c.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if p := c.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (c *cursor) bytes() []byte  { return c.take(uint64(c.u32())) }
func (c *cursor) string() string { return string(c.bytes()) }

// stamp reads nanoseconds, which the year 2262 ends.
func (c *cursor) stamp() int64 {
	t := c.u64()
	if t > 1<<63-1 {
		c.bad = true
		return 0
	}
	return int64(t)
}

// chunkHead is what a chunk's record says before its data.
type chunkHead struct {
	start, end  int64
	raw         uint64
	crc         uint32
	compression string
	size        uint64
	data        int64 // offset in the record, with its head
}

// maxChunkHead is more than a chunk's record has before its data.
const maxChunkHead = mcapHead + 8 + 8 + 8 + 4 + 4 + 32 + 8

// parse reads the beginning of a chunk's record.
func (h *chunkHead) parse(rec []byte) bool {
	c := cursor{b: rec}
	c.take(mcapHead)
	h.start, h.end, h.raw, h.crc = c.stamp(), c.stamp(), c.u64(), c.u32()
	h.compression = c.string()
	h.size = c.u64()
	h.data = int64(len(rec) - len(c.b))
	return !c.bad
}

// schema is a definition of a type.
type schema struct {
	name, encoding string
	data           []byte
}

func parseSchema(data []byte) (id uint16, s schema, ok bool) {
	c := cursor{b: data}
	id = c.u16()
	s = schema{name: c.string(), encoding: c.string()}
	s.data = append([]byte{}, c.bytes()...)
	return id, s, !c.bad
}

// channel reads a channel's record.
func (r *mcapFile) channel(data []byte) *Connection {
	c := cursor{b: data}
	n := &Connection{ID: uint32(c.u16())}
	id := c.u16()
	n.Topic, n.Encoding = c.string(), c.string()
	meta := cursor{b: c.bytes()}
	if c.bad {
		return nil
	}
	for len(meta.b) > 0 && !meta.bad {
		switch k, v := meta.string(), meta.string(); k {
		case "md5sum":
			n.MD5 = v
		case "callerid":
			n.Caller = v
		case "latching":
			n.Latching = v == "1"
		}
	}
	if s, ok := r.schemas[id]; ok {
		n.Type, n.Schema, n.Definition = plainType(s.name), s.encoding, s.data
	}
	if n.Encoding == ROS1 && n.MD5 == "" && len(n.Definition) > 0 {
		n.MD5, _ = MD5(n.Type, n.Definition) // what it is for, conversion, fails without
	}
	return n
}

// mcapRecord parses the record at the beginning of b.
func mcapRecord(b []byte) (op byte, data []byte, n int, ok bool) {
	if len(b) < mcapHead {
		return 0, nil, 0, false
	}
	size := binary.LittleEndian.Uint64(b[1:])
	if size > uint64(len(b)-mcapHead) || b[0] == 0 || b[0] > mcapLast && b[0] < mcapPrivate {
		return 0, nil, 0, false
	}
	n = mcapHead + int(size)
	return b[0], b[mcapHead:n], n, true
}

// mcapMessageHead is what a message's record has before its data.
const mcapMessageHead = 2 + 4 + 8 + 8

// message makes an entry of a message's record at offset at.
func mcapEntry(data []byte, at int) (e entry, ok bool) {
	if len(data) < mcapMessageHead {
		return e, false
	}
	t := binary.LittleEndian.Uint64(data[6:])
	return entry{
		time: int64(t), off: uint32(at + mcapHead + mcapMessageHead), size: uint32(len(data) - mcapMessageHead),
		conn: uint32(binary.LittleEndian.Uint16(data)), at: uint32(at),
	}, t <= 1<<63-1
}
