package pal

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/reward/preference"
)

// format marks a file; its number changes with the layout.
const format = "rapport-pal-1"

// shape is what a file holds beside the tensors.
type shape struct {
	Config Config    `json:"config"`
	Width  int       `json:"width"` // of a frame
	Shares []float64 `json:"shares"`
	Zero   float64   `json:"zero"`
	Unit   float64   `json:"unit"`
}

// largest is a size beyond any use, which keeps a corrupt file from asking for the
// machine's memory.
const largest = 1 << 16

// kept are the parameters of a view: all but the weights of people.
func (m *Model) kept() []*nn.Param {
	ps := append(slices.Clone(m.net.Params()), m.temp)
	if m.maps != nil {
		return append(ps, m.maps.Params()...)
	}
	return append(ps, m.points)
}

// scaling are mean and factor of frames, shared with m.
func (m *Model) scaling() []nn.Tensor {
	D := len(m.scale.Mean)
	return []nn.Tensor{{Name: "mean", Shape: []int{D}, Data: m.scale.Mean}, {Name: "scale", Shape: []int{D}, Data: m.scale.Factor}}
}

// Save writes u's view, without the other people, as a safetensors file.
func (u *User) Save(w io.Writer) error {
	head, err := json.Marshal(shape{Config: u.m.cfg, Width: len(u.m.scale.Mean), Shares: u.Shares, Zero: u.zero, Unit: u.unit})
	if err == nil {
		err = nn.Save(w, append(nn.Tensors(u.m.kept()), u.m.scaling()...), map[string]string{"format": format, "shape": string(head)})
	}
	if err != nil {
		return fmt.Errorf("pal: save: %w", err)
	}
	return nil
}

// Load reads what Save wrote. A file of another kind, with numbers that are not finite
// or of a shape that does not fit itself is an error.
func Load(r io.Reader) (*User, error) {
	ts, meta, err := nn.Load(r)
	if err != nil {
		return nil, fmt.Errorf("pal: load: %w", err)
	}
	if meta["format"] != format {
		return nil, fmt.Errorf("pal: load: format %q, want %q", meta["format"], format)
	}
	var s shape
	if err := json.Unmarshal([]byte(meta["shape"]), &s); err != nil {
		return nil, fmt.Errorf("pal: load: shape: %w", err)
	}
	c := s.Config
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("pal: load: %w", err)
	}
	if s.Width < 1 || max(s.Width, c.Dim, c.Hidden, c.Prototypes) > largest || len(s.Shares) != c.Prototypes || s.Zero-s.Zero != 0 || !(s.Unit > 0) || s.Unit-s.Unit != 0 {
		return nil, fmt.Errorf("pal: load: %d features, a space of %d, %d hidden, %d prototypes with %d shares, rewards of mean %v and deviation %v", s.Width, c.Dim, c.Hidden, c.Prototypes, len(s.Shares), s.Zero, s.Unit)
	}
	for k, x := range s.Shares {
		if !(x >= 0 && x <= 1) {
			return nil, fmt.Errorf("pal: load: share %d is %v", k, x)
		}
	}
	// What the header claims must be there before memory is made for it.
	var have int
	for _, t := range ts {
		have += len(t.Data)
		for _, x := range t.Data {
			if x-x != 0 {
				return nil, fmt.Errorf("pal: load: tensor %q holds %v", t.Name, x)
			}
		}
	}
	want := s.Width * c.Dim
	if !c.Linear {
		want = c.Hidden * (s.Width + c.Dim)
	}
	if c.Context {
		want *= 1 + c.Prototypes
	} else {
		want += c.Prototypes * c.Dim
	}
	if want > have {
		return nil, fmt.Errorf("pal: load: %d numbers for networks of %d", have, want)
	}
	scale := preference.Scale{Mean: make([]float32, s.Width), Factor: make([]float32, s.Width)}
	m := newModel(c, []string{""}, scale, rand.New(rand.NewPCG(0, 0))) // overwritten at once
	if err := nn.Assign(m.kept(), ts); err != nil {
		return nil, fmt.Errorf("pal: load: %w", err)
	}
	for _, own := range m.scaling() {
		i := slices.IndexFunc(ts, func(t nn.Tensor) bool { return t.Name == own.Name && len(t.Data) == s.Width })
		if i < 0 {
			return nil, fmt.Errorf("pal: load: no tensor %q of %d", own.Name, s.Width)
		}
		copy(own.Data, ts[i].Data)
	}
	m.bench = m.newBench()
	return &User{Shares: s.Shares, m: m, zero: s.Zero, unit: s.Unit}, nil
}
