package bag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// errDead is that a chunk ends with the file.
var errDead = errors.New("the chunk is cut off by the end of the file")

// unpack implements unpacker.
func (r *mcapFile) unpack(c *chunk, buf []byte) ([]byte, error) {
	limit := r.f.size
	if c.size > 0 {
		limit = min(limit, c.pos+c.size)
	}
	if c.body > 0 {
		limit = min(limit, c.pos+c.body)
	}
	r.got, r.sure = unpacked{data: c.pos, size: limit - c.pos}, false
	if c.bare {
		return r.f.read(c.pos, grow(buf, int(min(r.got.size, maxChunk))))
	}
	head, err := r.f.peek(c.pos, maxChunkHead)
	if err != nil {
		return nil, err
	}
	var h chunkHead
	if len(head) < mcapHead || head[0] != mcapChunk || !h.parse(head) {
		r.got.err = errors.New("no chunk is there")
		return buf[:0], nil
	}
	if body := binary.LittleEndian.Uint64(head[1:]); c.body == 0 {
		if body <= uint64(limit-c.pos-mcapHead) {
			limit = c.pos + mcapHead + int64(body)
		} else {
			r.got.cut = true
		}
	} else if body != uint64(c.body-mcapHead) {
		r.got.err = errors.New("the chunk's length is not that of the index")
	}
	r.got.data = c.pos + h.data
	r.got.size = max(0, limit-r.got.data)
	if r.got.cut {
		r.got.err = errDead
	} else if h.size != uint64(r.got.size) {
		r.got.err = errors.New("the chunk's lengths do not fit each other")
		return buf[:0], nil
	}
	if h.raw > maxChunk || r.got.size > maxChunk {
		r.got.err = fmt.Errorf("a chunk of %d bytes, unpacked %d; at most %d are read", r.got.size, h.raw, maxChunk)
		return buf[:0], nil
	}
	name := h.pack()
	out, bad, err, ok := r.beside.take(piece{r.got.data, r.got.size, name, int(h.raw)}, buf)
	if ok && err != nil {
		return nil, err
	}
	switch {
	case name == "none" && !ok:
		if out, err = r.f.read(r.got.data, grow(buf, int(r.got.size))); err != nil {
			return nil, err
		}
	case name != "none":
		r.got.packed = true
		if !ok {
			r.packed = grow(r.packed, int(r.got.size))
			p, err := r.f.read(r.got.data, r.packed)
			if err != nil {
				return nil, err
			}
			out, bad = r.packing.unpack(name, p, buf, int(h.raw))
		}
		if bad != nil && !r.got.cut {
			r.got.err = bad
		}
	}
	if r.got.err == nil && uint64(len(out)) != h.raw {
		r.got.err = fmt.Errorf("%d bytes come out, want %d", len(out), h.raw)
	}
	if r.got.err == nil && h.crc != 0 && crc32.ChecksumIEEE(out) != h.crc {
		r.got.err = errors.New("the checksum does not fit")
		return out[:0], nil // of all of this, something is not what was recorded
	}
	r.sure = r.got.err == nil && h.crc != 0
	if h.crc != 0 && r.got.err != nil && !r.got.cut {
		return out[:0], nil
	}
	return out, nil
}

// pack is the compression as the other kinds of files name it. MCAP has no bz2.
func (h *chunkHead) pack() string {
	switch h.compression {
	case "":
		return "none"
	case "none", "bz2":
		return "of the name " + h.compression
	}
	return h.compression
}

// piece implements unpacker.
func (r *mcapFile) piece(c *chunk) (piece, *file, bool) {
	if c.bare || c.body == 0 {
		return piece{}, nil, false
	}
	head, err := r.f.peek(c.pos, maxChunkHead)
	var h chunkHead
	if err != nil || len(head) < mcapHead || head[0] != mcapChunk || !h.parse(head) || h.raw > maxChunk || h.data > c.body {
		return piece{}, nil, false
	}
	return piece{c.pos + h.data, c.body - h.data, h.pack(), int(h.raw)}, r.f, true
}

// maxBlockZSTD is how much one block unpacks to at most (RFC 8878, 3.1.1.2.4).
const maxBlockZSTD = 128 << 10

func (k *packing) unpackZSTD(p, buf []byte, raw int) ([]byte, error) {
	if k.zstd == nil {
		var err error
		k.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxChunk), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return buf[:0], fmt.Errorf("zstd: %w", err)
		}
	}
	// What a chunk claims is not taken before it is there: what fills its room gets more.
	for room := min(raw, 32*len(p)+64<<10); ; room = min(raw, 4*room) {
		buf = grow(buf, room)
		out, err := k.zstd.DecodeAll(p, buf[:0:room])
		// A frame that does not tell its size ends before the block that does not fit,
		// with an error as of a damaged one.
		full := errors.Is(err, zstd.ErrDecoderSizeExceeded) || err != nil && len(out)+maxBlockZSTD > room
		if full && room < raw {
			continue
		}
		if err != nil {
			err = fmt.Errorf("zstd: %w", err)
		}
		if cap(out) > cap(buf) {
			buf = out
		}
		return buf[:min(len(out), raw)], err
	}
}

