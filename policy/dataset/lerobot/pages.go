package lerobot

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Bounds of a page, so that a flipped bit does not take the machine's memory:
// Arrow ends pages at 1 MB, or after a value that is larger.
const (
	maxPage   = 256 << 20
	maxValues = 1 << 24
)

// sound checks a column's pages in a row group, whose sizes the library believes.
func (s *sheet) sound(group, column int, l levels) error {
	key := [2]int{group, column}
	if s.checked[key] {
		return nil
	}
	m := &s.p.Metadata().RowGroups[group].Columns[column].MetaData
	start := m.DataPageOffset
	if m.DictionaryPageOffset != 0 {
		start = m.DictionaryPageOffset
	}
	if start < 4 || m.TotalCompressedSize < 0 || start > s.size || m.TotalCompressedSize > s.size-start {
		return fmt.Errorf("is damaged: %d bytes from byte %d of a file of %d", m.TotalCompressedSize, start, s.size)
	}
	for at, end := start, start+m.TotalCompressedSize; at < end; {
		n, err := s.header(m.Codec, l, at, end)
		if err != nil {
			return fmt.Errorf("is damaged at byte %d: %w", at, err)
		}
		at += n
	}
	s.checked[key] = true
	return nil
}

// header checks the page at a place, and returns its length.
func (s *sheet) header(codec format.CompressionCodec, l levels, at, end int64) (int64, error) {
	count := &counter{r: io.NewSectionReader(s.r, at, end-at)}
	in := bufio.NewReaderSize(count, 512)
	var p thrift.CompactProtocol
	var h format.PageHeader
	if err := thrift.NewDecoder(p.NewReader(in)).Decode(&h); err != nil {
		return 0, err
	}
	head := count.n - int64(in.Buffered())
	size, full := int64(h.CompressedPageSize), int64(h.UncompressedPageSize)
	values := int64(h.DataPageHeader.V.NumValues) + int64(h.DataPageHeaderV2.V.NumValues) + int64(h.DictionaryPageHeader.V.NumValues)
	if size < 0 || size > end-at-head || full < 0 || full > maxPage || values < 0 || values > maxValues {
		return 0, fmt.Errorf("a page of %d values in %d bytes, packed into %d", values, full, size)
	}
	// A block of Snappy begins with the length that is made room for.
	before := int64(0)
	if h.DataPageHeaderV2.Valid {
		before = int64(h.DataPageHeaderV2.V.RepetitionLevelsByteLength) + int64(h.DataPageHeaderV2.V.DefinitionLevelsByteLength)
	}
	if before < 0 || before > size {
		return 0, errors.New("levels beyond the page")
	}
	if codec == format.Snappy && size > before {
		b := make([]byte, min(binary.MaxVarintLen64, size-before))
		if _, err := s.r.ReadAt(b, at+head+before); err != nil {
			return 0, err
		}
		packed := !h.DataPageHeaderV2.Valid || !h.DataPageHeaderV2.V.IsCompressed.Valid || h.DataPageHeaderV2.V.IsCompressed.V
		if n, k := binary.Uvarint(b); packed && (k <= 0 || n > maxPage) {
			return 0, fmt.Errorf("a block of %d bytes", n)
		}
	}
	raw := make([]byte, size)
	if _, err := s.r.ReadAt(raw, at+head); err != nil {
		return 0, err
	}
	return head + size, l.page(codec, &h, raw)
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}
