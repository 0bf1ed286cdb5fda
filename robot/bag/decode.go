package bag

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Decoder reads the messages of one type by its definition. It is safe for
// several goroutines, and Decode allocates nothing.
type Decoder struct {
	root *field
	cdr  bool
	at   places
}

// Decoder returns the decoder of the connection's messages, made once from the
// definition that the recording holds.
func (c *Connection) Decoder() (*Decoder, error) {
	if c.decoder == nil && c.failed == nil {
		c.decoder, c.failed = newDecoder(c)
	}
	return c.decoder, c.failed
}

func newDecoder(c *Connection) (*Decoder, error) {
	if c.Encoding != ROS1 && c.Encoding != CDR {
		return nil, fmt.Errorf("bag: %s: messages are encoded as %q, which has no decoder here; only %s and %s have", c.Topic, c.Encoding, ROS1, CDR)
	}
	text := c.Definition
	switch c.Schema {
	case "ros1msg", "ros2msg":
	case "":
	default:
		return nil, fmt.Errorf("bag: %s: the definition of %s is written as %q; only ros1msg and ros2msg are read", c.Topic, c.Type, c.Schema)
	}
	if len(text) == 0 {
		if known, ok := builtin(c.Type, c.Encoding == CDR); ok {
			text = []byte(known)
		} else if c.Type != "std_msgs/Empty" {
			return nil, fmt.Errorf("%w: %s on %s", ErrNoDefinition, c.Type, c.Topic)
		}
	}
	m, err := parseDefinition(c.Type, text, c.Encoding == CDR)
	if err != nil {
		return nil, err
	}
	d := &Decoder{root: &field{name: c.Type, text: c.Type, kind: kMessage, msg: m, fixed: m.fixed}, cdr: c.Encoding == CDR}
	if d.cdr && hasWide(m, map[*layout]bool{}) {
		return nil, fmt.Errorf("bag: %s: %s has a wstring, which middlewares lay out differently", c.Topic, c.Type)
	}
	d.learnPlaces()
	return d, nil
}

func hasWide(m *layout, seen map[*layout]bool) bool {
	if seen[m] {
		return false
	}
	seen[m] = true
	for i := range m.fields {
		if f := &m.fields[i]; f.kind == kWString || f.kind == kMessage && hasWide(f.msg, seen) {
			return true
		}
	}
	return false
}

// Decode checks that data is a whole message, and returns a view of it, which
// is valid as long as data.
func (d *Decoder) Decode(data []byte) (Value, error) {
	v := Value{f: d.root, b: body{data: data}}
	if d.cdr {
		// The encapsulation: OMG DDSI-RTPS 2.3, 10.5; plain CDR and CDR2.
		if len(data) < 4 {
			return Value{}, fmt.Errorf("bag: %s: %d bytes are no CDR", d.root.name, len(data))
		}
		id := binary.BigEndian.Uint16(data)
		v.b = body{data: data[4:], cdr: true, big: id&1 == 0, align: 8}
		switch id {
		case 0, 1:
		case 6, 7:
			v.b.align = 4
		default:
			return Value{}, fmt.Errorf("bag: %s: CDR of representation %#04x is not read", d.root.name, id)
		}
	}
	end, ok := v.b.skipOne(d.root, 0)
	if !ok {
		return Value{}, fmt.Errorf("bag: %s: %d bytes are too few, or no such message", d.root.name, len(data))
	}
	// CDR is padded to 4 bytes, and some writers to 8.
	if rest := len(v.b.data) - end; rest > 0 && (!d.cdr || rest > 7) {
		return Value{}, fmt.Errorf("bag: %s: %d bytes follow the message of %d", d.root.name, rest, end)
	}
	return v, nil
}

// body is a message's bytes and how they are laid out.
type body struct {
	data     []byte
	cdr, big bool
	align    int // the most that CDR aligns to
}

func (b *body) aligned(off, n int) int {
	if !b.cdr || n < 2 {
		return off
	}
	n = min(n, b.align)
	return (off + n - 1) &^ (n - 1)
}

