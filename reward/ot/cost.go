package ot

import (
	"fmt"
	"math"
)

// Float is what embeddings are made of. Sums are kept in float64.
type Float interface{ ~float32 | ~float64 }

// Cost says how two frames' embeddings are compared.
type Cost uint8

// The costs of the RAPL papers' code: 1 − cos in the reward, the distance in
// the later trainer.
const (
	Cosine    Cost = iota // 1 − cos, in [0,2]; 1 where an embedding is zero
	Euclidean             // L2 distance
)

func (c Cost) String() string {
	switch c {
	case Cosine:
		return "cosine"
	case Euclidean:
		return "l2"
	}
	return fmt.Sprintf("Cost(%d)", uint8(c))
}

// MarshalText implements encoding.TextMarshaler.
func (c Cost) MarshalText() ([]byte, error) {
	if c > Euclidean {
		return nil, fmt.Errorf("ot: no such cost: %v", c)
	}
	return []byte(c.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler: "cosine" or "l2".
func (c *Cost) UnmarshalText(b []byte) error {
	switch string(b) {
	case "cosine":
		*c = Cosine
	case "l2":
		*c = Euclidean
	default:
		return fmt.Errorf("ot: cost %q, want cosine or l2", b)
	}
	return nil
}

// Matrix writes the cost of every pair of rows of x (n,d) and y (m,d) to dst
// (n,m). It allocates nothing.
func Matrix[F Float](c Cost, dst []float64, x, y []F, d int) {
	n, m := shape(dst, x, y, d)
	switch c {
	case Cosine:
		for i := range n {
			xi := x[i*d : (i+1)*d]
			nx := dot(xi, xi)
			for j := range m {
				yj := y[j*d : (j+1)*d]
				xy, yy := dots(xi, yj)
				dst[i*m+j] = 1
				if q := math.Sqrt(nx * yy); q > 0 {
					// Rounding may carry the cosine just past ±1.
					dst[i*m+j] = min(max(1-xy/q, 0), 2)
				}
			}
		}
	case Euclidean:
		for i := range n {
			xi := x[i*d : (i+1)*d]
			for j := range m {
				dst[i*m+j] = math.Sqrt(gap(xi, y[j*d:(j+1)*d]))
			}
		}
	default:
		panic("ot: no such cost")
	}
}

// MatrixGrad adds to dx (n,d) and dy (m,d) the gradients of a loss whose
// gradient by the cost matrix is dc (n,m). dx or dy may be nil. At the kinks
// (equal rows for Euclidean, a zero row for Cosine) the gradient is zero.
func MatrixGrad[F Float](c Cost, dx, dy, dc []float64, x, y []F, d int) {
	n, m := shape(dc, x, y, d)
	if dx != nil && len(dx) != len(x) || dy != nil && len(dy) != len(y) {
		panic(badShape)
	}
	for i := range n {
		xi := x[i*d : (i+1)*d]
		nx := math.Sqrt(dot(xi, xi))
		for j := range m {
			g := dc[i*m+j]
			if g == 0 {
				continue
			}
			yj := y[j*d : (j+1)*d]
			// ∂cost/∂x = px·x + q·y and ∂cost/∂y = py·y + q·x.
			var px, py, q float64
			switch c {
			case Cosine:
				xy, yy := dots(xi, yj)
				ny := math.Sqrt(yy)
				if nx*ny == 0 {
					continue
				}
				q = -g / (nx * ny)
				px, py = -q*xy/(nx*nx), -q*xy/yy
			case Euclidean:
				l := math.Sqrt(gap(xi, yj))
				if l == 0 {
					continue
				}
				px, py, q = g/l, g/l, -g/l
			default:
				panic("ot: no such cost")
			}
			if dx != nil {
				axpby(dx[i*d:(i+1)*d], px, xi, q, yj)
			}
			if dy != nil {
				axpby(dy[j*d:(j+1)*d], py, yj, q, xi)
			}
		}
	}
}

func shape[F Float](c []float64, x, y []F, d int) (n, m int) {
	if d <= 0 || len(x)%d != 0 || len(y)%d != 0 || len(c) != len(x)/d*(len(y)/d) {
		panic(badShape)
	}
	return len(x) / d, len(y) / d
}

func dot[F Float](x, y []F) float64 {
	y = y[:len(x)]
	var s float64
	for i, v := range x {
		s += float64(v) * float64(y[i])
	}
	return s
}

// dots returns x·y and y·y; two sums keep the adder busy.
func dots[F Float](x, y []F) (xy, yy float64) {
	x = x[:len(y)]
	for i, v := range y {
		w := float64(v)
		xy += float64(x[i]) * w
		yy += w * w
	}
	return xy, yy
}

func gap[F Float](x, y []F) float64 {
	y = y[:len(x)]
	var s float64
	for i, v := range x {
		e := float64(v) - float64(y[i])
		s += e * e
	}
	return s
}

func axpby[F Float](dst []float64, a float64, x []F, b float64, y []F) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i := range dst {
		dst[i] += a*float64(x[i]) + b*float64(y[i])
	}
}
