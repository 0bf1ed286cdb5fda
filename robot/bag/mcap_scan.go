package bag

import "encoding/binary"

// scan makes the index of an MCAP file that has none, or a damaged one.
func (r *mcapFile) scan() error {
	var (
		es    []entry
		buf   []byte
		gap   bool
		loose int
	)
	if err := r.survey(); err != nil {
		return err
	}
	pos := int64(len(mcapMagic))
	for pos < r.f.size {
		op, size, err := r.head(pos)
		if err != nil {
			return err
		}
		fits := op != 0 && size <= r.f.size-pos-mcapHead
		if rest := r.f.size - pos; !fits && (op != mcapChunk || rest < maxChunkHead-32) {
			if end, err := r.f.peek(pos, len(mcapMagic)); err != nil {
				return err
			} else if rest == int64(len(mcapMagic)) && string(end) == mcapMagic {
				break
			}
			next, err := r.seek(pos+1, r.loose())
			if err != nil {
				return err
			}
			switch {
			case next < r.f.size || op == mcapChunk || op == 0 && rest > mcapHead:
				gap = true
			case op == mcapMessage:
				r.dmg.Messages++ // the one that is cut off
			}
			r.dmg.Bytes += next - pos
			r.dmg.note("%d bytes at byte %d are no record", next-pos, pos)
			pos = next
			continue
		}
		switch op {
		case mcapChunk:
			if gap {
				r.dmg.Unknown, gap = true, false
			}
			loose = 0
			c := chunk{pos: pos, count: -1}
			if !fits { // its length is damaged, or it is cut off
				next, err := r.seek(pos+mcapHead, false)
				if err != nil {
					return err
				}
				if next < r.f.size {
					c.body = next - pos
				}
			}
			if buf, err = r.unpack(&c, buf); err != nil {
				return err
			}
			if es, err = r.list(&c, buf, es[:0]); err != nil {
				return err
			}
			r.keepChunk(c, es)
			pos += max(c.size, mcapHead)
			continue
		case mcapMessage:
			if gap && !r.loose() {
				pos += mcapHead + size
				continue
			}
			c := chunk{pos: pos, count: -1, bare: true}
			if c.size, err = r.run(pos); err != nil {
				return err
			}
			if buf, err = r.unpack(&c, buf); err != nil {
				return err
			}
			if es, err = r.list(&c, buf, es[:0]); err != nil {
				return err
			}
			loose += len(es)
			r.keepChunk(c, es)
			pos += c.size
			continue
		case mcapIndex:
			ix, end, whole, err := r.indexAt(pos, r.f.size, r.ix[:0])
			if err != nil {
				return err
			}
			r.ix = ix
			if n := len(ix) - loose; whole && n > 0 && gap {
				gap = false
				from, to := ix[0].time, ix[0].time
				for _, e := range ix {
					from, to = min(from, e.time), max(to, e.time)
				}
				r.dmg.Messages += int64(n)
				r.dmg.Chunks++
				r.dmg.during(unix(from), unix(to))
				r.dmg.note("a chunk is lost with %d messages", n)
			}
			loose = 0
			pos = max(end, pos+1)
			continue
		case mcapSchema, mcapChannel:
			if size <= maxRecord {
				b, err := r.f.peek(pos, int(mcapHead+size))
				if err != nil {
					return err
				}
				r.define(op, b[mcapHead:])
			}
		}
		pos += mcapHead + size
	}
	r.dmg.Unknown = r.dmg.Unknown || gap
	if r.dmg.Truncated && len(r.chunks) == 0 {
		r.dmg.Unknown = true
		r.dmg.note("the file ends before its first message, after %d bytes: how many followed is not known", r.f.size)
	}
	r.ix = nil
	return nil
}

// keepChunk adds a chunk to the index.
func (r *mcapFile) keepChunk(c chunk, es []entry) {
	if keep(&c, es) {
		r.chunks = append(r.chunks, c)
	}
}

// run returns the length of the loose messages, schemas and channels from pos on,
// at most about bareRun.
func (r *mcapFile) run(pos int64) (int64, error) {
	at := pos
	for at < r.f.size && at-pos < bareRun {
		op, size, err := r.head(at)
		if err != nil {
			return 0, err
		}
		if op != mcapMessage && op != mcapSchema && op != mcapChannel || size > r.f.size-at-mcapHead {
			break
		}
		at += mcapHead + size
	}
	return at - pos, nil
}

// survey counts the chunks by compression, as far as their lengths lead to them.
func (r *mcapFile) survey() error {
	for pos := int64(len(mcapMagic)); pos < r.f.size; {
		op, size, err := r.head(pos)
		if err != nil || op == 0 {
			return err
		}
		if op == mcapChunk {
			b, err := r.f.peek(pos, maxChunkHead)
			if err != nil {
				return err
			}
			if h := (chunkHead{}); h.parse(b) {
				r.packed0(h.compression)
			}
		}
		pos += mcapHead + size
	}
	return nil
}

// loose says whether a message between damage is one: in a compressed chunk, parts
// of messages look like messages.
func (r *mcapFile) loose() bool { return r.packs["lz4"]+r.packs["zstd"] == 0 }

// seek finds the next place from pos on where a record begins and another, or
// the end, follows it.
// Those that lie in chunks are looked for if inside says so.
func (r *mcapFile) seek(pos int64, inside bool) (int64, error) {
	const step = 256 << 10
	buf := make([]byte, step+mcapHead)
	for pos < r.f.size {
		b, err := r.f.read(pos, buf)
		if err != nil {
			return 0, err
		}
		for i := 0; i < min(step, len(b)-mcapHead+1); i++ {
			if b[i] < mcapSchema || b[i] > mcapLast || !inside && b[i] <= mcapMessage {
				continue
			}
			size := binary.LittleEndian.Uint64(b[i+1:])
			at := pos + int64(i)
			if size > uint64(r.f.size-at-mcapHead) {
				continue
			}
			next := at + mcapHead + int64(size)
			if next == r.f.size {
				return at, nil
			}
			op, n, err := r.head(next)
			if err != nil {
				return 0, err
			}
			if op != 0 && n <= r.f.size-next-mcapHead {
				return at, nil
			}
		}
		pos += step
	}
	return r.f.size, nil
}
