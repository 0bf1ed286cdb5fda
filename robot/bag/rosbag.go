package bag

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/rapport-rl/rapport/robot/bag/bunzip"
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
	bz2    bunzip.Decoder
	ix     []entry
	got    unpacked
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

func openRosbag(path string, f *file, opt Options) (*rosbag, error) {
	r := &rosbag{f: f, path: path, packs: map[string]int{}}
	r.u = r
	r.bounds(opt)
	head, _, ok, err := r.record(int64(len(magic)), true)
	if err != nil {
		return nil, err
	}
	if ok && head.op == opBagHeader {
		r.head = head
		if len(head.encryptor) > 0 {
			return nil, fmt.Errorf("%w: %s is encrypted by %q; decrypt it first, with rosbag decrypt", ErrFormat, path, head.encryptor)
		}
		r.head.topic, r.head.compression, r.head.encryptor = nil, nil, nil
	} else {
		r.dmg.Truncated = f.size < int64(len(magic))+4096
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
func (r *rosbag) close() error                     { return r.f.close() }

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
				h := share{binary.LittleEndian.Uint32(data[8*i:]), binary.LittleEndian.Uint32(data[8*i+4:])}
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

// seek finds the next record of one of ops from pos on; limit if there is none.
func (r *rosbag) seek(pos, limit int64, ops uint32) (int64, error) {
	const step = 256 << 10
	buf := make([]byte, step+maxHeader)
	for pos < limit {
		b, err := r.f.read(pos, buf[:min(int64(len(buf)), limit-pos)])
		if err != nil {
			return 0, err
		}
		if i := find(b, 0, ops); i >= 0 {
			return pos + int64(i), nil
		}
		if pos+int64(len(b)) >= limit || len(b) < len(buf) {
			break
		}
		pos += step
	}
	return limit, nil
}

const (
	inFile  = 1<<opIndex | 1<<opChunk | 1<<opChunkInfo // never inside chunks
	inChunk = 1<<opMessage | 1<<opConn
)

// extent finds how much data a chunk has whose data begins at pos and must end
// at limit at the latest. cut says that it does not end where it should.
func (r *rosbag) extent(pos, limit int64, f *fields, compression string) (size int64, cut bool, err error) {
	fits := func(n int64) bool {
		if n <= 0 || pos+n > limit {
			return false
		}
		if pos+n == limit {
			return true
		}
		next, _, ok, e := r.record(pos+n, false)
		if e != nil {
			err = e
		}
		return ok && next.op != opMessage
	}
	if fits(f.body) || err != nil {
		return f.body, false, err
	}
	raw := int64(f.size)
	if compression == "none" && fits(raw) || err != nil {
		return raw, false, err // the length is damaged, which was written twice
	}
	end, err := r.seek(pos, limit, inFile)
	if f.body > 0 && pos+f.body <= end {
		return f.body, false, err
	}
	return end - pos, true, err
}

// unpack implements unpacker.
func (r *rosbag) unpack(c *chunk, buf []byte) ([]byte, error) {
	limit := r.f.size
	if c.size > 0 {
		limit = min(limit, c.pos+c.size)
	}
	r.got = unpacked{data: c.pos, size: limit - c.pos}
	if c.bare {
		return r.f.read(c.pos, grow(buf, int(min(r.got.size, maxChunk))))
	}
	f, _, ok, err := r.record(c.pos, false)
	if err != nil {
		return nil, err
	}
	if !ok || f.op != opChunk {
		r.got.err, r.got.shift = fmt.Errorf("no chunk is there"), true
		end, err := r.seek(c.pos, limit, 1<<opIndex)
		if err != nil {
			return nil, err
		}
		r.got.size = end - c.pos
		return r.f.read(c.pos, grow(buf, int(min(r.got.size, maxChunk))))
	}
	compression, raw := string(f.compression), int64(f.size)
	r.got.data = c.pos + f.head
	if r.got.size, r.got.cut, err = r.extent(r.got.data, limit, &f, compression); err != nil {
		return nil, err
	}
	if r.got.cut {
		r.got.err = fmt.Errorf("the chunk is cut off after %d bytes", r.got.size)
	}
	if r.got.size > maxChunk || raw > maxChunk {
		r.got.err = fmt.Errorf("a chunk of %d bytes, unpacked %d; at most %d are read", r.got.size, raw, maxChunk)
		return buf[:0], nil
	}
	if compression == "none" {
		return r.f.read(r.got.data, grow(buf, int(r.got.size)))
	}
	r.got.packed = true
	r.packed = grow(r.packed, int(r.got.size))
	p, err := r.f.read(r.got.data, r.packed)
	if err != nil {
		return nil, err
	}
	out, err := r.unpackChunk(compression, p, buf, int(raw))
	if err == nil && raw > 0 && len(out) != int(raw) {
		err = fmt.Errorf("%s: %d bytes come out, want %d", compression, len(out), raw)
	}
	if err != nil && !r.got.cut {
		r.got.err = err
	}
	return out, nil
}

// list implements unpacker.
func (r *rosbag) list(c *chunk, data []byte, es []entry) ([]entry, error) {
	w := r.walk(data, es)
	if err := r.readChunkIndex(c); err != nil {
		return nil, err
	}
	if len(r.ix) > 0 && r.got.shift {
		w.rebase(r.ix)
	}
	// The index is believed if it agrees with the chunk, or else with the end of
	// the file.
	agree := len(r.ix) > 0 && len(r.ix) == len(w.es) && sum(r.ix) == sum(w.es)
	ixOK := agree || len(r.ix) > 0 && (c.count < 0 || int64(len(r.ix)) == c.count)
	var missing []entry
	if ixOK && !agree {
		w.es, missing = reconcile(w.es, r.ix, r.got.shift, func(at uint32) (entry, bool) { return messageAt(data, at) })
	}
	// Messages of which nobody knows the topic are lost.
	all := len(w.es)
	known := w.es[:0]
	for _, e := range w.es {
		if r.byID.get(e.conn) != nil {
			known = append(known, e)
		} else if ixOK {
			missing = append(missing, e)
		}
	}
	if !c.judged {
		r.judge(c, known, missing, ixOK, w, all)
		c.judged = true
	}
	return known, nil
}

// judge accounts for what a chunk lacks.
func (r *rosbag) judge(c *chunk, es, missing []entry, ixOK bool, w walked, all int) {
	d := &r.dmg
	lost, unknown := int64(0), false
	switch {
	case ixOK:
		lost = int64(len(missing))
		for _, e := range missing {
			d.during(unix(e.time), unix(e.time))
		}
	case c.count >= 0:
		lost = c.count - int64(len(es))
		if lost > 0 {
			d.during(unix(c.start), unix(c.end))
		}
	default:
		lost = int64(w.dropped + all - len(es))
		// A recorder that died tells nothing of what it had not written: a chunk
		// that it did not end lacks at most the message that is cut off.
		unknown = w.bad > w.tail || r.got.err != nil && (!r.got.cut || r.got.packed)
		if lost > 0 && len(es) > 0 {
			last := unix(es[len(es)-1].time)
			d.during(last, last)
		}
	}
	if lost < 0 {
		d.note("chunk at byte %d: %d messages more than its index tells", c.pos, -lost)
		lost = 0
	}
	if lost == 0 && !unknown && r.got.err == nil && w.bad == 0 {
		return
	}
	d.Chunks++
	d.Messages += lost
	d.Unknown = d.Unknown || unknown
	if all == 0 {
		d.Bytes += r.got.size
	} else if !r.got.packed {
		d.Bytes += int64(w.skipped)
	}
	why := "its records do not fit its index"
	if r.got.err != nil {
		why = r.got.err.Error()
	} else if w.bad > 0 {
		why = fmt.Sprintf("%d times there is no record where one should be", w.bad)
	}
	d.note("chunk at byte %d: %s; %d messages lost", c.pos, why, lost)
}

// walked is what walk found.
type walked struct {
	es      []entry
	bad     int // places without a record
	tail    int // of these, a record that is cut off by the end
	dropped int // messages that were found and not believed
	skipped int // bytes
}

// walk lists the messages of a chunk. Where there is no record it goes on at the
// next, and does not believe the message before: its length may be what is
// damaged.
func (r *rosbag) walk(data []byte, es []entry) walked {
	w := walked{es: es}
	var f fields
	after := false // the record before was a message
	for pos := 0; pos < len(data); {
		body, n, ok := record(data[pos:], &f)
		if ok && f.op == opMessage {
			w.es = append(w.es, entry{time: f.time, off: uint32(pos + n - len(body)), size: uint32(len(body)), conn: f.conn, at: uint32(pos)})
			after = true
			pos += n
			continue
		}
		if ok && f.op == opConn {
			r.learn(f.connection(body))
			after = false
			pos += n
			continue
		}
		w.bad++
		next := find(data, pos+1, inChunk)
		if next < 0 {
			next = len(data)
		}
		if next == len(data) && r.got.cut {
			w.tail++
			if isHeader(data[pos:], &f) && f.op == opMessage {
				w.dropped++ // the one that is cut off
			}
		} else if after {
			w.es = w.es[:len(w.es)-1]
			w.dropped++
		}
		w.skipped += next - pos
		after = false
		pos = next
	}
	return w
}

// isHeader says whether a record's header is whole, whatever its data.
func isHeader(b []byte, f *fields) bool {
	if len(b) < 4 {
		return false
	}
	n := binary.LittleEndian.Uint32(b)
	return n <= maxHeader && uint64(n)+4 <= uint64(len(b)) && f.parse(b[4:4+n])
}

// rebase makes offsets those of the index, when the chunk's header is lost.
func (w *walked) rebase(ix []entry) {
	if len(w.es) == 0 {
		return
	}
	least := slices.MinFunc(ix, func(a, b entry) int { return cmp.Compare(a.at, b.at) }).at
	shift := w.es[0].at - least
	for i := range w.es {
		w.es[i].at -= shift
	}
}

// messageAt returns the message whose record begins at an offset.
func messageAt(data []byte, at uint32) (e entry, ok bool) {
	var f fields
	if uint64(at) >= uint64(len(data)) {
		return e, false
	}
	body, n, ok := record(data[at:], &f)
	if !ok || f.op != opMessage {
		return e, false
	}
	return entry{time: f.time, off: at + uint32(n-len(body)), size: uint32(len(body)), conn: f.conn, at: at}, true
}

// readChunkIndex reads the index records that follow the chunk that was just
// unpacked into r.ix, which stays empty if they are not whole.
func (r *rosbag) readChunkIndex(c *chunk) error {
	r.ix = r.ix[:0]
	if c.bare {
		return nil
	}
	pos, limit := r.got.data+r.got.size, r.f.size
	if c.size > 0 {
		limit = min(limit, c.pos+c.size)
	}
	var err error
	var whole bool
	r.ix, pos, whole, err = r.indexAt(pos, limit, r.ix)
	if err != nil {
		return err
	}
	if !whole {
		r.ix = r.ix[:0]
	}
	if c.size == 0 {
		c.size = pos - c.pos
	}
	return nil
}

// indexAt reads index records from pos on, and returns where they end.
func (r *rosbag) indexAt(pos, limit int64, ix []entry) (_ []entry, end int64, whole bool, err error) {
	whole = true
	for pos < limit {
		f, data, ok, err := r.record(pos, true)
		if err != nil {
			return ix, pos, false, err
		}
		if !ok {
			return ix, pos, false, nil
		}
		if f.op != opIndex {
			break
		}
		if f.ver != 1 || uint64(len(data)) != 12*uint64(f.count) {
			whole = false
		} else {
			for ; len(data) >= 12; data = data[12:] {
				t, ok := rosTime(data)
				whole = whole && ok
				ix = append(ix, entry{time: t, at: binary.LittleEndian.Uint32(data[8:]), conn: f.conn})
			}
		}
		pos += f.head + f.body
	}
	return ix, pos, whole, nil
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
