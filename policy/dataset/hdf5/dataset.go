package hdf5

import (
	"fmt"
	"slices"
)

// Dataset is an array in a file. Shape is its dimensions, none for a scalar;
// rows are along the first one.
type Dataset struct {
	Shape []int
	Kind  Kind

	o       *object
	layout  layout
	filters []filter
	chunks  map[uint64]chunk // by number in the grid; nil until they are wanted
	grid    []int            // chunks along each dimension
}

// layout says where the elements are (IV.A.2.i).
type layout struct {
	class  uint8 // 0 in the header, 1 in one piece, 2 in chunks
	data   []byte
	addr   uint64
	size   uint64
	edge   []int // elements of a chunk along each dimension
	index  uint8 // of the chunks: 0 a B-tree of version 1, else as in version 4
	single chunk // the only one
	whole  bool  // chunks that pass the end are not filtered
}

type chunk struct {
	addr uint64
	size uint64 // bytes in the file
	mask uint32 // filters that were skipped
}

// Path is where the dataset is.
func (d *Dataset) Path() string { return d.o.path }

// Len is the number of rows, 1 for a scalar.
func (d *Dataset) Len() int {
	if len(d.Shape) == 0 {
		return 1
	}
	return d.Shape[0]
}

// Width is the number of elements in a row.
func (d *Dataset) Width() int {
	n := 1
	for _, w := range d.Shape[min(1, len(d.Shape)):] {
		n *= w
	}
	return n
}

// Step is how many rows are best read at once: a chunk's.
func (d *Dataset) Step() int {
	if d.layout.class == 2 && len(d.layout.edge) > 0 {
		return max(1, d.layout.edge[0])
	}
	return max(1, (1<<20)/max(1, d.Width()*d.Kind.Size))
}

func (o *object) dataset() (*Dataset, error) {
	d := &Dataset{o: o}
	lm, ok := o.get(msgLayout)
	if !ok {
		return nil, o.fail(fmt.Errorf("%w: not a dataset", ErrNone))
	}
	tm, ok1 := o.get(msgType)
	sm, ok2 := o.get(msgSpace)
	if !ok1 || !ok2 {
		return nil, o.corrupt("a dataset without type or shape")
	}
	tb, err := o.f.shared(tm)
	if err != nil {
		return nil, o.fail(err)
	}
	if d.Kind, err = kind(tb); err != nil {
		return nil, o.fail(err)
	}
	sb, err := o.f.shared(sm)
	if err != nil {
		return nil, o.fail(err)
	}
	var null bool
	if d.Shape, null, err = o.f.space(sb); err != nil {
		return nil, o.fail(err)
	}
	if null {
		d.Shape = []int{0}
	}
	if err := d.place(lm.data); err != nil {
		return nil, o.fail(err)
	}
	if m, ok := o.get(msgFilters); ok {
		if d.filters, err = filters(m.data); err != nil {
			return nil, o.fail(err)
		}
	}
	return d, nil
}

// place reads the layout message of versions 3 and 4.
func (d *Dataset) place(b []byte) error {
	f, l := d.o.f, &d.layout
	c := &cursor{b: b}
	v := c.u8()
	if v != 3 && v != 4 {
		return fmt.Errorf("%w: a layout of version %d; rewrite the file with h5repack", ErrUnsupported, v)
	}
	l.class = c.u8()
	switch {
	case l.class == 0:
		l.data = c.bytes(int(c.u16()))
	case l.class == 1:
		l.addr, l.size = c.uint(f.o), c.uint(f.l)
	case l.class == 2 && v == 3:
		rank := int(c.u8()) - 1
		l.addr = c.uint(f.o)
		d.edges(c, rank, 4)
	case l.class == 2:
		flags := c.u8()
		l.whole = flags&1 != 0
		rank := int(c.u8()) - 1
		d.edges(c, rank, int(c.u8()))
		l.index = c.u8()
		switch l.index {
		case 1:
			l.single.size = uint64(d.chunkBytes())
			if flags&2 != 0 {
				l.single.size, l.single.mask = c.uint(f.l), c.u32()
			}
		case 2:
		case 3:
			c.skip(1)
		default:
			return fmt.Errorf("%w: a chunk index of a growing dataset (kind %d); rewrite the file without libver=\"latest\", or with h5repack -l CONTI", ErrUnsupported, l.index)
		}
		l.addr = c.uint(f.o)
		l.single.addr = l.addr
	default:
		return fmt.Errorf("%w: a virtual dataset; copy what it stands for into the file", ErrUnsupported)
	}
	if c.bad {
		return fmt.Errorf("%w: a layout of %d bytes", ErrCorrupt, len(b))
	}
	if l.class != 2 {
		return nil
	}
	if len(l.edge) != len(d.Shape) || d.chunkBytes() <= 0 {
		return fmt.Errorf("%w: chunks %v of a dataset %v", ErrCorrupt, l.edge, d.Shape)
	}
	for i, e := range l.edge {
		d.grid = append(d.grid, (d.Shape[i]+e-1)/e)
	}
	return nil
}

