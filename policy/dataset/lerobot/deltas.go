package lerobot

import (
	"encoding/binary"
	"fmt"

	"github.com/parquet-go/parquet-go/format"
)

// maxBlock is the largest block of differences that the library takes.
const maxBlock = 1 << 16

// values checks the numbers of a page that are encoded by their differences, or as
// runs of bits: both say how many they are, and the library makes room for what they
// say. bits are those of the column's whole numbers.
func values(e format.Encoding, data []byte, bits int) error {
	switch e {
	case format.DeltaBinaryPacked:
		_, err := deltas(data, bits, nil)
		return err
	case format.DeltaLengthByteArray:
		_, _, err := lengths(data)
		return err
	case format.DeltaByteArray:
		// A text is the beginning of the one before, of so many bytes, and an end.
		_, n, err := lengths(data)
		if err != nil {
			return err
		}
		rest, err := deltas(data, 32, nil)
		if err != nil {
			return err
		}
		_, m, err := lengths(rest)
		if err == nil && n+m > maxPage {
			err = fmt.Errorf("texts of %d bytes", n+m)
		}
		return err
	case format.RLE: // of bits
		if len(data) < 4 {
			return nil // the library refuses it
		}
		n := binary.LittleEndian.Uint32(data)
		if uint64(n) > uint64(len(data)-4) {
			return errCut
		}
		return runs(data[4:4+n], 1)
	}
	return nil
}

// lengths checks lengths of texts, which together fit into a page, and gives what
// follows them and their sum.
func lengths(data []byte) (rest []byte, sum int64, err error) {
	rest, err = deltas(data, 32, func(v int64) error {
		if v < 0 || v > maxPage-sum {
			return fmt.Errorf("a text of %d bytes", v)
		}
		sum += v
		return nil
	})
	return rest, sum, err
}

// deltas checks whole numbers that are encoded by their differences (the format's
// DELTA_BINARY_PACKED) and gives what follows them. each, if it is not nil, gets every
// number of 32 bits.
func deltas(data []byte, bits int, each func(v int64) error) ([]byte, error) {
	var head [3]uint64 // of a block, its parts, all
	for i := range head {
		v, k := binary.Uvarint(data)
		if k <= 0 {
			return nil, errCut
		}
		head[i], data = v, data[k:]
	}
	value, k := binary.Varint(data)
	if k <= 0 {
		return nil, errCut
	}
	data = data[k:]
	block, parts, left := head[0], head[1], head[2]
	if block == 0 || block%128 != 0 || block > maxBlock || parts == 0 || parts > block/32 || block/parts%32 != 0 {
		return nil, fmt.Errorf("blocks of %d differences in %d parts", block, parts)
	}
	if left > maxValues {
		return nil, fmt.Errorf("%d numbers by their differences", left)
	}
	if left == 0 {
		return data, nil
	}
	if each != nil {
		value = int64(int32(value))
		if err := each(value); err != nil {
			return nil, err
		}
	}
	size := int(block / parts) // of a part
	for left--; left > 0; {
		least, k := binary.Varint(data)
		if k <= 0 || uint64(len(data)-k) < parts {
			return nil, errCut
		}
		widths := data[k : k+int(parts)]
		data = data[k+int(parts):]
		for _, w := range widths {
			if int(w) > bits {
				return nil, fmt.Errorf("differences of %d bits", w)
			}
			n := min(uint64(size), left)
			part := data[:min(size*int(w)/8, len(data))] // writers may cut the last one
			data = data[len(part):]
			for i := range n {
				if each == nil {
					break
				}
				value = int64(int32(value + least + int64(packed(part, int(i)*int(w), int(w)))))
				if err := each(value); err != nil {
					return nil, err
				}
			}
			if left -= n; left == 0 {
				break
			}
		}
	}
	return data, nil
}

// packed is the number of w bits, up to 32, that begins with bit at of data, least
// first; what is beyond the end is 0.
func packed(data []byte, at, w int) uint64 {
	var v uint64
	for i := range 5 {
		if j := at/8 + i; j < len(data) {
			v |= uint64(data[j]) << (8 * i)
		}
	}
	return v >> (at % 8) & (1<<w - 1)
}
