package hdf5

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// Class is what the elements of a dataset are.
type Class uint8

// The classes that are read; h5py's bool is an enumeration of int8, read as Int.
const (
	Other Class = iota
	Int
	Uint
	Float
	String
)

// Kind is the type of an element.
type Kind struct {
	Class    Class
	Size     int // bytes in the file
	big      bool
	variable bool // a string of variable length, kept in a global heap
}

// String is the name as in numpy.
func (k Kind) String() string {
	switch k.Class {
	case Int, Uint, Float:
		return fmt.Sprintf("%s%d", [...]string{Int: "int", Uint: "uint", Float: "float"}[k.Class], 8*k.Size)
	case String:
		return "string"
	}
	return fmt.Sprintf("%d bytes of another type", k.Size)
}

// kind reads a datatype message (IV.A.2.d). What is not read is of class Other:
// it may lie beside what is wanted.
func kind(b []byte) (Kind, error) {
	c := &cursor{b: b}
	class, flags := c.u8(), c.uint(3)
	k := Kind{Size: int(c.u32())}
	if c.bad || k.Size <= 0 || k.Size > maxBlock {
		return k, fmt.Errorf("%w: a type of %d bytes", ErrCorrupt, k.Size)
	}
	switch class & 15 {
	case 0: // integers
		k.big = flags&1 != 0
		k.Class = Uint
		if flags&8 != 0 {
			k.Class = Int
		}
		offset, bits := c.u16(), int(c.u16())
		if offset != 0 || bits != 8*k.Size || !width(k.Size, 1, 2, 4, 8) {
			k.Class = Other
		}
	case 1: // floating point
		k.big = flags&1 != 0
		k.Class = Float
		if flags&0x40 != 0 || !width(k.Size, 2, 4, 8) {
			k.Class = Other
		}
	case 3:
		k.Class = String
	case 8: // an enumeration, as its numbers
		n := k.Size
		base, err := kind(c.b)
		if err != nil {
			return k, err
		}
		if base.Size == n && (base.Class == Int || base.Class == Uint) {
			k = base
		}
	case 9: // of variable length
		if flags&15 == 1 {
			k.Class, k.variable = String, true
		}
	}
	return k, nil
}

func width(n int, of ...int) bool {
	for _, w := range of {
		if n == w {
			return true
		}
	}
	return false
}

// float reads one number.
func (k Kind) float(b []byte) float64 {
	var order binary.ByteOrder = binary.LittleEndian
	if k.big {
		order = binary.BigEndian
	}
	switch {
	case k.Class == Float && k.Size == 8:
		return math.Float64frombits(order.Uint64(b))
	case k.Class == Float && k.Size == 4:
		return float64(math.Float32frombits(order.Uint32(b)))
	case k.Class == Float:
		return half(order.Uint16(b))
	case k.Class == Int && k.Size == 8:
		return float64(int64(order.Uint64(b)))
	case k.Class == Int && k.Size == 4:
		return float64(int32(order.Uint32(b)))
	case k.Class == Int && k.Size == 2:
		return float64(int16(order.Uint16(b)))
	case k.Class == Int:
		return float64(int8(b[0]))
	case k.Size == 8:
		return float64(order.Uint64(b))
	case k.Size == 4:
		return float64(order.Uint32(b))
	case k.Size == 2:
		return float64(order.Uint16(b))
	}
	return float64(b[0])
}

// half widens a float16 of IEEE 754.
func half(h uint16) float64 {
	sign := 1.0
	if h&0x8000 != 0 {
		sign = -1
	}
	frac := float64(h & 0x3ff)
	switch e := int(h >> 10 & 31); e {
	case 0:
		return sign * frac * 0x1p-24
	case 31:
		if frac != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	default:
		return sign * (1 + frac/1024) * math.Ldexp(1, e-15)
	}
}

// text reads one string.
func (f *File) text(k Kind, b []byte) (string, error) {
	if !k.variable {
		s := string(b)
		if i := strings.IndexByte(s, 0); i >= 0 {
			s = s[:i]
		}
		return s, nil
	}
	// A length, and where in a global heap (III.E).
	c := &cursor{b: b}
	n, heap, index := c.u32(), c.uint(f.o), c.u32()
	if c.bad {
		return "", fmt.Errorf("%w: a string of %d bytes", ErrCorrupt, len(b))
	}
	if n == 0 {
		return "", nil
	}
	s, err := f.global(heap, index)
	if err != nil {
		return "", err
	}
	if uint64(n) > uint64(len(s)) {
		return "", fmt.Errorf("%w: a string of %d bytes in %d", ErrCorrupt, n, len(s))
	}
	return strings.TrimRight(string(s[:n]), "\x00"), nil
}

// global returns an object of a global heap (III.E).
func (f *File) global(addr uint64, index uint32) ([]byte, error) {
	h, err := f.signed(addr, uint64(8+f.l), "GCOL")
	if err != nil {
		return nil, err
	}
	h.skip(4)
	size := h.uint(f.l)
	head := uint64(8 + f.l)
	if size < head {
		return nil, fmt.Errorf("%w: a global heap of %d bytes", ErrCorrupt, size)
	}
	b, err := f.block(addr+head, size-head)
	if err != nil {
		return nil, err
	}
	for c := (&cursor{b: b}); len(c.b) >= 8+f.l; {
		id := uint32(c.u16())
		c.skip(6)
		n := c.uint(f.l)
		if id == 0 { // free space: the end
			break
		}
		if n > uint64(len(c.b)) {
			return nil, fmt.Errorf("%w: a global heap's object of %d bytes", ErrCorrupt, n)
		}
		if id == index {
			return c.b[:n], nil
		}
		c.skip(int(min(uint64(len(c.b)), (n+7)&^7)))
	}
	return nil, fmt.Errorf("%w: no object %d in a global heap", ErrCorrupt, index)
}

// space reads a dataspace message (IV.A.2.b): the dimensions, none for a scalar.
func (f *File) space(b []byte) (dims []int, null bool, err error) {
	c := &cursor{b: b}
	v, rank := c.u8(), int(c.u8())
	c.skip(1)
	switch v {
	case 1:
		c.skip(5)
	case 2:
		null = c.u8() == 2
	default:
		return nil, false, fmt.Errorf("%w: a dataspace of version %d", ErrUnsupported, v)
	}
	if rank > maxRank {
		return nil, false, fmt.Errorf("%w: %d dimensions", ErrCorrupt, rank)
	}
	total := uint64(1)
	for range rank {
		n := c.uint(f.l)
		// Dimensions of 0 count as 1 here, so that the others stay bounded.
		if n > 1<<48 || total > (1<<48)/max(n, 1) {
			return nil, false, fmt.Errorf("%w: a dimension of %d", ErrCorrupt, n)
		}
		total *= max(n, 1)
		dims = append(dims, int(n))
	}
	if c.bad {
		return nil, false, fmt.Errorf("%w: a dataspace of %d bytes", ErrCorrupt, len(b))
	}
	return dims, null, nil
}
