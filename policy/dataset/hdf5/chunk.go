package hdf5

import (
	"fmt"
)

// slab reads rows of a dataset in chunks: each chunk that they touch is decoded
// once, and what lies in the rows is copied.
func (d *Dataset) slab(from, to int) ([]byte, error) {
	if err := d.locate(); err != nil {
		return nil, err
	}
	rank, edge := len(d.Shape), d.layout.edge
	if rank == 0 {
		c, ok := d.chunks[0]
		if !ok {
			return nil, fmt.Errorf("%w: its data were never written", ErrCorrupt)
		}
		return d.decode(c, 0)
	}
	// Every chunk must be there before memory is taken for what they hold.
	first, last := from/edge[0], (to-1)/edge[0]
	across := 1
	for _, g := range d.grid[1:] {
		across *= g
	}
	for n := first * across; n < (last+1)*across; n++ {
		if _, ok := d.chunks[uint64(n)]; !ok {
			return nil, fmt.Errorf("%w: rows %d to %d were never written", ErrCorrupt, n/across*edge[0], min(d.Len(), (n/across+1)*edge[0])-1)
		}
	}
	out := make([]byte, (to-from)*d.Width()*d.Kind.Size)
	// Strides in bytes of the result and of a chunk.
	into, outof := make([]int, rank), make([]int, rank)
	into[rank-1], outof[rank-1] = d.Kind.Size, d.Kind.Size
	for i := rank - 2; i >= 0; i-- {
		into[i], outof[i] = into[i+1]*d.Shape[i+1], outof[i+1]*edge[i+1]
	}
	at := make([]int, rank) // the chunk's place in the grid
	for n := first * across; n < (last+1)*across; n++ {
		for i, rest := rank-1, n; i >= 0; i-- {
			at[i] = rest % max(1, d.grid[i])
			rest /= max(1, d.grid[i])
		}
		b, err := d.decode(d.chunks[uint64(n)], n)
		if err != nil {
			return nil, err
		}
		dst, src := 0, 0
		count := make([]int, rank)
		for i := range rank {
			lo, hi := at[i]*edge[i], min((at[i]+1)*edge[i], d.Shape[i])
			if i == 0 {
				skip := max(0, from-lo)
				src += skip * outof[0]
				lo, hi = max(lo, from)-from, min(hi, to)-from
			}
			dst += lo * into[i]
			count[i] = hi - lo
		}
		box(out[dst:], b[src:], into, outof, count, d.Kind.Size)
	}
	return out, nil
}

// box copies a box of count elements between arrays of other strides (bytes).
func box(dst, src []byte, into, outof, count []int, size int) {
	if len(count) == 1 {
		copy(dst[:count[0]*size], src)
		return
	}
	for i := range count[0] {
		box(dst[i*into[0]:], src[i*outof[0]:], into[1:], outof[1:], count[1:], size)
	}
}

// locate finds all chunks.
func (d *Dataset) locate() error {
	if d.chunks != nil {
		return nil
	}
	f, l := d.o.f, &d.layout
	n := 1
	for _, g := range d.grid {
		if g > 0 && n > maxLinks/g {
			return fmt.Errorf("%w: more than %d chunks", ErrCorrupt, maxLinks)
		}
		n *= g
	}
	chunks := map[uint64]chunk{}
	if f.undefined(l.addr) {
		d.chunks = chunks
		return nil
	}
	switch l.index {
	case 0:
		key := 8 + 8*(len(d.Shape)+1)
		err := f.tree(l.addr, 1, key, func(k []byte, child uint64) error {
			c := &cursor{b: k}
			ch := chunk{size: uint64(c.u32()), mask: c.u32(), addr: child}
			at := uint64(0)
			for i, e := range l.edge {
				o := c.uint(8)
				if o%uint64(e) != 0 || o/uint64(e) >= uint64(max(1, d.grid[i])) {
					return nil // beyond the shape: left from before it was shrunk
				}
				at = at*uint64(d.grid[i]) + o/uint64(e)
			}
			chunks[at] = ch
			return nil
		})
		if err != nil {
			return err
		}
	case 1:
		chunks[0] = l.single
	case 2: // one after the other
		for i := range n {
			size := uint64(d.chunkBytes())
			chunks[uint64(i)] = chunk{addr: l.addr + uint64(i)*size, size: size}
		}
	case 3:
		if err := d.fixed(chunks, n); err != nil {
			return err
		}
	}
	d.chunks = chunks
	return nil
}

