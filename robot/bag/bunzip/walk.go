package bunzip

// Each step through a sorted block waits for memory, for the next place is only
// known then. So the walk is begun at several places at once; a walk ends where
// another began, and in the end the pieces are put one after the other.
const (
	lanes  = 4  // walks at a time
	pieces = 32 // places to begin at
	begins = 1 << 31
)

// piece is a walk from one beginning to the next.
type piece struct {
	at, next  uint32 // where it begins, where the one after it does
	lane      int
	from, end int // in what the lane has written
}

// walk returns the block of which tt is the sorted form: the lowest 8 bits are
// the byte, those above the place of the next.
func (d *Decoder) walk(tt []uint32, origin int) []byte {
	n := len(tt)
	for i := range d.lanes {
		if len(d.lanes[i]) < n+1 {
			d.lanes[i] = make([]byte, n+1)
		}
	}
	if cap(d.plain) < n {
		d.plain = make([]byte, n)
	}
	out := d.plain[:0]
	var all [pieces]piece
	count := 0
	begin := func(at uint32) {
		if tt[at]&begins == 0 {
			tt[at] |= begins
			all[count].at = at
			count++
		}
	}
	begin(tt[origin] >> 8)
	for i := 1; i < pieces; i++ {
		begin(uint32(uint64(n) * uint64(i) / pieces))
	}
	d.run(tt, all[:count])
	for k := 0; len(out) < n; {
		p := &all[k]
		part := d.lanes[p.lane][p.from:p.end]
		out = append(out, part[:min(len(part), n-len(out))]...)
		for k = range all[:count] {
			if all[k].at == p.next {
				break
			}
		}
	}
	d.plain = out[:cap(out)]
	return out
}

// run walks all pieces, lanes of them at a time.
func (d *Decoder) run(tt []uint32, all []piece) {
	var (
		place [lanes]uint32 // of the next step
		have  [lanes]int    // bytes written
		which [lanes]*piece
	)
	first := func(i int) bool {
		if len(all) == 0 {
			return false
		}
		p := &all[0]
		all = all[1:]
		p.lane, p.from = i, have[i]
		x := tt[p.at] &^ begins
		d.lanes[i][have[i]] = byte(x)
		have[i]++
		place[i], which[i] = x>>8, p
		return true
	}
	end := func(i int) {
		which[i].next, which[i].end = place[i], have[i]
		which[i] = nil
	}
	full := true
	for i := range lanes {
		full = first(i) && full
	}
	for full {
		p0, p1, p2, p3 := place[0], place[1], place[2], place[3]
		b0, b1, b2, b3 := d.lanes[0][have[0]:], d.lanes[1][have[1]:], d.lanes[2][have[2]:], d.lanes[3][have[3]:]
		k := 0
		for m := min(len(b0), len(b1), len(b2), len(b3)); k < m; k++ {
			x0, x1, x2, x3 := tt[p0], tt[p1], tt[p2], tt[p3]
			if (x0|x1|x2|x3)&begins != 0 {
				break
			}
			b0[k], b1[k], b2[k], b3[k] = byte(x0), byte(x1), byte(x2), byte(x3)
			p0, p1, p2, p3 = x0>>8, x1>>8, x2>>8, x3>>8
		}
		place = [lanes]uint32{p0, p1, p2, p3}
		for i := range lanes {
			if have[i] += k; tt[place[i]]&begins != 0 {
				end(i)
				full = first(i) && full
			}
		}
	}
	for i := range lanes {
		if which[i] == nil {
			continue
		}
		p, b, k := place[i], d.lanes[i], have[i]
		for x := tt[p]; x&begins == 0 && k < len(b); x = tt[p] {
			b[k] = byte(x)
			k++
			p = x >> 8
		}
		place[i], have[i] = p, k
		end(i)
	}
}

// unrun undoes the first run lengths: after four equal bytes comes how many more
// there are.
func unrun(dst, p []byte, limit int) ([]byte, error) {
	if room := min(len(p), limit-len(dst)); room > 0 && cap(dst)-len(dst) < room {
		dst = append(dst, make([]byte, room)...)[:len(dst)]
	}
	for i := 0; i < len(p); {
		// As far as there are no four alike, it is copied.
		k := i
		for k+3 < len(p) && !(p[k+3] == p[k+2] && p[k+2] == p[k+1] && p[k+1] == p[k]) {
			if p[k+3] != p[k+2] {
				k += 3
			} else if p[k+2] != p[k+1] {
				k += 2
			} else {
				k++
			}
		}
		if k+3 >= len(p) {
			k = len(p)
			if k-i > limit-len(dst) {
				return dst, ErrLong
			}
			return append(dst, p[i:]...), nil
		}
		k += 4
		more := 0
		if k < len(p) {
			more = int(p[k])
		}
		if k-i+more > limit-len(dst) {
			return dst, ErrLong
		}
		dst = append(dst, p[i:k]...)
		for range more {
			dst = append(dst, p[k-1])
		}
		i = k + 1
	}
	return dst, nil
}
