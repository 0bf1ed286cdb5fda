package nn

import (
	"slices"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// Window places a kernel over an image: strides and zero padding in pixels,
// vertical and horizontal. A zero stride means 1.
type Window struct{ StrideH, StrideW, PadH, PadW int }

func (w Window) norm() Window {
	if w.StrideH == 0 {
		w.StrideH = 1
	}
	if w.StrideW == 0 {
		w.StrideW = 1
	}
	if w.StrideH < 0 || w.StrideW < 0 || w.PadH < 0 || w.PadW < 0 {
		panic("nn: Window: negative stride or padding")
	}
	return w
}

// over is how many places a kernel of kh by kw has on an image of h by w.
func (w Window) over(h, width, kh, kw int) (oh, ow int) {
	w = w.norm()
	if kh > h+2*w.PadH || kw > width+2*w.PadW {
		panic("nn: Window: kernel larger than the padded image")
	}
	return (h+2*w.PadH-kh)/w.StrideH + 1, (width+2*w.PadW-kw)/w.StrideW + 1
}

// Conv2D convolves x (B,H,W,C) with w (O,C,KH,KW), adds b (O), which may be nil,
// and gives (B,H',W',O) with H' = (H+2*pad-KH)/stride+1. As everywhere in
// learning it correlates: the kernel is not flipped. Images are channels-last,
// weights lie as in PyTorch and ONNX.
func (g *Graph) Conv2D(x, w, b *Node, stride, pad int) *Node {
	return g.Conv(x, w, b, Window{stride, stride, pad, pad}, false)
}

// Conv2DReLU is ReLU(Conv2D(x,w,b)) in one pass. The node's Grad holds the
// gradient before the ReLU once Backward has gone through it.
func (g *Graph) Conv2DReLU(x, w, b *Node, stride, pad int) *Node {
	return g.Conv(x, w, b, Window{stride, stride, pad, pad}, true)
}

// Conv is Conv2D with a Window of its own and an optional ReLU. A signal
// (B,1,L,C) with a kernel (O,C,1,K) makes it one-dimensional.
func (g *Graph) Conv(x, w, b *Node, win Window, act bool) *Node {
	if len(x.Shape) != 4 || len(w.Shape) != 4 {
		panic("nn: Conv: input and weight need four axes")
	}
	if x.Shape[3] != w.Shape[1] {
		panic("nn: Conv: channels of input and weight differ")
	}
	win = win.norm()
	oh, ow := win.over(x.Shape[1], x.Shape[2], w.Shape[2], w.Shape[3])
	return g.convolve(x, w, b, win, [3]int{oh, ow, w.Shape[0]}, act, false)
}

// ConvT is the transposed convolution, which enlarges: x (B,H,W,C) with w
// (C,O,KH,KW) and b (O), which may be nil, gives (B,H',W',O) with
// H' = (H-1)*stride - 2*pad + KH. It is the gradient of Conv with respect to its
// input, as a layer.
func (g *Graph) ConvT(x, w, b *Node, win Window) *Node {
	if len(x.Shape) != 4 || len(w.Shape) != 4 {
		panic("nn: ConvT: input and weight need four axes")
	}
	if x.Shape[3] != w.Shape[0] {
		panic("nn: ConvT: channels of input and weight differ")
	}
	win = win.norm()
	h := (x.Shape[1]-1)*win.StrideH - 2*win.PadH + w.Shape[2]
	width := (x.Shape[2]-1)*win.StrideW - 2*win.PadW + w.Shape[3]
	if h < 1 || width < 1 {
		panic("nn: ConvT: nothing is left of the image")
	}
	return g.convolve(x, w, b, win, [3]int{h, width, w.Shape[1]}, false, true)
}

func (g *Graph) convolve(x, w, b *Node, win Window, out [3]int, act, transposed bool) *Node {
	if b != nil && !slices.Equal(b.Shape, []int{out[2]}) {
		panic("nn: Conv: bias does not fit the weight")
	}
	ins := []*Node{x, w}
	if b != nil {
		ins = append(ins, b)
	}
	n := g.op([]int{x.Shape[0], out[0], out[1], out[2]}, ins...)
	c := g.dev.Conv(device.ConvShape{
		B: x.Shape[0], H: x.Shape[1], W: x.Shape[2], C: x.Shape[3], OH: out[0], OW: out[1], O: out[2],
		KH: w.Shape[2], KW: w.Shape[3], StrideH: win.StrideH, StrideW: win.StrideW, PadH: win.PadH, PadW: win.PadW,
		Transposed: transposed, Bias: b != nil, ReLU: act,
		NeedInput: x.needs, NeedW: w.needs, Static: w.static,
	})
	room := c.Scratch()
	g.reserve(room)
	var bias []float32
	if b != nil {
		bias = b.val
	}
	n.forward = func() { c.Forward(n.val, x.val, w.val, bias, g.scratch(room)) }
	n.backward = func() {
		if act {
			g.dev.Mask(n.grad, n.val)
		}
		var db []float32
		if b != nil && b.needs {
			db = b.into()
		}
		if w.needs {
			c.Weight(!w.first(), w.grad, db, n.grad, x.val, g.scratch(room))
		} else if db != nil {
			g.dev.ColSum(db, n.grad)
		}
		if x.needs {
			c.Input(!x.first(), x.grad, n.grad, w.val, g.scratch(room))
		}
	}
	return n
}
