package lerobot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/format"
)

// differing is a file whose columns are encoded by their differences.
func differing(t testing.TB) []byte {
	t.Helper()
	type row struct {
		Small int32  `parquet:"small,delta"`
		Large int64  `parquet:"large,delta"`
		Text  string `parquet:"text,delta"`
		Bytes []byte `parquet:"bytes,delta"`
		Last  bool   `parquet:"last"`
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		name := fmt.Sprintf("episode_%06d", i/7)
		if _, err := w.Write([]row{{int32(rng.Uint32()), int64(rng.Uint64()) >> (i % 60), name, []byte(name[:i%8]), i%30 == 29}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDifferencesAreRead(t *testing.T) {
	b := differing(t)
	s, err := newSheet("differing", bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	small, err := s.floats("small", 0, 300, 1)
	if err != nil {
		t.Fatal(err)
	}
	large, err := s.floats("large", 0, 300, 1)
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.texts("text")
	if err != nil {
		t.Fatal(err)
	}
	ends, err := s.texts("bytes")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		name := fmt.Sprintf("episode_%06d", i/7)
		if a, b := float64(int32(rng.Uint32())), float64(int64(rng.Uint64())>>(i%60)); small[i] != a || large[i] != b || text[i] != name || ends[i] != name[:i%8] {
			t.Fatalf("row %d is %v, %v, %q, %q, want %v, %v, %q, %q", i, small[i], large[i], text[i], ends[i], a, b, name, name[:i%8])
		}
	}
	kinds := map[format.Encoding]bool{}
	for _, c := range s.p.Metadata().RowGroups[0].Columns {
		for _, e := range c.MetaData.Encoding {
			kinds[e] = true
		}
	}
	if !kinds[format.DeltaBinaryPacked] || !kinds[format.DeltaByteArray] && !kinds[format.DeltaLengthByteArray] {
		t.Errorf("the file has encodings %v: the test tells nothing of differences", kinds)
	}
}

// What claims more than a page may hold is found before room is made for it.
func TestDifferencesAreBounded(t *testing.T) {
	head := func(block, parts, n uint64, first int64) []byte {
		b := binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(nil, block), parts), n)
		return binary.AppendVarint(b, first)
	}
	longer := func(n int) []byte { // n lengths that grow by 1<<20 each
		b := binary.AppendVarint(head(128, 4, uint64(n), 1<<20), 1<<20)
		return append(b, 0, 0, 0, 0)
	}
	one := head(128, 4, 1, 3) // a single length of 3
	runs := func(n uint64) []byte {
		r := append(binary.AppendUvarint(nil, n<<1), 1)
		return append(binary.LittleEndian.AppendUint32(nil, uint32(len(r))), r...)
	}
	for _, tt := range []struct {
		name string
		e    format.Encoding
		data []byte
		want string
	}{
		{"none", format.DeltaBinaryPacked, head(128, 4, 0, 0), ""},
		{"one", format.DeltaBinaryPacked, one, ""},
		{"billions", format.DeltaBinaryPacked, head(128, 4, math.MaxInt32, 0), "2147483647 numbers"},
		{"no parts", format.DeltaBinaryPacked, head(128, 0, 9, 0), "in 0 parts"},
		{"parts of nothing", format.DeltaBinaryPacked, head(128, 1<<40, 9, 0), "in 1099511627776 parts"},
		{"oblique parts", format.DeltaBinaryPacked, head(128, 3, 9, 0), "in 3 parts"},
		{"a huge block", format.DeltaBinaryPacked, head(1<<40, 4, 9, 0), "blocks of 1099511627776"},
		{"wide differences", format.DeltaBinaryPacked, append(head(128, 4, 9, 0), 0, 33, 0, 0, 0), "differences of 33 bits"},
		{"cut in its head", format.DeltaBinaryPacked, one[:3], "ends too early"},
		{"cut before a block", format.DeltaBinaryPacked, head(128, 4, 9, 0), "ends too early"},
		{"cut in the widths", format.DeltaBinaryPacked, append(head(128, 4, 9, 0), 0, 1, 1), "ends too early"},
		{"texts", format.DeltaLengthByteArray, append(one, 'a', 'b', 'c'), ""},
		{"a negative length", format.DeltaLengthByteArray, head(128, 4, 1, -3), "a text of -3 bytes"},
		{"a gigabyte in one text", format.DeltaLengthByteArray, head(128, 4, 1, 1<<30), "a text of 1073741824 bytes"},
		{"a gigabyte in many", format.DeltaLengthByteArray, longer(100), "a text of"},
		{"beginnings", format.DeltaByteArray, append(append(head(128, 4, 1, 0), one...), 'a', 'b', 'c'), ""},
		{"beginnings of a gigabyte", format.DeltaByteArray, append(longer(100), one...), "a text of"},
		{"beginnings and ends of too much together", format.DeltaByteArray, append(head(128, 4, 1, maxPage), one...), "texts of 268435459 bytes"},
		{"bits", format.RLE, runs(50), ""},
		{"billions of bits", format.RLE, runs(1 << 40), "a run of 1099511627776"},
		{"bits beyond the page", format.RLE, []byte{9, 0, 0, 0, 1}, "ends too early"},
		{"plain", format.Plain, head(128, 4, math.MaxInt32, 0), ""},
	} {
		err := values(tt.e, tt.data, 32)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// What passes is read by the library within the bounds, and as the same lengths.
func FuzzDeltas(f *testing.F) {
	pack := func(xs ...int32) []byte {
		b, err := new(delta.BinaryPackedEncoding).EncodeInt32(nil, xs)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	f.Add(pack(), byte(0))
	f.Add(pack(3, 4, 2, 0, 7), byte(1))
	f.Add(append(pack(0, 1, 2), append(pack(2, 1, 0), "abc"...)...), byte(2))
	f.Add(append(pack(2, 1), "abc"...), byte(1))
	f.Add([]byte{2, 0, 0, 0, 8, 1}, byte(3))
	f.Fuzz(func(t *testing.T, data []byte, kind byte) {
		e := []format.Encoding{format.DeltaBinaryPacked, format.DeltaLengthByteArray, format.DeltaByteArray, format.RLE}[kind%4]
		if values(e, data, 32) != nil {
			return
		}
		// The library changes what it reads from, and reads beyond a cut end.
		src := append(slices.Clone(data), make([]byte, 64)...)[:len(data)]
		var got []int64
		switch e {
		case format.DeltaBinaryPacked:
			xs, err := new(delta.BinaryPackedEncoding).DecodeInt32(nil, src)
			if err != nil {
				return
			}
			if len(xs) > maxValues {
				t.Fatalf("%d numbers", len(xs))
			}
			if _, err := deltas(data, 32, func(v int64) error { got = append(got, v); return nil }); err != nil {
				t.Fatal(err)
			}
			for i, v := range got {
				if int64(xs[i]) != v {
					t.Fatalf("number %d is %d for the library, %d here", i, xs[i], v)
				}
			}
			if len(got) != len(xs) {
				t.Fatalf("%d numbers for the library, %d here", len(xs), len(got))
			}
		case format.DeltaLengthByteArray:
			b, _, err := new(delta.LengthByteArrayEncoding).DecodeByteArray(nil, src, nil)
			if err == nil && len(b) > maxPage {
				t.Fatalf("%d bytes", len(b))
			}
		case format.DeltaByteArray:
			b, _, err := new(delta.ByteArrayEncoding).DecodeByteArray(nil, src, nil)
			if err == nil && len(b) > maxPage {
				t.Fatalf("%d bytes", len(b))
			}
		case format.RLE:
			_, _ = new(rle.Encoding).DecodeBoolean(nil, src)
		}
	})
}
