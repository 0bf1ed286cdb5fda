package mujoco

import "math"

// vec is a point, a direction or an RGB colour. A struct, not an array: Go keeps
// small structs in registers.
type vec struct{ x, y, z float64 }

func (a vec) plus(b vec) vec        { return vec{a.x + b.x, a.y + b.y, a.z + b.z} }
func (a vec) minus(b vec) vec       { return vec{a.x - b.x, a.y - b.y, a.z - b.z} }
func (a vec) times(b vec) vec       { return vec{a.x * b.x, a.y * b.y, a.z * b.z} }
func (a vec) by(k float64) vec      { return vec{a.x * k, a.y * k, a.z * k} }
func (a vec) dot(b vec) float64     { return a.x*b.x + a.y*b.y + a.z*b.z }
func (a vec) flat2() float64        { return a.x*a.x + a.y*a.y }
func (a vec) dotFlat(b vec) float64 { return a.x*b.x + a.y*b.y }

// along is o + t·d.
func along(o, d vec, t float64) vec { return vec{o.x + t*d.x, o.y + t*d.y, o.z + t*d.z} }

func (a vec) unit() vec {
	n := math.Sqrt(a.dot(a))
	if n == 0 {
		return vec{z: 1}
	}
	return a.by(1 / n)
}

// frame is a rotation: its local axes in the outer frame.
type frame struct{ x, y, z vec }

// frameOf reads a row-major matrix whose columns are the axes.
func frameOf[F ~float32 | ~float64](m []F) frame {
	col := func(i int) vec { return vec{float64(m[i]), float64(m[3+i]), float64(m[6+i])} }
	return frame{col(0), col(1), col(2)}
}

// out turns a local vector into the outer frame, in does the reverse.
func (f *frame) out(a vec) vec {
	return vec{
		f.x.x*a.x + f.y.x*a.y + f.z.x*a.z,
		f.x.y*a.x + f.y.y*a.y + f.z.y*a.z,
		f.x.z*a.x + f.y.z*a.y + f.z.z*a.z,
	}
}

func (f *frame) in(a vec) vec { return vec{f.x.dot(a), f.y.dot(a), f.z.dot(a)} }
