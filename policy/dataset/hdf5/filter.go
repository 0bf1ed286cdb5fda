package hdf5

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
)

// filter is one step of what was done to a chunk before it was written
// (IV.A.2.l, and the registered filters of The HDF Group).
type filter struct {
	id     uint16
	values []uint32
}

// The filters that are read.
const (
	deflate  = 1
	shuffle  = 2
	fletcher = 3
	lzf      = 32000
)

// others are filters that h5py and its plugins write, for the error's sake.
func other(id uint16) string {
	switch id {
	case 4:
		return "szip"
	case 5:
		return "nbit"
	case 6:
		return "scaleoffset"
	case 32001:
		return "blosc"
	case 32004:
		return "lz4"
	case 32008:
		return "bitshuffle"
	case 32015:
		return "zstd"
	case 32026:
		return "blosc2"
	}
	return fmt.Sprintf("filter %d", id)
}

// filters reads a filter pipeline message.
func filters(b []byte) ([]filter, error) {
	c := &cursor{b: b}
	v, n := c.u8(), int(c.u8())
	if v == 1 {
		c.skip(6)
	} else if v != 2 {
		return nil, fmt.Errorf("%w: filters of version %d", ErrUnsupported, v)
	}
	var out []filter
	for range n {
		f := filter{id: c.u16()}
		name := 0
		if v == 1 || f.id >= 256 {
			name = int(c.u16())
		}
		optional := c.u16()&1 != 0
		values := int(c.u16())
		if v == 1 {
			name = (name + 7) &^ 7
		}
		c.skip(name)
		for range min(values, len(c.b)/4) {
			f.values = append(f.values, c.u32())
		}
		if v == 1 && values%2 == 1 {
			c.skip(4)
		}
		if c.bad || len(f.values) != values {
			return nil, fmt.Errorf("%w: filters of %d bytes", ErrCorrupt, len(b))
		}
		switch f.id {
		case deflate, shuffle, fletcher, lzf:
		default:
			// An optional filter may have been left out, but nothing but each chunk tells.
			return nil, fmt.Errorf("%w: compression by %s (optional: %v); rewrite the file with: h5repack -f GZIP=4 IN OUT", ErrUnsupported, other(f.id), optional)
		}
		out = append(out, f)
	}
	return out, nil
}

// undo returns what was there before the filter. want is the size of the whole
// chunk, which nothing exceeds but for a checksum.
func (f filter) undo(b []byte, want int) ([]byte, error) {
	switch f.id {
	case deflate:
		z, err := zlib.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%w: gzip: %w", ErrCorrupt, err)
		}
		// A checksum may lie inside; grow with what is there, not with what is claimed.
		var out bytes.Buffer
		n, err := io.Copy(&out, io.LimitReader(z, int64(want)+5))
		if err != nil {
			return nil, fmt.Errorf("%w: gzip: %w", ErrCorrupt, err)
		}
		if n > int64(want)+4 {
			return nil, fmt.Errorf("%w: gzip: more than the %d bytes of a chunk", ErrCorrupt, want)
		}
		return out.Bytes(), nil
	case shuffle:
		if len(f.values) == 0 || f.values[0] == 0 || f.values[0] > maxBlock {
			return nil, fmt.Errorf("%w: a shuffle without a width", ErrCorrupt)
		}
		return unshuffle(b, int(f.values[0])), nil
	case fletcher:
		if len(b) < 4 {
			return nil, fmt.Errorf("%w: no room for a checksum", ErrCorrupt)
		}
		data, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
		if got := fletcher32(data); got != sum {
			return nil, fmt.Errorf("%w: its checksum is %08x, the file says %08x", ErrCorrupt, got, sum)
		}
		return data, nil
	default:
		return unlzf(b, want)
	}
}

// unshuffle puts the bytes of each element side by side again: all first bytes
// come first, then all second ones. A rest too short for an element is as it was.
func unshuffle(b []byte, width int) []byte {
	n := len(b) / width
	if width == 1 || n < 2 {
		return b
	}
	out := make([]byte, len(b))
	for i := range width {
		for j, v := range b[i*n : (i+1)*n] {
			out[j*width+i] = v
		}
	}
	copy(out[n*width:], b[n*width:])
	return out
}

// fletcher32 is the checksum as H5_checksum_fletcher32 computes it: over 16-bit
// words, the high byte first, an odd byte as the high one.
func fletcher32(b []byte) uint32 {
	var s1, s2 uint32
	for i := 0; i < len(b); {
		// 360 words are the most that cannot overflow 32 bits.
		for end := min(len(b), i+720); i < end; i += 2 {
			w := uint32(b[i]) << 8
			if i+1 < len(b) {
				w |= uint32(b[i+1])
			}
			s1 += w
			s2 += s1
		}
		s1, s2 = s1&0xffff+s1>>16, s2&0xffff+s2>>16
	}
	s1, s2 = s1&0xffff+s1>>16, s2&0xffff+s2>>16
	return s2<<16 | s1
}

// unlzf expands LZF, h5py's own filter: runs of up to 32 literal bytes, and
// copies of up to 264 bytes from up to 8 kB back.
func unlzf(b []byte, want int) ([]byte, error) {
	bad := fmt.Errorf("%w: lzf", ErrCorrupt)
	out := make([]byte, 0, min(want, 256*len(b)))
	for i := 0; i < len(b); {
		ctrl := int(b[i])
		i++
		if ctrl < 32 {
			n := ctrl + 1
			if i+n > len(b) || len(out)+n > want {
				return nil, bad
			}
			out = append(out, b[i:i+n]...)
			i += n
			continue
		}
		n := ctrl >> 5
		if n == 7 {
			if i == len(b) {
				return nil, bad
			}
			n += int(b[i])
			i++
		}
		if i == len(b) {
			return nil, bad
		}
		back := (ctrl&31)<<8 | int(b[i])
		i++
		at := len(out) - back - 1
		if n += 2; at < 0 || len(out)+n > want {
			return nil, bad
		}
		for k := range n {
			out = append(out, out[at+k])
		}
	}
	return out, nil
}
