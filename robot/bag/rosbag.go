package bag

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// rosbag reads a bag of version 2.0
// (wiki.ros.org/Bags/Format/2.0): records of fields and data; messages lie in
// chunks, each followed by the index of what is in it; at the end are all
// connections and what each chunk holds. The format has no checksums: what is
// damaged shows where lengths, the index and compression's own checksums disagree.
type rosbag struct {
	stream
	f       *file
	path    string
	head    fields
	byID    conns
	indexed bool
	packs   map[string]int // chunks by compression

	packed []byte // a chunk as it lies in the file
	packing
	ix  []entry
	got unpacked
}

// unpacked is what the last unpack found out.
type unpacked struct {
	data   int64 // position in the file
	size   int64 // there
	packed bool
	cut    bool  // the chunk ends too early
	err    error // why it is not whole
	shift  bool  // the chunk's header is lost: offsets are from its record on
}

// conns finds connections by number, which is small in all but damaged files.
type conns struct {
	list  []*Connection
	small []*Connection
	large map[uint32]*Connection
}

const smallConns = 1 << 12

func (c *conns) get(id uint32) *Connection {
	if id < uint32(len(c.small)) {
		return c.small[id]
	}
	return c.large[id]
}

// add keeps what was said first of a number.
func (c *conns) add(n *Connection) bool {
	if n == nil || c.get(n.ID) != nil {
		return false
	}
	c.list = append(c.list, n)
	if n.ID >= smallConns {
		if c.large == nil {
			c.large = map[uint32]*Connection{}
		}
		c.large[n.ID] = n
		return true
	}
	for uint32(len(c.small)) <= n.ID {
		c.small = append(c.small, nil)
	}
	c.small[n.ID] = n
	return true
}

// headSize is what the bag header's record takes: it is padded.
const headSize = 4096

func openRosbag(path string, f *file, opt Options) (*rosbag, error) {
	r := &rosbag{f: f, path: path, packs: map[string]int{}}
	r.u = r
	r.bounds(opt)
	head, _, ok, err := r.record(int64(len(magic)), false)
	if err != nil {
		return nil, err
	}
	rest := f.size - int64(len(magic))
	if ok = ok && head.op == opBagHeader; ok {
		r.head = head
		if len(head.encryptor) > 0 {
			return nil, fmt.Errorf("%w: %s is encrypted by %q; decrypt it first, with rosbag decrypt", ErrFormat, path, head.encryptor)
		}
		r.head.topic, r.head.compression, r.head.encryptor = nil, nil, nil
	}
	switch {
	case rest < headSize && (!ok || head.head+head.body > rest): // whatever followed is gone
		r.dmg.Truncated, r.dmg.Unknown = true, true
		r.dmg.note("the file ends within the bag header, after %d bytes: how many messages followed is not known", f.size)
	case !ok:
		r.dmg.note("the bag header at byte %d is damaged", len(magic))
	}
	switch at := r.head.index; {
	case at > 0 && at <= uint64(f.size):
		if r.indexed, err = r.readIndex(); err != nil {
			return nil, err
		}
		if !r.indexed {
			r.dmg.Unindexed = true
			r.dmg.Truncated = at == uint64(f.size)
			r.dmg.note("the index at byte %d is damaged; it was made anew", at)
		}
	case at > 0:
		r.dmg.Truncated, r.dmg.Unindexed = true, true
		r.dmg.note("the file has %d bytes, its index should be at byte %d", f.size, at)
	default:
		r.dmg.Unindexed = true
	}
	if !r.indexed {
		r.chunks, r.byID = nil, conns{}
		if err := r.scan(); err != nil {
			return nil, err
		}
	}
	if r.opt.Log != nil && !r.dmg.None() {
		r.opt.Log.Warn("recording is damaged", "file", path, "damage", r.dmg.String())
	}
	r.choose(r.byID.list)
	return r, nil
}

func (r *rosbag) connection(id uint32) *Connection { return r.byID.get(id) }
func (r *rosbag) connections() []*Connection       { return slices.Clone(r.byID.list) }
func (r *rosbag) damage() Damage                   { return r.dmg.clone() }
func (r *rosbag) close() error {
	r.beside.close()
	r.packing.close()
	return r.f.close()
}

// learn keeps a connection that a chunk tells of.
func (r *rosbag) learn(c *Connection) {
	if r.byID.add(c) && r.wanted != nil && slices.Contains(r.opt.Topics, c.Topic) {
		r.wanted[c.ID] = true
	}
}