func (b *body) u32(off int) uint32 {
	if b.big {
		return binary.BigEndian.Uint32(b.data[off:])
	}
	return binary.LittleEndian.Uint32(b.data[off:])
}

// length reads the length of a string or a sequence at off, and what follows.
func (b *body) length(off int) (n, next int, ok bool) {
	off = b.aligned(off, 4)
	if off+4 > len(b.data) {
		return 0, 0, false
	}
	return int(b.u32(off)), off + 4, true
}

// unit is what CDR aligns a kind to.
func unit(k kind) int {
	if k == kTime || k == kDuration {
		return 4
	}
	return widths[k]
}

// skip returns where a field ends that begins at off, and whether it fits.
func (b *body) skip(f *field, off int) (int, bool) {
	if f.fixed >= 0 && !b.cdr {
		if f.fixed > int64(len(b.data)-off) {
			return 0, false
		}
		return off + int(f.fixed), true
	}
	n := f.array
	switch {
	case n == 0:
		return b.skipOne(f, off)
	case n == sequence:
		var ok bool
		if n, off, ok = b.length(off); !ok {
			return 0, false
		}
	}
	if w := widths[f.kind]; w > 0 {
		if n == 0 {
			return off, true
		}
		off = b.aligned(off, unit(f.kind))
		if off > len(b.data) || n > (len(b.data)-off)/w {
			return 0, false
		}
		return off + n*w, true
	}
	if f.kind == kMessage && f.msg.fixed >= 0 && !b.cdr {
		if size := f.msg.fixed; size > 0 && int64(n) > int64(len(b.data)-off)/size || size == 0 && n > maxArray {
			return 0, false
		}
		return off + n*int(f.msg.fixed), true
	}
	if n > len(b.data)-off { // each takes a byte or more
		return 0, false
	}
	for range n {
		var ok bool
		if off, ok = b.skipOne(f, off); !ok {
			return 0, false
		}
	}
	return off, true
}

// skipOne is skip for a field that is no array, or an element of one.
func (b *body) skipOne(f *field, off int) (int, bool) {
	switch f.kind {
	case kString:
		n, off, ok := b.length(off)
		if !ok || n > len(b.data)-off {
			return 0, false
		}
		return off + n, true
	case kMessage:
		if f.msg.fixed >= 0 && !b.cdr {
			if f.msg.fixed > int64(len(b.data)-off) {
				return 0, false
			}
			return off + int(f.msg.fixed), true
		}
		for i := range f.msg.fields {
			var ok bool
			if off, ok = b.skip(&f.msg.fields[i], off); !ok {
				return 0, false
			}
		}
		return off, true
	case kWString:
		return 0, false
	}
	w := widths[f.kind]
	off = b.aligned(off, unit(f.kind))
	return off + w, off+w <= len(b.data)
}

// Path is a field's place in messages of one type, found once by Decoder.Path.
type Path struct{ steps []int }

// Path finds the field at names joined by dots, as "header.stamp". Elements of
// arrays are numbers: "poses.0.position".
func (d *Decoder) Path(path string) (Path, error) {
	f, elem := d.root, true
	var p Path
	for name := range strings.SplitSeq(path, ".") {
		next, index, ok := step(f, elem, name)
		if !ok {
			return Path{}, fmt.Errorf("bag: %s has no field %q", d.root.name, path)
		}
		p.steps = append(p.steps, index)
		if next == f && !elem {
			elem = true
		} else {
			f, elem = next, next.array == 0
		}
	}
	return p, nil
}

// step finds what name is of f: a field, or an element of an array (then it
// returns f itself).
func step(f *field, elem bool, name string) (_ *field, index int, ok bool) {
	if !elem {
		for _, c := range []byte(name) {
			if c < '0' || c > '9' || index > 1<<30 {
				return nil, 0, false
			}
			index = 10*index + int(c-'0')
		}
		return f, index, name != "" && (f.array == sequence || index < f.array)
	}
	if f.kind != kMessage {
		return nil, 0, false
	}
	for i := range f.msg.fields {
		if f.msg.fields[i].name == name {
			return &f.msg.fields[i], i, true
		}
	}
	return nil, 0, false
}
