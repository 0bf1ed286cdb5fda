package onnx

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sample uses every field once.
func sample() *Model {
	return &Model{
		IR: 7, Opset: 13, Producer: "p", Version: "v", Doc: "d", Meta: []Entry{{"a", "b"}, {"c", ""}},
		Graph: Graph{
			Name: "g",
			Nodes: []Node{{
				Name: "n", Op: "Op", Domain: "own", Inputs: []string{"x", "", "w"}, Outputs: []string{"y"},
				Attrs: []Attr{
					{Name: "f", Kind: Float, F: -2.5}, {Name: "i", Kind: Int, I: -3}, {Name: "s", Kind: String, S: "text"},
					{Name: "t", Kind: OfArray, T: &Tensor{Floats: []float32{1}}},
					{Name: "fs", Kind: Floats, Floats: []float32{1, 2}}, {Name: "is", Kind: Ints, Ints: []int64{-1, 1 << 40}},
				},
			}},
			Init: []Tensor{
				{Name: "w", Shape: []int{2, 1}, Floats: []float32{0.5, float32(math.Inf(1))}},
				{Name: "k", Shape: []int{3}, Whole: true, Ints: []int64{-1, 0, 1 << 60}},
			},
			Inputs:  []Port{{Name: "x", Doc: "what", Shape: []int{-1, 4}, Free: []string{"batch", ""}}},
			Outputs: []Port{{Name: "y", Shape: []int{2}, Free: []string{""}, Whole: true}},
		},
	}
}

func TestModelRoundTrip(t *testing.T) {
	var file bytes.Buffer
	if err := sample().Write(&file); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sample(), got); d != "" {
		t.Error(d)
	}
}

func tensorBytes(kind uint64, parts ...func(m *message)) []byte {
	var t message
	t.uint(1, 2)
	t.uint(2, kind)
	for _, p := range parts {
		p(&t)
	}
	return t
}

func raw(b ...byte) func(*message) { return func(m *message) { m.bytes(9, b) } }

func numbers(field protowire.Number, v ...uint64) func(*message) {
	return func(m *message) {
		for _, n := range v {
			m.uint(field, n)
		}
	}
}

// Every way in which two numbers may be stored.
func TestTensorsAreConverted(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes []byte
		want  [2]float64
	}{
		{"float32 raw", tensorBytes(typeFloat, raw(0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0)), [2]float64{1, -2}},
		{"float32", tensorBytes(typeFloat, func(m *message) { m.bytes(4, floatBytes([]float32{1, -2})) }), [2]float64{1, -2}},
		{"float32 one by one", tensorBytes(typeFloat, func(m *message) {
			for _, v := range []float32{1, -2} {
				*m = protowire.AppendTag(*m, 4, protowire.Fixed32Type)
				*m = protowire.AppendFixed32(*m, math.Float32bits(v))
			}
		}), [2]float64{1, -2}},
		{"float64 raw", tensorBytes(typeDouble, raw(0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0)), [2]float64{1, -2}},
		{"float64", tensorBytes(typeDouble, func(m *message) {
			*m = protowire.AppendTag(*m, 10, protowire.Fixed64Type)
			*m = protowire.AppendFixed64(*m, math.Float64bits(1))
			m.bytes(10, []byte{0, 0, 0, 0, 0, 0, 0, 0xc0})
		}), [2]float64{1, -2}},
		{"float16 raw", tensorBytes(typeFloat16, raw(0, 0x3c, 0, 0xc0)), [2]float64{1, -2}},
		{"float16", tensorBytes(typeFloat16, numbers(5, 0x0001, 0x7c00)), [2]float64{0x1p-24, math.Inf(1)}},
		{"int64 raw", tensorBytes(typeInt64, raw(1, 0, 0, 0, 0, 0, 0, 0, 0xfe, 255, 255, 255, 255, 255, 255, 255)), [2]float64{1, -2}},
		{"int64", tensorBytes(typeInt64, numbers(7, 1, 1<<64-2)), [2]float64{1, -2}},
		{"int32", tensorBytes(typeInt32, raw(1, 0, 0, 0, 0xfe, 255, 255, 255)), [2]float64{1, -2}},
		{"int8", tensorBytes(typeInt8, raw(1, 0xfe)), [2]float64{1, -2}},
		{"uint8", tensorBytes(typeUint8, raw(1, 0xfe)), [2]float64{1, 254}},
		{"bool", tensorBytes(typeBool, numbers(5, 1, 0)), [2]float64{1, 0}},
	} {
		got, err := readTensor(field{typ: protowire.BytesType, data: c.bytes})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for i, want := range c.want {
			v := 0.0
			if got.Whole {
				v = float64(got.Ints[i])
			} else {
				v = float64(got.Floats[i])
			}
			if v != want {
				t.Errorf("%s: number %d is %v, want %v", c.name, i, v, want)
			}
		}
	}
}

