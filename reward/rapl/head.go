package rapl

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
)

// Head is a map of embeddings, z = W x + B, or a small network whose last layer
// that is.
type Head struct {
	In  int       `json:"in"`
	Out int       `json:"out"`
	W   []float64 `json:"w"` // (Out,In), or (Out, outputs of the last hidden layer), row-major
	B   []float64 `json:"b"` // (Out,)
	// Hidden layers come first, each followed by a ReLU; none for a linear head.
	Hidden []Layer `json:"hidden,omitempty"`
}

// Layer is a hidden layer of a Head, max(0, W x + B).
type Layer struct {
	In  int       `json:"in"`
	Out int       `json:"out"`
	W   []float64 `json:"w"` // (Out,In), row-major
	B   []float64 `json:"b"` // (Out,)
}

// NewHead draws a linear head, W and B uniformly within ±1/√in, as PyTorch's
// Linear does.
func NewHead(in, out int, rng *rand.Rand) Head {
	l := newLayer(in, out, rng)
	return Head{In: in, Out: out, W: l.W, B: l.B}
}

// NewDeepHead draws a head with hidden layers of the given widths, each as NewHead
// does.
func NewDeepHead(in int, hidden []int, out int, rng *rand.Rand) Head {
	h := Head{In: in, Out: out}
	for _, n := range hidden {
		h.Hidden = append(h.Hidden, newLayer(in, n, rng))
		in = n
	}
	l := newLayer(in, out, rng)
	h.W, h.B = l.W, l.B
	return h
}

func newLayer(in, out int, rng *rand.Rand) Layer {
	l := Layer{In: in, Out: out, W: make([]float64, out*in), B: make([]float64, out)}
	r := 1 / math.Sqrt(float64(in))
	for _, x := range [2][]float64{l.W, l.B} {
		for i := range x {
			x[i] = (2*rng.Float64() - 1) * r
		}
	}
	return l
}

// Validate reports wrong shapes and numbers that are not finite.
func (h Head) Validate() error {
	if h.In <= 0 || h.Out <= 0 {
		return fmt.Errorf("rapl: head from %d to %d numbers, want positive", h.In, h.Out)
	}
	in := h.In
	for i, l := range h.Hidden {
		if l.In != in || l.Out <= 0 {
			return fmt.Errorf("rapl: head: hidden layer %d takes %d numbers to %d, want %d to at least one", i, l.In, l.Out, in)
		}
		in = l.Out
	}
	for _, l := range h.layers() {
		if len(l.W) != l.In*l.Out || len(l.B) != l.Out {
			return fmt.Errorf("rapl: head %d to %d has %d weights and %d biases", l.In, l.Out, len(l.W), len(l.B))
		}
	}
	for _, x := range h.parts() {
		for _, v := range x {
			if v-v != 0 {
				return fmt.Errorf("rapl: head has a weight of %v", v)
			}
		}
	}
	return nil
}

// last is the linear layer at the end.
func (h Head) last() Layer {
	in := h.In
	if n := len(h.Hidden); n > 0 {
		in = h.Hidden[n-1].Out
	}
	return Layer{In: in, Out: h.Out, W: h.W, B: h.B}
}

// layers are all, in order.
func (h Head) layers() []Layer { return append(append([]Layer(nil), h.Hidden...), h.last()) }

// parts are the learned arrays, shared: W and B, then those of the hidden layers.
func (h Head) parts() [][]float64 {
	ps := [][]float64{h.W, h.B}
	for _, l := range h.Hidden {
		ps = append(ps, l.W, l.B)
	}
	return ps
}

// size is the number of learned numbers.
func (h Head) size() (n int) {
	for _, p := range h.parts() {
		n += len(p)
	}
	return n
}

