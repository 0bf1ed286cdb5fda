package bag

import (
	"encoding/binary"
	"math"
	"strings"
	"time"
)

// Value is a view of a message, a field or an element of an array. The zero Value is
// what Path returns for a field that is not there; it has no elements and is 0.
type Value struct {
	f    *field
	b    body
	off  int
	elem bool // an element of an array
}

// isArray says whether v is a whole array.
func (v Value) isArray() bool { return v.f != nil && v.f.array != 0 && !v.elem }

// Exists says whether the field is there.
func (v Value) Exists() bool { return v.f != nil }

// Type is the type as in the definition, as "float64[7]".
func (v Value) Type() string {
	switch {
	case v.f == nil:
		return ""
	case v.elem:
		return v.f.base
	}
	return v.f.text
}

// Path returns the field of a message at names joined by dots, as
// "header.stamp" or "poses.3.position.x".
func (v Value) Path(path string) Value {
	for path != "" && v.f != nil {
		var name string
		name, path, _ = strings.Cut(path, ".")
		_, i, ok := step(v.f, !v.isArray(), name)
		if !ok {
			return Value{}
		}
		v = v.Index(i)
	}
	return v
}

// At is Path for a path that was found before.
func (v Value) At(p Path) Value {
	for _, i := range p.steps {
		v = v.Index(i)
	}
	return v
}

// Fields is how many fields a message has, 0 for anything else.
func (v Value) Fields() int {
	if v.f == nil || v.f.kind != kMessage || v.isArray() {
		return 0
	}
	return len(v.f.msg.fields)
}

// Name is the name of a message's field i.
func (v Value) Name(i int) string {
	if i < 0 || i >= v.Fields() {
		return ""
	}
	return v.f.msg.fields[i].name
}

// Index returns element i of an array, or field i of a message.
func (v Value) Index(i int) Value {
	if v.f == nil || i < 0 {
		return Value{}
	}
	off := v.off
	if v.isArray() {
		n, off := v.array()
		if i >= n {
			return Value{}
		}
		if w := widths[v.f.kind]; w > 0 {
			return Value{v.f, v.b, v.b.aligned(off, unit(v.f.kind)) + i*w, true}
		}
		if v.f.kind == kMessage && v.f.msg.fixed >= 0 && !v.b.cdr {
			return Value{v.f, v.b, off + i*int(v.f.msg.fixed), true}
		}
		for range i {
			off, _ = v.b.skipOne(v.f, off)
		}
		return Value{v.f, v.b, off, true}
	}
	if i >= v.Fields() {
		return Value{}
	}
	fs := v.f.msg.fields
	for k := range i {
		off, _ = v.b.skip(&fs[k], off)
	}
	return Value{&fs[i], v.b, off, false}
}

// array returns an array's length and where its elements begin.
func (v Value) array() (n, off int) {
	if v.f.array != sequence {
		return v.f.array, v.off
	}
	n, off, _ = v.b.length(v.off)
	return n, off
}

// Len is the number of an array's elements, or of a string's bytes.
func (v Value) Len() int {
	switch {
	case v.isArray():
		n, _ := v.array()
		return n
	case v.f != nil && v.f.kind == kString:
		return len(v.Bytes())
	}
	return 0
}

// Bytes returns the bytes of a string, or of an array of bytes, without copying.
func (v Value) Bytes() []byte {
	if v.f == nil {
		return nil
	}
	if v.isArray() {
		n, off := v.array()
		if widths[v.f.kind] != 1 || n == 0 {
			return nil
		}
		return v.b.data[off : off+n : off+n]
	}
	if v.f.kind != kString {
		return nil
	}
	n, off, _ := v.b.length(v.off)
	s := v.b.data[off : off+n : off+n]
	if v.b.cdr && n > 0 && s[n-1] == 0 {
		s = s[:n-1]
	}
	return s
}

// Text returns a string's text, which is a copy.
func (v Value) Text() string {
	if v.isArray() {
		return ""
	}
	return string(v.Bytes())
}

