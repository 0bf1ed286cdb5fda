package hdf5

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Group holds named objects.
type Group struct {
	o     *object
	links map[string]uint64 // hard links to the addresses of headers
	names []string
}

// Root returns the root group.
func (f *File) Root() (*Group, error) {
	o, err := f.object("/", f.root)
	if err != nil {
		return nil, err
	}
	return f.group(o)
}

// Group returns the group at a path of names with slashes.
func (f *File) Group(path string) (*Group, error) {
	g, err := f.Root()
	if err != nil {
		return nil, err
	}
	for _, name := range strings.Split(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		if g, err = g.Group(name); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// Dataset returns the dataset at a path of names with slashes.
func (f *File) Dataset(path string) (*Dataset, error) {
	path = strings.Trim(path, "/")
	i := strings.LastIndexByte(path, '/')
	g, err := f.Group(path[:max(0, i)])
	if err != nil {
		return nil, err
	}
	return g.Dataset(path[i+1:])
}

// Path is where the group is.
func (g *Group) Path() string { return g.o.path }

// Names lists what the group holds, with numbers in their order: demo_2 before
// demo_10. Soft and external links are left out.
func (g *Group) Names() []string { return g.names }

// Has reports whether the group holds name.
func (g *Group) Has(name string) bool { _, ok := g.links[name]; return ok }

// Is reports whether name is a group, and whether it is a dataset.
func (g *Group) Is(name string) (group, dataset bool, err error) {
	o, err := g.child(name)
	if err != nil {
		return false, false, err
	}
	_, symbols := o.get(msgSymbols)
	_, links := o.get(msgLinkInfo)
	_, layout := o.get(msgLayout)
	return symbols || links, layout, nil
}

// Group returns a group in g.
func (g *Group) Group(name string) (*Group, error) {
	o, err := g.child(name)
	if err != nil {
		return nil, err
	}
	return g.o.f.group(o)
}

// Dataset returns a dataset in g.
func (g *Group) Dataset(name string) (*Dataset, error) {
	o, err := g.child(name)
	if err != nil {
		return nil, err
	}
	return o.dataset()
}

func (g *Group) child(name string) (*object, error) {
	addr, ok := g.links[name]
	path := strings.TrimSuffix(g.o.path, "/") + "/" + name
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, ErrNone)
	}
	return g.o.f.object(path, addr)
}

func (f *File) group(o *object) (*Group, error) {
	g := &Group{o: o, links: map[string]uint64{}}
	found := false
	if m, ok := o.get(msgSymbols); ok {
		found = true
		if err := g.symbols(m.data); err != nil {
			return nil, o.fail(err)
		}
	}
	if m, ok := o.get(msgLinkInfo); ok {
		found = true
		if err := g.dense(m.data); err != nil {
			return nil, o.fail(err)
		}
	}
	for _, m := range o.msgs {
		if m.kind == msgLink {
			found = true
			if err := g.link(m.data); err != nil {
				return nil, o.fail(err)
			}
		}
	}
	if !found {
		return nil, o.fail(fmt.Errorf("%w: not a group", ErrNone))
	}
	for name := range g.links {
		g.names = append(g.names, name)
	}
	slices.SortFunc(g.names, natural)
	return g, nil
}

func (g *Group) add(name string, addr uint64) error {
	if len(g.links) == maxLinks {
		return fmt.Errorf("%w: more than %d links", ErrCorrupt, maxLinks)
	}
	g.links[name] = addr
	return nil
}

// symbols reads a group of the old kind: a B-tree of nodes whose names lie in a
// local heap (III.A.1, III.B, III.D).
func (g *Group) symbols(b []byte) error {
	f := g.o.f
	c := &cursor{b: b}
	tree, heap := c.uint(f.o), c.uint(f.o)
	h, err := f.signed(heap, uint64(8+2*f.l+f.o), "HEAP")
	if err != nil {
		return err
	}
	h.skip(4)
	size := h.uint(f.l)
	h.skip(f.l)
	names, err := f.block(h.uint(f.o), size)
	if err != nil {
		return err
	}
	return f.tree(tree, 0, f.l, func(_ []byte, child uint64) error {
		head, err := f.signed(child, 8, "SNOD")
		if err != nil {
			return err
		}
		head.skip(2)
		n := uint64(head.u16())
		entry := uint64(2*f.o + 24)
		b, err := f.block(child+8, n*entry)
		if err != nil {
			return err
		}
		for c := (&cursor{b: b}); len(c.b) > 0; {
			at, addr, kind := c.uint(f.o), c.uint(f.o), c.u32()
			c.skip(20)
			if at >= uint64(len(names)) {
				return fmt.Errorf("%w: a name at %d of a heap of %d bytes", ErrCorrupt, at, len(names))
			}
			if kind == 2 { // a soft link
				continue
			}
			text := &cursor{b: names[at:]}
			name := text.text()
			if text.bad {
				return fmt.Errorf("%w: a name without an end", ErrCorrupt)
			}
			if err := g.add(name, addr); err != nil {
				return err
			}
		}
		return nil
	})
}

