package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxFile bounds a file in bytes: protocol buffers end at 2 GiB, and a network
// of a quarter of that in float32 is none that a processor trains.
const MaxFile = 1 << 29

// ErrExternal says that weights lie in another file.
var ErrExternal = errors.New("the weights are in another file (external data); save the model as one file, in Python: onnx.save(onnx.load(path), path, save_as_external_data=False)")

// Read reads an ONNX file.
func Read(r io.Reader) (*Model, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("onnx: read: %w", err)
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("onnx: read: larger than %d bytes", MaxFile)
	}
	return Decode(data)
}

// Decode reads the bytes of an ONNX file.
func Decode(data []byte) (*Model, error) {
	m := &Model{}
	graph := false
	err := fields(data, func(f field) error {
		switch f.num {
		case 1:
			return f.int(&m.IR)
		case 2:
			return f.text(&m.Producer)
		case 3:
			return f.text(&m.Version)
		case 6:
			return f.text(&m.Doc)
		case 7:
			graph = true
			return f.message(m.Graph.field)
		case 8:
			var domain string
			var version int64
			err := f.message(func(f field) error {
				switch f.num {
				case 1:
					return f.text(&domain)
				case 2:
					return f.int(&version)
				}
				return nil
			})
			if domain == "" || domain == "ai.onnx" {
				m.Opset = version
			}
			return err
		case 14:
			var e Entry
			err := f.message(func(f field) error {
				switch f.num {
				case 1:
					return f.text(&e.Key)
				case 2:
					return f.text(&e.Value)
				}
				return nil
			})
			m.Meta = append(m.Meta, e)
			return err
		case 25:
			return errors.New("the model defines functions of its own; export it with plain operations")
		}
		return nil
	})
	if err == nil && !graph {
		err = errors.New("no graph inside: not an ONNX model, or cut short")
	}
	if err != nil {
		return nil, fmt.Errorf("onnx: read: %w", err)
	}
	return m, nil
}

// field is one field of a message.
type field struct {
	num  protowire.Number
	typ  protowire.Type
	n    uint64 // of a number
	data []byte // of a string or message
}

var errField = errors.New("a field has another type than ONNX gives it: not an ONNX model")

// fields calls f for each field of a message.
func fields(b []byte, f func(field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("not protocol buffers: %w", protowire.ParseError(n))
		}
		b = b[n:]
		v := field{num: num, typ: typ}
		switch typ {
		case protowire.VarintType:
			v.n, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var w uint32
			w, n = protowire.ConsumeFixed32(b)
			v.n = uint64(w)
		case protowire.Fixed64Type:
			v.n, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			v.data, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return fmt.Errorf("cut short or not protocol buffers: field %d: %w", num, protowire.ParseError(n))
		}
		b = b[n:]
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

func (f field) int(dst *int64) error {
	if f.typ != protowire.VarintType {
		return errField
	}
	*dst = int64(f.n)
	return nil
}

func (f field) text(dst *string) error {
	if f.typ != protowire.BytesType {
		return errField
	}
	*dst = string(f.data)
	return nil
}

func (f field) message(each func(field) error) error {
	if f.typ != protowire.BytesType {
		return errField
	}
	return fields(f.data, each)
}

// ints appends one number or a packed run of them.
func (f field) ints(dst *[]int64) error {
	switch f.typ {
	case protowire.VarintType:
		*dst = append(*dst, int64(f.n))
		return nil
	case protowire.BytesType:
		for b := f.data; len(b) > 0; {
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return fmt.Errorf("field %d: %w", f.num, protowire.ParseError(n))
			}
			*dst = append(*dst, int64(v))
			b = b[n:]
		}
		return nil
	}
	return errField
}

