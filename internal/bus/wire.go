package bus

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// version is the number in every envelope. A decoder refuses any other;
// additions (fields, arrays) keep it.
const version = 1

// maxHead bounds an envelope, bytes. The largest is that of an episode with a
// thousand names of keypoints, 50 kB.
const maxHead = 1 << 20

// A message is
//
//	uint32 n, little-endian | n bytes of JSON envelope | arrays, one after the other
//
// and the envelope names the arrays in their order, as numpy would: type and
// shape. Floats never pass through text, so they arrive bit for bit.
type head[M any] struct {
	V      int    `json:"v"`
	Kind   string `json:"kind"`
	Meta   M      `json:"meta"`
	Arrays []span `json:"arrays"`
}

// span describes one array. Types are numpy's, little-endian: u1 u4 u8 i8 f4 f8.
type span struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []int  `json:"shape"`
}

// size is the number of elements, or -1 if a dimension is negative or the number
// is above limit.
func (s *span) size(limit int) int {
	for _, d := range s.Shape {
		if d < 0 {
			return -1
		}
	}
	if slices.Contains(s.Shape, 0) {
		return 0
	}
	n := 1
	for _, d := range s.Shape {
		if n > limit/d {
			return -1
		}
		n *= d
	}
	if n > limit {
		return -1
	}
	return n
}

func width(typ string) int {
	switch typ {
	case "u1":
		return 1
	case "u4", "f4":
		return 4
	case "u8", "i8", "f8":
		return 8
	}
	return 0
}

// writer collects arrays for one message.
type writer struct {
	parts []part
	bytes int
}

type part struct {
	span
	put func([]byte) []byte
}

func (w *writer) add(name, typ string, shape []int, put func([]byte) []byte) {
	s := span{name, typ, shape}
	w.parts = append(w.parts, part{s, put})
	w.bytes += s.size(math.MaxInt) * width(typ)
}

// The envelope as encode spells it. Other spellings of the same JSON are as good,
// only slower to read.
const (
	envelopeKind   = `{"v":1,"kind":"`
	envelopeMeta   = `","meta":`
	envelopeArrays = `,"arrays":[`
	arrayName      = `{"name":"`
	arrayType      = `","type":"`
	arrayShape     = `","shape":[`
)

// scan reads an envelope in the spelling of encode, or reports false.
func scan[M any](kind string, b []byte, h *head[M]) bool {
	rest, ok := bytes.CutPrefix(b, []byte(envelopeKind+kind+envelopeMeta))
	i := bytes.LastIndex(rest, []byte(envelopeArrays))
	if !ok || i < 0 {
		return false
	}
	if m := rest[:i]; string(m) != "{}" && json.Unmarshal(m, &h.Meta) != nil {
		return false
	}
	h.V, h.Kind, h.Arrays = version, kind, make([]span, 0, 8)
	rest = rest[i+len(envelopeArrays):]
	for string(rest) != "]}" {
		if len(h.Arrays) > 0 {
			if rest, ok = bytes.CutPrefix(rest, []byte(",")); !ok {
				return false
			}
		}
		var s span
		if rest, ok = s.scan(rest); !ok {
			return false
		}
		h.Arrays = append(h.Arrays, s)
	}
	return true
}

func (s *span) scan(b []byte) (rest []byte, ok bool) {
	for _, f := range []struct {
		lead string
		to   *string
	}{{arrayName, &s.Name}, {arrayType, &s.Type}} {
		if b, ok = bytes.CutPrefix(b, []byte(f.lead)); !ok {
			return nil, false
		}
		n := 0
		for n < len(b) && ('a' <= b[n] && b[n] <= 'z' || '0' <= b[n] && b[n] <= '9' || b[n] == '_') {
			n++
		}
		*f.to, b = string(b[:n]), b[n:]
	}
	if b, ok = bytes.CutPrefix(b, []byte(arrayShape)); !ok {
		return nil, false
	}
	for {
		n, d := 0, 0
		for n < len(b) && n < 18 && '0' <= b[n] && b[n] <= '9' { // 18 digits fit in an int
			d = 10*d + int(b[n]-'0')
			n++
		}
		// JSON has no leading zeros, and the end may not come after a comma.
		if n == 0 || n > 1 && b[0] == '0' {
			return nil, false
		}
		s.Shape, b = append(s.Shape, d), b[n:]
		if bytes.HasPrefix(b, []byte("]}")) {
			return b[2:], true
		}
		if b, ok = bytes.CutPrefix(b, []byte(",")); !ok {
			return nil, false
		}
	}
}

// encode writes the message.
func encode[M any](kind string, meta M, w *writer) ([]byte, error) {
	m, err := json.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("bus: encode %s: %w", kind, err)
	}
	b := make([]byte, 4, 4+64+len(m)+64*len(w.parts)+w.bytes)
	b = append(b, envelopeKind...)
	b = append(b, kind...)
	b = append(b, envelopeMeta...)
	b = append(b, m...)
	b = append(b, envelopeArrays...)
	for i, p := range w.parts {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, arrayName...)
		b = append(b, p.Name...) // a literal of this package, nothing to escape
		b = append(b, arrayType...)
		b = append(b, p.Type...)
		b = append(b, arrayShape...)
		for j, d := range p.Shape {
			if j > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(d), 10)
		}
		b = append(b, ']', '}')
	}
	b = append(b, ']', '}')
	if len(b)-4 > maxHead {
		return nil, fmt.Errorf("bus: encode %s: envelope of %d bytes, limit %d", kind, len(b)-4, maxHead)
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	for _, p := range w.parts {
		b = p.put(b)
	}
	return b, nil
}

