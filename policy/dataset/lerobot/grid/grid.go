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

// Column is a named column of T rows. Values is a slice of int64, float32, float64,
// bool or string, or of lists of these but bool.
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
	// each calls put with the values of row i.
	each func(i int, put func(parquet.Value))
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
	o.each = func(i int, put func(parquet.Value)) { put(value(v[i])) }
}

func lists[T any](o *column, v [][]T, t parquet.Type, value func(T) parquet.Value) {
	o.rows, o.node, o.list = len(v), parquet.List(leaf(t)), true
	o.each = func(i int, put func(parquet.Value)) {
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
	for _, path := range schema.Columns() { // in the file's order
		cols = append(cols, byName[path[0]])
	}
	var row parquet.Row
	for i := range rows {
		row = row[:0]
		for at, c := range cols {
			n := 0
			c.each(i, func(v parquet.Value) {
				switch {
				case !c.list:
					v = v.Level(0, 0, at)
				case n == 0:
					v = v.Level(0, 1, at)
				default:
					v = v.Level(1, 1, at)
				}
				row = append(row, v)
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
