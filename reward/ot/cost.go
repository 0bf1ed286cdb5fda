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
//
//go:norace
func Matrix[F Float](c Cost, dst []float64, x, y []F, d int) {
	n, m := shape(dst, x, y, d)
	switch c {
	case Cosine:
		// The last column holds the rows' norms until its turn.
		for i := range n {
			xi := x[i*d : (i+1)*d]
			dst[i*m+m-1] = math.Sqrt(dot(xi, xi))
		}
		for j := range m {
			yj := y[j*d : (j+1)*d]
			ny := math.Sqrt(dot(yj, yj))
			for i := range n {
				q := dst[i*m+m-1] * ny
				dst[i*m+j] = 1
				if q > 0 {
					// Rounding may carry the cosine just past ±1.
					dst[i*m+j] = min(max(1-dot(x[i*d:(i+1)*d], yj)/q, 0), 2)
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
//
//go:norace
func MatrixGrad[F Float](c Cost, dx, dy, dc []float64, x, y []F, d int) {
	n, m := shape(dc, x, y, d)
	if dx != nil && len(dx) != len(x) || dy != nil && len(dy) != len(y) {
		panic(badShape)
	}
	if c > Euclidean {
		panic("ot: no such cost")
	}
	for i := range n {
		xi := x[i*d : (i+1)*d]
		nx := math.Sqrt(dot(xi, xi))
		var sum float64 // of px over j: x's own part is added once
		for j := range m {
			g := dc[i*m+j]
			if g == 0 {
				continue
			}
			yj := y[j*d : (j+1)*d]
			// ∂cost/∂x = px·x + q·y and ∂cost/∂y = py·y + q·x.
			var px, py, q float64
			if c == Cosine {
				xy, yy := dot(xi, yj), dot(yj, yj)
				ny := math.Sqrt(yy)
				if nx*ny == 0 {
					continue
				}
				q = -g / (nx * ny)
				px, py = -q*xy/(nx*nx), -q*xy/yy
			} else {
				l := math.Sqrt(gap(xi, yj))
				if l == 0 {
					continue
				}
				px, py, q = g/l, g/l, -g/l
			}
			sum += px
			if dx != nil {
				axpy(dx[i*d:(i+1)*d], q, yj)
			}
			if dy != nil {
				axpby(dy[j*d:(j+1)*d], py, yj, q, xi)
			}
		}
		if dx != nil {
			axpy(dx[i*d:(i+1)*d], sum, xi)
		}
	}
}

func shape[F Float](c []float64, x, y []F, d int) (n, m int) {
	if d <= 0 || len(x)%d != 0 || len(y)%d != 0 || len(c) != len(x)/d*(len(y)/d) {
		panic(badShape)
	}
	return len(x) / d, len(y) / d
}

// dot keeps four sums, so that additions need not wait for one another.
//
//go:norace
func dot[F Float](x, y []F) float64 {
	y = y[:len(x)]
	var a, b, c, e float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		p, q := x[i:i+4:i+4], y[i:i+4:i+4]
		a += float64(p[0]) * float64(q[0])
		b += float64(p[1]) * float64(q[1])
		c += float64(p[2]) * float64(q[2])
		e += float64(p[3]) * float64(q[3])
	}
	for ; i < len(x); i++ {
		a += float64(x[i]) * float64(y[i])
	}
	return (a + b) + (c + e)
}

// gap is |x-y|².
//
//go:norace
func gap[F Float](x, y []F) float64 {
	y = y[:len(x)]
	var a, b float64
	i := 0
	for ; i+2 <= len(x); i += 2 {
		s, t := float64(x[i])-float64(y[i]), float64(x[i+1])-float64(y[i+1])
		a += s * s
		b += t * t
	}
	if i < len(x) {
		s := float64(x[i]) - float64(y[i])
		a += s * s
	}
	return a + b
}

//go:norace
func axpby[F Float](dst []float64, a float64, x []F, b float64, y []F) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i := range dst {
		dst[i] += a*float64(x[i]) + b*float64(y[i])
	}
}

//go:norace
func axpy[F Float](dst []float64, a float64, x []F) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] += a * float64(x[i])
	}
}
