package hdf5

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// wanted is what make.py says is in its files; the same in all.
type wanted struct {
	Numbers map[string]struct {
		Shape  []int
		Dtype  string
		Values []float64
	}
	Strings map[string][]string
	Attrs   map[string][]any
}

// agrees compares a file with what h5py wrote into it.
func agrees(t *testing.T, dir, file string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "want.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want wanted
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if len(want.Numbers) < 30 || len(want.Attrs) < 10 {
		t.Fatalf("want.json has %d datasets and %d attributes; the test reads it wrongly", len(want.Numbers), len(want.Attrs))
	}
	f, err := Open(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for path, w := range want.Numbers {
		d, err := f.Dataset(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if !slices.Equal(d.Shape, w.Shape) || d.Kind.String() != w.Dtype {
			t.Errorf("%s is %v of %v, want %v of %v", path, d.Shape, d.Kind, w.Shape, w.Dtype)
		}
		// All at once, and in slabs that cut chunks.
		for _, step := range []int{max(1, d.Len()), 2, d.Step()} {
			var got []float64
			for from := 0; from < d.Len(); from += step {
				xs, err := d.Floats(from, min(d.Len(), from+step))
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, xs...)
			}
			if !slices.Equal(got, w.Values) {
				t.Fatalf("%s in steps of %d is\n%v, want\n%v", path, step, got, w.Values)
			}
		}
	}
	for path, w := range want.Strings {
		d, err := f.Dataset(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Strings()
		if err != nil || !slices.Equal(got, w) {
			t.Errorf("%s is %q, %v; want %q", path, got, err, w)
		}
	}
	for name, w := range want.Attrs {
		path, attr, _ := strings.Cut(name, ":")
		var a Attr
		if g, err := f.Group(path); err == nil {
			a, err = g.Attr(attr)
			if err != nil {
				t.Error(err)
			}
		} else if d, err := f.Dataset(path); err == nil {
			if a, err = d.Attr(attr); err != nil {
				t.Error(err)
			}
		} else {
			t.Error(err)
		}
		var got []any
		for _, x := range a.Floats {
			got = append(got, x)
		}
		for _, x := range a.Strings {
			got = append(got, x)
		}
		if fmt.Sprint(got) != fmt.Sprint(w) {
			t.Errorf("attribute %s is %v, want %v", name, got, w)
		}
	}
}

func TestReadsWhatH5pyWrote(t *testing.T) {
	for _, file := range []string{"default.h5", "v108.h5", "latest.h5"} {
		t.Run(file, func(t *testing.T) { agrees(t, "testdata", file) })
	}
}

func TestNamesComeInTheOrderOfTheirNumbers(t *testing.T) {
	for _, file := range []string{"default.h5", "v108.h5"} {
		f, err := Open(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		g, err := f.Group("many")
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range 11 {
			want = append(want, fmt.Sprintf("demo_%d", i))
		}
		if got := g.Names(); !slices.Equal(got, want) {
			t.Errorf("%s: names are %v, want %v", file, got, want)
		}
		if group, dataset, err := g.Is("demo_3"); !group || dataset || err != nil {
			t.Errorf("%s: demo_3 is a group: %v, a dataset: %v, %v", file, group, dataset, err)
		}
		root, err := f.Root()
		if err != nil {
			t.Fatal(err)
		}
		if group, dataset, err := root.Is("scalar"); group || !dataset || err != nil {
			t.Errorf("%s: scalar is a group: %v, a dataset: %v, %v", file, group, dataset, err)
		}
		if root.Has("soft") {
			t.Errorf("%s: a soft link was followed", file)
		}
	}
	names := []string{"demo_10", "demo_2", "demo_02", "a", "demo_2x", ""}
	slices.SortFunc(names, natural)
	if want := []string{"", "a", "demo_2", "demo_02", "demo_2x", "demo_10"}; !slices.Equal(names, want) {
		t.Errorf("order is %q, want %q", names, want)
	}
}

func TestRefusedWithARemedy(t *testing.T) {
	f, err := Open("testdata/refused.h5")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, tt := range []struct {
		path, want string
		kind       error
	}{
		{"growing", "h5repack", ErrUnsupported},
		{"scaled", "scaleoffset", ErrUnsupported},
		{"compound", "numbers are wanted", ErrUnsupported},
		{"virtual", "virtual dataset", ErrUnsupported},
		{"never", "never written", ErrCorrupt},
		{"nothing", "/nothing", ErrNone},
		{"growing/x", "not a group", ErrNone},
	} {
		d, err := f.Dataset(tt.path)
		if err == nil {
			_, err = d.Floats(0, d.Len())
		}
		if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), strings.TrimSuffix(tt.path, "/x")) {
			t.Errorf("%s: %v; want %v with %q", tt.path, err, tt.kind, tt.want)
		}
	}
}

func TestNotAFileOfHDF5(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty": nil, "text": []byte(strings.Repeat("not HDF5\n", 200)), "signature alone": signature,
	} {
		if _, err := New(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none.h5")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// Whatever is cut off of a file, or is other than it was, gives errors, no panics.
func TestDamageIsAnError(t *testing.T) {
	for _, file := range []string{"default.h5", "v108.h5", "latest.h5"} {
		whole, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(whole); n += 1999 {
			_, err := New(bytes.NewReader(whole[:n]), int64(n))
			if err == nil {
				t.Fatalf("%s: %d of %d bytes were taken for whole", file, n, len(whole))
			}
			if n > 512 && !strings.Contains(err.Error(), "cut off") {
				t.Errorf("%s: %d bytes: %v", file, n, err)
			}
		}
		failed := 0
		for n := 9; n < len(whole); n += 211 {
			b := bytes.Clone(whole)
			b[n] ^= 0xa5
			if everything(b) != nil {
				failed++
			}
		}
		if failed == 0 {
			t.Errorf("%s: no damage was noticed", file)
		}
	}
}

// everything reads all that is in a file and returns the first error.
func everything(b []byte) error {
	f, err := New(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	var first error
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	left := 200 // a damaged file may hold itself
	var walk func(g *Group, err error)
	walk = func(g *Group, err error) {
		if note(err); err != nil {
			return
		}
		_, err = g.Attr("name")
		if !errors.Is(err, ErrNone) {
			note(err)
		}
		for _, name := range g.Names() {
			if left--; left < 0 {
				return
			}
			group, dataset, err := g.Is(name)
			note(err)
			if group {
				walk(g.Group(name))
			}
			if !dataset {
				continue
			}
			d, err := g.Dataset(name)
			if note(err); err != nil {
				continue
			}
			n := d.Len()
			if d.Width()*d.Kind.Size > 1<<20 {
				continue
			}
			if d.Kind.Class == String {
				if n < 1<<12 {
					_, err = d.Strings()
					note(err)
				}
				continue
			}
			_, err = d.Floats(max(0, n-2), n)
			note(err)
		}
	}
	walk(f.Root())
	return first
}

func FuzzRead(f *testing.F) {
	for _, file := range []string{"seed-default.h5", "seed-v108.h5", "seed-latest.h5"} {
		b, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { _ = everything(b) })
}

func FuzzUnlzf(f *testing.F) {
	f.Add([]byte{2, 'a', 'b', 'c', 0x60, 2}, 32)
	f.Fuzz(func(t *testing.T, b []byte, want int) {
		want = max(0, min(want, 1<<16))
		out, err := unlzf(b, want)
		if err == nil && len(out) > want {
			t.Errorf("%d bytes, at most %d were wanted", len(out), want)
		}
	})
}

func TestHalf(t *testing.T) {
	for h, want := range map[uint16]float64{
		0x0000: 0, 0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0001: 0x1p-24, 0x7c00: math.Inf(1), 0xfc00: math.Inf(-1), 0x3555: 0.333251953125,
	} {
		if got := half(h); got != want {
			t.Errorf("half(%#04x) = %v, want %v", h, got, want)
		}
	}
	if !math.IsNaN(half(0x7e00)) {
		t.Error("half(0x7e00) is a number")
	}
}

func TestSeedsAreWhole(t *testing.T) {
	for _, file := range []string{"seed-default.h5", "seed-v108.h5", "seed-latest.h5"} {
		b, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := everything(b); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
