package nn

// Conv1D convolves signals x (B,L,C) with w (O,C,1,K), adds b (O), which may be
// nil, and gives (B,L',O) with L' = (L+2*pad-K)/stride+1.
func (g *Graph) Conv1D(x, w, b *Node, stride, pad int) *Node {
	return g.signal(g.Conv(g.lines("Conv1D", x, w), w, b, Window{StrideW: stride, PadW: pad}, false))
}

// ConvT1D is the transposed convolution of signals: x (B,L,C) with w (C,O,1,K)
// and b (O), which may be nil, gives (B,L',O) with L' = (L-1)*stride-2*pad+K.
func (g *Graph) ConvT1D(x, w, b *Node, stride, pad int) *Node {
	return g.signal(g.ConvT(g.lines("ConvT1D", x, w), w, b, Window{StrideW: stride, PadW: pad}))
}

// lines takes signals for images of one line.
func (g *Graph) lines(op string, x, w *Node) *Node {
	if len(x.Shape) != 3 || len(w.Shape) != 4 || w.Shape[2] != 1 {
		panic("nn: " + op + ": input needs three axes, and the weight four with a height of 1")
	}
	return g.Reshape(x, x.Shape[0], 1, x.Shape[1], x.Shape[2])
}

func (g *Graph) signal(x *Node) *Node { return g.Reshape(x, x.Shape[0], x.Shape[2], x.Shape[3]) }
