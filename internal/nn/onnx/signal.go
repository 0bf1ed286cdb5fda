package onnx

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
)

// Signals are images of one line, (batch,C,1,L).

// Reshape gives x another shape; -1 is what is left, usually the batch.
func (b *Builder) Reshape(x string, shape ...int) string {
	ints := make([]int64, len(shape))
	for i, d := range shape {
		ints[i] = int64(d)
	}
	return b.reshape(x, ints...)
}

// Transpose orders the axes of x anew.
func (b *Builder) Transpose(x string, perm ...int) string {
	ints := make([]int64, len(perm))
	for i, d := range perm {
		ints[i] = int64(d)
	}
	return b.transpose(x, ints...)
}

// Concat joins along an axis.
func (b *Builder) Concat(axis int, xs ...string) string {
	if len(xs) == 1 {
		return xs[0]
	}
	return b.Op("Concat", xs, Attr{Name: "axis", Kind: Int, I: int64(axis)})
}

// Slice is what x holds from one place along an axis up to another.
func (b *Builder) Slice(x string, axis, from, to int) string {
	one := func(what string, v int) string {
		name := b.name(what)
		b.graph.Init = append(b.graph.Init, Tensor{Name: name, Shape: []int{1}, Whole: true, Ints: []int64{int64(v)}})
		return name
	}
	return b.Op("Slice", []string{x, one("start", from), one("end", to), one("axis", axis)})
}

// Add, Sub and Mul are of two values of one shape, or of one and a constant.
func (b *Builder) Add(x, y string) string { return b.Op("Add", []string{x, y}) }

// Sub is x - y.
func (b *Builder) Sub(x, y string) string { return b.Op("Sub", []string{x, y}) }

// Mul is x times y.
func (b *Builder) Mul(x, y string) string { return b.Op("Mul", []string{x, y}) }

// Scale is x times a number.
func (b *Builder) Scale(x string, v float64) string { return b.Mul(x, b.scalar(v)) }

// Same gives every row of the batch of x (batch,n) the row v: (batch,len(v)).
func (b *Builder) Same(x string, n int, v []float32) string {
	return b.Op("Gemm", []string{x, b.Const("zeros", make([]float32, n*len(v)), len(v), n), b.Const("row", v, len(v))},
		Attr{Name: "transB", Kind: Int, I: 1})
}

// Rows applies Linear to the last axis of tokens (batch,T,In): (batch,T,Out).
func (b *Builder) Rows(x string, T int, w, bias *nn.Param) string {
	x = b.Linear(b.Reshape(x, -1, w.Shape[1]), w, bias)
	return b.Reshape(x, -1, T, w.Shape[0])
}

// RowNorm is LayerNorm of the last axis of tokens (batch,T,D).
func (b *Builder) RowNorm(x string, T int, gain, bias *nn.Param) string {
	D := gain.Shape[0]
	return b.Reshape(b.LayerNorm(b.Reshape(x, -1, D), gain, bias), -1, T, D)
}

// Conv1D is nn.Graph's of signals, with w (O,C,1,K).
func (b *Builder) Conv1D(x string, w, bias *nn.Param, stride, pad int) string {
	return b.Op("Conv", []string{x, b.param(w), b.param(bias)}, line(w, stride, pad)...)
}

// ConvT1D is nn.Graph's of signals, with w (C,O,1,K).
func (b *Builder) ConvT1D(x string, w, bias *nn.Param, stride, pad int) string {
	return b.Op("ConvTranspose", []string{x, b.param(w), b.param(bias)}, line(w, stride, pad)...)
}

// line is the window of a convolution over one line.
func line(w *nn.Param, stride, pad int) []Attr {
	s, p := int64(stride), int64(pad)
	return []Attr{
		{Name: "kernel_shape", Kind: Ints, Ints: []int64{1, int64(w.Shape[3])}},
		{Name: "strides", Kind: Ints, Ints: []int64{1, s}},
		{Name: "pads", Kind: Ints, Ints: []int64{0, p, 0, p}},
	}
}

// GroupNorm is nn.Graph's of signals of length L.
func (b *Builder) GroupNorm(x string, gain, bias *nn.Param, groups, L int) string {
	C := gain.Shape[0]
	x = b.Reshape(x, -1, 1, C/groups*L)
	x = b.Op("InstanceNormalization", []string{x, b.Const("one", []float32{1}, 1), b.Const("zero", []float32{0}, 1)},
		Attr{Name: "epsilon", Kind: Float, F: normEps})
	x = b.Mul(b.Reshape(x, -1, C, 1, L), b.Const(gain.Name, gain.Data, 1, C, 1, 1))
	return b.Add(x, b.Const(bias.Name, bias.Data, 1, C, 1, 1))
}

