// Package bunzip decompresses bzip2 from memory to memory. It is there for bags:
// compress/bzip2 takes half as long again as libbz2, reads streams, and gives out a
// block before it has checked it; this takes half as long as libbz2.
//
//	var d bunzip.Decoder
//	out, err := d.Append(nil, compressed, 1<<20)
//
// The format has no specification by its author; this follows J. Tsai, "BZIP2:
// Format Specification" (2016), and Burrows and Wheeler, "A block-sorting lossless
// data compression algorithm" (SRC report 124, 1994), algorithm D.
package bunzip

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	// ErrCorrupt says that the data are damaged, or no bzip2.
	ErrCorrupt = errors.New("bunzip: damaged")
	// ErrCut says that the data end too early.
	ErrCut = errors.New("bunzip: cut off")
	// ErrLong says that more comes out than is wanted.
	ErrLong = errors.New("bunzip: more comes out than the limit")
)

const (
	blockMagic = 0x314159265359
	endMagic   = 0x177245385090
	maxSyms    = 258 // bytes, two run lengths, end of block
	maxLen     = 20  // of a code, bits
	groupSize  = 50  // symbols that one table codes
	maxSelect  = 18002
	fastBits   = 10
)

// Decoder keeps memory from one use to the next; the zero value is ready. It is used
// by one goroutine.
type Decoder struct {
	bits
	tt     []uint32
	sel    []uint8
	tables [6]table
	lanes  [lanes][]byte
	plain  []byte
	crc    *[8][256]uint32
	crew   *crew // who else decodes, nil if nobody
}

// bits reads from the highest bit on. Past the end it reads zeros and says so.
type bits struct {
	p   []byte
	pos int
	acc uint64 // what is read next is at the top
	n   uint   // bits in acc
	pad uint   // of these, zeros past the end
}

// refill makes acc hold at least 56 bits.
func (b *bits) refill() {
	if b.pos+8 <= len(b.p) {
		b.acc |= binary.BigEndian.Uint64(b.p[b.pos:]) >> b.n
		k := (63 - b.n) >> 3
		b.pos += int(k)
		b.n += k * 8
		return
	}
	for b.n <= 56 {
		if b.pos < len(b.p) {
			b.acc |= uint64(b.p[b.pos]) << (56 - b.n)
			b.pos++
		} else {
			b.pad += 8
		}
		b.n += 8
	}
}

// over says that more was read than there is.
func (b *bits) over() bool { return b.pad > b.n }

func (b *bits) drop(k uint) {
	b.acc <<= k
	b.n -= k
}

// read returns the next k bits, at most 48.
func (b *bits) read(k uint) uint64 {
	if b.n < k {
		b.refill()
	}
	x := b.acc >> (64 - k)
	b.drop(k)
	return x
}

// Append decompresses p, which may be several streams one after the other, and
// appends what comes out to dst, at most limit bytes in all. With an error it
// returns the blocks before it, each of which its checksum vouches for.
func (d *Decoder) Append(dst, p []byte, limit int) ([]byte, error) {
	if d.crc == nil {
		d.crc = crcTables()
	}
	d.bits = bits{p: p}
	for first := true; ; first = false {
		if !first && d.left() < 8 {
			return dst, nil
		}
		if h := d.read(24); h != 'B'<<16|'Z'<<8|'h' {
			return dst, d.fail("no header")
		}
		level := d.read(8)
		if level < '1' || level > '9' {
			return dst, d.fail("no level")
		}
		sum := uint32(0)
		for {
			size := int(level-'0') * 100000
			if d.crew != nil && d.left() >= 80 {
				if out, end, got, ok := d.crew.take(dst, d.at(), size, limit); ok {
					dst = out
					sum = (sum<<1 | sum>>31) ^ got
					d.seek(p, end)
					continue
				}
			}
			magic := d.read(48)
			want := uint32(d.read(32))
			if magic == endMagic {
				if want != sum || d.over() {
					return dst, d.fail("the stream's checksum does not fit")
				}
				break
			}
			if magic != blockMagic {
				return dst, d.fail("no block")
			}
			start := len(dst)
			var err error
			if dst, err = d.block(dst, size, limit); err != nil {
				return dst[:start], err
			}
			got := d.checksum(dst[start:])
			if got != want {
				return dst[:start], d.fail("a block's checksum does not fit")
			}
			sum = (sum<<1 | sum>>31) ^ got
		}
		// Streams begin at bytes.
		d.drop(d.n % 8)
	}
}

