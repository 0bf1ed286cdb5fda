package preference

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
)

// format marks a file; its number changes with the layout.
const format = "rapport-rlhf-1"

// shape is what a file holds beside the tensors.
type shape struct {
	Config  Config    `json:"config"`
	Width   int       `json:"width"`
	Members int       `json:"members"`
	Length  float64   `json:"length"`
	Zero    []float64 `json:"zero"`
	Unit    []float64 `json:"unit"`
}

// tensors are shared with n.
func (n *Net) tensors() []nn.Tensor {
	return append(nn.Tensors(append(slices.Clone(n.mlp.Params()), n.raw)),
		nn.Tensor{Name: "mean", Shape: []int{n.width}, Data: n.scale.Mean},
		nn.Tensor{Name: "scale", Shape: []int{n.width}, Data: n.scale.Factor})
}

// Save writes n as a safetensors file, which keeps every bit.
func (n *Net) Save(w io.Writer) error {
	head, err := json.Marshal(shape{Config: n.cfg, Width: n.width, Members: len(n.zero), Length: n.length, Zero: n.zero, Unit: n.unit})
	if err != nil {
		return fmt.Errorf("preference: save: %w", err)
	}
	if err := nn.Save(w, n.tensors(), map[string]string{"format": format, "shape": string(head)}); err != nil {
		return fmt.Errorf("preference: save: %w", err)
	}
	return nil
}

// Load reads what Save wrote. A file of another kind, with numbers that are not
// finite or of a shape that does not fit itself is an error.
func Load(r io.Reader) (*Net, error) {
	ts, meta, err := nn.Load(r)
	if err != nil {
		return nil, fmt.Errorf("preference: load: %w", err)
	}
	if meta["format"] != format {
		return nil, fmt.Errorf("preference: load: format %q, want %q", meta["format"], format)
	}
	var s shape
	if err := json.Unmarshal([]byte(meta["shape"]), &s); err != nil {
		return nil, fmt.Errorf("preference: load: shape: %w", err)
	}
	if err := s.Config.validate(); err != nil {
		return nil, fmt.Errorf("preference: load: %w", err)
	}
	finite := func(x float64) bool { return x-x == 0 }
	if s.Width < 1 || s.Width > maxWidth || s.Members < 1 || s.Members > maxWidth || len(s.Zero) != s.Members || len(s.Unit) != s.Members || !(s.Length > 0) || math.IsInf(s.Length, 1) {
		return nil, fmt.Errorf("preference: load: %d features, %d members with %d means and %d deviations, clips of %v frames", s.Width, s.Members, len(s.Zero), len(s.Unit), s.Length)
	}
	for e := range s.Members {
		if !finite(s.Zero[e]) || !finite(s.Unit[e]) || s.Unit[e] <= 0 {
			return nil, fmt.Errorf("preference: load: member %d has rewards of mean %v and deviation %v", e, s.Zero[e], s.Unit[e])
		}
	}
	// What the header claims must be there before memory is made for it.
	var have, want int
	for _, t := range ts {
		have += len(t.Data)
		for _, x := range t.Data {
			if x-x != 0 {
				return nil, fmt.Errorf("preference: load: tensor %q holds %v", t.Name, x)
			}
		}
	}
	in := s.Width
	for _, h := range append(slices.Clone(s.Config.Hidden), 1) {
		want += s.Members * h * (in + 1)
		in = h
	}
	if want > have {
		return nil, fmt.Errorf("preference: load: %d numbers for networks of %d", have, want)
	}
	n := newNet(s.Config, s.Width, s.Members, rand.New(rand.NewPCG(0, 0)))
	if err := nn.Assign(append(slices.Clone(n.mlp.Params()), n.raw), ts); err != nil {
		return nil, fmt.Errorf("preference: load: %w", err)
	}
	for _, own := range n.tensors()[len(n.mlp.Params())+1:] {
		found := false
		for _, t := range ts {
			if t.Name == own.Name && len(t.Data) == n.width {
				copy(own.Data, t.Data)
				found = true
			}
		}
		if !found {
			return nil, fmt.Errorf("preference: load: no tensor %q of %d", own.Name, n.width)
		}
	}
	n.length, n.zero, n.unit = s.Length, s.Zero, s.Unit
	return n, nil
}
