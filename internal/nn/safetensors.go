package nn

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
)

// maxHeader bounds the JSON header of a safetensors file; the format's own
// reader allows 100 MB, which no model here comes near.
const maxHeader = 16 << 20

// maxElements bounds a tensor, 4 GiB of float32.
const maxElements = 1 << 30

type entry struct {
	Dtype   string    `json:"dtype"`
	Shape   []int64   `json:"shape"`
	Offsets *[2]int64 `json:"data_offsets"`
}

// Save writes ts and meta, which may be nil, in the safetensors format: what
// Python's safetensors.numpy.load_file reads. Equal arguments give equal bytes.
func Save(w io.Writer, ts []Tensor, meta map[string]string) error {
	head, err := header(ts, meta)
	if err != nil {
		return fmt.Errorf("nn: save: %w", err)
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(head)))); err != nil {
		return fmt.Errorf("nn: save: %w", err)
	}
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("nn: save: %w", err)
	}
	buf := make([]byte, 0, 1<<16)
	for _, t := range ts {
		for i, v := range t.Data {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
			if len(buf) == cap(buf) || i == len(t.Data)-1 {
				if _, err := w.Write(buf); err != nil {
					return fmt.Errorf("nn: save tensor %q: %w", t.Name, err)
				}
				buf = buf[:0]
			}
		}
	}
	return nil
}

// Encode is Save to memory.
func Encode(ts []Tensor, meta map[string]string) ([]byte, error) {
	var b bytes.Buffer
	err := Save(&b, ts, meta)
	return b.Bytes(), err
}

// header is the JSON in front of the data, padded with spaces to a multiple of
// eight bytes so that the data is aligned.
func header(ts []Tensor, meta map[string]string) ([]byte, error) {
	all := map[string]any{} // encoding/json sorts the keys
	var at int64
	for _, t := range ts {
		if t.Name == "__metadata__" || all[t.Name] != nil {
			return nil, fmt.Errorf("tensor name %q is reserved or used twice", t.Name)
		}
		n, err := elements(t.Shape)
		if err != nil || n != len(t.Data) {
			return nil, fmt.Errorf("tensor %q has %d elements for shape %v", t.Name, len(t.Data), t.Shape)
		}
		shape := make([]int64, len(t.Shape)) // not nil: a scalar's shape is []
		for i, d := range t.Shape {
			shape[i] = int64(d)
		}
		all[t.Name] = entry{Dtype: "F32", Shape: shape, Offsets: &[2]int64{at, at + 4*int64(n)}}
		at += 4 * int64(n)
	}
	if len(meta) > 0 {
		all["__metadata__"] = meta
	}
	head, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	if len(head)+8 > maxHeader {
		return nil, fmt.Errorf("header of %d bytes, at most %d are read back", len(head), maxHeader-8)
	}
	for len(head)%8 != 0 {
		head = append(head, ' ')
	}
	return head, nil
}

func elements(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 || d > 0 && n > maxElements/d {
			return 0, fmt.Errorf("shape %v is negative or too large", shape)
		}
		n *= d
	}
	return n, nil
}

// Load reads a safetensors file: tensors in the order of their data, converted
// to float32 from F32, F16, BF16 or F64, and the metadata. Memory stays within a
// small multiple of what r delivers, whatever the header claims.
func Load(r io.Reader) ([]Tensor, map[string]string, error) {
	var size [8]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, nil, fmt.Errorf("nn: load: file shorter than its length field: %w", noEOF(err))
	}
	n := binary.LittleEndian.Uint64(size[:])
	if n > maxHeader {
		return nil, nil, fmt.Errorf("nn: load: header of %d bytes exceeds %d: no safetensors file", n, maxHeader)
	}
	var head bytes.Buffer
	if _, err := io.CopyN(&head, r, int64(n)); err != nil {
		return nil, nil, fmt.Errorf("nn: load: header cut short: %w", noEOF(err))
	}
	list, meta, err := parseHeader(head.Bytes())
	if err != nil {
		return nil, nil, fmt.Errorf("nn: load: %w", err)
	}
	ts := make([]Tensor, 0, len(list))
	var data bytes.Buffer
	for _, e := range list {
		data.Reset()
		if _, err := io.CopyN(&data, r, e.Offsets[1]-e.Offsets[0]); err != nil {
			return nil, nil, fmt.Errorf("nn: load: tensor %q cut short: %w", e.name, noEOF(err))
		}
		ts = append(ts, Tensor{Name: e.name, Shape: e.shape, Data: floats(e.Dtype, data.Bytes())})
	}
	if k, err := io.CopyN(io.Discard, r, 1); k != 0 || !errors.Is(err, io.EOF) {
		if k != 0 {
			return nil, nil, errors.New("nn: load: bytes after the last tensor")
		}
		return nil, nil, fmt.Errorf("nn: load: %w", err)
	}
	return ts, meta, nil
}

