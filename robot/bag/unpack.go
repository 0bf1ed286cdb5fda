package bag

import (
	"bytes"
	"compress/bzip2"
	"fmt"
	"io"
)

// unpackChunk decompresses p into buf, which it may replace. raw is how much
// should come out, 0 if that is not known. With an error it returns what can be
// believed all the same.
func unpackChunk(compression string, p, buf []byte, raw int) ([]byte, error) {
	switch compression {
	case "lz4":
		return unpackLZ4(p, buf, raw)
	case "bz2":
		return unpackBZ2(p, buf, raw)
	}
	return buf[:0], fmt.Errorf("compression %.20q is not known", compression)
}

// most is how much may come out at most; one byte more tells that it is too much.
func most(raw int) int {
	if raw > 0 {
		return raw
	}
	return maxChunk
}

func unpackBZ2(p, buf []byte, raw int) ([]byte, error) {
	out := bytes.NewBuffer(buf[:0])
	_, err := io.Copy(out, io.LimitReader(bzip2.NewReader(bytes.NewReader(p)), int64(most(raw))))
	return out.Bytes(), err
}
