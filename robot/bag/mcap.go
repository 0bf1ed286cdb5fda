package bag

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// mcapFile reads an MCAP file. Records are read here and not by its library, whose
// lexer stops at the first damage, and has panicked and taken a GiB on flipped
// bits.
type mcapFile struct {
	stream
	f       *file
	path    string
	kind    string
	byID    conns
	schemas map[uint16]schema
	indexed bool
	counts  map[uint32]int64 // messages by channel, of an index
	packs   map[string]int
	total   int64 // messages, by the statistics; -1 if there are none

	packed []byte
	ix     []entry
	got    unpacked
	sure   bool // the checksum of the last chunk fits
	zstd   *zstd.Decoder
}

func openMCAP(path string, f *file, opt Options) (*mcapFile, error) {
	r := &mcapFile{f: f, path: path, kind: "mcap", schemas: map[uint16]schema{}, packs: map[string]int{}, total: -1}
	r.u = r
	r.bounds(opt)
	var err error
	if r.indexed, err = r.readSummary(); err != nil {
		return nil, err
	}
	if !r.indexed {
		r.chunks, r.byID, r.schemas, r.counts, r.packs = nil, conns{}, map[uint16]schema{}, nil, map[string]int{}
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

func (r *mcapFile) connection(id uint32) *Connection { return r.byID.get(id) }
func (r *mcapFile) connections() []*Connection       { return slices.Clone(r.byID.list) }
func (r *mcapFile) damage() Damage                   { return r.dmg.clone() }
func (r *mcapFile) close() error {
	if r.zstd != nil {
		r.zstd.Close()
		r.zstd = nil
	}
	return r.f.close()
}

func (r *mcapFile) learn(c *Connection) {
	if r.byID.add(c) && r.wanted != nil && slices.Contains(r.opt.Topics, c.Topic) {
		r.wanted[c.ID] = true
	}
}

// define keeps a schema or a channel; of a number what was said first counts.
func (r *mcapFile) define(op byte, data []byte) {
	switch op {
	case mcapSchema:
		if len(data) < 2 {
			return
		}
		if _, ok := r.schemas[binary.LittleEndian.Uint16(data)]; ok {
			return
		}
		if id, s, ok := parseSchema(data); ok {
			r.schemas[id] = s
		}
	case mcapChannel:
		if len(data) >= 2 && r.byID.get(uint32(binary.LittleEndian.Uint16(data))) == nil {
			r.learn(r.channel(data))
		}
	}
}

// footSize is the footer's record with the magic that ends a file.
const footSize = mcapHead + 8 + 8 + 4 + len(mcapMagic)

// maxSummary bounds the summary that is read: a chunk takes about 100 bytes of it.
const maxSummary = 256 << 20

// readSummary reads the index at the end of the file, and says whether all is
// there to do without scanning.
func (r *mcapFile) readSummary() (bool, error) {
	foot, err := r.f.read(r.f.size-int64(footSize), make([]byte, footSize))
	if err != nil {
		return false, err
	}
	if len(foot) < footSize || foot[0] != mcapFooter || binary.LittleEndian.Uint64(foot[1:]) != 20 || string(foot[mcapHead+20:]) != mcapMagic {
		r.dmg.Unindexed, r.dmg.Truncated = true, true
		r.dmg.note("the file does not end with a footer: its writer died, or it was cut off")
		return false, nil
	}
	c := cursor{b: foot[mcapHead:]}
	start, crc := c.u64(), uint32(0)
	c.u64()
	crc = c.u32()
	end := r.f.size - int64(footSize)
	if start == 0 {
		return false, nil // without an index on purpose
	}
	if start > uint64(end) || uint64(end)-start > maxSummary {
		r.dmg.Unindexed = true
		r.dmg.note("the footer's place of the index is damaged; it was made anew")
		return false, nil
	}
	b, err := r.f.read(int64(start), make([]byte, end-int64(start)))
	if err != nil {
		return false, err
	}
	if crc != 0 && crc32.Update(crc32.ChecksumIEEE(b), crc32.IEEETable, foot[:mcapHead+16]) != crc {
		r.dmg.Unindexed = true
		r.dmg.note("the index's checksum does not fit; it was made anew")
		return false, nil
	}
	chunks, channels := -1, -1
	for len(b) > 0 {
		op, data, n, ok := mcapRecord(b)
		if !ok {
			r.dmg.Unindexed = true
			r.dmg.note("the index is damaged; it was made anew")
			return false, nil
		}
		switch op {
		case mcapSchema, mcapChannel:
			r.define(op, data)
		case mcapStatistics:
			chunks, channels, ok = r.statistics(data)
		case mcapChunkIndex:
			ok = r.chunkIndex(data, int64(start))
		}
		if !ok {
			r.dmg.Unindexed = true
			r.dmg.note("the index is damaged; it was made anew")
			return false, nil
		}
		b = b[n:]
	}
	// Statistics, channels and chunks may each be left out; loose messages have no
	// index.
	if chunks < 0 || chunks != len(r.chunks) || channels != len(r.byID.list) || chunks == 0 && r.total > 0 {
		return false, nil
	}
	slices.SortFunc(r.chunks, func(a, b chunk) int { return cmp.Compare(a.pos, b.pos) })
	return true, nil
}

func (r *mcapFile) statistics(data []byte) (chunks, channels int, ok bool) {
	c := cursor{b: data}
	n := c.u64()
	c.u16()
	channels = int(c.u32())
	c.u32()
	c.u32()
	chunks = int(c.u32())
	c.u64()
	c.u64()
	per := cursor{b: c.bytes()}
	r.counts = map[uint32]int64{}
	for len(per.b) > 0 && !per.bad {
		id, k := per.u16(), per.u64()
		r.counts[uint32(id)] = int64(min(k, 1<<62))
	}
	r.total = int64(min(n, 1<<62))
	return chunks, channels, !c.bad && !per.bad
}

func (r *mcapFile) chunkIndex(data []byte, limit int64) bool {
	c := cursor{b: data}
	var k chunk
	k.start, k.end = c.stamp(), c.stamp()
	pos, size := c.u64(), c.u64()
	offsets := cursor{b: c.bytes()}
	index := c.u64()
	compression := c.string()
	if c.bad || pos > uint64(limit) || size > uint64(limit)-pos || index > uint64(limit)-pos-size || size < mcapHead || k.start > k.end {
		return false
	}
	for len(offsets.b) > 0 && !offsets.bad {
		k.conns = append(k.conns, share{conn: uint32(offsets.u16())})
		offsets.u64()
	}
	k.pos, k.body, k.size, k.count = int64(pos), int64(size), int64(size+index), -1
	r.packed0(compression)
	r.chunks = append(r.chunks, k)
	return !offsets.bad
}

// packed0 counts a chunk's compression.
func (r *mcapFile) packed0(name string) {
	switch name {
	case "":
		r.packs["none"]++
	case "lz4", "zstd":
		r.packs[name]++
	}
}

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
	var out []byte
	if h.compression == "" {
		if out, err = r.f.read(r.got.data, grow(buf, int(r.got.size))); err != nil {
			return nil, err
		}
	} else {
		r.got.packed = true
		r.packed = grow(r.packed, int(r.got.size))
		p, err := r.f.read(r.got.data, r.packed)
		if err != nil {
			return nil, err
		}
		if out, err = r.unpackMCAP(h.compression, p, buf, int(h.raw)); err != nil && !r.got.cut {
			r.got.err = err
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

func (r *mcapFile) unpackZSTD(p, buf []byte, raw int) ([]byte, error) {
	if r.zstd == nil {
		var err error
		r.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxChunk), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return buf[:0], fmt.Errorf("zstd: %w", err)
		}
	}
	// What a chunk claims is not taken before it is there.
	for room := min(raw, 32*len(p)+64<<10); ; room = min(raw, 4*room) {
		buf = grow(buf, room)
		out, err := r.zstd.DecodeAll(p, buf[:0:room])
		if errors.Is(err, zstd.ErrDecoderSizeExceeded) && room < raw {
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
			unknown = w.bad > w.tail || r.got.err != nil && (!r.got.cut || r.got.packed)
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

// head reads a record's first byte and length; op is 0 if there is none.
func (r *mcapFile) head(pos int64) (op byte, size int64, err error) {
	b, err := r.f.peek(pos, mcapHead)
	if err != nil || len(b) < mcapHead || b[0] == 0 || b[0] > mcapLast && b[0] < mcapPrivate {
		return 0, 0, err
	}
	n := binary.LittleEndian.Uint64(b[1:])
	if n > 1<<62 {
		return 0, 0, nil
	}
	return b[0], int64(n), nil
}

// info implements source.
func (r *mcapFile) info() Info {
	i := Info{Path: r.path, Kind: r.kind, Size: r.f.size, Indexed: r.indexed, Damage: r.dmg.clone()}
	for name, n := range r.packs {
		i.Compression = append(i.Compression, Compression{name, n})
	}
	slices.SortFunc(i.Compression, func(a, b Compression) int { return cmp.Compare(a.Name, b.Name) })
	if !r.indexed {
		tally(&i, r.chunks, r.byID.list)
		return i
	}
	for k := range r.chunks {
		i.span(r.chunks[k].start, r.chunks[k].end)
	}
	for _, c := range r.byID.list {
		// The index does not say when a channel began: the recording's time is used.
		i.add(c, r.counts[c.ID], i.Start.UnixNano(), i.End.UnixNano())
	}
	i.sort()
	return i
}