// tree walks a B-tree of version 1 and calls leaf with each key and child of
// level 0 in order (III.A.1).
func (f *File) tree(addr uint64, kind uint8, key int, leaf func(key []byte, child uint64) error) error {
	seen := 0
	var walk func(addr uint64, depth int) error
	walk = func(addr uint64, depth int) error {
		if seen++; seen > maxLinks || depth > maxDepth {
			return fmt.Errorf("%w: a B-tree of more than %d nodes or %d levels", ErrCorrupt, maxLinks, maxDepth)
		}
		head, err := f.signed(addr, uint64(8+2*f.o), "TREE")
		if err != nil {
			return err
		}
		got, level, n := head.u8(), head.u8(), int(head.u16())
		if got != kind {
			return fmt.Errorf("%w: a B-tree of type %d, want %d", ErrCorrupt, got, kind)
		}
		b, err := f.block(addr+uint64(8+2*f.o), uint64(n*(key+f.o)))
		if err != nil {
			return err
		}
		for c := (&cursor{b: b}); len(c.b) > 0; {
			k, child := c.bytes(key), c.uint(f.o)
			if level == 0 {
				if seen++; seen > maxLinks {
					return fmt.Errorf("%w: more than %d entries", ErrCorrupt, maxLinks)
				}
				err = leaf(k, child)
			} else {
				err = walk(child, depth+1)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return walk(addr, 0)
}

// link reads a link message (IV.A.2.g).
func (g *Group) link(b []byte) error {
	c := &cursor{b: b}
	v, flags := c.u8(), c.u8()
	if v != 1 {
		return fmt.Errorf("%w: a link of version %d", ErrUnsupported, v)
	}
	kind := uint8(0)
	if flags&0x08 != 0 {
		kind = c.u8()
	}
	if flags&0x04 != 0 {
		c.skip(8)
	}
	if flags&0x10 != 0 {
		c.skip(1)
	}
	n := c.uint(1 << (flags & 3))
	if n > uint64(len(c.b)) {
		return fmt.Errorf("%w: a link's name of %d bytes", ErrCorrupt, n)
	}
	name := string(c.bytes(int(n)))
	if kind != 0 {
		return nil
	}
	addr := c.uint(g.o.f.o)
	if c.bad {
		return fmt.Errorf("%w: a link that ends early", ErrCorrupt)
	}
	return g.add(name, addr)
}

// dense reads links that lie in a fractal heap (IV.A.2.c).
func (g *Group) dense(b []byte) error {
	f := g.o.f
	c := &cursor{b: b}
	c.skip(1)
	if c.u8()&1 != 0 {
		c.skip(8)
	}
	heap, index := c.uint(f.o), c.uint(f.o)
	if c.bad {
		return fmt.Errorf("%w: link information of %d bytes", ErrCorrupt, len(b))
	}
	if f.undefined(heap) {
		return nil
	}
	// A record of type 5 is a hash of the name and an id in the heap (III.A.2).
	return f.heaped(heap, index, 5, func(r *cursor) []byte { r.skip(4); return r.bytes(7) }, g.link)
}

// natural orders names with the numbers in them by value.
func natural(a, b string) int {
	for x, y := a, b; x != "" && y != ""; {
		i, j := digits(x), digits(y)
		if i > 0 && j > 0 {
			p, q := strings.TrimLeft(x[:i], "0"), strings.TrimLeft(y[:j], "0")
			if c := cmp.Or(cmp.Compare(len(p), len(q)), cmp.Compare(p, q)); c != 0 {
				return c
			}
			x, y = x[i:], y[j:]
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

func digits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}
