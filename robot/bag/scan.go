package bag

import ()

// bareRun is how much of loose messages makes a chunk of its own.
const bareRun = 1 << 20

// scan makes the index of a bag that has none, or a damaged one: it unpacks every
// chunk and looks for the next record wherever there is none.
func (r *rosbag) scan() error {
	var (
		es    []entry
		buf   []byte
		gap   bool // bytes were skipped, in which messages may have been
		loose int  // messages found outside of chunks since the last chunk
		found int
	)
	inside, err := r.loose()
	if err != nil {
		return err
	}
	ops := uint32(inFile | 1<<opBagHeader | 1<<opConn)
	if inside {
		ops |= inChunk
	}
	pos := int64(len(magic))
	for pos < r.f.size {
		f, _, ok, err := r.record(pos, false)
		if err != nil {
			return err
		}
		if !ok {
			next, err := r.seek(pos+1, r.f.size, ops)
			if err != nil {
				return err
			}
			if next == r.f.size && !r.dmg.Truncated && r.head.index > 0 {
				r.dmg.Truncated = true
			}
			r.dmg.Bytes += next - pos
			r.dmg.note("%d bytes at byte %d are no record", next-pos, pos)
			gap = true
			pos = next
			continue
		}
		switch f.op {
		case opChunk:
			if gap {
				r.dmg.Unknown, gap = true, false
			}
			loose = 0
			c := chunk{pos: pos, count: -1}
			if buf, err = r.unpack(&c, buf); err != nil {
				return err
			}
			if es, err = r.list(&c, buf, es[:0]); err != nil {
				return err
			}
			if c.size == 0 {
				c.size = r.got.data + r.got.size - pos
			}
			if keep(&c, es) {
				r.chunks = append(r.chunks, c)
			}
			found++
			pos += c.size
			continue
		case opMessage:
			if !inside {
				gap = true
				pos += f.head + f.body
				continue
			}
			c := chunk{pos: pos, count: -1, bare: true}
			if c.size, err = r.run(pos); err != nil {
				return err
			}
			if c.size == 0 { // one that is cut off
				r.dmg.Messages++
				r.dmg.Bytes += r.f.size - pos
				r.dmg.note("a message at byte %d is cut off", pos)
				at := unix(f.time)
				r.dmg.during(at, at)
				gap = true
				pos += f.head
				continue
			}
			if buf, err = r.unpack(&c, buf); err != nil {
				return err
			}
			if es, err = r.list(&c, buf, es[:0]); err != nil {
				return err
			}
			loose += len(es)
			if keep(&c, es) {
				r.chunks = append(r.chunks, c)
			}
			pos += c.size
			continue
		case opIndex: // of a chunk that was not found
			var whole bool
			ix, end, whole, err := r.indexAt(pos, r.f.size, r.ix[:0])
			if err != nil {
				return err
			}
			r.ix = ix
			if whole && len(ix) > 0 {
				gap = false
				r.lose(ix, loose)
			}
			loose = 0
			if end > pos {
				pos = end
				continue
			}
			pos++
			continue
		case opConn:
			f, data, ok, err := r.record(pos, true)
			if err != nil {
				return err
			}
			if ok {
				r.learn(f.connection(data))
			}
		}
		if f.head+f.body > r.f.size-pos { // its length is damaged, or it is cut off
			next, err := r.seek(pos+f.head, r.f.size, ops)
			if err != nil {
				return err
			}
			r.dmg.Bytes += next - pos
			pos = next
			continue
		}
		pos += f.head + f.body
	}
	if gap && !(r.dmg.Truncated && r.head.has&hasChunks != 0 && int(r.head.chunks) == found) {
		r.dmg.Unknown = true
	}
	if n := int(r.head.chunks); r.head.index > 0 && n > found && n < 1<<24 {
		r.dmg.Chunks += n - found
		r.dmg.Unknown = true
		r.dmg.note("%d of %d chunks are not there", n-found, n)
	}
	r.ix = nil
	return nil
}

// loose says whether a message between damage is one: in a compressed chunk, parts
// of messages look like messages. Chunks of a file are compressed alike.
func (r *rosbag) loose() (bool, error) {
	pos, err := r.seek(int64(len(magic)), r.f.size, 1<<opChunk)
	if err != nil || pos == r.f.size {
		return true, err
	}
	f, _, ok, err := r.record(pos, false)
	return !ok || string(f.compression) == "none", err
}

// keep notes in c what messages it has, and says whether there are any.
func keep(c *chunk, es []entry) bool {
	if len(es) == 0 {
		return false
	}
	c.start, c.end = es[0].time, es[0].time
	n := map[uint32]uint32{}
	for _, e := range es {
		c.start, c.end = min(c.start, e.time), max(c.end, e.time)
		n[e.conn]++
	}
	for id, k := range n {
		c.conns = append(c.conns, share{conn: id, n: k})
	}
	return true
}

// lose accounts for a chunk of which only the index was found, and some of its
// messages.
func (r *rosbag) lose(ix []entry, found int) {
	if n := len(ix) - found; n > 0 {
		from, to := ix[0].time, ix[0].time
		for _, e := range ix {
			from, to = min(from, e.time), max(to, e.time)
		}
		r.dmg.Messages += int64(n)
		r.dmg.Chunks++
		r.dmg.during(unix(from), unix(to))
		r.dmg.note("a chunk is lost with %d messages", n)
	}
}

// run returns the length of the whole records of a chunk from pos on, at most
// about bareRun.
func (r *rosbag) run(pos int64) (int64, error) {
	at := pos
	for at < r.f.size && at-pos < bareRun {
		f, _, ok, err := r.record(at, false)
		if err != nil {
			return 0, err
		}
		if !ok || f.op != opMessage && f.op != opConn || f.head+f.body > r.f.size-at {
			break
		}
		at += f.head + f.body
	}
	return at - pos, nil
}
