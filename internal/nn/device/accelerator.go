package device

// Accelerator is a Device with memory of its own. Its arrays are []float32 like
// others, to be cut and passed on, but the processor cannot read or write them: it
// faults. Every method of Device takes them, and ordinary arrays too, which are
// copied there and back; that is right, and slow.
//
// Work is queued and done in order. Results are there once Sync has returned, or
// a method of Device that was given an ordinary array to write to.
type Accelerator interface {
	Device
	Memory
	Recorder

	// Products are count of Gemm's products, of arrays sa, sb and sc elements apart.
	Products(ta, tb bool, m, n, k int, a []float32, lda, sa int, b []float32, ldb, sb int, beta float32, c []float32, ldc, sc, count int)

	// Shift is dst += c.
	Shift(c float32, dst []float32)
	// Unary is y = f(x) and UnaryGrad its gradient, as Map and MapGrad for functions
	// with numbers of their own.
	Unary(f Unary, y, x []float32)
	UnaryGrad(f Unary, add bool, dx, dy, x, y []float32)
	// Binary is y = f(a,b) with b repeated; BinaryGrad adds to da and db, each of
	// which may be nil.
	Binary(f Binary, r Repeat, y, a, b []float32)
	BinaryGrad(f Binary, r Repeat, da, db, dy, a, b []float32)

	// Sum is y[0] = c sum x.
	Sum(c float32, y, x []float32)
	// Spread adds c dy[i] to row i of dx, of D elements each.
	Spread(D int, c float32, dx, dy []float32)
	// RowSum is y[i] = c sum of row i of x (...,D).
	RowSum(D int, c float32, y, x []float32)
	// Between is y[0] = the mean of l(a-b), and BetweenGrad adds its gradient to da
	// and takes it from db, each of which may be nil.
	Between(l Loss, y, a, b []float32)
	BetweenGrad(l Loss, da, db, dy, a, b []float32)
	// MinFirst is the smallest of x (E,n) over the first axis, and in pick, as
	// integers, where it was; Pick adds dy to dx there.
	MinFirst(E int, y, pick, x []float32)
	Pick(dx, dy, pick []float32)

	// MemberBias is Bias, and MemberColSum ColSum, for the members of y (E,...,D) with
	// b (E,D).
	MemberBias(members int, y, b []float32)
	MemberColSum(members int, dst, x []float32)
	// FiLM is y = x∘scale + shift for film (B,2C), see nn.Graph.FiLM; FiLMGrad gives dx,
	// unless nil, and adds to dfilm, unless nil.
	FiLM(B, C int, y, x, film []float32)
	FiLMGrad(B, C int, add bool, dx, dfilm, dy, x, film []float32)
	// Causal hides what lies ahead in squares of S scores.
	Causal(S int, p []float32)
	// Running moves the statistics of batch norm as nn.Graph.BatchNormTrain says.
	Running(momentum, eps, unbias float32, mean, variance, batchMean, batchInv []float32)

	// Strided copies, or adds, rows of cols elements that are ldd and lds apart.
	Strided(add bool, rows, cols int, dst []float32, ldd int, src []float32, lds int)
	// Permute is y = x with its axes reordered: y has this shape, and a step along its
	// axis i is step[i] in x. PermuteGrad adds the gradient to dx.
	Permute(shape, step []int, y, x []float32)
	PermuteGrad(shape, step []int, dx, dy []float32)
	// MaxPool is nn.Graph.MaxPool's, with pick as MinFirst's; MaxPoolGrad adds to dx.
	MaxPool(p Pool, y, pick, x []float32)
	MaxPoolGrad(p Pool, dx, dy, pick []float32)
	// Shrink is c times the sums of kh by kw blocks of images (...,W,C); Grow is c
	// times every pixel kh times down and kw times across to images (...,W,C).
	Shrink(W, C, kh, kw int, c float32, add bool, y, x []float32)
	Grow(W, C, kh, kw int, c float32, add bool, y, x []float32)

	// ImageSum adds c times the sums over the pixels of x (B,...,C) to y (B,C).
	ImageSum(B, C int, c float32, y, x []float32)

	// Adams takes the arrays that a step of Adam moves together.
	Adams(data, grad, mean, square [][]float32) Adams
}

// Memory is an accelerator's.
type Memory interface {
	// Alloc returns n zeros on the accelerator.
	Alloc(n int) []float32
	// Pin returns n zeros for the processor that are quickly copied.
	Pin(n int) []float32
	// Free gives back what Alloc or Pin returned, whole.
	Free(x []float32)
	// Upload and Download queue a copy between the two; the ordinary array must stay
	// as it is until Sync.
	Upload(dst, src []float32)
	Download(dst, src []float32)
	// Copy and Clear are copy and clear there.
	Copy(dst, src []float32)
	Clear(dst []float32)
	// Sync waits for everything that was queued.
	Sync()
}

// Recorder repeats a sequence of calls that is always the same, at once.
type Recorder interface {
	// Record keeps what f queues, instead of doing it. f must not wait, and arrays
	// must be the accelerator's. It returns nil where that cannot be done.
	Record(f func()) Recording
}

// Recording is a sequence of calls.
type Recording interface {
	Replay()
	Forget()
}

// Adams moves many arrays together.
type Adams interface {
	// Step is Adam for all arrays; clip is the largest norm of their whole gradient, 0
	// for no limit, in place of Scale.
	Step(s AdamStep, clip float64)
	// Norm is the norm of the whole gradient at the last Step.
	Norm() float64
}

// Unary is an elementwise function with numbers A and B of its own.
type Unary struct {
	Op   UnaryOp
	A, B float32
}

// UnaryOp names such a function.
type UnaryOp uint8

// The functions of Unary.
const (
	LeakyReLU UnaryOp = iota // x, or A x below zero
	Log
	Sqrt
	Abs
	Scale // A x
	Plus  // x + A
	Clamp // between A and B
)

// Binary names a function of two numbers.
type Binary uint8

// The functions of Binary. Ties of Min and Max are a's.
const (
	Sum Binary = iota
	Difference
	Product
	Quotient
	Min
	Max
)

// Repeat says how b is repeated over a: element (o,i) of a, of Outer by Inner,
// meets element o*StepOuter + i*StepInner of b.
type Repeat struct{ Outer, Inner, StepOuter, StepInner int }

// Loss is a mean over differences: of their squares, or with a Delta Huber's.
type Loss struct{ Delta float32 }

// Pool is a window of K by K pixels over images (B,H,W,C).
type Pool struct {
	B, H, W, C, OH, OW       int
	K, StrideH, StrideW, Pad int
}
