package hdf5

import "fmt"

// Attr is an attribute: numbers, or strings.
type Attr struct {
	Name    string
	Floats  []float64 // of numbers
	Strings []string
}

// Attr returns an attribute of a group, with ErrNone if it has none of this name.
func (g *Group) Attr(name string) (Attr, error) { return g.o.attr(name) }

// Attr returns an attribute of a dataset, with ErrNone if it has none of this name.
func (d *Dataset) Attr(name string) (Attr, error) { return d.o.attr(name) }

func (o *object) attr(name string) (Attr, error) {
	var got Attr
	found := false
	take := func(b []byte) error {
		if found {
			return nil
		}
		a, ok, err := o.f.attr(b, name)
		if ok {
			got, found = a, true
		}
		return err
	}
	for _, m := range o.msgs {
		if m.kind != msgAttr {
			continue
		}
		if m.flags&flagShared != 0 {
			return got, o.fail(fmt.Errorf("%w: shared attributes; rewrite the file with h5repack", ErrUnsupported))
		}
		if err := take(m.data); err != nil {
			return got, o.fail(fmt.Errorf("attribute %s: %w", name, err))
		}
	}
	if m, ok := o.get(msgAttrInfo); ok && !found {
		// Attributes in a fractal heap (IV.A.2.v); records of type 8 begin with the id.
		c := &cursor{b: m.data}
		c.skip(1)
		if c.u8()&1 != 0 {
			c.skip(2)
		}
		heap, index := c.uint(o.f.o), c.uint(o.f.o)
		if c.bad {
			return got, o.corrupt("attribute information of %d bytes", len(m.data))
		}
		if !o.f.undefined(heap) {
			err := o.f.heaped(heap, index, 8, func(r *cursor) []byte { return r.bytes(8) }, take)
			if err != nil {
				return got, o.fail(fmt.Errorf("attribute %s: %w", name, err))
			}
		}
	}
	if !found {
		return got, o.fail(fmt.Errorf("%w: attribute %s", ErrNone, name))
	}
	return got, nil
}

// attr reads an attribute message (IV.A.2.m) if it is of this name.
func (f *File) attr(b []byte, name string) (a Attr, ok bool, err error) {
	c := &cursor{b: b}
	v, flags := c.u8(), c.u8()
	n, nt, ns := int(c.u16()), int(c.u16()), int(c.u16())
	pad := func(n int) int { return n }
	switch v {
	case 1:
		flags = 0
		pad = func(n int) int { return (n + 7) &^ 7 }
	case 2:
	case 3:
		c.skip(1)
	default:
		return a, false, fmt.Errorf("%w: an attribute of version %d", ErrUnsupported, v)
	}
	text := &cursor{b: c.bytes(pad(n))}
	a.Name = text.text()
	kb, sb := c.bytes(pad(nt)), c.bytes(pad(ns))
	if c.bad || text.bad {
		return a, false, fmt.Errorf("%w: an attribute of %d bytes", ErrCorrupt, len(b))
	}
	if a.Name != name {
		return a, false, nil
	}
	if flags&1 != 0 {
		if kb, err = f.shared(message{kind: msgType, flags: flagShared, data: kb}); err != nil {
			return a, false, err
		}
	}
	if flags&2 != 0 {
		return a, false, fmt.Errorf("%w: a shared dataspace; rewrite the file with h5repack", ErrUnsupported)
	}
	k, err := kind(kb)
	if err != nil {
		return a, false, err
	}
	dims, null, err := f.space(sb)
	if err != nil {
		return a, false, err
	}
	total := 1
	for _, d := range dims {
		total *= d
	}
	if null {
		total = 0
	}
	if total > len(c.b)/k.Size {
		return a, false, fmt.Errorf("%w: an attribute of %d values in %d bytes", ErrCorrupt, total, len(c.b))
	}
	for range total {
		v := c.bytes(k.Size)
		switch k.Class {
		case Int, Uint, Float:
			a.Floats = append(a.Floats, k.float(v))
		case String:
			s, err := f.text(k, v)
			if err != nil {
				return a, false, err
			}
			a.Strings = append(a.Strings, s)
		}
	}
	return a, true, nil
}