// wrap puts a message into others, by their field numbers.
func wrap(b []byte, path ...protowire.Number) []byte {
	for i := len(path) - 1; i >= 0; i-- {
		var m message
		m.bytes(path[i], b)
		b = m
	}
	return b
}

func TestDecodeRefuses(t *testing.T) {
	external := tensorBytes(typeFloat, numbers(14, 1))
	control := Attr{Name: "then_branch", Kind: 5}
	short := sample().Encode()
	for _, c := range []struct {
		name  string
		bytes []byte
		want  string
	}{
		{"nothing", nil, "no graph inside"},
		{"text", []byte("<html>"), "not protocol buffers"},
		{"cut short", short[:len(short)/2], "cut short"},
		{"external data", wrap(external, 7, 5), "save_as_external_data=False"},
		{"numbers missing", wrap(tensorBytes(typeFloat), 7, 5), "0 numbers for shape [2]"},
		{"strings", wrap(tensorBytes(8), 7, 5), "numbers of type 8 are not read"},
		{"half a number", wrap(tensorBytes(typeFloat, raw(1, 2, 3)), 7, 5), "3 bytes are not whole numbers"},
		{"huge", wrap(tensorBytes(typeFloat, numbers(1, 1<<29, 1<<29)), 7, 5), "impossible"},
		{"negative axis", wrap(tensorBytes(typeFloat, numbers(1, 1<<64-1)), 7, 5), "impossible"},
		{"no type", wrap(nil, 7, 5), "no type of number"},
		{"control flow", (&Model{Graph: Graph{Nodes: []Node{{Name: "n", Op: "If", Attrs: []Attr{control}}}}}).Encode(), `"then_branch" holds a graph`},
		{"functions", wrap(nil, 25), "functions of its own"},
		{"sparse", wrap(nil, 7, 15), "sparse weights"},
		{"text where a number goes", wrap(nil, 1), "another type"},
		{"impossible axis", (&Model{Graph: Graph{Inputs: []Port{{Name: "x", Shape: []int{MaxFile + 1}}}}}).Encode(), "axis of length"},
	} {
		_, err := Decode(c.bytes)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to say %q", c.name, err, c.want)
		}
	}
	if _, err := Decode(wrap(external, 7, 5)); !errors.Is(err, ErrExternal) {
		t.Errorf("external data is no ErrExternal: %v", err)
	}
}

func TestReadPassesErrorsOn(t *testing.T) {
	if _, err := Read(broken{}); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	if err := sample().Write(broken{}); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Read([]byte) (int, error)  { return 0, errBroken }
func (broken) Write([]byte) (int, error) { return 0, errBroken }

// What is decoded survives being written and read again.
func FuzzDecode(f *testing.F) {
	f.Add(sample().Encode())
	f.Add(wrap(tensorBytes(typeFloat16, raw(0, 0x3c, 0, 0xc0)), 7, 5))
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(data)
		if err != nil {
			return
		}
		b := m.Encode()
		again, err := Decode(b)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if !bytes.Equal(again.Encode(), b) {
			t.Fatal("writing again gave other bytes")
		}
	})
}

// seeds adds the small models of testdata.
func seeds(f *testing.F) {
	files, err := filepath.Glob("testdata/*.onnx")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 12e3 { // the fuzzer spends its time on cutting down the others
			f.Add(b)
		}
	}
}
