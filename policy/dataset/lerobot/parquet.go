package lerobot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// sheet is an open parquet file. Its methods turn the panics of the library, which
// damaged files cause, into errors.
type sheet struct {
	name string
	f    *os.File // nil in tests that read from memory
	r    io.ReaderAt
	size int64
	p    *parquet.File
	rows int

	checked map[[2]int]bool // row groups and columns whose pages are sound
}

func openSheet(path string) (*sheet, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s is missing: %w; copy the dataset anew", path, os.ErrNotExist)
		}
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s, err := newSheet(path, f, st.Size())
	if err != nil {
		err = pointed(path, err)
		return nil, errors.Join(err, f.Close())
	}
	s.f = f
	return s, nil
}

// pointed is err, or what is wrong with a file that Git LFS has not fetched.
func pointed(path string, err error) error {
	f, e := os.Open(path)
	if e != nil {
		return err
	}
	defer f.Close()
	const lfs = "version https://git-lfs"
	head := make([]byte, len(lfs))
	if n, _ := io.ReadFull(f, head); string(head[:n]) != lfs {
		return err
	}
	return fmt.Errorf("%s is a pointer of Git LFS to the data, not the data; fetch them with: git lfs pull", path)
}

func newSheet(name string, r io.ReaderAt, size int64) (s *sheet, err error) {
	defer caught(name, &err)
	tail := make([]byte, 8)
	if size >= 12 {
		if _, err := r.ReadAt(tail, size-8); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if string(tail[4:]) != "PAR1" || int64(binary.LittleEndian.Uint32(tail)) > size-12 {
		return nil, fmt.Errorf("%s has no parquet footer: its writer died, or it was copied in part; copy it anew, or leave its episodes out", name)
	}
	p, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", name, err)
	}
	if n := p.NumRows(); n < 0 || n > math.MaxInt32 {
		return nil, fmt.Errorf("%s is damaged: %d rows", name, n)
	}
	return &sheet{name: name, r: r, size: size, p: p, rows: int(p.NumRows()), checked: map[[2]int]bool{}}, nil
}

func (s *sheet) close() {
	if s != nil && s.f != nil {
		s.f.Close()
	}
}

// caught turns a panic into an error.
func caught(name string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s is damaged: %v", name, r)
	}
}

// leaf finds the one column of values below a name: the name itself, or the
// elements of its lists, or a field of its structure. Names may hold dots and
// slashes.
func (s *sheet) leaf(name, field string) (parquet.LeafColumn, error) {
	var found []parquet.LeafColumn
	for _, path := range s.p.Schema().Columns() {
		if path[0] != name || field != "" && path[len(path)-1] != field {
			continue
		}
		if c, ok := s.p.Schema().Lookup(path...); ok {
			c.Path = path // of which Lookup gives the end alone
			found = append(found, c)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return parquet.LeafColumn{}, fmt.Errorf("%s has no column %q; it has %s", s.name, strings.Join(slices.DeleteFunc([]string{name, field}, func(p string) bool { return p == "" }), "."), s.listing())
	}
	return parquet.LeafColumn{}, fmt.Errorf("%s: column %q is a structure of %d columns, want numbers", s.name, name, len(found))
}

// has reports whether there is a column of a name.
func (s *sheet) has(name string) bool {
	return slices.Contains(s.columns(), name)
}

// columns lists the names at the top.
func (s *sheet) columns() []string {
	var names []string
	for _, path := range s.p.Schema().Columns() {
		names = append(names, path[0])
	}
	return slices.Compact(names)
}

// listing names the columns for people, without the statistics of each.
func (s *sheet) listing() string {
	names := slices.DeleteFunc(s.columns(), func(n string) bool { return strings.HasPrefix(n, "stats/") })
	if len(names) > 40 {
		names = append(names[:40], "...")
	}
	return strings.Join(names, ", ")
}

// each calls f with every value of a leaf in the rows from up to to. It is an
// error if there are fewer rows.
func (s *sheet) each(c parquet.LeafColumn, from, to int, f func(row int, v parquet.Value) error) (err error) {
	defer caught(s.name, &err)
	at := 0 // first row of the group
	for i, g := range s.p.RowGroups() {
		n := int(g.NumRows())
		if n < 0 || n > s.rows {
			return fmt.Errorf("%s is damaged: a row group of %d rows", s.name, n)
		}
		if at+n > from && at < to {
			l := levels{repetition: c.MaxRepetitionLevel, definition: c.MaxDefinitionLevel}
			switch c.Node.Type().Kind() {
			case parquet.Int32:
				l.bits = 32
			case parquet.Int64:
				l.bits = 64
			}
			if err := s.sound(i, c.ColumnIndex, l); err != nil {
				return fmt.Errorf("%s: column %q %w", s.name, c.Path[0], err)
			}
			if err := s.group(g.ColumnChunks()[c.ColumnIndex], at, max(from, at), min(to, at+n), f); err != nil {
				return fmt.Errorf("%s: column %q: %w", s.name, c.Path[0], err)
			}
		}
		at += n
	}
	if at < to {
		return fmt.Errorf("%s has %d rows, rows up to %d are wanted: it was not finished, or meta/ is of another version; copy it anew", s.name, at, to)
	}
	return nil
}

// group is each within the row group that begins with row at.
func (s *sheet) group(c parquet.ColumnChunk, at, from, to int, f func(int, parquet.Value) error) error {
	pages := c.Pages()
	defer pages.Close()
	if err := pages.SeekToRow(int64(from - at)); err != nil {
		return err
	}
	row := from - 1
	buf := make([]parquet.Value, 256)
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		done, err := drain(page, buf, &row, to, f)
		parquet.Release(page)
		if err != nil {
			return err
		}
		if done {
			return nil
		}
	}
	if row < to-1 {
		return fmt.Errorf("ends with row %d, want %d", row, to-1)
	}
	return nil
}

