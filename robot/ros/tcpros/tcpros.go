// Package tcpros is how ROS 1 messages travel: connection headers, frames, and
// the encoding of Go structs as messages.
//
// Message types are goroslib's structs or own ones in its manner
// (msg.Package, rosname and rostype tags); their checksums come from there.
// The encoding is ours: it does not stop at 16 MiB, does not copy pixels when
// it decodes, and checks every length against what has arrived.
//
//	b, err := tcpros.Append(nil, &m)
//	err = tcpros.Decode(b, &m)
package tcpros

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Bounds on what arrives. maxFrame is 256 MiB, a point cloud of 16 million
// points; memory is taken only as bytes arrive.
const (
	maxHeader = 1 << 20
	maxFrame  = 256 << 20
	trusted   = 16 << 20 // a frame up to this is allocated at once
)

// Header is what both sides of a connection tell each other first.
type Header map[string]string

// WriteHeader sends h.
func WriteHeader(w io.Writer, h Header) error {
	b := make([]byte, 4, 256)
	keys := make([]string, 0, len(h))
	for k := range h {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(k)+1+len(h[k])))
		b = append(append(append(b, k...), '='), h[k]...)
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	_, err := w.Write(b)
	return err
}

// ReadHeader reads a header.
func ReadHeader(r io.Reader) (Header, error) {
	b, err := readFrame(r, maxHeader)
	if err != nil {
		return nil, fmt.Errorf("tcpros: header: %w", err)
	}
	h := Header{}
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, fmt.Errorf("tcpros: header: %d bytes after the last field", len(b))
		}
		n := binary.LittleEndian.Uint32(b)
		if b = b[4:]; uint64(n) > uint64(len(b)) {
			return nil, fmt.Errorf("tcpros: header: a field of %d bytes where %d are left", n, len(b))
		}
		k, v, ok := strings.Cut(string(b[:n]), "=")
		if !ok {
			return nil, fmt.Errorf("tcpros: header: field %.40q has no =", k)
		}
		h[k], b = v, b[n:]
	}
	return h, nil
}

// WriteFrame sends a payload with its length before it.
func WriteFrame(w io.Writer, payload []byte) error {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(payload)), uint32(len(payload)))
	_, err := w.Write(append(b, payload...))
	return err
}

// ReadFrame reads a payload into memory of its own.
func ReadFrame(r io.Reader) ([]byte, error) { return readFrame(r, maxFrame) }

func readFrame(r io.Reader, limit uint32) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > limit {
		return nil, fmt.Errorf("%d bytes announced, at most %d are taken", n, limit)
	}
	b := make([]byte, min(n, trusted))
	for at := 0; ; {
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if at = len(b); at == int(n) {
			return b, nil
		}
		b = append(b, make([]byte, min(int(n)-at, at))...) // no more than arrived so far
	}
}
