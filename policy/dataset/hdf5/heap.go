package hdf5

import (
	"fmt"
	"math/bits"
)

// heaped calls take with each object of a fractal heap that a B-tree of version 2
// lists; id takes the heap's id out of a record of the tree.
func (f *File) heaped(heap, index uint64, kind uint8, id func(*cursor) []byte, take func([]byte) error) error {
	h, err := f.fractal(heap)
	if err != nil {
		return err
	}
	return f.tree2(index, kind, func(record []byte) error {
		c := &cursor{b: record}
		b, err := h.object(id(c))
		if err != nil {
			return err
		}
		return take(b)
	})
}

// fractal is a fractal heap (III.G).
type fractal struct {
	f              *File
	offset, length int // bytes of both in an id
	width          uint64
	start, most    uint64 // bytes of the first and of the largest direct block
	bits           int    // of the heap's own addresses
	root           uint64
	rows           int // of the root, 0: it is a direct block
}

func (f *File) fractal(addr uint64) (*fractal, error) {
	c, err := f.signed(addr, uint64(4+1+2+2+1+4+12*f.l+3*f.o+2+2+2+2), "FRHP")
	if err != nil {
		return nil, err
	}
	c.skip(1 + 2)
	filters := c.u16()
	c.skip(1)
	largest := uint64(c.u32())
	c.skip(f.l + f.o + f.l + f.o + 8*f.l)
	h := &fractal{f: f, width: uint64(c.u16()), start: c.uint(f.l), most: c.uint(f.l), bits: int(c.u16())}
	c.skip(2)
	h.root, h.rows = c.uint(f.o), int(c.u16())
	if filters != 0 {
		return nil, fmt.Errorf("%w: compressed links; rewrite the file with h5repack", ErrUnsupported)
	}
	pow := func(n uint64) bool { return n != 0 && n&(n-1) == 0 }
	if c.bad || !pow(h.start) || !pow(h.most) || h.most < h.start || h.most > maxBlock || !pow(h.width) || h.width > 1<<10 || h.bits > 64 {
		return nil, fmt.Errorf("%w: a fractal heap with blocks of %d to %d bytes", ErrCorrupt, h.start, h.most)
	}
	h.offset = (h.bits + 7) / 8
	h.length = min((log2(h.most)+7)/8, limit(largest))
	return h, nil
}

// log2 rounds down.
func log2(n uint64) int { return bits.Len64(n) - 1 }

// limit is how many bytes a number up to n takes.
func limit(n uint64) int {
	if n == 0 {
		return 1
	}
	return log2(n)/8 + 1
}

// object returns what an id stands for.
func (h *fractal) object(id []byte) ([]byte, error) {
	c := &cursor{b: id}
	first := c.u8()
	switch kind := first >> 4 & 3; kind {
	case 0:
		at, n := c.uint(h.offset), c.uint(h.length)
		if c.bad || n > h.most {
			return nil, fmt.Errorf("%w: a heap's object of %d bytes", ErrCorrupt, n)
		}
		if h.rows == 0 {
			return h.within(h.root, 0, h.start, at, n)
		}
		return h.indirect(h.root, h.rows, 0, at, n, 0)
	case 2:
		return c.bytes(int(first&15) + 1), nil
	default:
		return nil, fmt.Errorf("%w: an object of its own in a heap (type %d)", ErrUnsupported, kind)
	}
}

// within reads an object in the direct block that begins at base of the heap.
func (h *fractal) within(block, base, size, at, n uint64) ([]byte, error) {
	if at < base || n > size || at-base > size-n {
		return nil, fmt.Errorf("%w: a heap's object at %d passes its block", ErrCorrupt, at)
	}
	return h.f.block(block+(at-base), n)
}

// row is the size of the blocks of a row of the doubling table.
func (h *fractal) row(r int) uint64 {
	if r == 0 {
		return h.start
	}
	return h.start << min(r-1, 40)
}