// FiLM scales and shifts the channels of signals by film (batch,2C).
func (b *Builder) FiLM(x, film string, C int) string {
	x = b.Mul(x, b.Reshape(b.Slice(film, 1, 0, C), -1, C, 1, 1))
	return b.Add(x, b.Reshape(b.Slice(film, 1, C, 2*C), -1, C, 1, 1))
}

// Attention is nn.Graph's from q (batch,T,D) to k and v (batch,S,D).
func (b *Builder) Attention(q, k, v string, D, heads, T, S int, causal bool) string {
	var mask string
	if causal {
		m := make([]float32, T*S)
		for i := range T {
			for j := i + 1; j < S; j++ {
				m[i*S+j] = -1e30 // zero beside any other, as nn's
			}
		}
		mask = b.Const("causal", m, 1, T, S)
	}
	d := D / heads
	var ys []string
	for h := range heads {
		part := func(x string) string { return b.Slice(x, 2, h*d, (h+1)*d) }
		w := b.Op("MatMul", []string{b.Scale(part(q), 1/math.Sqrt(float64(d))), b.Transpose(part(k), 0, 2, 1)})
		if causal {
			w = b.Add(w, mask)
		}
		w = b.Op("Softmax", []string{w}, Attr{Name: "axis", Kind: Int, I: 2})
		ys = append(ys, b.Op("MatMul", []string{w, part(v)}))
	}
	return b.Concat(2, ys...)
}

// convTranspose reads the transposed convolution of images.
func (r *runner) convTranspose(s *step, in []value) (value, error) {
	x, err := r.image(in)
	if err != nil {
		return value{}, err
	}
	if err := need(in, 2); err != nil {
		return value{}, err
	}
	for _, a := range []struct {
		name string
		want int64
	}{{"group", 1}, {"output_padding", 0}} {
		if err := s.only(a.name, a.want); err != nil {
			return value{}, err
		}
	}
	if a, ok := s.attr("output_shape"); ok {
		return value{}, fmt.Errorf("output_shape %v: export with explicit pads", a.Ints)
	}
	w, err := r.plain(in[1])
	if err != nil {
		return value{}, err
	}
	if len(w.Shape) != 4 {
		return value{}, fmt.Errorf("weight has shape %v, want (C,O,H,W)", w.Shape)
	}
	win, err := s.window(w.Shape[2], w.Shape[3])
	if err != nil {
		return value{}, err
	}
	if x.Shape[0]*x.Shape[1]*max(1, win.StrideH)+w.Shape[2] > maxElements/(x.Shape[2]*max(1, win.StrideW)+w.Shape[3])/w.Shape[1] {
		return value{}, fmt.Errorf("the result of an image %v is too large", x.Shape)
	}
	var bias *nn.Node
	if given(in, 2) {
		if bias, err = r.plain(in[2]); err != nil {
			return value{}, err
		}
	}
	return value{node: r.g.ConvT(x, w, bias, win), last: true}, nil
}

// entrywise says that b (B,C,1,...) has one number for each channel of each entry of
// a (B,C,...), as FiLM and squeezed attention to channels have.
func entrywise(a, b []int) bool {
	return len(a) == len(b) && len(a) > 2 && a[0] > 1 && a[0] == b[0] && a[1] == b[1] && size(b) == b[0]*b[1]
}

// film adds to or multiplies the channels of each entry of a by those of b.
func (r *runner) film(a, b value, times bool) (value, error) {
	x, err := r.pixels(a)
	if err != nil {
		return value{}, err
	}
	y, err := r.plain(b)
	if err != nil {
		return value{}, err
	}
	B, C := b.shape()[0], b.shape()[1]
	y = r.g.Reshape(y, B, C)
	one := make([]float32, B*C)
	if !times {
		for i := range one {
			one[i] = 1
		}
		return value{node: r.g.FiLM(x, r.g.Concat(r.g.Const(one, B, C), y)), last: true}, nil
	}
	return value{node: r.g.FiLM(x, r.g.Concat(y, r.g.Const(one, B, C))), last: true}, nil
}