// left is how many bits there are.
func (d *Decoder) left() int { return 8*(len(d.p)-d.pos) + int(d.n) - int(d.pad) }

func (d *Decoder) fail(why string) error {
	if d.over() {
		return ErrCut
	}
	return fmt.Errorf("%w: %s", ErrCorrupt, why)
}

// table decodes one Huffman code.
type table struct {
	fast  [1 << fastBits]uint16 // symbol<<4 | length, 0 if the code is longer
	limit [maxLen + 2]uint32    // first code, aligned to maxLen bits, that is longer than the index
	base  [maxLen + 2]int32     // index of a code's symbol, less the code
	perm  [maxSyms]uint16
	least uint
	bad   bool // more codes than fit, which harms who uses it alone
}

// build makes the table of code lengths.
func (t *table) build(lens []uint8) bool {
	var count [maxLen + 2]int
	for _, l := range lens {
		count[l]++
	}
	clear(t.fast[:])
	t.least = 0
	code, index := uint32(0), 0
	for l := uint(1); l <= maxLen; l++ {
		if count[l] > 0 && t.least == 0 {
			t.least = l
		}
		t.base[l] = int32(index) - int32(code)
		for s, sl := range lens {
			if uint(sl) != l {
				continue
			}
			t.perm[index] = uint16(s)
			index++
			if code>>l != 0 {
				return false // more codes than fit
			}
			if l <= fastBits {
				first := code << (fastBits - l)
				for i := range uint32(1) << (fastBits - l) {
					t.fast[first+i] = uint16(s)<<4 | uint16(l)
				}
			}
			code++
		}
		t.limit[l] = code << (maxLen - l)
		code <<= 1
	}
	return true
}

// slow decodes a code that is longer than fastBits; ok is false if there is none
// such.
func (t *table) slow(b *bits) (sym uint16, ok bool) {
	x := uint32(b.acc >> (64 - maxLen))
	for l := t.least; l <= maxLen; l++ {
		if x < t.limit[l] {
			i := t.base[l] + int32(x>>(maxLen-l))
			if i < 0 || i >= maxSyms {
				return 0, false
			}
			b.drop(l)
			return t.perm[i], true
		}
	}
	return 0, false
}

// block appends one block.
func (d *Decoder) block(dst []byte, size, limit int) ([]byte, error) {
	if d.read(1) != 0 {
		return dst, d.fail("a randomised block, which no compressor has written since 1997")
	}
	origin := int(d.read(24))
	var front [256]byte // move to front
	used := d.read(16)
	n := 0
	for i := range 16 {
		if used>>(15-i)&1 == 0 {
			continue
		}
		bits := d.read(16)
		for k := range 16 {
			if bits>>(15-k)&1 != 0 {
				front[n] = byte(16*i + k)
				n++
			}
		}
	}
	if n == 0 {
		return dst, d.fail("no symbols")
	}
	if err := d.codes(n + 2); err != nil {
		return dst, err
	}
	if cap(d.tt) < size {
		d.tt = make([]uint32, size)
	}
	var count [257]int32
	filled, err := d.symbols(d.tt[:size], &front, &count, n+1)
	if d.over() {
		err = ErrCut
	}
	if err != nil {
		return dst, err
	}
	if origin >= filled {
		return dst, d.fail("the block's origin is outside of it")
	}
	tt := d.tt[:filled]
	sum := int32(0)
	for i, c := range count[:256] {
		count[i] = sum
		sum += c
	}
	for i, v := range tt {
		b := byte(v)
		k := count[b]
		tt[k] |= uint32(i) << 8
		count[b] = k + 1
	}
	return unrun(dst, d.walk(tt, origin), limit)
}

