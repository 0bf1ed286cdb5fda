package nn

import (
	"math"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// unary adds y = f(x) elementwise; df gives dy/dx from x and y. u is both to an
// accelerator.
func (g *Graph) unary(x *Node, u device.Unary, f func(x float32) float32, df func(x, y float32) float32) *Node {
	n := g.op(x.Shape, x)
	if g.far != nil {
		n.forward = func() { g.far.Unary(u, n.val, x.val) }
		n.backward = func() { g.far.UnaryGrad(u, !x.first(), x.grad, n.grad, x.val, n.val) }
		return n
	}
	n.forward = func() {
		y := n.Value[:len(x.Value)]
		for i, v := range x.Value {
			y[i] = f(v)
		}
	}
	n.backward = func() {
		d, dy, xv, yv := x.Grad, n.Grad, x.Value, n.Value
		dy, xv, yv = dy[:len(d)], xv[:len(d)], yv[:len(d)]
		if x.first() {
			for i := range d {
				d[i] = dy[i] * df(xv[i], yv[i])
			}
			return
		}
		for i := range d {
			d[i] += dy[i] * df(xv[i], yv[i])
		}
	}
	return n
}

// known adds an elementwise function of the device's.
func (g *Graph) known(f device.Op, x *Node) *Node {
	n := g.op(x.Shape, x)
	n.forward = func() { g.dev.Map(f, n.val, x.val) }
	n.backward = func() { g.dev.MapGrad(f, !x.first(), x.grad, n.grad, x.val, n.val) }
	return n
}

// ReLU is max(x,0).
func (g *Graph) ReLU(x *Node) *Node { return g.known(device.ReLU, x) }

// LeakyReLU is x for positive x and slope*x otherwise.
func (g *Graph) LeakyReLU(x *Node, slope float32) *Node {
	return g.unary(x, device.Unary{Op: device.LeakyReLU, A: slope}, func(x float32) float32 {
		if x > 0 {
			return x
		}
		return slope * x
	}, func(x, _ float32) float32 {
		if x > 0 {
			return 1
		}
		return slope
	})
}

// Tanh is the hyperbolic tangent.
func (g *Graph) Tanh(x *Node) *Node { return g.known(device.Tanh, x) }

// Sigmoid is 1/(1+e^-x).
func (g *Graph) Sigmoid(x *Node) *Node { return g.known(device.Sigmoid, x) }

// SiLU is x*sigmoid(x), also called swish.
func (g *Graph) SiLU(x *Node) *Node { return g.known(device.SiLU, x) }

// GELU is x*Phi(x) with the normal distribution function itself, not its tanh
// approximation (Hendrycks and Gimpel 2016, arXiv:1606.08415).
func (g *Graph) GELU(x *Node) *Node { return g.known(device.GELU, x) }

// Mish is x*tanh(softplus(x)) (Misra 2019, arXiv:1908.08681), the activation of
// diffusion policies.
func (g *Graph) Mish(x *Node) *Node { return g.known(device.Mish, x) }

// Softplus is ln(1+e^x).
func (g *Graph) Softplus(x *Node) *Node { return g.known(device.Softplus, x) }

// Exp is e^x.
func (g *Graph) Exp(x *Node) *Node { return g.known(device.Exp, x) }

// Log is the natural logarithm.
func (g *Graph) Log(x *Node) *Node {
	return g.unary(x, device.Unary{Op: device.Log}, func(x float32) float32 { return float32(math.Log(float64(x))) },
		func(x, _ float32) float32 { return 1 / x })
}

// Sqrt is the square root. Its slope is infinite at zero.
func (g *Graph) Sqrt(x *Node) *Node {
	return g.unary(x, device.Unary{Op: device.Sqrt}, sqrt32, func(_, y float32) float32 { return 0.5 / y })
}

// Abs is the absolute value, of slope 0 at 0.
func (g *Graph) Abs(x *Node) *Node {
	return g.unary(x, device.Unary{Op: device.Abs}, func(x float32) float32 { return float32(math.Abs(float64(x))) },
		func(x, _ float32) float32 {
			switch {
			case x > 0:
				return 1
			case x < 0:
				return -1
			}
			return 0
		})
}

// Square is x^2.
func (g *Graph) Square(x *Node) *Node { return g.known(device.Square, x) }

// Neg is -x.
func (g *Graph) Neg(x *Node) *Node { return g.Scale(x, -1) }

// Scale is c*x.
func (g *Graph) Scale(x *Node, c float32) *Node {
	return g.unary(x, device.Unary{Op: device.Scale, A: c}, func(x float32) float32 { return c * x }, func(_, _ float32) float32 { return c })
}

// AddScalar is x+c.
func (g *Graph) AddScalar(x *Node, c float32) *Node {
	return g.unary(x, device.Unary{Op: device.Plus, A: c}, func(x float32) float32 { return x + c }, func(_, _ float32) float32 { return 1 })
}

// Clamp limits x to [lo,hi]; the gradient is zero outside.
func (g *Graph) Clamp(x *Node, lo, hi float32) *Node {
	if !(lo <= hi) {
		panic("nn: Clamp: empty interval")
	}
	return g.unary(x, device.Unary{Op: device.Clamp, A: lo, B: hi}, func(x float32) float32 { return max(lo, min(hi, x)) },
		func(x, _ float32) float32 {
			if x < lo || x > hi {
				return 0
			}
			return 1
		})
}