// raw reads a number of n bytes.
func (v Value) raw(n int) uint64 {
	off := v.b.aligned(v.off, n)
	p := v.b.data[off:]
	if v.b.big {
		switch n {
		case 1:
			return uint64(p[0])
		case 2:
			return uint64(binary.BigEndian.Uint16(p))
		case 4:
			return uint64(binary.BigEndian.Uint32(p))
		}
		return binary.BigEndian.Uint64(p)
	}
	switch n {
	case 1:
		return uint64(p[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(p))
	case 4:
		return uint64(binary.LittleEndian.Uint32(p))
	}
	return binary.LittleEndian.Uint64(p)
}

// Float is any number or bool as a float64; a time or a duration in seconds.
func (v Value) Float() float64 {
	if v.f == nil || v.isArray() {
		return 0
	}
	switch v.f.kind {
	case kFloat64:
		return math.Float64frombits(v.raw(8))
	case kFloat32:
		return float64(math.Float32frombits(uint32(v.raw(4))))
	case kUint64:
		return float64(v.raw(8))
	case kTime, kDuration:
		return float64(v.Int()) / 1e9
	}
	return float64(v.Int())
}

// Int is any number or bool, cut to an int64; a time or a duration in
// nanoseconds.
func (v Value) Int() int64 {
	if v.f == nil || v.isArray() {
		return 0
	}
	switch v.f.kind {
	case kBool, kUint8:
		return int64(v.raw(1))
	case kInt8:
		return int64(int8(v.raw(1)))
	case kUint16:
		return int64(v.raw(2))
	case kInt16:
		return int64(int16(v.raw(2)))
	case kUint32:
		return int64(v.raw(4))
	case kInt32:
		return int64(int32(v.raw(4)))
	case kInt64, kUint64:
		return int64(v.raw(8))
	case kFloat32, kFloat64:
		return int64(v.Float())
	case kTime, kDuration:
		off := v.b.aligned(v.off, 4)
		sec, nsec := v.b.u32(off), v.b.u32(off+4)
		if v.f.kind == kTime && !v.b.cdr { // of ROS 1, until the year 2106
			return int64(sec)*1e9 + int64(nsec)
		}
		if v.b.cdr {
			return int64(int32(sec))*1e9 + int64(nsec)
		}
		return int64(int32(sec))*1e9 + int64(int32(nsec))
	}
	return 0
}

// Time is a time, UTC.
func (v Value) Time() time.Time {
	if v.f == nil || v.f.kind != kTime {
		return time.Time{}
	}
	return unix(v.Int())
}

// Floats appends the elements of an array of numbers to dst.
func (v Value) Floats(dst []float64) []float64 {
	if !v.isArray() || widths[v.f.kind] == 0 {
		return dst
	}
	n, off := v.array()
	if n == 0 {
		return dst
	}
	if v.f.kind == kFloat64 && !v.b.big {
		p := v.b.data[v.b.aligned(off, 8):][:8*n]
		for ; len(p) >= 8; p = p[8:] {
			dst = append(dst, math.Float64frombits(binary.LittleEndian.Uint64(p)))
		}
		return dst
	}
	for i := range n {
		dst = append(dst, v.Index(i).Float())
	}
	return dst
}

// Any makes a copy for printing: map[string]any, []any, []byte, string, bool,
// int64, uint64, float64, time.Time and time.Duration.
func (v Value) Any() any {
	switch {
	case v.f == nil:
		return nil
	case v.isArray() && v.f.kind == kUint8:
		return append([]byte{}, v.Bytes()...)
	case v.isArray() && v.f.kind == kMessage && v.f.msg.fixed == 0:
		return []any(nil) // of nothing, however many
	case v.isArray():
		var s []any
		for i := range v.Len() {
			s = append(s, v.Index(i).Any())
		}
		return s
	}
	switch v.f.kind {
	case kMessage:
		m := map[string]any{}
		for i := range v.Fields() {
			m[v.Name(i)] = v.Index(i).Any()
		}
		return m
	case kString:
		return v.Text()
	case kBool:
		return v.Int() != 0
	case kUint64:
		return uint64(v.Int())
	case kFloat32, kFloat64:
		return v.Float()
	case kTime:
		return v.Time()
	case kDuration:
		return time.Duration(v.Int())
	}
	return v.Int()
}
