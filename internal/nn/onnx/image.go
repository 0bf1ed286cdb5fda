package onnx

import (
	"errors"
	"fmt"

	"github.com/rapport-rl/rapport/internal/nn"
)

// window reads the attributes that convolutions and pools share; k is the size
// of the kernel.
func (s *step) window(kh, kw int) (nn.Window, error) {
	var w nn.Window
	if err := s.only("dilations", 1); err != nil {
		return w, err
	}
	pair := func(name string) ([]int64, error) {
		a, ok := s.attr(name)
		if ok && len(a.Ints) != 2 || len(a.Ints) == 2 && (a.Ints[0] < 1 || a.Ints[1] < 1 || a.Ints[0] > 1<<16 || a.Ints[1] > 1<<16) {
			return nil, fmt.Errorf("attribute %s is %v, want two positive numbers: only images are read", name, a.Ints)
		}
		return a.Ints, nil
	}
	strides, err := pair("strides")
	if err != nil {
		return w, err
	}
	if strides != nil {
		w.StrideH, w.StrideW = int(strides[0]), int(strides[1])
	}
	if kernel, err := pair("kernel_shape"); err != nil {
		return w, err
	} else if kernel != nil && (int(kernel[0]) != kh || int(kernel[1]) != kw) {
		return w, fmt.Errorf("kernel_shape %v is not the weight's %dx%d", kernel, kh, kw)
	}
	a, _ := s.attr("auto_pad")
	if a.S != "" && a.S != "NOTSET" && a.S != "VALID" {
		return w, fmt.Errorf("auto_pad %s: export with explicit pads", a.S)
	}
	if a, ok := s.attr("pads"); ok && a.S != "VALID" {
		p := a.Ints
		if len(p) != 4 || p[0] != p[2] || p[1] != p[3] || p[0] < 0 || p[1] < 0 || p[0] > 1<<12 || p[1] > 1<<12 {
			return w, fmt.Errorf("pads are %v, want the same before and after each axis", p)
		}
		w.PadH, w.PadW = int(p[0]), int(p[1])
	}
	return w, nil
}

// image is an input (B,C,H,W), channels-last.
func (r *runner) image(in []value) (*nn.Node, error) {
	if err := need(in, 1); err != nil {
		return nil, err
	}
	if len(in[0].shape()) != 4 {
		return nil, fmt.Errorf("input has shape %v, want an image (B,C,H,W)", in[0].shape())
	}
	return r.pixels(in[0])
}

func (r *runner) conv(s *step, in []value) (value, error) {
	x, err := r.image(in)
	if err != nil {
		return value{}, err
	}
	if err := need(in, 2); err != nil {
		return value{}, err
	}
	if err := s.only("group", 1); err != nil {
		return value{}, err
	}
	w, err := r.plain(in[1])
	if err != nil {
		return value{}, err
	}
	if len(w.Shape) != 4 {
		return value{}, fmt.Errorf("weight has shape %v, want (O,C,H,W)", w.Shape)
	}
	win, err := s.window(w.Shape[2], w.Shape[3])
	if err != nil {
		return value{}, err
	}
	if x.Shape[0]*(x.Shape[1]+2*win.PadH) > maxElements/(x.Shape[2]+2*win.PadW)/w.Shape[0] {
		return value{}, errors.New("the result is too large")
	}
	var b *nn.Node
	if given(in, 2) {
		if b, err = r.plain(in[2]); err != nil {
			return value{}, err
		}
	}
	return value{node: r.g.Conv(x, w, b, win, s.as == asConvReLU), last: true}, nil
}

func (r *runner) maxPool(s *step, in []value) (value, error) {
	x, err := r.image(in)
	if err != nil {
		return value{}, err
	}
	a, _ := s.attr("kernel_shape")
	if len(a.Ints) != 2 || a.Ints[0] != a.Ints[1] || a.Ints[0] < 1 || a.Ints[0] > 1<<12 {
		return value{}, fmt.Errorf("kernel_shape is %v, only squares are read", a.Ints)
	}
	k := int(a.Ints[0])
	w, err := s.window(k, k)
	if err != nil {
		return value{}, err
	}
	if w.StrideH != w.StrideW || w.PadH != w.PadW {
		return value{}, errors.New("strides and pads differ between the axes")
	}
	if err := s.only("ceil_mode", 0); err != nil {
		return value{}, err
	}
	return value{node: r.g.MaxPool(x, k, w.StrideH, w.PadH), last: true}, nil
}

