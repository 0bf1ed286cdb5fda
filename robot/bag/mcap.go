package bag

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
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
	packing
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
	r.beside.close()
	r.packing.close()
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
	if len(r.counts) == 0 && r.total > 0 { // statistics may leave the channels out
		return r.count()
	}
	return true, nil
}

// count counts the messages of each channel by the indexes of the chunks, and says whether
// that is all of them.
func (r *mcapFile) count() (bool, error) {
	left := r.total
	for k := range r.chunks {
		for _, h := range r.chunks[k].conns {
			op, size, err := r.head(h.index)
			if err != nil {
				return false, err
			}
			if op != mcapIndex || size < 6 {
				return false, nil
			}
			n := (size - 6) / 16
			r.counts[h.conn] += n
			left -= n
		}
	}
	return left == 0, nil
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
		k.conns = append(k.conns, share{conn: uint32(offsets.u16()), index: int64(min(offsets.u64(), 1<<62))})
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

// times are those of a channel's first and last message, as the indexes of the chunks at
// either end tell; the first is after the second where none does.
func (r *mcapFile) times(id uint32) (first, last int64) {
	type part struct{ start, end, index int64 }
	var in []part
	for k := range r.chunks {
		for _, h := range r.chunks[k].conns {
			if h.conn == id {
				in = append(in, part{r.chunks[k].start, r.chunks[k].end, h.index})
			}
		}
	}
	first, last = math.MaxInt64, math.MinInt64
	slices.SortFunc(in, func(a, b part) int { return cmp.Compare(a.start, b.start) })
	for _, p := range in {
		if p.start >= first {
			break // no chunk that begins later has an earlier message
		}
		if lo, _, ok := r.spanAt(p.index); ok {
			first = min(first, lo)
		}
	}
	slices.SortFunc(in, func(a, b part) int { return cmp.Compare(b.end, a.end) })
	for _, p := range in {
		if p.end <= last {
			break
		}
		if _, hi, ok := r.spanAt(p.index); ok {
			last = max(last, hi)
		}
	}
	return first, last
}

// spanAt are the earliest and the latest time in the message index at pos.
func (r *mcapFile) spanAt(pos int64) (lo, hi int64, ok bool) {
	op, size, err := r.head(pos)
	if err != nil || op != mcapIndex || size < 6 || size > maxRecord || size > r.f.size-pos-mcapHead {
		return 0, 0, false
	}
	b, err := r.f.read(pos+mcapHead, make([]byte, size))
	if err != nil || int64(len(b)) < size {
		return 0, 0, false
	}
	c := cursor{b: b}
	c.u16()
	entries := cursor{b: c.bytes()}
	lo, hi = math.MaxInt64, math.MinInt64
	for len(entries.b) > 0 && !entries.bad {
		at := entries.stamp()
		entries.u64()
		lo, hi = min(lo, at), max(hi, at)
	}
	return lo, hi, !c.bad && !entries.bad && lo <= hi
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
		if c := &r.chunks[k]; c.end > 0 { // those without messages have no time
			i.span(c.start, c.end)
		}
	}
	for _, c := range r.byID.list {
		start, end := r.times(c.ID)
		if start > end { // its messages are in no chunk's index
			start, end = i.Start.UnixNano(), i.End.UnixNano()
		}
		i.add(c, r.counts[c.ID], start, end)
	}
	i.sort()
	return i
}
