package bunzip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

// same reports where a pool gives something else than one decoder.
func same(t *testing.T, what string, pool *Pool, p []byte, limit int) {
	t.Helper()
	var d Decoder
	want, e := d.Append([]byte("before"), p, limit)
	got, err := pool.Append([]byte("before"), p, limit)
	if !bytes.Equal(got, want) || (err == nil) != (e == nil) || err != nil && err.Error() != e.Error() {
		t.Errorf("%s: %d bytes and %v, one decoder gives %d and %v", what, len(got), err, len(want), e)
	}
}

// What a pool of any size gives, of whole streams, of cut and of altered ones, is what
// one decoder does.
func TestPoolGivesWhatOneDecoderDoes(t *testing.T) {
	all, long := files(t), map[string]int{}
	for name, p := range all {
		long[name] = len(theirs(t, p))
	}
	for _, n := range []int{1, 3} {
		pool := NewPool(n)
		all["several"], long["several"] = several(t), 1<<22
		for name, p := range all {
			want := long[name]
			same(t, name, pool, p, 6+want)
			same(t, name+", a byte too many", pool, p, 5+want)
			same(t, name+", cut", pool, p[:len(p)*2/3], 6+want)
			same(t, name+", twice", pool, append(bytes.Clone(p), p...), 6+2*want)
		}
		p := all["several"]
		rng := rand.New(rand.NewPCG(3, 3))
		for range 12 {
			c := bytes.Clone(p)
			c[rng.IntN(len(c))] ^= 1 << rng.IntN(8)
			same(t, "a bit altered", pool, c, 1<<22)
		}
	}
}

// several is three streams of several blocks that are worth several cores.
func several(t testing.TB) []byte {
	t.Helper()
	all := files(t)
	p := bytes.Join([][]byte{all["text.bz2"], all["blocks.bz2"], all["text.bz2"]}, nil)
	pool, n := NewPool(1), 0
	for at := pool.find(p, 0); at >= 0; at = pool.find(p, at+1) {
		n++
	}
	if n < 4 || len(p) < 4*worth {
		t.Fatalf("%d blocks in %d bytes", n, len(p))
	}
	return p
}

// A magic is found wherever it begins, and nowhere else.
func TestFindABlock(t *testing.T) {
	pool := NewPool(1)
	for at := range 80 {
		p := make([]byte, 17)
		for i := range 48 {
			if uint64(blockMagic)>>(47-i)&1 != 0 {
				p[(at+i)/8] |= 0x80 >> ((at + i) % 8)
			}
		}
		if got := pool.find(p, 0); got != at {
			t.Errorf("found at %d, want %d", got, at)
		}
		if got := pool.find(p, at); got != at {
			t.Errorf("from there on: found at %d, want %d", got, at)
		}
		if got := pool.find(p, at+1); got >= 0 {
			t.Errorf("after it: found at %d", got)
		}
		if got := pool.find(p[:(at+47)/8], 0); got >= 0 {
			t.Errorf("cut off: found at %d, want none", got)
		}
	}
}

// Data that look like the beginning of a block do no harm: streams with a block's magic,
// and with a whole block, where none begins.
func TestFalseBeginnings(t *testing.T) {
	p := several(t)
	pool := NewPool(4)
	first := pool.find(p, 0)
	second := pool.find(p, first+1)
	magic := binary.BigEndian.AppendUint64(nil, uint64(blockMagic)<<16)[:6]
	for _, at := range []int{4, first/8 + 20, second/8 - 9, second/8 + 30, len(p) - 20} {
		c := bytes.Clone(p)
		copy(c[at:], magic)
		same(t, "a magic put into it", pool, c, 1<<22)
		c = bytes.Clone(p)
		copy(c[at:], p[4:min(second/8, 4+len(p)-at)])
		same(t, "a block put into it", pool, c, 1<<22)
	}
	// After the end, whole blocks that belong to nothing.
	same(t, "blocks after the end", pool, append(bytes.Clone(p), p[4:]...), 1<<23)
}

// Several who share a pool wait for each other and for nothing else.
func TestPoolIsShared(t *testing.T) {
	p := several(t)
	want := theirs(t, p)
	pool := NewPool(3)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			for range 3 {
				if got, err := pool.Append(nil, p, len(want)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes, error %v, want %d", len(got), err, len(want))
				}
				pool.Shed()
			}
		})
	}
	all.Wait()
	if n := len(pool.idle); n != 3 {
		t.Errorf("%d decoders are idle, want 3", n)
	}
}

// Blocks of long runs, which become more than is kept beside the reader, come out as well.
func TestLongRunsBesideOthers(t *testing.T) {
	var long []byte
	for name, p := range files(t) {
		if n := len(theirs(t, p)); n > maxBeside && len(p) < 1<<12 {
			t.Logf("%s: %d bytes of %d", name, n, len(p))
			long = p
		}
	}
	p := several(t)
	p = append(p[:len(p):len(p)], long...)
	same(t, "runs", NewPool(2), append(p, long...), 1<<28)
}

func TestPoolKeepsItsMemory(t *testing.T) {
	p := several(t)
	pool := NewPool(2)
	var buf []byte
	for range 3 {
		var err error
		if buf, err = pool.Append(buf[:0], p, 1<<22); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 5 {
		if _, err := pool.Append(buf[:0], p, len(buf)); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<16 {
		t.Errorf("%d bytes allocated by five uses", n)
	}
	if _, err := pool.Append(nil, p[:len(p)-20], 1<<22); !errors.Is(err, ErrCut) {
		t.Errorf("cut off: error %v", err)
	}
}

func FuzzPool(f *testing.F) {
	for _, p := range files(f) {
		if len(p) < 4000 {
			f.Add(p, uint16(0))
		}
	}
	f.Fuzz(func(t *testing.T, p []byte, at uint16) {
		// In front of a stream that is worth it, so that what is altered there counts.
		whole := several(t)
		c := append(whole[:len(whole):len(whole)], p...)
		copy(c[int(at)%len(whole):], p[:min(len(p), 64)])
		same(t, "fuzzed", NewPool(3), c, 1<<22)
	})
}

func BenchmarkPool(b *testing.B) {
	p := bytes.Repeat(files(b)["text.bz2"], 12)
	out, _ := NewPool(1).Append(nil, p, 1<<24)
	for _, n := range []int{1, 2, 4} {
		pool := NewPool(n)
		b.Run([]string{1: "one", 2: "two", 4: "four"}[n], func(b *testing.B) {
			b.SetBytes(int64(len(out)))
			for b.Loop() {
				pool.Append(out[:0], p, len(out))
			}
		})
	}
}