func (r *runner) averagePool(s *step, in []value) (value, error) {
	x, err := r.image(in)
	if err != nil {
		return value{}, err
	}
	a, _ := s.attr("kernel_shape")
	if len(a.Ints) != 2 || a.Ints[0] < 1 || a.Ints[1] < 1 {
		return value{}, fmt.Errorf("kernel_shape is %v", a.Ints)
	}
	w, err := s.window(int(a.Ints[0]), int(a.Ints[1]))
	if err != nil {
		return value{}, err
	}
	k := int(a.Ints[0])
	if int(a.Ints[1]) == x.Shape[2] && k == x.Shape[1] && w.PadH == 0 && w.PadW == 0 {
		return r.meanImage(x)
	}
	if int(a.Ints[1]) != k || w.StrideH != k || w.StrideW != k || w.PadH != 0 || w.PadW != 0 {
		return value{}, errors.New("only averages over whole images and over squares side by side are read")
	}
	return value{node: r.g.AvgPool(x, k), last: true}, nil
}

func (r *runner) globalPool(_ *step, in []value) (value, error) {
	x, err := r.image(in)
	if err != nil {
		return value{}, err
	}
	return r.meanImage(x)
}

// meanImage averages over the pixels and keeps their axes.
func (r *runner) meanImage(x *nn.Node) (value, error) {
	y := r.g.MeanPixels(x)
	return value{node: r.g.Reshape(y, y.Shape[0], 1, 1, y.Shape[1]), last: true}, nil
}

// perChannel calls f with x channels-last and weights as nodes.
func (r *runner) perChannel(in []value, n int, f func(x *nn.Node, w []*nn.Node) *nn.Node) (value, error) {
	if err := need(in, n); err != nil {
		return value{}, err
	}
	x, err := r.pixels(in[0])
	if err != nil {
		return value{}, err
	}
	var ws []*nn.Node
	for _, v := range in[1:n] {
		w, err := r.plain(v)
		if err != nil {
			return value{}, err
		}
		ws = append(ws, w)
	}
	return value{node: f(x, ws), last: len(x.Shape) > 2}, nil
}

func (r *runner) affine(_ *step, in []value) (value, error) {
	return r.perChannel(in, 3, func(x *nn.Node, w []*nn.Node) *nn.Node { return r.g.Affine(x, w[0], w[1]) })
}

// batchNorm is met where statistics are trained; others were folded.
func (r *runner) batchNorm(s *step, in []value) (value, error) {
	if err := need(in, 5); err != nil {
		return value{}, err
	}
	mean, variance := in[3].param, in[4].param
	if mean == nil || variance == nil || len(mean.Shape) != 1 || len(variance.Data) != len(mean.Data) {
		return value{}, errors.New("mean and variance are no weights (C,)")
	}
	eps := float32(s.number("epsilon", 1e-5))
	return r.perChannel(in[:3], 3, func(x *nn.Node, w []*nn.Node) *nn.Node {
		if !w[0].Needs() {
			return r.g.BatchNorm(x, w[0], w[1], r.g.Frozen(mean), r.g.Frozen(variance), eps)
		}
		return r.g.BatchNormTrain(x, w[0], w[1], mean, variance, 1-float32(s.number("momentum", 0.9)), eps)
	})
}

// instanceNorm normalises each channel of each entry of the batch over the rest.
// With gains of one it is also how exporters write group normalisations.
func (r *runner) instanceNorm(s *step, in []value) (value, error) {
	if err := need(in, 3); err != nil {
		return value{}, err
	}
	x, err := r.plain(in[0])
	if err != nil {
		return value{}, err
	}
	if len(x.Shape) < 3 {
		return value{}, fmt.Errorf("input has shape %v, want (B,C,...)", x.Shape)
	}
	rows := x.Shape[0] * x.Shape[1]
	y := r.g.LayerNormEps(r.g.Reshape(x, rows, len(x.Value)/rows), nil, nil, float32(s.number("epsilon", 1e-5)))
	y = r.g.Reshape(y, x.Shape...)
	if in[1].is(1) && in[2].is(0) {
		return value{node: y}, nil
	}
	return r.perChannel([]value{{node: y}, in[1], in[2]}, 3, func(x *nn.Node, w []*nn.Node) *nn.Node { return r.g.Affine(x, w[0], w[1]) })
}

// is says that all elements of a fixed array are v.
func (v value) is(want float32) bool {
	if v.fixed == nil || v.fixed.Whole {
		return false
	}
	for _, x := range v.fixed.Floats {
		if x != want {
			return false
		}
	}
	return true
}

// pad is what exporters write before pools, by nothing.
func (r *runner) pad(s *step, in []value) (value, error) {
	pads, err := s.ints(in, 1, "pads")
	if err != nil {
		return value{}, err
	}
	for _, p := range pads {
		if p != 0 {
			return value{}, fmt.Errorf("pads are %v: only convolutions and pools pad here", pads)
		}
	}
	return r.same(s, in)
}
