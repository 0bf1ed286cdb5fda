package bag

import (
	"fmt"
)

// packName is the name of a compression; of the known ones without a copy.
func packName(b []byte) string {
	for _, known := range []string{"none", "lz4", "bz2", "zstd"} {
		if string(b) == known {
			return known
		}
	}
	return string(b)
}

// unpack decompresses p into buf, which it may replace. raw is how much should come
// out, 0 if that is not known. With an error it returns what can be believed all the
// same.
func (k *packing) unpack(compression string, p, buf []byte, raw int) (out []byte, err error) {
	defer calm(&out, buf, &err)
	switch compression {
	case "lz4":
		return unpackLZ4(p, buf, raw)
	case "bz2":
		if room := min(raw, 64*len(p)+64<<10); cap(buf) < room {
			buf = make([]byte, 0, room)
		}
		return k.bz2.Append(buf[:0], p, most(raw))
	case "zstd":
		return k.unpackZSTD(p, buf, raw)
	}
	return buf[:0], fmt.Errorf("compression %.20q is not known", compression)
}

// most is how much may come out at most.
func most(raw int) int {
	if raw > 0 {
		return raw
	}
	return maxChunk
}

// calm turns a panic of a decompressor, of which flipped bits may be the reason,
// into an error.
func calm(out *[]byte, buf []byte, err *error) {
	if r := recover(); r != nil {
		*out, *err = buf[:0], fmt.Errorf("decompressing: %v", r)
	}
}
