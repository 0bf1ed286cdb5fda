package checkpoint_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/checkpoint"
)

const format = "test-1"

type state struct {
	Width int
	Note  string
}

// box is something that learns: one array, and one of the same name elsewhere.
type box struct {
	w, ref *nn.Param
	adam   *nn.Adam
}

func newBox(v float32) *box {
	b := &box{w: nn.NewParam("w", 2).Fill(v), ref: nn.NewParam("w", 2).Fill(-v)}
	b.adam = nn.NewAdam([]*nn.Param{b.w}, nn.AdamConfig{})
	return b
}

func (b *box) step() {
	b.w.Grad[0], b.w.Grad[1] = 1, 2
	b.adam.Step()
}

func (b *box) parts() []checkpoint.Part {
	return []checkpoint.Part{
		{Tensors: nn.Tensors([]*nn.Param{b.w})},
		{Name: "reference", Tensors: nn.Tensors([]*nn.Param{b.ref})},
		{Name: "weights", Adam: b.adam},
	}
}

func (b *box) save(t testing.TB, format string, s any) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := checkpoint.Save(&out, format, s, b.parts()...); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func fits(s state) error {
	var d checkpoint.Diff
	d.Field("Width", 2, s.Width)
	return d.Err()
}

func (b *box) restore(data []byte) (state, error) {
	return checkpoint.Restore(bytes.NewReader(data), format, fits, b.parts()...)
}

func TestRestoreGoesOnAsSaved(t *testing.T) {
	a := newBox(1)
	a.step()
	data := a.save(t, format, state{2, "after a step"})
	if !bytes.Equal(data, a.save(t, format, state{2, "after a step"})) {
		t.Error("one state was written in two ways")
	}
	b := newBox(7)
	s, err := b.restore(data)
	if err != nil || s != (state{2, "after a step"}) {
		t.Fatalf("state %+v, %v", s, err)
	}
	a.step()
	b.step()
	x, y := a.save(t, format, state{}), b.save(t, format, state{})
	if !bytes.Equal(x, y) || b.adam.Steps() != 2 || b.ref.Data[0] != -1 {
		t.Errorf("went on to weights %v after %d steps, want %v after 2", b.w.Data, b.adam.Steps(), a.w.Data)
	}
}

func TestRestoreRefusesAndChangesNothing(t *testing.T) {
	a := newBox(1)
	a.step()
	good := state{Width: 2}
	whole := a.save(t, format, good)
	flip := func(at int) []byte {
		d := bytes.Clone(whole)
		d[at] ^= 1
		return d
	}
	other := func(change func(b *box)) []byte {
		b := newBox(1)
		b.step()
		change(b)
		return b.save(t, format, good)
	}
	var partial bytes.Buffer
	if err := checkpoint.Save(&partial, format, good, a.parts()[1:]...); err != nil {
		t.Fatal(err)
	}
	var more bytes.Buffer
	extra := checkpoint.Part{Tensors: nn.Tensors([]*nn.Param{nn.NewParam("extra", 1)})}
	if err := checkpoint.Save(&more, format, good, append(a.parts(), extra)...); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, want string
		data       []byte
	}{
		{"nothing", "shorter", nil},
		{"cut short", "cut short", whole[:len(whole)-3]},
		{"a bit of a weight", "checksum", flip(len(whole) - 5)},
		{"a bit of the state", "checksum", flip(bytes.Index(whole, []byte("Width")))},
		{"another format", `format is "test-2", want "test-1"`, a.save(t, "test-2", good)},
		{"another configuration", "(here and there): Width is 2 and 3", a.save(t, format, state{Width: 3})},
		{"a state of another kind", "state:", a.save(t, format, "a word")},
		{"a tensor missing", `no tensor "w"`, partial.Bytes()},
		{"a tensor too many", "6 tensors, want 5", more.Bytes()},
		{"another shape", `tensor "reference/w" has shape [3], want [2]`, other(func(b *box) { b.ref = nn.NewParam("w", 3) })},
		{"no number", `tensor "w" holds NaN`, other(func(b *box) { b.w.Data[1] = float32(math.NaN()) })},
		{"infinite moments", `tensor "weights/adam.mean.w" holds -Inf`, other(func(b *box) { b.adam.State()[1].Data[0] = float32(math.Inf(-1)) })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(5)
			b.step()
			before := b.save(t, format, good)
			_, err := b.restore(tt.data)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
			if !bytes.Equal(b.save(t, format, good), before) {
				t.Error("it changed")
			}
		})
	}
	// A count of steps that is none, in a file that is otherwise right.
	ts, meta, err := nn.Decode(whole)
	if err != nil {
		t.Fatal(err)
	}
	for i := range ts {
		if ts[i].Name == "weights/adam.steps" {
			ts[i].Data[1] = 0.5
		}
	}
	parts := []checkpoint.Part{{Tensors: ts}}
	var bad bytes.Buffer
	if err := checkpoint.Save(&bad, meta["format"], good, parts...); err != nil {
		t.Fatal(err)
	}
	b := newBox(5)
	before := b.save(t, format, good)
	if _, err := b.restore(bad.Bytes()); err == nil || !strings.Contains(err.Error(), "optimiser of the weights") {
		t.Errorf("half a step: error = %v, want one that names the optimiser", err)
	}
	if !bytes.Equal(b.save(t, format, good), before) {
		t.Error("half a step changed it")
	}
}

// brick takes a few bytes.
type brick struct{ left int }

func (b *brick) Write(p []byte) (int, error) {
	if len(p) > b.left {
		return 0, errors.New("disk full")
	}
	b.left -= len(p)
	return len(p), nil
}

func TestSaveReportsTheWriter(t *testing.T) {
	for _, n := range []int{0, 8, 200} {
		if err := checkpoint.Save(&brick{n}, format, state{}, newBox(1).parts()...); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("after %d bytes: error = %v, want the writer's", n, err)
		}
	}
	if err := checkpoint.Save(&brick{1000}, format, make(chan int)); err == nil {
		t.Error("saved what has no JSON")
	}
}

func FuzzRestore(f *testing.F) {
	a := newBox(1)
	a.step()
	whole := a.save(f, format, state{Width: 2})
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBox(1)
		before := fmt.Sprint(b.w.Data, b.ref.Data, b.adam.Steps())
		if _, err := b.restore(data); err == nil {
			b.step()
		} else if fmt.Sprint(b.w.Data, b.ref.Data, b.adam.Steps()) != before {
			t.Error("what was refused changed something")
		}
	})
}