// indirect looks for an object in the indirect block that begins at base of the
// heap (III.G.3).
func (h *fractal) indirect(addr uint64, rows int, base, at, n uint64, depth int) ([]byte, error) {
	direct := log2(h.most) - log2(h.start) + 2 // rows of direct blocks
	if depth > maxDepth || rows > 64 {
		return nil, fmt.Errorf("%w: a fractal heap of %d rows", ErrCorrupt, rows)
	}
	off := base
	for r := range rows {
		size := h.row(r)
		if at >= off+size*h.width {
			off += size * h.width
			continue
		}
		col := (at - off) / size
		off += col * size
		head := uint64(4 + 1 + h.f.o + (h.bits+7)/8)
		b, err := h.f.block(addr+head+(uint64(r)*h.width+col)*uint64(h.f.o), uint64(h.f.o))
		if err != nil {
			return nil, err
		}
		child := (&cursor{b: b}).uint(h.f.o)
		if r < direct {
			return h.within(child, off, size, at, n)
		}
		return h.indirect(child, log2(size)-log2(h.start*h.width)+1, off, at, n, depth+1)
	}
	return nil, fmt.Errorf("%w: a heap's object at %d lies outside", ErrCorrupt, at)
}

// tree2 calls take with each record of a B-tree of version 2 (III.A.2).
func (f *File) tree2(addr uint64, kind uint8, take func([]byte) error) error {
	c, err := f.signed(addr, uint64(4+1+1+4+2+2+2+f.o+2+f.l+4), "BTHD")
	if err != nil {
		return err
	}
	c.skip(1)
	got := c.u8()
	node, record, depth := uint64(c.u32()), uint64(c.u16()), int(c.u16())
	c.skip(2)
	root, n := c.uint(f.o), uint64(c.u16())
	if got != kind || record == 0 || node < 10+record || node > maxBlock || depth > maxDepth {
		return fmt.Errorf("%w: a B-tree of type %d, want %d, nodes of %d bytes and %d levels", ErrCorrupt, got, kind, node, depth)
	}
	if f.undefined(root) {
		return nil
	}
	// Widths of the numbers in the pointers of each level, from the leaves up.
	most := []uint64{(node - 10) / record}
	total := []uint64{0} // records below a node, which leaves' parents do not note
	pointer := []uint64{0}
	for d := 1; d <= depth; d++ {
		p := uint64(f.o + limit(most[0]))
		if d > 1 {
			p += uint64(limit(total[d-1]))
		}
		if node < 10+p {
			return fmt.Errorf("%w: B-tree nodes of %d bytes", ErrCorrupt, node)
		}
		m := (node - 10 - p) / (record + p)
		below := total[d-1]
		if d == 1 {
			below = most[0]
		}
		most, pointer = append(most, m), append(pointer, p)
		total = append(total, min((m+1)*below+m, 1<<40))
	}
	seen := 0
	var walk func(addr, n uint64, d int) error
	walk = func(addr, n uint64, d int) error {
		sign := "BTIN"
		if d == 0 {
			sign = "BTLF"
		}
		if seen++; seen > maxLinks || n > most[d] {
			return fmt.Errorf("%w: a B-tree node of %d records", ErrCorrupt, n)
		}
		c, err := f.signed(addr, 6+n*record+min(uint64(d), 1)*(n+1)*pointer[d], sign)
		if err != nil {
			return err
		}
		c.skip(2)
		records := &cursor{b: c.bytes(int(n * record))}
		for range n {
			if seen++; seen > maxLinks {
				return fmt.Errorf("%w: more than %d entries", ErrCorrupt, maxLinks)
			}
			if err := take(records.bytes(int(record))); err != nil {
				return err
			}
		}
		if d == 0 {
			return nil
		}
		for range n + 1 {
			p := &cursor{b: c.bytes(int(pointer[d]))}
			child := p.uint(f.o)
			if err := walk(child, p.uint(limit(most[0])), d-1); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(root, n, depth)
}
