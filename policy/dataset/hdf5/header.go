package hdf5

import "fmt"

// Message types of an object header (IV.A.2).
const (
	msgSpace     = 0x01
	msgLinkInfo  = 0x02
	msgType      = 0x03
	msgLink      = 0x06
	msgLayout    = 0x08
	msgFilters   = 0x0b
	msgAttr      = 0x0c
	msgContinue  = 0x10
	msgSymbols   = 0x11
	msgAttrInfo  = 0x15
	flagShared   = 1 << 1
	maxMessages  = 1 << 16
	maxContinued = 1 << 10
)

// message is one message of an object's header.
type message struct {
	kind  uint16
	flags uint8
	data  []byte
}

// object is a group, a dataset or a committed type.
type object struct {
	f    *File
	path string
	addr uint64
	msgs []message
}

// fail says what is wrong with an object.
func (o *object) fail(err error) error { return fmt.Errorf("%s: %w", o.path, err) }

func (o *object) corrupt(format string, args ...any) error {
	return o.fail(fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...))
}

// get returns the first message of a kind.
func (o *object) get(kind uint16) (message, bool) {
	for _, m := range o.msgs {
		if m.kind == kind {
			return m, true
		}
	}
	return message{}, false
}

// span is a stretch of a file that holds messages.
type span struct{ addr, n uint64 }

// object reads the header at addr (IV.A.1).
func (f *File) object(path string, addr uint64) (*object, error) {
	o := &object{f: f, path: path, addr: addr}
	head, err := f.block(addr, min(4, f.rest(addr)))
	if err != nil {
		return nil, o.fail(err)
	}
	if string(head) == "OHDR" {
		err = o.header2(addr)
	} else {
		err = o.header1(addr)
	}
	if err != nil {
		return nil, o.fail(err)
	}
	return o, nil
}

// header1 reads a header of version 1 (IV.A.1.a).
func (o *object) header1(addr uint64) error {
	b, err := o.f.block(addr, 16)
	if err != nil {
		return err
	}
	c := &cursor{b: b}
	if v := c.u8(); v != 1 {
		return fmt.Errorf("%w: object header of version %d at %d", ErrCorrupt, v, addr)
	}
	c.skip(1)
	total := int(c.u16())
	c.skip(4)
	spans := []span{{addr + 16, uint64(c.u32())}}
	for i := 0; i < len(spans); i++ {
		if i == maxContinued {
			return fmt.Errorf("%w: a header in more than %d pieces", ErrCorrupt, maxContinued)
		}
		b, err := o.f.block(spans[i].addr, spans[i].n)
		if err != nil {
			return err
		}
		for c := (&cursor{b: b}); len(c.b) >= 8 && len(o.msgs) < total; {
			m := message{kind: c.u16()}
			n := int(c.u16())
			m.flags = c.u8()
			c.skip(3)
			m.data = c.bytes(n)
			if c.bad {
				return fmt.Errorf("%w: a header message of %d bytes passes the end of its block", ErrCorrupt, n)
			}
			if spans, err = o.take(m, spans); err != nil {
				return err
			}
		}
	}
	return nil
}

// header2 reads a header of version 2 (IV.A.1.b).
func (o *object) header2(addr uint64) error {
	c, err := o.f.signed(addr, min(64, o.f.rest(addr)), "OHDR")
	if err != nil {
		return err
	}
	room := len(c.b)
	if v := c.u8(); v != 2 {
		return fmt.Errorf("%w: object header of version %d at %d", ErrCorrupt, v, addr)
	}
	flags := c.u8()
	if flags&0x20 != 0 {
		c.skip(16)
	}
	if flags&0x10 != 0 {
		c.skip(4)
	}
	n := c.uint(1 << (flags & 3))
	if c.bad {
		return fmt.Errorf("%w: the object header at %d ends early", ErrCorrupt, addr)
	}
	spans := []span{{addr + 4 + uint64(room-len(c.b)), n}}
	for i := 0; i < len(spans); i++ {
		if i == maxContinued {
			return fmt.Errorf("%w: a header in more than %d pieces", ErrCorrupt, maxContinued)
		}
		var c *cursor
		if i == 0 {
			b, err := o.f.block(spans[i].addr, spans[i].n)
			if err != nil {
				return err
			}
			c = &cursor{b: b}
		} else {
			if c, err = o.f.signed(spans[i].addr, spans[i].n, "OCHK"); err != nil {
				return err
			}
			c.b = c.b[:max(0, len(c.b)-4)] // the checksum
		}
		for len(c.b) >= 4 {
			m := message{kind: uint16(c.u8())}
			n := int(c.u16())
			m.flags = c.u8()
			if flags&0x04 != 0 {
				c.skip(2)
			}
			m.data = c.bytes(n)
			if c.bad {
				return fmt.Errorf("%w: a header message of %d bytes passes the end of its block", ErrCorrupt, n)
			}
			if spans, err = o.take(m, spans); err != nil {
				return err
			}
		}
	}
	return nil
}

// take keeps a message, or follows a continuation (IV.A.2.q).
func (o *object) take(m message, spans []span) ([]span, error) {
	if len(o.msgs) == maxMessages {
		return nil, fmt.Errorf("%w: more than %d header messages", ErrCorrupt, maxMessages)
	}
	o.msgs = append(o.msgs, m)
	if m.kind != msgContinue {
		return spans, nil
	}
	c := &cursor{b: m.data}
	s := span{c.uint(o.f.o), c.uint(o.f.l)}
	if c.bad {
		return nil, fmt.Errorf("%w: a continuation of %d bytes", ErrCorrupt, len(m.data))
	}
	return append(spans, s), nil
}

// shared returns the message itself, or the one of the object that it points to
// (IV.A.2, "shared message").
func (f *File) shared(m message) ([]byte, error) {
	if m.flags&flagShared == 0 {
		return m.data, nil
	}
	c := &cursor{b: m.data}
	v, kind := c.u8(), c.u8()
	switch {
	case v == 1:
		c.skip(6)
	case v == 3 && kind == 1:
		return nil, fmt.Errorf("%w: messages shared in a heap; rewrite the file with h5repack", ErrUnsupported)
	}
	addr := c.uint(f.o)
	if c.bad {
		return nil, fmt.Errorf("%w: a shared message of %d bytes", ErrCorrupt, len(m.data))
	}
	o, err := f.object("committed type", addr)
	if err != nil {
		return nil, err
	}
	for _, got := range o.msgs {
		if got.kind == m.kind && got.flags&flagShared == 0 {
			return got.data, nil
		}
	}
	return nil, fmt.Errorf("%w: a shared message leads nowhere", ErrCorrupt)
}
