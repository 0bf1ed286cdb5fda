package bag

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// An arm that stands still compresses a hundredfold; what we write of it is read.
func TestWhatCompressesWellIsRead(t *testing.T) {
	for _, k := range []struct{ ext, compression string }{{".bag", "lz4"}, {".mcap", "lz4"}, {".mcap", "zstd"}} {
		t.Run(k.compression+k.ext, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "still"+k.ext)
			w, err := Create(path, WriteOptions{Compression: k.compression})
			if err != nil {
				t.Fatal(err)
			}
			c := &Connection{Topic: "/state", Type: "p/State", Encoding: ROS1, Schema: "ros1msg", Definition: []byte("float64[50] x\n")}
			const n = 5000
			for i := range n {
				if err := w.Write(&Message{Topic: c.Topic, Type: c.Type, Conn: c, Time: time.Unix(100, int64(i)*1e7), Data: make([]byte, 400)}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := Open(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			got := 0
			for m := (Message{}); ; got++ {
				if err := b.Next(&m); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if d := b.Damage(); got != n || !d.None() {
				t.Errorf("%d messages of %d, damage %+v", got, n, d)
			}
		})
	}
}

// streamed compresses raw as a frame that does not tell its size.
func streamed(t testing.TB, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for len(raw) > 0 {
		n := min(len(raw), 50_000)
		if _, err := w.Write(raw[:n]); err != nil {
			t.Fatal(err)
		}
		raw = raw[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpackZSTD(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 10_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for _, tt := range []struct {
		name string
		raw  []byte
	}{
		{"zeros", make([]byte, 20<<20)},
		{"the same again and again", bytes.Repeat(noise, 500)},
		{"zeros after what does not compress", append(bytes.Clone(noise), make([]byte, 3<<20)...)},
		{"what does not compress after zeros", append(make([]byte, 3<<20), noise...)},
		{"a few bytes", []byte("hello")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var k packing
			defer k.close()
			p := streamed(t, tt.raw)
			out, err := k.unpack("zstd", p, nil, len(tt.raw))
			if err != nil || !bytes.Equal(out, tt.raw) {
				t.Errorf("%d bytes of %d from %d, error %v", len(out), len(tt.raw), len(p), err)
			}
			if len(p) < 1000 {
				return
			}
			// Of what is cut off in its last block, those before it come out.
			out, err = k.unpack("zstd", p[:len(p)-5], nil, len(tt.raw))
			if err == nil || !bytes.HasPrefix(tt.raw, out) || len(out) < len(tt.raw)-2*maxBlockZSTD {
				t.Errorf("cut off: %d bytes of %d, error %v", len(out), len(tt.raw), err)
			}
		})
	}
}

// What a damaged chunk claims to hold takes no memory.
func TestUnpackZSTDTakesNoMoreThanComesOut(t *testing.T) {
	p := streamed(t, make([]byte, 1<<20))
	for name, p := range map[string][]byte{"damaged": append(bytes.Clone(p[:12]), bytes.Repeat([]byte{0xff}, 300)...), "cut off": p[:len(p)-1], "whole": p} {
		var k packing
		if _, err := k.unpack("zstd", p, nil, 1<<30); (err != nil) != (name != "whole") { // the first call makes the decoder
			t.Errorf("%s: error %v", name, err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		k.unpack("zstd", p, nil, 1<<30)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
			t.Errorf("%s: %d bytes were taken for 1 MiB that comes out", name, n)
		}
		k.close()
	}
}