func (h Head) clone() Head {
	h.W = append([]float64(nil), h.W...)
	h.B = append([]float64(nil), h.B...)
	h.Hidden = append([]Layer(nil), h.Hidden...)
	for i, l := range h.Hidden {
		h.Hidden[i].W = append([]float64(nil), l.W...)
		h.Hidden[i].B = append([]float64(nil), l.B...)
	}
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

// room is the length of the scratch that embed wants for embeddings of d numbers.
func (h *Head) room(d int) int {
	if h == nil {
		return d
	}
	for _, l := range h.Hidden {
		d += l.Out
	}
	return d
}

// embed writes the embeddings x (T,d) as compared: through h, or as they are.
// row (h.room(d),) is scratch.
func embed(dst []float64, x []float32, h *Head, row []float64) {
	if h == nil {
		for i, v := range x {
			dst[i] = float64(v)
		}
		return
	}
	d := h.In
	for t := range len(x) / d {
		for i, v := range x[t*d : (t+1)*d] {
			row[i] = float64(v)
		}
		h.apply(dst[t*h.Out:(t+1)*h.Out], row)
	}
}

// apply maps the first In numbers of row, and leaves the hidden layers' behind
// them.
func (h *Head) apply(dst, row []float64) {
	in, rest := row[:h.In], row[h.In:]
	for i := range h.Hidden {
		l := &h.Hidden[i]
		linear(rest[:l.Out], in, l.W, l.B)
		for j, v := range rest[:l.Out] {
			rest[j] = max(v, 0)
		}
		in, rest = rest[:l.Out], rest[l.Out:]
	}
	linear(dst, in, h.W, h.B)
}

// Apply writes what the head makes of x (In,) to dst (Out,).
func (h *Head) Apply(dst, x []float64) {
	if len(h.Hidden) == 0 {
		linear(dst, x, h.W, h.B)
		return
	}
	row := make([]float64, h.room(h.In))
	copy(row, x)
	h.apply(dst, row)
}

// linear writes W x + B.
func linear(dst, x, w, b []float64) {
	for o := range dst {
		dst[o] = floats.Dot(w[o*len(x):(o+1)*len(x)], x) + b[o]
	}
}

// pass is a clip on its way through a head: what each layer was given, and the
// gradient there.
type pass struct {
	t  int
	x  [][]float64 // (T, In of layer i); x[0] as given
	d  [][]float64 // the gradients by x, of hidden layers
	z  []float64   // (T,Out) as compared
	dz []float64   // the gradient of the loss by z
	dx []float64   // (T,In), by x[0], where it is asked for
}

// load takes the embeddings in (T,d) through h.
func (s *pass) load(in []float32, t, d int, h *Head) {
	s.t = t
	n := 1
	if h != nil {
		n += len(h.Hidden)
	}
	for len(s.x) < n {
		s.x, s.d = append(s.x, nil), append(s.d, nil)
	}
	s.x[0] = resize(s.x[0], len(in))
	for i, v := range in {
		s.x[0][i] = float64(v)
	}
	if h == nil {
		s.z = append(s.z[:0], s.x[0]...)
		s.dz = resize(s.dz, len(s.z))
		return
	}
	s.z, s.dz = resize(s.z, t*h.Out), resize(s.dz, t*h.Out)
	for i, l := range h.Hidden {
		s.x[i+1], s.d[i+1] = resize(s.x[i+1], t*l.Out), resize(s.d[i+1], t*l.Out)
		for k := range t {
			dst := s.x[i+1][k*l.Out : (k+1)*l.Out]
			linear(dst, s.x[i][k*l.In:(k+1)*l.In], l.W, l.B)
			for j, v := range dst {
				dst[j] = max(v, 0)
			}
		}
	}
	last := h.last()
	for k := range t {
		linear(s.z[k*h.Out:(k+1)*h.Out], s.x[n-1][k*last.In:(k+1)*last.In], last.W, last.B)
	}
}

// backward adds the head's gradient to g, which lies as parts does, and where deep
// is set leaves that by what load was given in dx. dW = dzᵀ x and dB = Σ_t dz.
func (s *pass) backward(g []float64, h *Head, deep bool) {
	if h == nil {
		if deep {
			s.dx = append(s.dx[:0], s.dz...)
		}
		return
	}
	take := func(n int) []float64 {
		p := g[:n]
		g = g[n:]
		return p
	}
	at := make([][2][]float64, 0, 4)
	last := h.last()
	at = append(at, [2][]float64{take(len(h.W)), take(len(h.B))})
	for _, l := range h.Hidden {
		at = append(at, [2][]float64{take(len(l.W)), take(len(l.B))})
	}
	up := s.dz
	for i := len(h.Hidden); i >= 0; i-- {
		l, where := last, at[0]
		if i < len(h.Hidden) {
			l, where = h.Hidden[i], at[i+1]
		}
		d := general(s.t, l.Out, up)
		blas64.Gemm(blas.Trans, blas.NoTrans, 1, d, general(s.t, l.In, s.x[i]), 1, general(l.Out, l.In, where[0]))
		for t := range s.t {
			floats.Add(where[1], up[t*l.Out:(t+1)*l.Out])
		}
		if i == 0 && !deep {
			return
		}
		if i == 0 {
			s.dx = resize(s.dx, s.t*l.In)
			blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, d, general(l.Out, l.In, l.W), 0, general(s.t, l.In, s.dx))
			return
		}
		blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, d, general(l.Out, l.In, l.W), 0, general(s.t, l.In, s.d[i]))
		for j, v := range s.x[i] {
			if v <= 0 {
				s.d[i][j] = 0
			}
		}
		up = s.d[i]
	}
}

func general(rows, cols int, x []float64) blas64.General {
	return blas64.General{Rows: rows, Cols: cols, Stride: cols, Data: x}
}