// list implements unpacker.
func (r *mcapFile) list(c *chunk, data []byte, es []entry) ([]entry, error) {
	w := r.walk(data, es)
	if err := r.readIndex(c); err != nil {
		return nil, err
	}
	// Where the chunk's checksum fits, nothing is to be learned from the index.
	agree := r.sure || len(r.ix) > 0 && len(r.ix) == len(w.es) && sum(r.ix) == sum(w.es)
	ixOK := len(r.ix) > 0 || r.sure
	var missing []entry
	if ixOK && !agree {
		w.es, missing = reconcile(w.es, r.ix, false, func(at uint32) (entry, bool) {
			if uint64(at) >= uint64(len(data)) {
				return entry{}, false
			}
			op, body, _, ok := mcapRecord(data[at:])
			if !ok || op != mcapMessage {
				return entry{}, false
			}
			return mcapEntry(body, int(at))
		})
	}
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
		lost, unknown := int64(len(missing)), false
		for _, e := range missing {
			r.dmg.during(unix(e.time), unix(e.time))
		}
		if !ixOK {
			lost = int64(w.dropped + all - len(known))
			// A chunk is written whole: where it is cut off, there was more of it.
			unknown = w.bad > w.tail || r.got.err != nil
			if unknown && c.end > 0 {
				r.dmg.during(unix(c.start), unix(c.end))
			}
		}
		r.account(c, lost, unknown, w, all)
		c.judged = true
	}
	return known, nil
}

func (r *mcapFile) account(c *chunk, lost int64, unknown bool, w walked, all int) {
	d := &r.dmg
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
		why = "its records are damaged"
	}
	d.note("chunk at byte %d: %s; %d messages lost", c.pos, why, lost)
}

// walk lists the messages of a chunk up to the first place without a record: from
// there on only the index helps.
func (r *mcapFile) walk(data []byte, es []entry) walked {
	w := walked{es: es}
	for pos := 0; pos < len(data); {
		op, body, n, ok := mcapRecord(data[pos:])
		if ok && op == mcapMessage {
			var e entry
			if e, ok = mcapEntry(body, pos); ok {
				w.es = append(w.es, e)
			}
		}
		if !ok {
			w.bad++
			w.skipped += len(data) - pos
			if r.got.cut {
				w.tail++
				if data[pos] == mcapMessage {
					w.dropped++ // the one that is cut off
				}
			} else if k := len(w.es); k > 0 && int(w.es[k-1].off+w.es[k-1].size) == pos {
				w.es = w.es[:k-1]
				w.dropped++
			}
			break
		}
		if op == mcapSchema || op == mcapChannel {
			r.define(op, body)
		}
		pos += n
	}
	return w
}

// readIndex reads the index records after the chunk that was just unpacked.
func (r *mcapFile) readIndex(c *chunk) error {
	r.ix = r.ix[:0]
	if c.bare {
		return nil
	}
	pos, limit := r.got.data+r.got.size, r.f.size
	if c.body > 0 {
		pos = c.pos + c.body
	}
	if c.size > 0 {
		limit = min(limit, c.pos+c.size)
	}
	ix, end, whole, err := r.indexAt(pos, limit, r.ix)
	if err != nil {
		return err
	}
	if r.ix = ix; !whole {
		r.ix = r.ix[:0]
	}
	if c.size == 0 {
		c.size = end - c.pos
	}
	return nil
}

// indexAt reads index records from pos on, and returns where they end.
func (r *mcapFile) indexAt(pos, limit int64, ix []entry) (_ []entry, end int64, whole bool, err error) {
	whole = true
	for pos < limit {
		op, size, err := r.head(pos)
		if err != nil {
			return ix, pos, false, err
		}
		if op != mcapIndex || size > maxRecord || pos+mcapHead+size > limit {
			break
		}
		b, err := r.f.peek(pos, int(mcapHead+size))
		if err != nil {
			return ix, pos, false, err
		}
		if len(b) < int(mcapHead+size) {
			return ix, pos, false, nil
		}
		c := cursor{b: b[mcapHead:]}
		conn := uint32(c.u16())
		es := cursor{b: c.bytes()}
		if c.bad || len(es.b)%16 != 0 {
			whole = false
		}
		for len(es.b) >= 16 && whole {
			t, at := es.stamp(), es.u64()
			if es.bad || at > maxChunk {
				whole = false
				break
			}
			ix = append(ix, entry{time: t, at: uint32(at), conn: conn})
		}
		pos += mcapHead + size
	}
	return ix, pos, whole, nil
}
