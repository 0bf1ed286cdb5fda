// Package checkpoint writes and reads what a learner goes on from, so that all
// learners keep, check and refuse alike.
//
// A checkpoint is a safetensors file whose metadata holds the name of its
// format, the learner's state as JSON and a checksum over all of it. Restoring
// tries everything first and changes nothing if anything is wrong.
//
//	parts := []checkpoint.Part{{Tensors: net.Tensors()}, {Name: "actor", Adam: adam}}
//	err := checkpoint.Save(w, "rapport-bc-1", state, parts...)
//	state, err := checkpoint.Restore(r, "rapport-bc-1", fits, parts...)
package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/nn"
)

// Part is a group of tensors of a checkpoint. What it lists is shared with the
// learner: Save reads it and Restore writes it.
type Part struct {
	// Name goes before the names of the part's tensors, with a slash; without
	// one they keep theirs.
	Name    string
	Tensors []nn.Tensor
	Adam    *nn.Adam // its moments and step count too, if not nil
}

// tensors lists the part under the names of the file.
func (p Part) tensors() []nn.Tensor {
	ts := slices.Clone(p.Tensors)
	if p.Adam != nil {
		ts = append(ts, p.Adam.State()...)
	}
	if p.Name != "" {
		for i := range ts {
			ts[i].Name = p.Name + "/" + ts[i].Name
		}
	}
	return ts
}

// own returns the part's tensors among those of the file, under its own names.
func (p Part) own(file []nn.Tensor) []nn.Tensor {
	if p.Name == "" {
		return file
	}
	var ts []nn.Tensor
	for _, t := range file {
		if rest, ok := strings.CutPrefix(t.Name, p.Name+"/"); ok {
			t.Name = rest
			ts = append(ts, t)
		}
	}
	return ts
}

// Save writes a checkpoint. Equal arguments give equal bytes.
func Save(w io.Writer, format string, state any, parts ...Part) error {
	head, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	ts := list(parts)
	return nn.Save(w, ts, map[string]string{"format": format, "state": string(head), "sum": Sum(format, string(head), ts)})
}

// Restore reads a checkpoint back into parts and returns its state. fits says
// what is wrong with a state for this learner; it changes nothing itself. After
// an error nothing has changed.
func Restore[S any](r io.Reader, format string, fits func(S) error, parts ...Part) (S, error) {
	var s, none S
	ts, meta, err := nn.Load(r)
	if err != nil {
		return none, err
	}
	if meta["format"] != format {
		return none, fmt.Errorf("format is %q, want %q", meta["format"], format)
	}
	if meta["sum"] != Sum(format, meta["state"], ts) {
		return none, errors.New("the checksum is wrong: the file is damaged, go back to an older checkpoint")
	}
	if err := json.Unmarshal([]byte(meta["state"]), &s); err != nil {
		return none, fmt.Errorf("state: %w", err)
	}
	if err := fits(s); err != nil {
		return none, err
	}
	want := list(parts)
	got := make([]nn.Tensor, len(want))
	for i, t := range want {
		if got[i], err = find(ts, t); err != nil {
			return none, err
		}
	}
	if len(ts) != len(want) {
		return none, fmt.Errorf("%d tensors, want %d", len(ts), len(want))
	}
	for _, p := range parts {
		if p.Adam == nil {
			continue
		}
		if err := p.Adam.Check(p.own(got)); err != nil {
			return none, fmt.Errorf("optimiser of the %s: %w", p.Name, err)
		}
	}
	// Nothing can fail from here on.
	for i, t := range want {
		t.Set(got[i].Data)
	}
	for _, p := range parts {
		if p.Adam != nil {
			if err := p.Adam.Restore(p.own(got)); err != nil {
				panic("checkpoint: an optimiser refused what it had checked")
			}
		}
	}
	return s, nil
}

// list is all tensors of parts, in order.
func list(parts []Part) []nn.Tensor {
	var ts []nn.Tensor
	for _, p := range parts {
		ts = append(ts, p.tensors()...)
	}
	return ts
}

// find returns the finite tensor of want's name and shape.
func find(ts []nn.Tensor, want nn.Tensor) (nn.Tensor, error) {
	i := slices.IndexFunc(ts, func(t nn.Tensor) bool { return t.Name == want.Name })
	if i < 0 {
		return nn.Tensor{}, fmt.Errorf("no tensor %q", want.Name)
	}
	t := ts[i]
	if !slices.Equal(t.Shape, want.Shape) {
		return nn.Tensor{}, fmt.Errorf("tensor %q has shape %v, want %v", t.Name, t.Shape, want.Shape)
	}
	for _, v := range t.Data {
		if d := v - v; d != d {
			return nn.Tensor{}, fmt.Errorf("tensor %q holds %v", t.Name, v)
		}
	}
	return t, nil
}

// Sum is the SHA-256 of a checkpoint, in hex.
func Sum(format, state string, ts []nn.Tensor) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q", format, state)
	buf := make([]byte, 0, 1<<16)
	for _, t := range ts {
		fmt.Fprintf(h, "%q %v", t.Name, t.Shape)
		for i, v := range t.Data {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
			if len(buf) == cap(buf) || i == len(t.Data)-1 {
				h.Write(buf)
				buf = buf[:0]
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Diff collects the fields in which a configuration and a checkpoint differ.
type Diff []string

// Field notes a field that is not the same here and there.
func (d *Diff) Field(name string, here, there any) {
	if a, b := fmt.Sprint(here), fmt.Sprint(there); a != b {
		*d = append(*d, fmt.Sprintf("%s is %s and %s", name, a, b))
	}
}

// Err is an error that names what was noted, nil for nothing.
func (d Diff) Err() error {
	if d == nil {
		return nil
	}
	return fmt.Errorf("the checkpoint does not fit the configuration (here and there): %s", strings.Join(d, ", "))
}