// maxRecord bounds what is read of a record that is no chunk.
const maxRecord = 32 << 20

// record reads the header of the record at pos, and with data all of it. The
// fields' slices and data are valid until the next call. ok is false if there is
// none, or it is cut off.
func (r *rosbag) record(pos int64, withData bool) (f fields, data []byte, ok bool, err error) {
	b, err := r.f.peek(pos, 4)
	if err != nil || len(b) < 4 {
		return f, nil, false, err
	}
	n := binary.LittleEndian.Uint32(b)
	if n > maxHeader {
		return f, nil, false, nil
	}
	b, err = r.f.peek(pos, int(n)+8)
	if err != nil || len(b) < int(n)+8 || !f.parse(b[4:4+n]) {
		return f, nil, false, err
	}
	size := binary.LittleEndian.Uint32(b[4+n:])
	f.head, f.body = int64(n)+8, int64(size)
	if !withData {
		return f, nil, true, nil
	}
	if size > maxRecord {
		return f, nil, false, nil
	}
	b, err = r.f.peek(pos, int(n)+8+int(size))
	if err != nil || len(b) < int(n)+8+int(size) || !f.parse(b[4:4+n]) {
		return f, nil, false, err
	}
	f.head, f.body = int64(n)+8, int64(size)
	return f, b[8+n:], true, nil
}

// readIndex reads connections and chunks from the end of the file, and says
// whether all that the bag header promises is there.
func (r *rosbag) readIndex() (bool, error) {
	pos := int64(r.head.index)
	end := pos
	for pos < r.f.size {
		f, data, ok, err := r.record(pos, true)
		if err != nil || !ok {
			return false, err
		}
		switch f.op {
		case opConn:
			c := f.connection(data)
			if c == nil {
				return false, nil
			}
			r.byID.add(c)
		case opChunkInfo:
			if uint64(len(data)) != 8*uint64(f.count) || f.chunk < uint64(len(magic)) || f.chunk >= uint64(end) || f.start > f.end {
				return false, nil
			}
			c := chunk{pos: int64(f.chunk), start: f.start, end: f.end}
			c.conns = make([]share, f.count)
			for i := range c.conns {
				h := share{conn: binary.LittleEndian.Uint32(data[8*i:]), n: binary.LittleEndian.Uint32(data[8*i+4:])}
				c.conns[i] = h
				c.count += int64(h.n)
			}
			r.chunks = append(r.chunks, c)
		default:
			return false, nil
		}
		pos += f.head + f.body
	}
	if r.head.has&hasConns != 0 && int(r.head.conns) != len(r.byID.list) || r.head.has&hasChunks != 0 && int(r.head.chunks) != len(r.chunks) {
		return false, nil
	}
	slices.SortFunc(r.chunks, func(a, b chunk) int { return cmp.Compare(a.pos, b.pos) })
	for i := range r.chunks {
		next := end
		if i+1 < len(r.chunks) {
			next = r.chunks[i+1].pos
		}
		if r.chunks[i].size = next - r.chunks[i].pos; r.chunks[i].size == 0 {
			return false, nil
		}
		for _, h := range r.chunks[i].conns {
			if r.byID.get(h.conn) == nil {
				return false, nil
			}
		}
	}
	return true, nil
}

// info implements source.
func (r *rosbag) info() Info {
	i := Info{Path: r.path, Kind: "rosbag 2.0", Size: r.f.size, Indexed: r.indexed, Damage: r.dmg.clone()}
	i.Compression = r.compressions()
	tally(&i, r.chunks, r.byID.list)
	return i
}

// compressions counts the chunks by compression, whose headers are read for it.
func (r *rosbag) compressions() []Compression {
	if len(r.packs) == 0 {
		for i := range r.chunks {
			if f, _, ok, _ := r.record(r.chunks[i].pos, false); ok && f.op == opChunk {
				switch c := string(bytes.Clone(f.compression)); c {
				case "none", "lz4", "bz2":
					r.packs[c]++
				}
			}
		}
	}
	var cs []Compression
	for name, n := range r.packs {
		cs = append(cs, Compression{name, n})
	}
	slices.SortFunc(cs, func(a, b Compression) int { return cmp.Compare(a.Name, b.Name) })
	return cs
}
