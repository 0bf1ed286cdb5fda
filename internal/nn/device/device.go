// Package device does the arithmetic of neural networks on float32 arrays.
//
// A Device is everything that package nn computes with in its inner loops, so
// that another processor can be put under all algorithms at once. There are two:
// Native, which is oneDNN (Apache-2.0, Debian's libdnnl) for products and
// convolutions and C on vectors for the rest, and Portable, which is Go. A build
// without cgo, or with -tags purego, has Portable alone. A test holds both
// against the same definitions.
//
//	d := device.Default()
//	d.Gemm(false, true, m, n, k, x, k, w, k, 0, y, n) // y = x wᵀ
//
// Arrays are row-major, images are channels-last (B,H,W,C), and every Device is
// safe for use by several goroutines. Equal inputs give equal bits on the same
// machine; Portable's do so with -tags noasm, since gonum's assembly sums in an
// order that depends on where an array lies. Shapes are the caller's business: they were checked when the graph
// was built.
package device

// Op names an elementwise function.
type Op uint8

// The elementwise functions.
const (
	ReLU     Op = iota // max(x,0)
	Tanh               // tanh x
	Sigmoid            // 1/(1+e^-x)
	SiLU               // x/(1+e^-x)
	GELU               // x Φ(x), Φ the normal distribution function to 1e-7
	Mish               // x tanh(ln(1+e^x))
	Softplus           // ln(1+e^x)
	Exp                // e^x
	Square             // x²
	ops                // how many there are
)

// Device computes. Where an argument is called add, true adds the result to what
// the destination holds and false overwrites it.
type Device interface {
	// Name says what computes, for people.
	Name() string

	// Gemm is c = op(a) op(b) + beta c for op(a) (m,k), op(b) (k,n) and c (m,n);
	// ta and tb say that a or b is stored transposed, lda, ldb and ldc are the
	// distances between stored rows.
	Gemm(ta, tb bool, m, n, k int, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int)
	// Conv plans a convolution.
	Conv(s ConvShape) Conv

	// Map is y = f(x); y may be x.
	Map(f Op, y, x []float32)
	// MapGrad is dx = dy f'(x), where y = f(x).
	MapGrad(f Op, add bool, dx, dy, x, y []float32)
	// Mask sets d to zero where y is not above zero: the gradient of a ReLU by its
	// result.
	Mask(d, y []float32)
	// Add is dst += src.
	Add(dst, src []float32)
	// Axpy is dst += a src.
	Axpy(a float32, dst, src []float32)
	// Mul is dst = a∘b.
	Mul(add bool, dst, a, b []float32)
	// Lerp is dst += tau (src - dst).
	Lerp(tau float32, dst, src []float32)
	// SumSquares adds in float64.
	SumSquares(x []float32) float64
	// Pixels is dst = src/255 - 1/2.
	Pixels(dst []float32, src []byte)

	// Bias sets every row of y (...,D) to b (D,).
	Bias(y, b []float32)
	// ColSum adds the rows of x (...,D) to dst (D,).
	ColSum(dst, x []float32)
	// Affine is y = x∘gain + bias for the rows of x (...,D).
	Affine(y, x, gain, bias []float32)
	// AffineGrad is its gradient: into dx unless that is nil, added to dgain and
	// dbias unless those are nil.
	AffineGrad(add bool, dx, dgain, dbias, dy, x, gain []float32)
	// Softmax is the softmax of c x along rows of D.
	Softmax(D int, c float32, y, x []float32)
	// SoftmaxGrad is its gradient, c y∘(dy - (y·dy)) along rows.
	SoftmaxGrad(D int, c float32, add bool, dx, dy, y []float32)

	// Norm standardises the rows of x (R,D) and applies gain and bias.
	Norm(n Norm, y, x []float32)
	// NormGrad is its gradient: into dx unless that is nil, added to dgain and
	// dbias unless those are nil. With ReLU y is the result and dy is masked by it
	// on the way.
	NormGrad(n Norm, add bool, dx, dgain, dbias, dy, y, x []float32)
	// Groups standardises groups of channels of x (B,N,C) and applies gain and
	// bias (C,).
	Groups(n Groups, y, x []float32)
	// GroupsGrad is its gradient, as NormGrad's.
	GroupsGrad(n Groups, add bool, dx, dgain, dbias, dy, x []float32)

	// SpatialSoftmax takes for each channel of x (B,H,W,C) the softmax of x/t over
	// the pixels and its mean position in [-1,1]: prob (B,H,W,C) and
	// y (B,2C) as x0, y0, x1, y1 and so on.
	SpatialSoftmax(B, H, W, C int, t float32, y, prob, x []float32)
	// SpatialSoftmaxGrad adds its gradient to dx.
	SpatialSoftmaxGrad(B, H, W, C int, t float32, dx, dy, y, prob []float32)

	// Adam moves data against grad by a step of Adam.
	Adam(s AdamStep, data, grad, mean, square []float32)
}

// Norm is a standardisation of rows: layer norm. Members consecutive blocks of
// rows have each their own gain and bias.
type Norm struct {
	D, Members int
	Eps        float32
	ReLU       bool      // after it
	Gain, Bias []float32 // (Members,D), or nil both
	Mean, Inv  []float32 // (R,) kept from Norm for NormGrad
}

// Groups is a standardisation of groups of channels: group norm, and with one
// batch entry and a group a channel the training form of batch norm.
type Groups struct {
	B, N, C, G int // batch, pixels, channels, groups
	Eps        float32
	Gain, Bias []float32 // (C,)
	Mean, Inv  []float32 // (B,G) kept from Groups for GroupsGrad
	Sums       []float32 // (2,C) working memory
}

// AdamStep is what all elements of a step of Adam share: gradients are
// multiplied by Scale, the moments decay by B1 and B2 and take R1 and R2 of the
// new, and data becomes Decay*data - Step*mean/(sqrt(square)+Eps).
type AdamStep struct{ Scale, B1, R1, B2, R2, Step, Eps, Decay float32 }

// ConvShape is a convolution of x (B,H,W,C) with w (O,C,KH,KW) to (B,OH,OW,O),
// or, Transposed, with w (C,O,KH,KW) the other way round. Padding is by zeros, on
// both sides alike. As everywhere in learning the kernel is not flipped.
type ConvShape struct {
	B, H, W, C       int // of x
	OH, OW, O        int // of y
	KH, KW           int
	StrideH, StrideW int
	PadH, PadW       int
	Transposed       bool
	Bias, ReLU       bool
	NeedInput, NeedW bool // which gradients will be asked for
	Static           bool // w never changes: it may be arranged once
}

// Conv is a planned convolution, used by one goroutine at a time.
type Conv interface {
	// Scratch is how many elements the methods need to work in.
	Scratch() int
	// Forward is y = x*w + b, then ReLU if the shape says so. b is nil without a
	// bias.
	Forward(y, x, w, b, scratch []float32)
	// Input is the gradient by x. dy is masked by the ReLU already.
	Input(add bool, dx, dy, w, scratch []float32)
	// Weight adds the gradients by w and, unless nil, by b.
	Weight(add bool, dw, db, dy, x, scratch []float32)
}

func elements(s ConvShape) (x, y, w int) {
	return s.B * s.H * s.W * s.C, s.B * s.OH * s.OW * s.O, s.O * s.C * s.KH * s.KW
}
