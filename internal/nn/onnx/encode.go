package onnx

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of TensorProto.DataType.
const (
	typeFloat   = 1
	typeUint8   = 2
	typeInt8    = 3
	typeInt32   = 6
	typeInt64   = 7
	typeBool    = 9
	typeFloat16 = 10
	typeDouble  = 11
)

// message appends fields in the encoding of protocol buffers. Field numbers are
// those of onnx.proto3.
type message []byte

func (m *message) uint(field protowire.Number, v uint64) {
	*m = protowire.AppendTag(*m, field, protowire.VarintType)
	*m = protowire.AppendVarint(*m, v)
}

func (m *message) bytes(field protowire.Number, v []byte) {
	*m = protowire.AppendTag(*m, field, protowire.BytesType)
	*m = protowire.AppendBytes(*m, v)
}

// text leaves out what is empty.
func (m *message) text(field protowire.Number, s string) {
	if s != "" {
		m.bytes(field, []byte(s))
	}
}

// Encode returns the bytes of an ONNX file.
func (m *Model) Encode() []byte {
	var out message
	out.uint(1, uint64(m.IR))
	out.text(2, m.Producer)
	out.text(3, m.Version)
	out.text(6, m.Doc)
	out.bytes(7, m.Graph.encode())
	var set message // of the default domain
	set.uint(2, uint64(m.Opset))
	out.bytes(8, set)
	for _, e := range m.Meta {
		var p message
		p.text(1, e.Key)
		p.text(2, e.Value)
		out.bytes(14, p)
	}
	return out
}

// Write writes an ONNX file.
func (m *Model) Write(w io.Writer) error {
	if _, err := w.Write(m.Encode()); err != nil {
		return fmt.Errorf("onnx: write: %w", err)
	}
	return nil
}

func (g *Graph) encode() message {
	var out message
	for i := range g.Nodes {
		out.bytes(1, g.Nodes[i].encode())
	}
	out.text(2, g.Name)
	for i := range g.Init {
		out.bytes(5, g.Init[i].encode())
	}
	for i := range g.Inputs {
		out.bytes(11, g.Inputs[i].encode())
	}
	for i := range g.Outputs {
		out.bytes(12, g.Outputs[i].encode())
	}
	return out
}

func (n *Node) encode() message {
	var out message
	for _, s := range n.Inputs {
		out.bytes(1, []byte(s)) // an empty one keeps its place
	}
	for _, s := range n.Outputs {
		out.bytes(2, []byte(s))
	}
	out.text(3, n.Name)
	out.text(4, n.Op)
	for i := range n.Attrs {
		out.bytes(5, n.Attrs[i].encode())
	}
	out.text(7, n.Domain)
	return out
}

func (a *Attr) encode() message {
	var out message
	out.text(1, a.Name)
	switch a.Kind {
	case Float:
		out = protowire.AppendTag(out, 2, protowire.Fixed32Type)
		out = protowire.AppendFixed32(out, math.Float32bits(a.F))
	case Int:
		out.uint(3, uint64(a.I))
	case String:
		out.bytes(4, []byte(a.S))
	case OfArray:
		out.bytes(5, a.T.encode())
	case Floats:
		out.bytes(7, floatBytes(a.Floats))
	case Ints:
		var p []byte
		for _, v := range a.Ints {
			p = protowire.AppendVarint(p, uint64(v))
		}
		out.bytes(8, p)
	}
	out.uint(20, uint64(a.Kind))
	return out
}

func (t *Tensor) encode() message {
	var out message
	if len(t.Shape) > 0 {
		var dims []byte
		for _, d := range t.Shape {
			dims = protowire.AppendVarint(dims, uint64(d))
		}
		out.bytes(1, dims)
	}
	data := floatBytes(t.Floats)
	kind := uint64(typeFloat)
	if t.Whole {
		kind, data = typeInt64, make([]byte, 0, 8*len(t.Ints))
		for _, v := range t.Ints {
			data = binary.LittleEndian.AppendUint64(data, uint64(v))
		}
	}
	out.uint(2, kind)
	out.text(8, t.Name)
	out.bytes(9, data)
	return out
}

func (p *Port) encode() message {
	var shape message
	for i, d := range p.Shape {
		var dim message
		if d >= 0 {
			dim.uint(1, uint64(d))
		} else {
			dim.text(2, p.Free[i])
		}
		shape.bytes(1, dim)
	}
	kind := uint64(typeFloat)
	if p.Whole {
		kind = typeInt64
	}
	var array, typ, out message
	array.uint(1, kind)
	array.bytes(2, shape)
	typ.bytes(1, array)
	out.text(1, p.Name)
	out.bytes(2, typ)
	out.text(3, p.Doc)
	return out
}

func floatBytes(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}
