package rapl

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/perception"
)

// Video is an embedded clip.
type Video struct {
	Name  string
	D     int       // width of an embedding
	Embed []float32 // (T,D), row-major, in order of time
}

// Len is the number of frames T.
func (v Video) Len() int {
	if v.D <= 0 {
		return 0
	}
	return len(v.Embed) / v.D
}

// Validate reports an empty clip and embeddings that are not finite.
func (v Video) Validate() error {
	if v.D <= 0 || len(v.Embed) == 0 || len(v.Embed)%v.D != 0 {
		return fmt.Errorf("video %q has %d numbers for embeddings of %d, want at least one whole frame", v.Name, len(v.Embed), v.D)
	}
	for i, x := range v.Embed {
		if x-x != 0 {
			return fmt.Errorf("video %q, frame %d: embedding[%d] is %v", v.Name, i/v.D, i%v.D, x)
		}
	}
	return nil
}

// VideoOf copies the embeddings of a clip. All its frames count; drop the one
// after the reset to treat an episode as Score does.
func VideoOf(name string, fs []perception.Features) (Video, error) {
	if len(fs) == 0 {
		return Video{}, fmt.Errorf("rapl: video %q has no frames", name)
	}
	v := Video{Name: name, D: len(fs[0].Embed)}
	for i, f := range fs {
		if len(f.Embed) != v.D {
			return Video{}, fmt.Errorf("rapl: video %q, frame %d: embedding of %d numbers, want %d", name, i, len(f.Embed), v.D)
		}
		v.Embed = append(v.Embed, f.Embed...)
	}
	if err := v.Validate(); err != nil {
		return Video{}, fmt.Errorf("rapl: %w", err)
	}
	return v, nil
}

// Head is a linear map of embeddings, z = W x + B.
type Head struct {
	In  int       `json:"in"`
	Out int       `json:"out"`
	W   []float64 `json:"w"` // (Out,In), row-major
	B   []float64 `json:"b"` // (Out,)
}

// NewHead draws W and B uniformly within ±1/√in, as PyTorch's Linear does.
func NewHead(in, out int, rng *rand.Rand) Head {
	h := Head{In: in, Out: out, W: make([]float64, out*in), B: make([]float64, out)}
	r := 1 / math.Sqrt(float64(in))
	for _, x := range [2][]float64{h.W, h.B} {
		for i := range x {
			x[i] = (2*rng.Float64() - 1) * r
		}
	}
	return h
}

// Validate reports wrong shapes and numbers that are not finite.
func (h Head) Validate() error {
	if h.In <= 0 || h.Out <= 0 || len(h.W) != h.In*h.Out || len(h.B) != h.Out {
		return fmt.Errorf("rapl: head %d to %d has %d weights and %d biases", h.In, h.Out, len(h.W), len(h.B))
	}
	for _, x := range [2][]float64{h.W, h.B} {
		for _, v := range x {
			if v-v != 0 {
				return fmt.Errorf("rapl: head has a weight of %v", v)
			}
		}
	}
	return nil
}

func (h Head) clone() Head {
	h.W = append([]float64(nil), h.W...)
	h.B = append([]float64(nil), h.B...)
	return h
}

// Save writes h as JSON, which keeps every bit.
func (h Head) Save(w io.Writer) error {
	if err := h.Validate(); err != nil {
		return err
	}
	if err := json.NewEncoder(w).Encode(h); err != nil {
		return fmt.Errorf("rapl: head: %w", err)
	}
	return nil
}

// LoadHead reads what Save wrote.
func LoadHead(r io.Reader) (Head, error) {
	var h Head
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil {
		return Head{}, fmt.Errorf("rapl: head: %w", err)
	}
	if err := h.Validate(); err != nil {
		return Head{}, err
	}
	return h, nil
}

// embed writes the embeddings x (T,d) as compared: through h, or as they are.
// row (d,) is scratch.
func embed(dst []float64, x []float32, h *Head, row []float64) {
	if h == nil {
		for i, v := range x {
			dst[i] = float64(v)
		}
		return
	}
	d := len(row)
	for t := range len(x) / d {
		for i, v := range x[t*d : (t+1)*d] {
			row[i] = float64(v)
		}
		h.apply(dst[t*h.Out:(t+1)*h.Out], row)
	}
}

// apply writes W x + B.
func (h *Head) apply(dst, x []float64) {
	for o := range dst {
		dst[o] = floats.Dot(h.W[o*h.In:(o+1)*h.In], x) + h.B[o]
	}
}

// Apply writes W x + B to dst (Out,) for x (In,).
func (h *Head) Apply(dst, x []float64) { h.apply(dst, x) }
