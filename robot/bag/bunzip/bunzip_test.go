package bunzip

import (
	"bytes"
	"compress/bzip2"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// files are streams of libbz2 of all kinds: empty, runs, text, noise, several
// blocks, several streams.
func files(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*.bz2")
	if err != nil || len(names) < 6 {
		t.Fatalf("%d files, error %v", len(names), err)
	}
	all := map[string][]byte{}
	for _, n := range names {
		if all[filepath.Base(n)], err = os.ReadFile(n); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func theirs(t testing.TB, p []byte) []byte {
	t.Helper()
	b, err := io.ReadAll(bzip2.NewReader(bytes.NewReader(p)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStreamsOfLibbz2(t *testing.T) {
	var d Decoder
	for name, p := range files(t) {
		want := theirs(t, p)
		got, err := d.Append([]byte("before"), p, 6+len(want))
		if err != nil || !bytes.Equal(got, append([]byte("before"), want...)) {
			t.Errorf("%s: %d bytes, error %v, want %d", name, len(got), err, 6+len(want))
		}
		if len(want) > 0 {
			if got, err := d.Append(nil, p, len(want)-1); !errors.Is(err, ErrLong) || len(got) >= len(want) {
				t.Errorf("%s: a limit of one byte less: %d bytes, error %v", name, len(got), err)
			}
		}
	}
}

// What comes out of damaged data are whole blocks; that they are damaged is told.
func TestDamagedStreams(t *testing.T) {
	var d Decoder
	p := files(t)["blocks.bz2"]
	want := theirs(t, p)
	some := 0
	for n := 0; n < len(p); n += 7 {
		got, err := d.Append(nil, p[:n], len(want))
		if !errors.Is(err, ErrCut) || !bytes.HasPrefix(want, got) {
			t.Fatalf("cut to %d of %d bytes: %d bytes, error %v", n, len(p), len(got), err)
		}
		if len(got) > 0 {
			some++
		}
	}
	if some == 0 {
		t.Error("a stream that is cut gave no block")
	}
	for at := 0; at < len(p); at += 11 {
		c := bytes.Clone(p)
		c[at] ^= 1 << (at % 8)
		if got, err := d.Append(nil, c, 2*len(want)); !bytes.HasPrefix(want, got) || err == nil && !bytes.Equal(got, want) { // some bits mean nothing
			t.Errorf("byte %d altered: %d bytes of %d, error %v", at, len(got), len(want), err)
		}
	}
}

func TestDecoderAllocatesOnce(t *testing.T) {
	var d Decoder
	p := files(t)["text.bz2"]
	buf := make([]byte, 0, 1<<20)
	if n := testing.AllocsPerRun(5, func() {
		if _, err := d.Append(buf, p, cap(buf)); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// Where the standard library takes a stream, so do we, with the same content;
// where it does not, we do not either, but for odd tables.
func FuzzAppend(f *testing.F) {
	for _, p := range files(f) {
		if len(p) < 4000 {
			f.Add(p)
		}
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var d Decoder
		const limit = 1 << 22
		got, err := d.Append(nil, p, limit)
		want, e := io.ReadAll(io.LimitReader(bzip2.NewReader(bytes.NewReader(p)), limit+1))
		if err == nil && (e != nil && !d.odd() || e == nil && !bytes.Equal(got, want)) {
			t.Errorf("%d bytes, compress/bzip2 has %d and %v", len(got), len(want), e)
		}
		if err != nil && e == nil && len(want) <= limit && !d.odd() {
			t.Errorf("error %v, compress/bzip2 has %d bytes", err, len(want))
		}
	})
}

// odd says whether a table of the last block leaves codes unused, or has more than fit. No compressor makes such;
// compress/bzip2 closes the gap with other codes than the format's, and wraps around at the end or refuses. libbz2
// refuses the same streams as we do for the former, and takes the latter, as we do where they are not used.
func (d *Decoder) odd() bool {
	for i := range d.tables {
		if end := d.tables[i].limit[maxLen]; d.tables[i].bad || end != 0 && end != 1<<maxLen {
			return true
		}
	}
	return false
}

// A table of more codes than fit harms nobody who does not use it (found by fuzzing; libbz2 takes the stream, too).
func TestATableThatIsNotUsedMayBeWrong(t *testing.T) {
	b, err := os.ReadFile("testdata/unused-table.bz2")
	if err != nil {
		t.Fatal(err)
	}
	var d Decoder
	got, err := d.Append(nil, b, 1<<20)
	if err != nil || len(got) != 100795 || !slices.ContainsFunc(d.tables[:], func(t table) bool { return t.bad }) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	same(t, "unused table", NewPool(2), b, 1<<20)
}

func BenchmarkAppend(b *testing.B) {
	p := files(b)["text.bz2"]
	var d Decoder
	out, _ := d.Append(nil, p, 1<<22)
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(int64(len(out)))
		for b.Loop() {
			d.Append(out[:0], p, len(out))
		}
	})
	b.Run("standard", func(b *testing.B) {
		b.SetBytes(int64(len(out)))
		for b.Loop() {
			io.Copy(io.Discard, bzip2.NewReader(bytes.NewReader(p)))
		}
	})
}

// Blocks whose beginnings lie beside each other on the walk leave one lane nearly all of
// it, which it has no room for.
func TestWalkOfUnevenPieces(t *testing.T) {
	var d Decoder
	for _, n := range []int{1, 2, 9, 5000, 40000} {
		share := min(max(n/least, lanes), pieces)
		first := map[uint32]bool{}
		var order []uint32
		add := func(at uint32) {
			if !first[at] {
				first[at] = true
				order = append(order, at)
			}
		}
		for i := range share {
			add(uint32(n * i / share))
		}
		for i := range n {
			add(uint32(i))
		}
		tt, want := make([]uint32, n), make([]byte, n)
		for k, at := range order {
			tt[at] = order[(k+1)%n]<<8 | uint32(byte(k*7))
			want[k] = byte(k * 7)
		}
		origin := order[n-1] // the one before the first
		if got := d.walk(tt, int(origin))[:n]; !bytes.Equal(got, want) {
			t.Errorf("%d bytes: not the order that they were in", n)
		}
	}
}