// codes reads the tables for symbols below n.
func (d *Decoder) codes(n int) error {
	groups := int(d.read(3))
	if groups < 2 || groups > 6 {
		return d.fail("number of tables")
	}
	count := int(d.read(15))
	if count < 1 {
		return d.fail("no selectors")
	}
	order := [6]uint8{0, 1, 2, 3, 4, 5}
	d.sel = d.sel[:0]
	for range count {
		j := 0
		for d.read(1) != 0 {
			if j++; j >= groups {
				return d.fail("a selector")
			}
		}
		s := order[j]
		copy(order[1:j+1], order[:j])
		order[0] = s
		if len(d.sel) < maxSelect { // the rest is never used
			d.sel = append(d.sel, s)
		}
		if d.over() {
			return ErrCut
		}
	}
	for g := range groups {
		var lens [maxSyms]uint8
		l := int(d.read(5))
		for s := range n {
			for {
				if l < 1 || l > maxLen {
					return d.fail("length of a code")
				}
				if d.read(1) == 0 {
					break
				}
				if d.read(1) == 0 {
					l++
				} else {
					l--
				}
			}
			lens[s] = uint8(l)
		}
		if d.over() {
			return ErrCut
		}
		d.tables[g].bad = !d.tables[g].build(lens[:n])
	}
	return nil
}

// symbols decodes the block's symbols into tt, whose lowest bytes they become, and
// counts them.
func (d *Decoder) symbols(tt []uint32, front *[256]byte, count *[257]int32, end int) (filled int, err error) {
	run, weight := 0, 1
	b := d.bits // kept in registers
	defer func() { d.bits = b }()
	for _, s := range d.sel {
		t := &d.tables[s]
		if t.bad {
			return 0, fmt.Errorf("%w: more codes than fit", ErrCorrupt)
		}
		for range groupSize {
			if b.n < maxLen {
				b.refill()
				if b.pad > b.n {
					return 0, ErrCut
				}
			}
			var sym uint16
			if f := t.fast[b.acc>>(64-fastBits)]; f != 0 {
				b.drop(uint(f & 15))
				sym = f >> 4
			} else {
				var ok bool
				if sym, ok = t.slow(&b); !ok {
					return 0, fmt.Errorf("%w: a code that is none", ErrCorrupt)
				}
			}
			if sym < 2 { // a run's length, in digits 1 and 2 to base 2
				if weight > len(tt) {
					return 0, fmt.Errorf("%w: a run is too long", ErrCorrupt)
				}
				run += weight << sym
				weight <<= 1
				continue
			}
			if run > 0 {
				if run > len(tt)-filled {
					return 0, fmt.Errorf("%w: a block is too long", ErrCorrupt)
				}
				v := front[0]
				count[v] += int32(run)
				part := tt[filled : filled+run]
				for i := range part {
					part[i] = uint32(v)
				}
				filled += run
				run, weight = 0, 1
			}
			if int(sym) == end {
				if b.pad > b.n {
					return 0, ErrCut
				}
				return filled, nil
			}
			if filled >= len(tt) {
				return 0, fmt.Errorf("%w: a block is too long", ErrCorrupt)
			}
			k := int(sym - 1)
			v := front[k&255]
			if k < 16 {
				for i := k; i > 0; i-- {
					front[i&255] = front[(i-1)&255]
				}
			} else {
				copy(front[1:k+1], front[:k])
			}
			front[0] = v
			tt[filled] = uint32(v)
			count[v]++
			filled++
		}
	}
	return 0, fmt.Errorf("%w: no end of a block", ErrCorrupt)
}

// crcTables are those of the polynomial 0x04c11db7, highest bit first, for eight
// bytes at a time.
func crcTables() *[8][256]uint32 {
	var t [8][256]uint32
	for i := range 256 {
		c := uint32(i) << 24
		for range 8 {
			if c>>31 != 0 {
				c = c<<1 ^ 0x04c11db7
			} else {
				c <<= 1
			}
		}
		t[0][i] = c
	}
	for k := 1; k < 8; k++ {
		for i := range 256 {
			c := t[k-1][i]
			t[k][i] = c<<8 ^ t[0][c>>24]
		}
	}
	return &t
}

func (d *Decoder) checksum(p []byte) uint32 {
	t := d.crc
	c := ^uint32(0)
	for ; len(p) >= 8; p = p[8:] {
		c ^= binary.BigEndian.Uint32(p)
		c = t[7][c>>24] ^ t[6][c>>16&255] ^ t[5][c>>8&255] ^ t[4][c&255] ^ t[3][p[4]] ^ t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]]
	}
	for _, b := range p {
		c = c<<8 ^ t[0][byte(c>>24)^b]
	}
	return ^c
}