// edges reads the size of a chunk: its dimensions, and the bytes of an element,
// which the type tells as well.
func (d *Dataset) edges(c *cursor, rank, width int) {
	if rank < 0 || rank > maxRank || width < 1 || width > 8 {
		c.bad = true
		return
	}
	for range rank {
		n := c.uint(width)
		if n == 0 || n > maxChunk {
			c.bad = true
			n = 1
		}
		d.layout.edge = append(d.layout.edge, int(n))
	}
	c.uint(width)
}

// chunkBytes is the size of a chunk without filters, 0 if it is too large.
func (d *Dataset) chunkBytes() int {
	n := d.Kind.Size
	for _, e := range d.layout.edge {
		if n > maxChunk/e {
			return 0
		}
		n *= e
	}
	return n
}

// Bytes reads the rows from up to to, as they are in the file, row-major.
func (d *Dataset) Bytes(from, to int) ([]byte, error) {
	if from < 0 || to < from || to > d.Len() {
		return nil, fmt.Errorf("hdf5: %s has %d rows; %d to %d were asked for", d.o.path, d.Len(), from, to)
	}
	row := d.Width() * d.Kind.Size
	if row > 0 && to-from > maxChunk/row {
		return nil, d.o.fail(fmt.Errorf("%w: %d rows of %d bytes at once, at most %d bytes", ErrUnsupported, to-from, row, maxChunk))
	}
	n := row * (to - from)
	if n == 0 {
		return nil, nil
	}
	at := uint64(row) * uint64(from)
	switch d.layout.class {
	case 0:
		if at+uint64(n) > uint64(len(d.layout.data)) {
			return nil, d.o.corrupt("%d bytes of data, %d are wanted", len(d.layout.data), at+uint64(n))
		}
		return slices.Clone(d.layout.data[at : at+uint64(n)]), nil
	case 1:
		f := d.o.f
		if f.undefined(d.layout.addr) {
			return nil, d.o.corrupt("its data were never written")
		}
		if at+uint64(n) > d.layout.size || d.layout.addr+f.base < f.base {
			return nil, d.o.corrupt("%d bytes of data, %d are wanted", d.layout.size, at+uint64(n))
		}
		b, err := f.raw(d.layout.addr+f.base+at, uint64(n))
		if err != nil {
			return nil, d.o.fail(err)
		}
		return b, nil
	}
	b, err := d.slab(from, to)
	if err != nil {
		return nil, d.o.fail(err)
	}
	return b, nil
}

// Floats reads the rows from up to to as numbers, row-major.
func (d *Dataset) Floats(from, to int) ([]float64, error) {
	if d.Kind.Class != Int && d.Kind.Class != Uint && d.Kind.Class != Float {
		return nil, d.o.fail(fmt.Errorf("%w: %v where numbers are wanted", ErrUnsupported, d.Kind))
	}
	b, err := d.Bytes(from, to)
	if err != nil {
		return nil, err
	}
	xs := make([]float64, len(b)/d.Kind.Size)
	for i := range xs {
		xs[i] = d.Kind.float(b[i*d.Kind.Size:])
	}
	return xs, nil
}

// Strings reads all elements as strings.
func (d *Dataset) Strings() ([]string, error) {
	if d.Kind.Class != String {
		return nil, d.o.fail(fmt.Errorf("%w: %v where strings are wanted", ErrUnsupported, d.Kind))
	}
	b, err := d.Bytes(0, d.Len())
	if err != nil {
		return nil, err
	}
	var out []string
	for ; len(b) >= d.Kind.Size; b = b[d.Kind.Size:] {
		s, err := d.o.f.text(d.Kind, b[:d.Kind.Size])
		if err != nil {
			return nil, d.o.fail(err)
		}
		out = append(out, s)
	}
	return out, nil
}
