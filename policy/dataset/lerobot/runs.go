package lerobot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// levels are the largest repetition and definition levels of a column, and the bits
// of its whole numbers; 0: it holds others.
type levels struct{ repetition, definition, bits int }

// page checks what is in a data page: the runs of equal numbers in it say how long
// they are, and the library makes room for what they say.
func (l levels) page(codec format.CompressionCodec, h *format.PageHeader, raw []byte) error {
	encoding := h.DataPageHeader.V.Encoding
	v1 := h.DataPageHeader.Valid
	if !v1 {
		if !h.DataPageHeaderV2.Valid {
			return nil // a dictionary's numbers are plain
		}
		encoding = h.DataPageHeaderV2.V.Encoding
	}
	unpack := func(b []byte) ([]byte, error) {
		if codec == format.Uncompressed {
			return b, nil
		}
		c := parquet.LookupCompressionCodec(codec)
		return c.Decode(make([]byte, h.UncompressedPageSize), b)
	}
	if v1 {
		data, err := unpack(raw)
		if err != nil {
			return err
		}
		for _, most := range []int{l.repetition, l.definition} {
			if most == 0 {
				continue
			}
			if len(data) < 4 {
				return errCut
			}
			n := binary.LittleEndian.Uint32(data)
			if uint64(n) > uint64(len(data)-4) {
				return errCut
			}
			if err := runs(data[4:4+n], bits.Len(uint(most))); err != nil {
				return err
			}
			data = data[4+n:]
		}
		return l.numbers(encoding, data)
	}
	v := &h.DataPageHeaderV2.V
	for _, part := range []struct {
		n    int32
		most int
	}{{v.RepetitionLevelsByteLength, l.repetition}, {v.DefinitionLevelsByteLength, l.definition}} {
		if part.n < 0 || int(part.n) > len(raw) {
			return errCut
		}
		if part.most > 0 {
			if err := runs(raw[:part.n], bits.Len(uint(part.most))); err != nil {
				return err
			}
		}
		raw = raw[part.n:]
	}
	if !v.IsCompressed.Valid || v.IsCompressed.V {
		var err error
		if raw, err = unpack(raw); err != nil {
			return err
		}
	}
	return l.numbers(encoding, raw)
}

var errCut = errors.New("a page ends too early")

// numbers checks what follows the levels.
func (l levels) numbers(e format.Encoding, data []byte) error {
	return errors.Join(indices(e, data), values(e, data, l.bits))
}

// indices checks the numbers of a page that are places in the dictionary.
func indices(e format.Encoding, data []byte) error {
	//lint:ignore SA1019 files of older writers have it
	if e != format.PlainDictionary && e != format.RLEDictionary || len(data) == 0 {
		return nil
	}
	if data[0] > 32 {
		return fmt.Errorf("places in the dictionary of %d bits", data[0])
	}
	return runs(data[1:], int(data[0]))
}

// runs checks runs of numbers of so many bits each, repeated or packed (the
// format's RLE/bit-packing hybrid).
func runs(data []byte, width int) error {
	for len(data) > 0 {
		head, k := binary.Uvarint(data)
		if k <= 0 || head>>1 > maxValues {
			return fmt.Errorf("a run of %d numbers", head>>1)
		}
		data = data[k:]
		n := (width + 7) / 8
		if head&1 == 1 {
			n = int(head>>1) * width
		}
		data = data[min(n, len(data)):]
	}
	return nil
}