// reader takes arrays out of one message. The first fault sticks in err, and
// what is read after it is empty.
type reader struct {
	spans []span
	data  [][]byte
	err   error
}

// decode checks the envelope of b. Arrays alias b, so that a hostile envelope
// cannot make the reader allocate more than b is long.
func decode[M any](kind string, b []byte) (M, *reader, error) {
	var h head[M]
	if len(b) < 4 {
		return h.Meta, nil, fmt.Errorf("%w: %d bytes", ErrWire, len(b))
	}
	n := binary.LittleEndian.Uint32(b)
	if n > maxHead || int(n) > len(b)-4 {
		return h.Meta, nil, fmt.Errorf("%w: envelope of %d bytes in %d", ErrWire, n, len(b))
	}
	if env := b[4 : 4+n]; !scan(kind, env, &h) {
		h = head[M]{}
		if err := json.Unmarshal(env, &h); err != nil {
			return h.Meta, nil, fmt.Errorf("%w: envelope: %v", ErrWire, err)
		}
	}
	if h.V != version || h.Kind != kind {
		return h.Meta, nil, fmt.Errorf("%w: got %.40q of version %d, want %q of version %d", ErrWire, h.Kind, h.V, kind, version)
	}
	r := &reader{spans: h.Arrays, data: make([][]byte, len(h.Arrays))}
	rest := b[4+n:]
	for i := range h.Arrays {
		s := &h.Arrays[i]
		w := width(s.Type)
		if w == 0 {
			return h.Meta, nil, fmt.Errorf("%w: array %.40q of type %.8q", ErrWire, s.Name, s.Type)
		}
		k := s.size(len(rest) / w)
		if k < 0 {
			return h.Meta, nil, fmt.Errorf("%w: array %.40q of shape %.80v exceeds the message", ErrWire, s.Name, fmt.Sprint(s.Shape))
		}
		r.data[i], rest = rest[:k*w:k*w], rest[k*w:]
	}
	if len(rest) > 0 {
		return h.Meta, nil, fmt.Errorf("%w: %d bytes after the last array", ErrWire, len(rest))
	}
	return h.Meta, r, nil
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrWire}, args...)...)
	}
}

// take returns the bytes and the number of rows of the named array. cols -1
// wants a vector, else the shape (rows, cols). An absent array has no rows.
func (r *reader) take(name, typ string, cols int) ([]byte, int) {
	if r.err != nil {
		return nil, 0
	}
	for i, s := range r.spans {
		if s.Name != name {
			continue
		}
		want := 1
		if cols >= 0 {
			want = 2
		}
		if s.Type != typ || len(s.Shape) != want || want == 2 && s.Shape[1] != cols {
			r.fail("array %q is %s of shape %.80s, want %s with %d columns", name, s.Type, fmt.Sprint(s.Shape), typ, max(cols, 1))
			return nil, 0
		}
		return r.data[i], s.Shape[0]
	}
	return nil, 0
}

// rows is take for an array that must have n rows.
func (r *reader) rows(name, typ string, cols, n int) []byte {
	b, k := r.take(name, typ, cols)
	if k != n {
		r.fail("array %q has %d rows, want %d", name, k, n)
		return nil
	}
	return b
}

// done is the fault of the reading, if any.
func (r *reader) done(kind string) error {
	if r.err != nil {
		return fmt.Errorf("bus: decode %s: %w", kind, r.err)
	}
	return nil
}

// cursor reads fixed-size numbers in order; the caller has checked the length.
type cursor []byte

func (c *cursor) u32() uint32 {
	v := binary.LittleEndian.Uint32(*c)
	*c = (*c)[4:]
	return v
}

func (c *cursor) u64() uint64 {
	v := binary.LittleEndian.Uint64(*c)
	*c = (*c)[8:]
	return v
}

func (c *cursor) f64() float64 { return math.Float64frombits(c.u64()) }

func (c *cursor) f64s(dst []float64) {
	for i := range dst {
		dst[i] = c.f64()
	}
}

// f32s fills dst from b, which holds 4*len(dst) bytes.
func f32s(dst []float32, b []byte) {
	b = b[:4*len(dst)]
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
}

func putF32s(b []byte, v []float32) []byte {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func putF64s(b []byte, v ...float64) []byte {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	return b
}

// Instants travel as seconds since 1970 and nanoseconds, (N,2) of i8: a count
// of nanoseconds alone could not hold the zero time.Time.

func putTime(b []byte, t time.Time) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(t.Unix()))
	return binary.LittleEndian.AppendUint64(b, uint64(t.Nanosecond()))
}

func (r *reader) time(c *cursor) time.Time {
	s, ns := int64(c.u64()), int64(c.u64())
	if ns < 0 || ns >= 1e9 {
		r.fail("instant with %d nanoseconds", ns)
		return time.Time{}
	}
	return time.Unix(s, ns).UTC()
}

// times reads (n,2) of i8 into set.
func (r *reader) times(name string, n int, set func(i int, t time.Time)) {
	c := cursor(r.rows(name, "i8", 2, n))
	for i := 0; i < n && r.err == nil; i++ {
		set(i, r.time(&c))
	}
}
