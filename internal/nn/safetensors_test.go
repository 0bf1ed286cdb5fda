package nn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// file builds the bytes of a safetensors file.
func file(head string, data ...byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	return append(append(b, head...), data...)
}

func TestSafetensorsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringN(0, 8, -1).Filter(func(s string) bool { return s != "__metadata__" }), 0, 5, rapid.ID).Draw(t, "names")
		var in []Tensor
		for _, name := range names {
			shape := rapid.SliceOfN(rapid.IntRange(0, 4), 0, 3).Draw(t, "shape")
			n := 1
			for _, d := range shape {
				n *= d
			}
			in = append(in, Tensor{Name: name, Shape: shape, Data: rapid.SliceOfN(rapid.Float32(), n, n).Draw(t, "data")})
		}
		meta := rapid.MapOfN(rapid.String(), rapid.String(), 1, 3).Draw(t, "meta")
		raw, err := Encode(in, meta)
		if err != nil {
			t.Fatal(err)
		}
		out, gotMeta, err := Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		// Empty tensors share their offset: order among equals is by name.
		byName := func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) }
		slices.SortFunc(in, byName)
		slices.SortFunc(out, byName)
		if d := cmp.Diff(in, out, cmpopts.IgnoreUnexported(Tensor{})); len(in)+len(out) > 0 && d != "" {
			t.Fatalf("tensors (-written +read):\n%s", d)
		}
		if d := cmp.Diff(meta, gotMeta); d != "" {
			t.Fatalf("metadata (-written +read):\n%s", d)
		}
		if (8+binary.LittleEndian.Uint64(raw))%8 != 0 {
			t.Fatal("data does not begin at a multiple of eight bytes")
		}
	})
}

func TestSafetensorsKeepsOrderAndBits(t *testing.T) {
	in := []Tensor{{Name: "z", Shape: []int{2}, Data: []float32{float32(math.Inf(1)), math.Float32frombits(1)}}, {Name: "a", Shape: []int{}, Data: []float32{-0.5}}}
	raw, err := Encode(in, map[string]string{"step": "7"})
	if err != nil {
		t.Fatal(err)
	}
	const head = `{"__metadata__":{"step":"7"},"a":{"dtype":"F32","shape":[],"data_offsets":[8,12]},"z":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`
	if got := string(raw[8 : 8+len(head)]); got != head {
		t.Errorf("header %s, want %s", got, head)
	}
	out, _, err := Load(iotest.OneByteReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, out, cmpopts.IgnoreUnexported(Tensor{})); d != "" {
		t.Errorf("(-written +read):\n%s", d)
	}
}

func TestSafetensorsReadsOtherTypes(t *testing.T) {
	for _, c := range []struct {
		dtype string
		data  []byte
		want  float32
	}{
		{"F16", []byte{0x00, 0x3c}, 1},
		{"F16", []byte{0x00, 0xc0}, -2},
		{"F16", []byte{0x01, 0x00}, 0x1p-24}, // the smallest subnormal
		{"F16", []byte{0xff, 0x7b}, 65504},   // the largest
		{"F16", []byte{0x00, 0xfc}, float32(math.Inf(-1))},
		{"F16", []byte{0x00, 0x80}, float32(math.Copysign(0, -1))},
		{"BF16", []byte{0x80, 0x3f}, 1},
		{"F64", []byte{0, 0, 0, 0, 0, 0, 0xe0, 0xbf}, -0.5},
	} {
		n := string("0123456789"[len(c.data)])
		ts, _, err := Decode(file(`{"x":{"dtype":"`+c.dtype+`","shape":[1],"data_offsets":[0,`+n+`]}}`, c.data...))
		if err != nil {
			t.Errorf("%s: %v", c.dtype, err)
			continue
		}
		if got := ts[0].Data[0]; math.Float32bits(got) != math.Float32bits(c.want) {
			t.Errorf("%s % x: got %v, want %v", c.dtype, c.data, got, c.want)
		}
	}
}

func TestSafetensorsNamesWhatIsWrong(t *testing.T) {
	const x = `"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "shorter than its length field", nil},
		{"a picture", "no safetensors file", []byte("\x89PNG\r\n\x1a\n....")},
		{"header cut", "header cut short", file(`{`)[:8]},
		{"no json", "header:", file(`{`)},
		{"metadata of numbers", "metadata", file(`{"__metadata__":{"a":1}}`)},
		{"tensor is a number", `tensor "x"`, file(`{"x":1}`)},
		{"no offsets", "no data_offsets", file(`{"x":{"dtype":"F32","shape":[1]}}`)},
		{"integers", `type "I64"`, file(`{"x":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}`, make([]byte, 8)...)},
		{"negative axis", "shape [-1]", file(`{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`)},
		{"product overflows", "too large", file(`{"x":{"dtype":"F32","shape":[1073741824,1073741824,1073741824],"data_offsets":[0,0]}}`)},
		{"shape and offsets disagree", "data_offsets [0,4]", file(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`)},
		{"offsets backwards", "data_offsets [4,0]", file(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`)},
		{"hole", "begins at 4", file(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, make([]byte, 8)...)},
		{"overlap", "begins at 0", file(`{`+x+`,"y":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, make([]byte, 8)...)},
		{"data cut", `"x" cut short`, file(`{`+x+`}`, 1, 2, 3)},
		{"more data", "after the last tensor", file(`{`+x+`}`, make([]byte, 5)...)},
	} {
		if _, _, err := Decode(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	for _, c := range []struct {
		name string
		ts   []Tensor
	}{
		{"name twice", []Tensor{{Name: "x", Shape: nil, Data: []float32{1}}, {Name: "x", Shape: nil, Data: []float32{1}}}},
		{"reserved name", []Tensor{{Name: "__metadata__", Shape: nil, Data: []float32{1}}}},
		{"shape and data disagree", []Tensor{{Name: "x", Shape: []int{2}, Data: []float32{1}}}},
	} {
		if _, err := Encode(c.ts, nil); err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
	broken := errors.New("disk full")
	if err := Save(failing{broken}, []Tensor{{Name: "x", Shape: nil, Data: []float32{1}}}, nil); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestLyingHeaderTakesNoMemory(t *testing.T) {
	liar := file(`{"x":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := Decode(liar); err == nil {
		t.Error("no error for 4 GB that are not there")
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("%d bytes allocated for a file of %d", got, len(liar))
	}
}

func FuzzDecode(f *testing.F) {
	good, err := Encode([]Tensor{{Name: "w", Shape: []int{2, 1}, Data: []float32{1, 2}}, {Name: "b", Shape: []int{}, Data: []float32{3}}}, map[string]string{"k": "v"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(file(`{"x":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}`, 1, 2))
	f.Fuzz(func(t *testing.T, data []byte) {
		ts, meta, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Encode(ts, meta)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, _, err := Decode(again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if len(back) != len(ts) {
			t.Fatalf("%d tensors, want %d", len(back), len(ts))
		}
	})
}
