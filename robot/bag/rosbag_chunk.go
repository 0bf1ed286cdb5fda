package bag

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

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
	compression, raw := packName(f.compression), int64(f.size)
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
	out, bad, err, ok := r.beside.take(piece{r.got.data, r.got.size, compression, int(raw)}, buf)
	if ok && err != nil {
		return nil, err
	}
	if compression == "none" {
		if ok {
			return out, nil
		}
		return r.f.read(r.got.data, grow(buf, int(r.got.size)))
	}
	r.got.packed = true
	if !ok {
		r.packed = grow(r.packed, int(r.got.size))
		p, err := r.f.read(r.got.data, r.packed)
		if err != nil {
			return nil, err
		}
		r.beside.lend(&r.packing, compression)
		out, bad = r.packing.unpack(compression, p, buf, int(raw))
	}
	err = bad
	if err == nil && raw > 0 && len(out) != int(raw) {
		err = fmt.Errorf("%s: %d bytes come out, want %d", compression, len(out), raw)
	}
	if err != nil && !r.got.cut {
		r.got.err = err
	}
	return out, nil
}

// piece implements unpacker.
func (r *rosbag) piece(c *chunk) (piece, *file, bool) {
	if c.bare {
		return piece{}, nil, false
	}
	f, _, ok, err := r.record(c.pos, false)
	if !ok || err != nil || f.op != opChunk || c.size > 0 && f.head+f.body > c.size {
		return piece{}, nil, false
	}
	return piece{c.pos + f.head, f.body, packName(f.compression), int(f.size)}, r.f, true
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
