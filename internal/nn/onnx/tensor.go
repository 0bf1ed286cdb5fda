package onnx

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// readTensor reads a TensorProto, whose numbers lie in raw_data or in the field
// of their type.
func readTensor(f field) (Tensor, error) {
	var t Tensor
	var dims, kind, ints []int64
	var floats []float32
	var raw, doubles []byte
	external := false
	err := f.message(func(f field) error {
		switch f.num {
		case 1:
			return f.ints(&dims)
		case 2:
			return f.ints(&kind)
		case 4:
			return f.floats(&floats)
		case 5, 7:
			return f.ints(&ints)
		case 8:
			return f.text(&t.Name)
		case 9:
			if f.typ != protowire.BytesType {
				return errField
			}
			raw = f.data
		case 10:
			if f.typ == protowire.BytesType {
				doubles = append(doubles, f.data...)
			} else {
				doubles = binary.LittleEndian.AppendUint64(doubles, f.n)
			}
		case 13:
			external = true
		case 14:
			external = external || f.n == 1
		}
		return nil
	})
	if err != nil {
		return t, err
	}
	if external {
		return t, ErrExternal
	}
	if len(kind) != 1 {
		return t, fmt.Errorf("no type of number")
	}
	n := int64(1)
	for _, d := range dims {
		if d < 0 || d > MaxFile || n*d > MaxFile {
			return t, fmt.Errorf("shape %v is impossible", dims)
		}
		n *= d
		t.Shape = append(t.Shape, int(d))
	}
	if err := t.fill(kind[0], floats, ints, doubles, raw); err != nil {
		return t, err
	}
	if int64(t.Len()) != n {
		return t, fmt.Errorf("%d numbers for shape %v", t.Len(), dims)
	}
	return t, nil
}

// fill converts the numbers. Those that come neither as float_data nor as
// int32_data or int64_data come raw, little-endian.
func (t *Tensor) fill(kind int64, floats []float32, ints []int64, doubles, raw []byte) error {
	each := func(width int, f func(b []byte)) error {
		if len(raw)%width != 0 {
			return fmt.Errorf("%d bytes are not whole numbers of %d", len(raw), width)
		}
		for ; len(raw) > 0; raw = raw[width:] {
			f(raw)
		}
		return nil
	}
	switch kind {
	case typeFloat:
		t.Floats = floats
		if len(raw) == 0 {
			return nil
		}
		t.Floats = make([]float32, 0, len(raw)/4)
		return each(4, func(b []byte) {
			t.Floats = append(t.Floats, math.Float32frombits(binary.LittleEndian.Uint32(b)))
		})
	case typeDouble:
		if len(raw) == 0 {
			raw = doubles
		}
		return each(8, func(b []byte) {
			t.Floats = append(t.Floats, float32(math.Float64frombits(binary.LittleEndian.Uint64(b))))
		})
	case typeFloat16:
		for _, v := range ints {
			t.Floats = append(t.Floats, half(uint16(v)))
		}
		return each(2, func(b []byte) { t.Floats = append(t.Floats, half(binary.LittleEndian.Uint16(b))) })
	}
	t.Whole, t.Ints = true, ints
	if len(raw) > 0 {
		t.Ints = nil
	}
	switch kind {
	case typeInt64:
		return each(8, func(b []byte) { t.Ints = append(t.Ints, int64(binary.LittleEndian.Uint64(b))) })
	case typeInt32:
		return each(4, func(b []byte) { t.Ints = append(t.Ints, int64(int32(binary.LittleEndian.Uint32(b)))) })
	case typeUint8, typeBool:
		return each(1, func(b []byte) { t.Ints = append(t.Ints, int64(b[0])) })
	case typeInt8:
		return each(1, func(b []byte) { t.Ints = append(t.Ints, int64(int8(b[0]))) })
	}
	return fmt.Errorf("numbers of type %d are not read; export with float32 weights", kind)
}

// half converts a float16 (IEEE 754-2008, binary16).
func half(h uint16) float32 {
	sign, exp, frac := h>>15, int(h>>10&31), float64(h&1023)
	var v float64
	switch exp {
	case 0:
		v = math.Ldexp(frac, -24)
	case 31:
		v = math.Inf(1)
		if frac != 0 {
			v = math.NaN()
		}
	default:
		v = math.Ldexp(1024+frac, exp-25)
	}
	if sign == 1 {
		v = -v
	}
	return float32(v)
}
