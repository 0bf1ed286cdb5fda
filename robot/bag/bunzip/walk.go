package bunzip

// Each step through a sorted block waits for memory, for the next place is only
// known then. So the walk is begun at several places at once; a walk ends where
// another began, and in the end the pieces are put one after the other.
const (
	lanes  = 8    // walks at a time
	pieces = 256  // places to begin at, at most
	least  = 2048 // bytes of a piece, in the mean
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
		// An even share is an eighth.
		if len(d.lanes[i]) < n/2+1 {
			d.lanes[i] = make([]byte, n/2+1)
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
	share := min(max(n/least, lanes), pieces)
	for i := 1; i < share; i++ {
		begin(uint32(uint64(n) * uint64(i) / uint64(share)))
	}
	if !d.run(tt, all[:count]) {
		return d.follow(tt, all[0].at)
	}
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

// follow walks from at on alone, where the pieces are too uneven for the lanes.
func (d *Decoder) follow(tt []uint32, at uint32) []byte {
	out := d.plain[:len(tt)]
	for i := range out {
		x := tt[at] &^ begins
		out[i], at = byte(x), x>>8
	}
	return out
}

// run walks all pieces, lanes of them at a time. It returns false if a lane has no room
// for what it would write.
func (d *Decoder) run(tt []uint32, all []piece) bool {
	var (
		place [lanes]uint32 // of the next step
		have  [lanes]int    // bytes written
		which [lanes]*piece
	)
	first := func(i int) bool {
		if len(all) == 0 || have[i] == len(d.lanes[i]) {
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
		room := len(d.lanes[0])
		for i := range lanes {
			room = min(room, len(d.lanes[i])-have[i])
		}
		k := d.step(tt, &place, &have, room)
		ended := false
		for i := range lanes {
			if have[i] += k; tt[place[i]]&begins != 0 {
				ended = true
				end(i)
				full = first(i) && full
			}
		}
		if !ended {
			return false
		}
	}
	for i := range lanes {
		if which[i] == nil {
			continue
		}
		p, b, k := place[i], d.lanes[i], have[i]
		x := tt[p]
		for ; x&begins == 0 && k < len(b); x = tt[p] {
			b[k] = byte(x)
			k++
			p = x >> 8
		}
		if x&begins == 0 {
			return false
		}
		place[i], have[i] = p, k
		end(i)
	}
	return len(all) == 0
}

// step walks in all lanes until a piece ends in one of them, at most room steps, and
// returns how many it walked.
func (d *Decoder) step(tt []uint32, place *[lanes]uint32, have *[lanes]int, room int) int {
	p0, p1, p2, p3, p4, p5, p6, p7 := place[0], place[1], place[2], place[3], place[4], place[5], place[6], place[7]
	b0, b1, b2, b3 := d.lanes[0][have[0]:][:room], d.lanes[1][have[1]:][:room], d.lanes[2][have[2]:][:room], d.lanes[3][have[3]:][:room]
	b4, b5, b6, b7 := d.lanes[4][have[4]:][:room], d.lanes[5][have[5]:][:room], d.lanes[6][have[6]:][:room], d.lanes[7][have[7]:][:room]
	k := 0
	for ; k < room; k++ {
		x0, x1, x2, x3, x4, x5, x6, x7 := tt[p0], tt[p1], tt[p2], tt[p3], tt[p4], tt[p5], tt[p6], tt[p7]
		if (x0|x1|x2|x3|x4|x5|x6|x7)&begins != 0 {
			break
		}
		b0[k], b1[k], b2[k], b3[k] = byte(x0), byte(x1), byte(x2), byte(x3)
		b4[k], b5[k], b6[k], b7[k] = byte(x4), byte(x5), byte(x6), byte(x7)
		p0, p1, p2, p3, p4, p5, p6, p7 = x0>>8, x1>>8, x2>>8, x3>>8, x4>>8, x5>>8, x6>>8, x7>>8
	}
	*place = [lanes]uint32{p0, p1, p2, p3, p4, p5, p6, p7}
	return k
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