// Decode is Load from memory.
func Decode(data []byte) ([]Tensor, map[string]string, error) { return Load(bytes.NewReader(data)) }

type placed struct {
	entry
	name  string
	shape []int
}

func parseHeader(head []byte) ([]placed, map[string]string, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(head, &raw); err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	var meta map[string]string
	var list []placed
	for name, msg := range raw {
		if name == "__metadata__" {
			if err := json.Unmarshal(msg, &meta); err != nil {
				return nil, nil, fmt.Errorf("header: metadata: %w", err)
			}
			continue
		}
		p := placed{name: name, shape: []int{}}
		if err := json.Unmarshal(msg, &p.entry); err != nil {
			return nil, nil, fmt.Errorf("header: tensor %q: %w", name, err)
		}
		if p.Offsets == nil {
			return nil, nil, fmt.Errorf("header: tensor %q has no data_offsets", name)
		}
		for _, d := range p.Shape {
			if d < 0 || d > maxElements {
				return nil, nil, fmt.Errorf("header: tensor %q has shape %v", name, p.Shape)
			}
			p.shape = append(p.shape, int(d))
		}
		n, err := elements(p.shape)
		if err != nil {
			return nil, nil, fmt.Errorf("header: tensor %q: %w", name, err)
		}
		w, ok := map[string]int{"F32": 4, "F16": 2, "BF16": 2, "F64": 8}[p.Dtype]
		if !ok {
			return nil, nil, fmt.Errorf("header: tensor %q has type %q, want F32, F16, BF16 or F64", name, p.Dtype)
		}
		if lo, hi := p.Offsets[0], p.Offsets[1]; lo < 0 || hi < lo || hi-lo != int64(n)*int64(w) {
			return nil, nil, fmt.Errorf("header: tensor %q of %d bytes has data_offsets [%d,%d]", name, n*w, lo, hi)
		}
		list = append(list, p)
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i], list[j]
		if *a.Offsets != *b.Offsets {
			return a.Offsets[0] < b.Offsets[0] || a.Offsets[0] == b.Offsets[0] && a.Offsets[1] < b.Offsets[1]
		}
		return a.name < b.name
	})
	var at int64
	for _, p := range list {
		if p.Offsets[0] != at {
			return nil, nil, fmt.Errorf("header: tensor %q begins at %d, the one before ends at %d", p.name, p.Offsets[0], at)
		}
		at = p.Offsets[1]
	}
	return list, meta, nil
}

// floats converts little-endian numbers of a type that parseHeader let through.
func floats(dtype string, b []byte) []float32 {
	le := binary.LittleEndian
	var out []float32
	switch dtype {
	case "F32":
		out = make([]float32, len(b)/4)
		for i := range out {
			out[i] = math.Float32frombits(le.Uint32(b[4*i:]))
		}
	case "F64":
		out = make([]float32, len(b)/8)
		for i := range out {
			out[i] = float32(math.Float64frombits(le.Uint64(b[8*i:])))
		}
	case "BF16":
		out = make([]float32, len(b)/2)
		for i := range out {
			out[i] = math.Float32frombits(uint32(le.Uint16(b[2*i:])) << 16)
		}
	case "F16":
		out = make([]float32, len(b)/2)
		for i := range out {
			out[i] = half(le.Uint16(b[2*i:]))
		}
	}
	return out
}

// half converts an IEEE 754 binary16.
func half(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, int(h>>10&31), uint32(h&1023)
	switch exp {
	case 0: // zero or subnormal: frac * 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*0x1p-24))
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	}
	return math.Float32frombits(sign | uint32(exp-15+127)<<23 | frac<<13)
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
