// Package grid writes columns as a Parquet file, as pandas, DuckDB and LeRobot
// read them.
//
//	err := grid.Write(f, nil,
//		grid.Column{"step", []int64{0, 1}},
//		grid.Column{"action", [][]float32{{0, 1}, {2, 3}}})
package grid

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/parquet-go/parquet-go"
)

// Image is an encoded image, as Hugging Face's datasets keep it.
type Image struct {
	Bytes []byte
	Path  string // a name for it
}

// Column is a named column of T rows. Values is a slice of int64, float32, float64,
// bool, string or Image, or of lists of the first ones but bool.
type Column struct {
	Name   string
	Values any
}

// column is a Column as it is written.
type column struct {
	name string
	rows int
	node parquet.Node
	list bool
	deep int // definition level of a value
	// each calls put with the values of row i, of a field if it is a structure.
	each func(i int, field string, put func(parquet.Value))
}

func open(c Column) (column, error) {
	o := column{name: c.Name}
	switch v := c.Values.(type) {
	case []int64:
		flat(&o, v, parquet.Int64Type, parquet.Int64Value)
	case []float32:
		flat(&o, v, parquet.FloatType, parquet.FloatValue)
	case []float64:
		flat(&o, v, parquet.DoubleType, parquet.DoubleValue)
	case []bool:
		flat(&o, v, parquet.BooleanType, parquet.BooleanValue)
	case []string:
		flat(&o, v, nil, text)
	case [][]int64:
		lists(&o, v, parquet.Int64Type, parquet.Int64Value)
	case [][]float32:
		lists(&o, v, parquet.FloatType, parquet.FloatValue)
	case [][]float64:
		lists(&o, v, parquet.DoubleType, parquet.DoubleValue)
	case [][]string:
		lists(&o, v, nil, text)
	case []Image:
		o.rows, o.deep = len(v), 1
		o.node = parquet.Group{"bytes": parquet.Optional(parquet.Leaf(parquet.ByteArrayType)), "path": parquet.Optional(parquet.String())}
		o.each = func(i int, field string, put func(parquet.Value)) {
			if field == "bytes" {
				put(parquet.ByteArrayValue(v[i].Bytes))
			} else {
				put(text(v[i].Path))
			}
		}
	default:
		return o, fmt.Errorf("grid: column %q holds %T", c.Name, c.Values)
	}
	if c.Name == "" {
		return o, errors.New("grid: a column without a name")
	}
	return o, nil
}

func text(s string) parquet.Value { return parquet.ByteArrayValue([]byte(s)) }

// leaf is a column of values of a type; nil for text.
func leaf(t parquet.Type) parquet.Node {
	if t == nil {
		return parquet.String()
	}
	return parquet.Leaf(t)
}

func flat[T any](o *column, v []T, t parquet.Type, value func(T) parquet.Value) {
	o.rows, o.node = len(v), leaf(t)
	o.each = func(i int, _ string, put func(parquet.Value)) { put(value(v[i])) }
}

func lists[T any](o *column, v [][]T, t parquet.Type, value func(T) parquet.Value) {
	o.rows, o.node, o.list, o.deep = len(v), parquet.List(leaf(t)), true, 1
	o.each = func(i int, _ string, put func(parquet.Value)) {
		for _, x := range v[i] {
			put(value(x))
		}
	}
}

// Write writes a file of columns of one length, with notes as its key-value
// metadata.
func Write(w io.Writer, notes map[string]string, columns ...Column) error {
	group, byName, rows := parquet.Group{}, map[string]column{}, 0
	for i, c := range columns {
		o, err := open(c)
		if err != nil {
			return err
		}
		if _, ok := group[o.name]; ok {
			return fmt.Errorf("grid: two columns %q", o.name)
		}
		if i > 0 && o.rows != rows {
			return fmt.Errorf("grid: column %q has %d rows, %q has %d", o.name, o.rows, columns[0].Name, rows)
		}
		group[o.name], byName[o.name], rows = o.node, o, o.rows
	}
	schema := parquet.NewSchema("schema", group)
	options := []parquet.WriterOption{schema, parquet.Compression(&parquet.Zstd), parquet.CreatedBy("rapport", "", "")}
	for k, v := range notes {
		options = append(options, parquet.KeyValueMetadata(k, v))
	}
	out := parquet.NewGenericWriter[any](w, options...)
	var cols []column
	var fields []string
	for _, path := range schema.Columns() { // in the file's order
		cols, fields = append(cols, byName[path[0]]), append(fields, path[len(path)-1])
	}
	var row parquet.Row
	for i := range rows {
		row = row[:0]
		for at, c := range cols {
			n := 0
			c.each(i, fields[at], func(v parquet.Value) {
				row = append(row, v.Level(min(n, 1), c.deep, at))
				n++
			})
			if n == 0 {
				row = append(row, parquet.NullValue().Level(0, 0, at))
			}
		}
		if _, err := out.WriteRows([]parquet.Row{row}); err != nil {
			return fmt.Errorf("grid: row %d: %w", i, err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("grid: %w", err)
	}
	return nil
}

// WriteFile writes a file that is either whole and durable or not there.
func WriteFile(path string, notes map[string]string, columns ...Column) error {
	return Put(path, func(w io.Writer) error { return Write(w, notes, columns...) })
}

// Put makes the file at path of what write writes: whole and durable, or not at
// all. It makes the folders above.
func Put(path string, write func(io.Writer) error) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("grid: %w", err)
	}
	f, err := os.CreateTemp(dir, ".part-*")
	if err != nil {
		return fmt.Errorf("grid: %w", err)
	}
	if err = write(f); err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("grid: %s: %w; free space or choose another folder", path, errors.Join(err, os.Remove(f.Name())))
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("grid: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
