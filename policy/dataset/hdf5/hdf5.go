// Package hdf5 reads HDF5 files as h5py writes them: groups, attributes, and
// datasets of numbers and strings, contiguous or in chunks, compressed with gzip
// or lzf, shuffled, with checksums.
//
// It is written in Go rather than bound to the C library because demonstrations
// come from strangers: a damaged file must be an error here, and the library ends
// the process on some. It follows the "HDF5 File Format Specification", version
// 3.0 (The HDF Group); section numbers in comments are of that document. Both ways
// of storing groups are read (symbol tables, and links with fractal heaps, as
// HDF5 2.0 writes them by default), and of the chunk indexes the B-tree of version
// 1, the single chunk, the implicit one and the fixed array. What else there is,
// as virtual datasets, szip, or chunks of growing datasets written with
// libver="latest", is an error which says how to rewrite the file.
//
//	f, err := hdf5.Open("demo.hdf5")
//	defer f.Close()
//	d, err := f.Dataset("data/demo_0/actions")
//	xs, err := d.Floats(0, d.Len()) // (T*7,)
package hdf5

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Bounds of what is believed, so that a damaged length does not take the
// machine's memory or time.
const (
	maxBlock = 64 << 20  // bytes of a piece of metadata
	maxChunk = 512 << 20 // bytes of a chunk, and of the rows that one call returns
	maxLinks = 1 << 20   // of a group, and chunks of a dataset
	maxDepth = 32        // of a tree
	maxRank  = 32        // H5S_MAX_RANK
)

var (
	// ErrCorrupt says that a file is damaged, or was never finished.
	ErrCorrupt = errors.New("hdf5: damaged file")
	// ErrUnsupported says that a file uses something that this package does not read.
	ErrUnsupported = errors.New("hdf5: not supported")
	// ErrNone says that there is nothing of a name.
	ErrNone = errors.New("hdf5: no such object")
)

// Signature is what an HDF5 file begins with.
var signature = []byte("\x89HDF\r\n\x1a\n")

// Is reports whether the beginning of a file is that of HDF5.
func Is(head []byte) bool { return bytes.HasPrefix(head, signature) }

// File is an open file. It is used by one goroutine.
type File struct {
	r    io.ReaderAt
	size uint64
	base uint64 // of all addresses
	o, l int    // bytes of an address and of a length
	root uint64
	file *os.File
}

// Open opens a file.
func Open(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("hdf5: %w", err)
	}
	st, err := file.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hdf5: %w", err), file.Close())
	}
	f, err := New(file, st.Size())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	f.file = file
	return f, nil
}

// New reads a file of size bytes from r.
func New(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: uint64(max(0, size))}
	// Section II.A: the superblock is at 0, 512, 1024, 2048, ...
	for at := uint64(0); at < f.size; at = max(512, 2*at) {
		head := make([]byte, len(signature))
		if _, err := r.ReadAt(head, int64(at)); err != nil {
			break
		}
		if Is(head) {
			return f, f.superblock(at)
		}
	}
	return nil, fmt.Errorf("%w: no HDF5 signature", ErrCorrupt)
}

// Close closes a file that Open opened.
func (f *File) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

func (f *File) superblock(at uint64) error {
	b, err := f.raw(at, min(112, f.size-at))
	if err != nil {
		return err
	}
	c := &cursor{b: b[8:]}
	var end uint64
	switch v := c.u8(); v {
	case 0, 1:
		c.skip(4)
		f.o, f.l = int(c.u8()), int(c.u8())
		c.skip(1 + 2 + 2 + 4)
		if v == 1 {
			c.skip(4)
		}
		if err := f.widths(); err != nil {
			return err
		}
		f.base = c.uint(f.o)
		c.skip(f.o)
		end = c.uint(f.o)
		c.skip(f.o + f.o) // driver information; name of the root group
		f.root = c.uint(f.o)
	case 2, 3:
		f.o, f.l = int(c.u8()), int(c.u8())
		c.skip(1)
		if err := f.widths(); err != nil {
			return err
		}
		f.base = c.uint(f.o)
		c.skip(f.o)
		end = c.uint(f.o)
		f.root = c.uint(f.o)
	default:
		return fmt.Errorf("%w: superblock of version %d", ErrUnsupported, v)
	}
	if c.bad {
		return fmt.Errorf("%w: the superblock ends early", ErrCorrupt)
	}
	if end > f.size { // the end of file that the writer had in mind
		return fmt.Errorf("%w: cut off: %d bytes of %d; copy it anew, or write it anew", ErrCorrupt, f.size, end)
	}
	return nil
}

func (f *File) widths() error {
	for _, w := range []int{f.o, f.l} {
		if w != 2 && w != 4 && w != 8 {
			return fmt.Errorf("%w: addresses of %d and lengths of %d bytes", ErrCorrupt, f.o, f.l)
		}
	}
	return nil
}

// raw reads n bytes at an absolute offset.
func (f *File) raw(at, n uint64) ([]byte, error) {
	if n > maxChunk || at > f.size || n > f.size-at {
		return nil, fmt.Errorf("%w: %d bytes wanted at %d of %d", ErrCorrupt, n, at, f.size)
	}
	b := make([]byte, n)
	if _, err := f.r.ReadAt(b, int64(at)); err != nil && !(errors.Is(err, io.EOF) && n == 0) {
		return nil, fmt.Errorf("hdf5: %w", err)
	}
	return b, nil
}

// block reads n bytes of metadata at an address.
func (f *File) block(addr, n uint64) ([]byte, error) {
	if n > maxBlock {
		return nil, fmt.Errorf("%w: metadata of %d bytes", ErrCorrupt, n)
	}
	if f.undefined(addr) {
		return nil, fmt.Errorf("%w: an undefined address", ErrCorrupt)
	}
	if addr+f.base < addr {
		return nil, fmt.Errorf("%w: address %d", ErrCorrupt, addr)
	}
	return f.raw(addr+f.base, n)
}

// signed reads a block that begins with a signature of four letters.
func (f *File) signed(addr, n uint64, sign string) (*cursor, error) {
	b, err := f.block(addr, n)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(string(b), sign) {
		return nil, fmt.Errorf("%w: no %s at %d", ErrCorrupt, sign, addr)
	}
	return &cursor{b: b[4:]}, nil
}

// rest is how much of a file there is from an address on.
func (f *File) rest(addr uint64) uint64 {
	if addr > f.size || addr+f.base > f.size {
		return 0
	}
	return f.size - addr - f.base
}

// undefined addresses have all bits set.
func (f *File) undefined(addr uint64) bool { return addr == ^uint64(0)>>(64-8*f.o) }

// cursor reads little-endian numbers; past the end it gives zeros and is bad.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) bytes(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) skip(n int) { c.bytes(n) }

// uint reads a number of n <= 8 bytes.
func (c *cursor) uint(n int) uint64 {
	var b [8]byte
	copy(b[:], c.bytes(n))
	return binary.LittleEndian.Uint64(b[:])
}

func (c *cursor) u8() uint8   { return uint8(c.uint(1)) }
func (c *cursor) u16() uint16 { return uint16(c.uint(2)) }
func (c *cursor) u32() uint32 { return uint32(c.uint(4)) }

// text reads a string that ends with a zero byte.
func (c *cursor) text() string {
	s, _, found := bytes.Cut(c.b, []byte{0})
	if !found {
		c.bad, c.b = true, nil
		return ""
	}
	c.b = c.b[len(s)+1:]
	return string(s)
}
