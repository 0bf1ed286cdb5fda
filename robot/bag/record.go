package bag

import (
	"bytes"
	"encoding/binary"
)

// The records of a bag, by their field "op".
const (
	opMessage   = 2
	opBagHeader = 3
	opIndex     = 4
	opChunk     = 5
	opChunkInfo = 6
	opConn      = 7
)

// magic begins a bag. The bag header's record follows.
const magic = "#ROSBAG V2.0\n"

// maxHeader bounds a record's header: names of topics are the longest in it.
const maxHeader = 64 << 10

// fields is a record's header. has tells which are there, by bits.
type fields struct {
	has         uint32
	op          byte
	conn        uint32
	size        uint32 // of a chunk, unpacked
	count, ver  uint32
	conns       uint32 // conn_count
	chunks      uint32 // chunk_count
	time        int64  // ns, as start and end
	start, end  int64
	index       uint64 // index_pos
	chunk       uint64 // chunk_pos
	topic       []byte
	compression []byte
	encryptor   []byte

	head, body int64 // bytes of the record's header with both lengths, and of its data
}

const (
	hasOp = 1 << iota
	hasConn
	hasSize
	hasCount
	hasVer
	hasConns
	hasChunks
	hasTime
	hasStart
	hasEnd
	hasIndex
	hasChunk
	hasTopic
	hasCompression
)

// needs are the fields that a record of each op has.
var needs = [8]uint32{
	opMessage:   hasOp | hasConn | hasTime,
	opBagHeader: hasOp | hasIndex,
	opIndex:     hasOp | hasConn | hasCount | hasVer,
	opChunk:     hasOp | hasCompression | hasSize,
	opChunkInfo: hasOp | hasChunk | hasStart | hasEnd | hasCount | hasVer,
	opConn:      hasOp | hasConn | hasTopic,
}

// parse reads a record's header, and says whether it is one.
func (f *fields) parse(h []byte) bool {
	*f = fields{}
	for len(h) > 0 {
		if len(h) < 4 {
			return false
		}
		n := binary.LittleEndian.Uint32(h)
		if uint64(n) > uint64(len(h)-4) {
			return false
		}
		field := h[4 : 4+n]
		h = h[4+n:]
		i := bytes.IndexByte(field, '=')
		if i < 0 {
			return false
		}
		if !f.set(field[:i], field[i+1:]) {
			return false
		}
	}
	return f.op >= opMessage && f.op <= opConn && f.has&needs[f.op] == needs[f.op]
}

func (f *fields) set(name, v []byte) bool {
	switch string(name) {
	case "op":
		if len(v) != 1 {
			return false
		}
		f.op = v[0]
		f.has |= hasOp
	case "conn":
		return f.u32(&f.conn, v, hasConn)
	case "size":
		return f.u32(&f.size, v, hasSize)
	case "count":
		return f.u32(&f.count, v, hasCount)
	case "ver":
		return f.u32(&f.ver, v, hasVer)
	case "conn_count":
		return f.u32(&f.conns, v, hasConns)
	case "chunk_count":
		return f.u32(&f.chunks, v, hasChunks)
	case "time":
		return f.stamp(&f.time, v, hasTime)
	case "start_time":
		return f.stamp(&f.start, v, hasStart)
	case "end_time":
		return f.stamp(&f.end, v, hasEnd)
	case "index_pos":
		return f.u64(&f.index, v, hasIndex)
	case "chunk_pos":
		return f.u64(&f.chunk, v, hasChunk)
	case "topic":
		f.topic = v
		f.has |= hasTopic
	case "compression":
		f.compression = v
		f.has |= hasCompression
	case "encryptor":
		f.encryptor = v
	}
	return true
}

func (f *fields) u32(dst *uint32, v []byte, bit uint32) bool {
	if len(v) != 4 {
		return false
	}
	*dst = binary.LittleEndian.Uint32(v)
	f.has |= bit
	return true
}

func (f *fields) u64(dst *uint64, v []byte, bit uint32) bool {
	if len(v) != 8 {
		return false
	}
	*dst = binary.LittleEndian.Uint64(v)
	f.has |= bit
	return true
}

func (f *fields) stamp(dst *int64, v []byte, bit uint32) bool {
	if len(v) != 8 {
		return false
	}
	ns, ok := rosTime(v)
	*dst = ns
	f.has |= bit
	return ok
}

// rosTime reads seconds and nanoseconds; ROS never writes 1e9 ns or more.
func rosTime(b []byte) (int64, bool) {
	sec, nsec := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	return int64(sec)*1e9 + int64(nsec), nsec < 1e9
}

// record parses the record at the beginning of b: its fields, its data and its
// length. It is not one, or cut off, if ok is false.
func record(b []byte, f *fields) (data []byte, n int, ok bool) {
	if len(b) < 8 {
		return nil, 0, false
	}
	h := binary.LittleEndian.Uint32(b)
	if h > maxHeader || uint64(h)+8 > uint64(len(b)) || !f.parse(b[4:4+h]) {
		return nil, 0, false
	}
	size := binary.LittleEndian.Uint32(b[4+h:])
	if uint64(size) > uint64(len(b))-8-uint64(h) {
		return nil, 0, false
	}
	n = 8 + int(h) + int(size)
	return b[8+h : n], n, true
}

// find returns the offset of the first record's header in b, from offset on, of
// one of the ops (bits), or -1. Of the data of the record nothing is believed.
func find(b []byte, from int, ops uint32) int {
	var f fields
	for p := from; ; p += 7 {
		i := bytes.Index(b[p:], []byte("\x04\x00\x00\x00op="))
		if i < 0 {
			return -1
		}
		if p += i; p+8 > len(b) {
			return -1
		}
		if op := b[p+7]; op > opConn || ops&(1<<op) == 0 {
			continue
		}
		// The fields before op are of any order; the record's header begins where
		// its length fits.
		for h := p - 4; h >= max(from, p-maxBack); h-- {
			n := int(binary.LittleEndian.Uint32(b[h:]))
			if n >= p+4-h && n <= maxHeader && h+8+n <= len(b) && f.parse(b[h+4:h+4+n]) && ops&(1<<f.op) != 0 {
				return h
			}
		}
	}
}

// maxBack is how far before op a record's header begins at most: the other fields
// of a message or a chunk take 60 bytes, and a topic's name has a maximum in practice.
const maxBack = 300

// connection reads a connection's record.
func (f *fields) connection(data []byte) *Connection {
	c := &Connection{ID: f.conn, Topic: string(f.topic), Encoding: ROS1, Schema: "ros1msg"}
	for len(data) >= 4 {
		n := binary.LittleEndian.Uint32(data)
		if uint64(n) > uint64(len(data)-4) {
			return nil
		}
		name, v, ok := bytes.Cut(data[4:4+n], []byte("="))
		data = data[4+n:]
		if !ok {
			return nil
		}
		switch string(name) {
		case "type":
			c.Type = string(v)
		case "md5sum":
			c.MD5 = string(v)
		case "message_definition":
			c.Definition = bytes.Clone(v)
		case "callerid":
			c.Caller = string(v)
		case "latching":
			c.Latching = string(v) == "1"
		}
	}
	if c.Type == "" {
		return nil
	}
	return c
}