func (f field) floats(dst *[]float32) error {
	switch {
	case f.typ == protowire.Fixed32Type:
		*dst = append(*dst, math.Float32frombits(uint32(f.n)))
		return nil
	case f.typ == protowire.BytesType && len(f.data)%4 == 0:
		for b := f.data; len(b) > 0; b = b[4:] {
			*dst = append(*dst, math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
		return nil
	}
	return errField
}

func (g *Graph) field(f field) error {
	switch f.num {
	case 1:
		var n Node
		if err := f.message(n.field); err != nil {
			return fmt.Errorf("%s: %w", n.where(len(g.Nodes)), err)
		}
		g.Nodes = append(g.Nodes, n)
	case 2:
		return f.text(&g.Name)
	case 5:
		t, err := readTensor(f)
		if err != nil {
			return fmt.Errorf("weight %q: %w", t.Name, err)
		}
		g.Init = append(g.Init, t)
	case 11, 12:
		var p Port
		if err := f.message(p.field); err != nil {
			return fmt.Errorf("value %q: %w", p.Name, err)
		}
		if f.num == 11 {
			g.Inputs = append(g.Inputs, p)
		} else {
			g.Outputs = append(g.Outputs, p)
		}
	case 15:
		return errors.New("the model has sparse weights; export it with dense ones")
	}
	return nil
}

// where names a node for people.
func (n *Node) where(i int) string {
	name := n.Name
	if name == "" {
		name = fmt.Sprintf("#%d", i)
	}
	op := n.Op
	if n.Domain != "" && n.Domain != "ai.onnx" {
		op = n.Domain + "." + op
	}
	return fmt.Sprintf("node %q (%s)", name, op)
}

func (n *Node) field(f field) error {
	add := func(dst *[]string) error {
		var s string
		err := f.text(&s)
		*dst = append(*dst, s)
		return err
	}
	switch f.num {
	case 1:
		return add(&n.Inputs)
	case 2:
		return add(&n.Outputs)
	case 3:
		return f.text(&n.Name)
	case 4:
		return f.text(&n.Op)
	case 5:
		var a Attr
		if err := f.message(a.field); err != nil {
			return fmt.Errorf("attribute %q: %w", a.Name, err)
		}
		switch a.Kind {
		case Float, Int, String, Floats, Ints:
		case OfArray:
			if a.T == nil {
				return fmt.Errorf("attribute %q: the array is missing", a.Name)
			}
		case 5, 10:
			return fmt.Errorf("attribute %q holds a graph: control flow is not read; export with constant shapes and without scripting", a.Name)
		default:
			return fmt.Errorf("attribute %q is of type %d, which is not read", a.Name, a.Kind)
		}
		n.Attrs = append(n.Attrs, a)
	case 7:
		return f.text(&n.Domain)
	}
	return nil
}

func (a *Attr) field(f field) error {
	switch f.num {
	case 1:
		return f.text(&a.Name)
	case 2:
		if f.typ != protowire.Fixed32Type {
			return errField
		}
		a.F = math.Float32frombits(uint32(f.n))
	case 3:
		return f.int(&a.I)
	case 4:
		return f.text(&a.S)
	case 5:
		t, err := readTensor(f)
		a.T = &t
		return err
	case 7:
		return f.floats(&a.Floats)
	case 8:
		return f.ints(&a.Ints)
	case 20:
		if f.typ != protowire.VarintType || f.n > 255 {
			return errField
		}
		a.Kind = Kind(f.n)
	}
	return nil
}

func (p *Port) field(f field) error {
	switch f.num {
	case 1:
		return f.text(&p.Name)
	case 3:
		return f.text(&p.Doc)
	case 2:
		return f.message(func(f field) error {
			if f.num != 1 {
				return nil
			}
			return f.message(p.array)
		})
	}
	return nil
}

// array reads TypeProto.Tensor.
func (p *Port) array(f field) error {
	switch f.num {
	case 1:
		var kind int64
		if err := f.int(&kind); err != nil {
			return err
		}
		p.Whole = kind != typeFloat && kind != typeFloat16 && kind != typeDouble
	case 2:
		return f.message(func(f field) error {
			if f.num != 1 {
				return nil
			}
			length, name := int64(-1), ""
			err := f.message(func(f field) error {
				switch f.num {
				case 1:
					return f.int(&length)
				case 2:
					return f.text(&name)
				}
				return nil
			})
			if err == nil && (length < -1 || length > MaxFile) {
				err = fmt.Errorf("axis of length %d", length)
			}
			if length >= 0 {
				name = ""
			}
			p.Shape, p.Free = append(p.Shape, int(length)), append(p.Free, name)
			return err
		})
	}
	return nil
}