// fixed reads the chunk index "fixed array" (VII.C).
func (d *Dataset) fixed(chunks map[uint64]chunk, n int) error {
	f := d.o.f
	c, err := f.signed(d.layout.addr, uint64(4+4+f.l+f.o+4), "FAHD")
	if err != nil {
		return err
	}
	c.skip(1)
	filtered := c.u8() == 1
	entry, page := int(c.u8()), int(c.u8())
	total, addr := c.uint(f.l), c.uint(f.o)
	if total != uint64(n) || page > 30 || entry < f.o || filtered && (entry < f.o+5 || entry > f.o+12) {
		return fmt.Errorf("%w: an index of %d chunks, want %d", ErrCorrupt, total, n)
	}
	if f.undefined(addr) {
		return nil
	}
	head := uint64(4 + 1 + 1 + f.o)
	if _, err := f.signed(addr, head, "FADB"); err != nil {
		return err
	}
	at, left, per := addr+head, n, n
	pages := []byte(nil) // a bit for each page that was written
	if n > 1<<page {
		per = 1 << page
		w := uint64((n+per-1)/per+7) / 8
		if pages, err = f.block(at, w); err != nil {
			return err
		}
		at += w + 4 // and a checksum
	}
	for p := 0; left > 0; p++ {
		m := min(per, left)
		if pages != nil && pages[p/8]&(0x80>>(p%8)) == 0 {
			at, left = at+uint64(per*entry+4), left-m
			continue
		}
		b, err := f.block(at, uint64(m*entry))
		if err != nil {
			return err
		}
		for i, c := 0, (&cursor{b: b}); i < m; i++ {
			ch := chunk{addr: c.uint(f.o), size: uint64(d.chunkBytes())}
			if filtered {
				ch.size, ch.mask = c.uint(entry-f.o-4), c.u32()
			} else {
				c.skip(entry - f.o)
			}
			if !f.undefined(ch.addr) {
				chunks[uint64(n-left+i)] = ch
			}
		}
		at, left = at+uint64(per*entry+4), left-m
	}
	return nil
}

// decode reads a chunk, whose number in the grid is n, and undoes its filters.
func (d *Dataset) decode(c chunk, n int) ([]byte, error) {
	f := d.o.f
	want := d.chunkBytes()
	if c.size > maxChunk || f.undefined(c.addr) || c.addr+f.base < f.base {
		return nil, fmt.Errorf("%w: chunk %d of %d bytes", ErrCorrupt, n, c.size)
	}
	b, err := f.raw(c.addr+f.base, c.size)
	if err != nil {
		return nil, err
	}
	filters := d.filters
	if d.layout.whole && d.passes(n) {
		filters = nil
	}
	for i := len(filters) - 1; i >= 0; i-- {
		if c.mask>>i&1 != 0 {
			continue
		}
		if b, err = filters[i].undo(b, want); err != nil {
			return nil, fmt.Errorf("chunk %d: %w", n, err)
		}
	}
	if len(b) != want {
		return nil, fmt.Errorf("%w: chunk %d has %d bytes, want %d", ErrCorrupt, n, len(b), want)
	}
	return b, nil
}

// passes reports whether chunk n passes the end of the dataset.
func (d *Dataset) passes(n int) bool {
	for i := len(d.grid) - 1; i >= 0; i-- {
		if (n%d.grid[i]+1)*d.layout.edge[i] > d.Shape[i] {
			return true
		}
		n /= d.grid[i]
	}
	return false
}