// drain hands the values of a page on, and reports whether row to was reached.
func drain(page parquet.Page, buf []parquet.Value, row *int, to int, f func(int, parquet.Value) error) (bool, error) {
	values := page.Values()
	for {
		n, err := values.ReadValues(buf)
		for _, v := range buf[:n] {
			if v.RepetitionLevel() == 0 {
				*row++
			}
			if *row >= to {
				return true, nil
			}
			if err := f(*row, v); err != nil {
				return false, err
			}
		}
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// number reads a value as a number.
func number(v parquet.Value) (float64, error) {
	switch {
	case v.IsNull():
		return 0, errors.New("is empty")
	case v.Kind() == parquet.Boolean:
		if v.Boolean() {
			return 1, nil
		}
		return 0, nil
	case v.Kind() == parquet.Int32:
		return float64(v.Int32()), nil
	case v.Kind() == parquet.Int64:
		return float64(v.Int64()), nil
	case v.Kind() == parquet.Float:
		return float64(v.Float()), nil
	case v.Kind() == parquet.Double:
		return v.Double(), nil
	}
	return 0, fmt.Errorf("is of the kind %v, want numbers", v.Kind())
}

// floats reads the rows from up to to of a column of width numbers a row; width
// 0 takes what there is.
func (s *sheet) floats(name string, from, to, width int) ([]float64, error) {
	c, err := s.leaf(name, "")
	if err != nil {
		return nil, err
	}
	if to > s.rows {
		return nil, fmt.Errorf("%s has %d rows, rows up to %d are wanted: it was not finished, or meta/ is of another version; copy it anew", s.name, s.rows, to)
	}
	var xs []float64
	last, count := from-1, 0
	full := func(row int) error {
		if width > 0 && last >= from && count != width {
			return fmt.Errorf("row %d has %d numbers, want %d as meta/info.json says", last, count, width)
		}
		last, count = row, 0
		return nil
	}
	err = s.each(c, from, to, func(row int, v parquet.Value) error {
		if row != last {
			if err := full(row); err != nil {
				return err
			}
		}
		x, err := number(v)
		if err != nil {
			return fmt.Errorf("row %d %w", row, err)
		}
		xs = append(xs, x)
		count++
		return nil
	})
	if err == nil {
		err = full(to)
	}
	if err != nil {
		return nil, err
	}
	return xs, nil
}

// texts reads all strings of a column, the first of each row.
func (s *sheet) texts(name string) ([]string, error) {
	c, err := s.leaf(name, "")
	if err != nil {
		return nil, err
	}
	out := make([]string, s.rows)
	last := -1
	err = s.each(c, 0, s.rows, func(row int, v parquet.Value) error {
		if row != last && v.Kind() == parquet.ByteArray {
			out[row] = string(v.ByteArray())
		}
		last = row
		return nil
	})
	return out, err
}

// sheets lists the parquet files below a folder in order.
func sheets(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(escape(dir), "chunk-*", "file-*.parquet"))
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	return paths, nil
}

// escape makes a path a pattern of itself.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
