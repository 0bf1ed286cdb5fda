package bag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/pierrec/lz4/v4"
)

// unpackLZ4 decompresses LZ4 frames (version 1.6.2 of the format). The library's
// reader would take 4 MB buffers of its own for frames of any size, and give out
// what its checksum does not vouch for; so it decompresses blocks alone. Of a frame
// that is cut off, its whole blocks come out.
func unpackLZ4(p, buf []byte, raw int) ([]byte, error) {
	if raw > 255*len(p)+64 { // more than LZ4 can express
		return buf[:0], fmt.Errorf("lz4: %d bytes cannot unpack to %d", len(p), raw)
	}
	out := buf[:0]
	if raw > 0 {
		out = grow(buf, raw)[:0]
	}
	for len(p) > 0 {
		var err error
		if out, p, err = lz4Frame(p, out, most(raw)); err != nil {
			return out, fmt.Errorf("lz4: %w", err)
		}
	}
	return out, nil
}

var (
	errLZ4Cut  = errors.New("the frame is cut off")
	errLZ4Bad  = errors.New("no frame")
	errLZ4Sum  = errors.New("the checksum does not fit")
	errLZ4Long = errors.New("more comes out than should")
)

// lz4Frame appends what the frame at the beginning of p holds, at most limit in
// all, and returns what follows it.
func lz4Frame(p, out []byte, limit int) (_, rest []byte, err error) {
	if len(p) < 7 {
		return out, nil, errLZ4Cut
	}
	if m := binary.LittleEndian.Uint32(p); m != 0x184D2204 {
		if m&^15 != 0x184D2A50 { // one to be skipped
			return out, nil, errLZ4Bad
		}
		if len(p) < 8 {
			return out, nil, errLZ4Cut
		}
		n := binary.LittleEndian.Uint32(p[4:])
		if uint64(n) > uint64(len(p)-8) {
			return out, nil, errLZ4Cut
		}
		return out, p[8+n:], nil
	}
	flags, size := p[4], p[5]>>4&7
	if flags>>6 != 1 || flags&2 != 0 || size < 4 {
		return out, nil, errLZ4Bad
	}
	block := 1 << (8 + 2*size)
	head := 6
	if flags&8 != 0 {
		head += 8
	}
	if flags&1 != 0 {
		head += 4
	}
	if len(p) < head+1 {
		return out, nil, errLZ4Cut
	}
	if p[head] != byte(xxh32(p[4:head])>>8) {
		return out, nil, errLZ4Sum
	}
	p = p[head+1:]
	start := len(out)
	for {
		if len(p) < 4 {
			return out, nil, errLZ4Cut
		}
		n := binary.LittleEndian.Uint32(p)
		p = p[4:]
		if n == 0 {
			break
		}
		stored := n>>31 != 0
		n &= 1<<31 - 1
		if n > uint32(block)+64 {
			return out[:start], nil, errLZ4Bad
		}
		if uint64(n) > uint64(len(p)) {
			return out, nil, errLZ4Cut
		}
		data := p[:n]
		p = p[n:]
		if flags&16 != 0 {
			if len(p) < 4 {
				return out, nil, errLZ4Cut
			}
			if binary.LittleEndian.Uint32(p) != xxh32(data) {
				return out[:start], nil, errLZ4Sum
			}
			p = p[4:]
		}
		if out, err = lz4Block(data, out, start, block, limit, stored, flags&32 == 0); err != nil {
			return out[:start], nil, err
		}
	}
	if flags&4 != 0 {
		if len(p) < 4 {
			return out, nil, errLZ4Cut
		}
		if binary.LittleEndian.Uint32(p) != xxh32(out[start:]) {
			return out[:start], nil, errLZ4Sum
		}
		p = p[4:]
	}
	return out, p, nil
}

// lz4Block appends one block; linked says that it refers to those before it.
func lz4Block(data, out []byte, start, block, limit int, stored, linked bool) ([]byte, error) {
	if stored {
		if len(data) > block {
			return out, errLZ4Bad
		}
		if len(out)+len(data) > limit {
			return out, errLZ4Long
		}
		return append(out, data...), nil
	}
	room := min(block, limit-len(out), 255*len(data)+64)
	if cap(out)-len(out) < room {
		bigger := make([]byte, len(out), max(len(out)+room, min(2*cap(out), limit)))
		copy(bigger, out)
		out = bigger
	}
	var dict []byte
	if linked {
		dict = out[max(start, len(out)-64<<10):]
	}
	n, err := lz4.UncompressBlockWithDict(data, out[len(out):len(out)+room], dict)
	if err != nil {
		return out, fmt.Errorf("a block is damaged: %w", err)
	}
	return out[:len(out)+n], nil
}

// xxh32 is xxHash's 32 bits with seed 0, the checksum of LZ4 frames
// (github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
func xxh32(p []byte) uint32 {
	const p1, p2, p3, p4, p5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
	n := uint32(len(p))
	var h uint32
	if len(p) >= 16 {
		// The primes wrap around, which constants may not.
		one, two := uint32(p1), uint32(p2)
		a, b, c, d := one+two, two, uint32(0), -one
		for len(p) >= 16 {
			a = bits.RotateLeft32(a+binary.LittleEndian.Uint32(p)*p2, 13) * p1
			b = bits.RotateLeft32(b+binary.LittleEndian.Uint32(p[4:])*p2, 13) * p1
			c = bits.RotateLeft32(c+binary.LittleEndian.Uint32(p[8:])*p2, 13) * p1
			d = bits.RotateLeft32(d+binary.LittleEndian.Uint32(p[12:])*p2, 13) * p1
			p = p[16:]
		}
		h = bits.RotateLeft32(a, 1) + bits.RotateLeft32(b, 7) + bits.RotateLeft32(c, 12) + bits.RotateLeft32(d, 18)
	} else {
		h = p5
	}
	h += n
	for ; len(p) >= 4; p = p[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(p)*p3, 17) * p4
	}
	for _, b := range p {
		h = bits.RotateLeft32(h+uint32(b)*p5, 11) * p1
	}
	h ^= h >> 15
	h *= p2
	h ^= h >> 13
	h *= p3
	return h ^ h>>16
}
