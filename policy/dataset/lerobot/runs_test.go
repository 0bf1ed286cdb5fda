package lerobot

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/format"
)

// A run that a flipped bit made billions long is found before room is made for it.
func TestRunsAreBounded(t *testing.T) {
	repeat := func(n uint64) []byte { return append(binary.AppendUvarint(nil, n<<1), 7) }
	packed := append(binary.AppendUvarint(nil, 2<<1|1), make([]byte, 2*3)...) // 16 numbers of 3 bits
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, ""},
		{"both kinds", append(append(repeat(50), packed...), repeat(3)...), ""},
		{"a cut packed run, as writers leave the last", packed[:4], ""},
		{"billions repeated", append(repeat(50), repeat(6_442_450_944)...), "a run of 6442450944"},
		{"billions packed", append(append([]byte{}, packed...), binary.AppendUvarint(nil, 1<<33|1)...), "a run of 4294967296"},
		{"a length that does not end", []byte{0x80, 0x80}, "a run of"},
	} {
		err := runs(tt.data, 3)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if err := indices(format.RLEDictionary, []byte{33}); err == nil {
		t.Error("places of 33 bits pass")
	}
	if err := indices(format.Plain, repeat(1<<40)); err != nil {
		t.Errorf("plain numbers are no runs: %v", err)
	}
	// The levels of a page of the first version come with their length.
	h := &format.PageHeader{}
	h.DataPageHeader.Valid = true
	h.DataPageHeader.V.Encoding = format.RLEDictionary
	page := append(binary.LittleEndian.AppendUint32(nil, 2), repeat(9)...)
	page = append(append(page, 3), repeat(1<<33)...)
	if err := (levels{definition: 1}).page(format.Uncompressed, h, page); err == nil || !strings.Contains(err.Error(), "a run of 8589934592") {
		t.Errorf("a page with such a run: %v", err)
	}
	if err := (levels{definition: 1}).page(format.Uncompressed, h, []byte{9, 0, 0, 0, 1}); err == nil {
		t.Error("levels beyond the page pass")
	}
}
