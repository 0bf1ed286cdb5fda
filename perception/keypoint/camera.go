package keypoint

import (
	"errors"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// Camera is a pinhole with the lens distortion of Brown (1971) in OpenCV's order.
type Camera struct {
	Name   string
	W, H   int     // pixels
	FX, FY float64 // focal lengths, pixels
	CX, CY float64 // principal point, pixels; the first pixel's centre is (0,0)
	// Distortion is k1, k2, p1, p2, k3: with r² = x² + y² of the undistorted image
	// at focal length 1,
	//
	//	x' = x (1 + k1 r² + k2 r⁴ + k3 r⁶) + 2 p1 x y + p2 (r² + 2 x²)
	//	y' = y (1 + k1 r² + k2 r⁴ + k3 r⁶) + p1 (r² + 2 y²) + 2 p2 x y
	Distortion [5]float64
	// Pose is the camera's (x right, y down, z forward) in the base frame, or in the
	// tool's where it is on the hand.
	Pose   robot.Pose
	OnHand bool
}

// Pinhole is a camera without distortion whose focal length is focal heights of its
// image, as simulated ones are.
func Pinhole(name string, w, h int, focal float64, pose robot.Pose) Camera {
	f := focal * float64(h)
	return Camera{Name: name, W: w, H: h, FX: f, FY: f, CX: float64(w-1) / 2, CY: float64(h-1) / 2, Pose: pose}
}

// Scaled is the same camera with its images scaled to w by h pixels.
func (c Camera) Scaled(w, h int) Camera {
	sx, sy := float64(w)/float64(c.W), float64(h)/float64(c.H)
	c.W, c.H, c.FX, c.FY = w, h, sx*c.FX, sy*c.FY
	// Corners stay corners, and those of a pixel are half a pixel from its centre.
	c.CX, c.CY = sx*(c.CX+0.5)-0.5, sy*(c.CY+0.5)-0.5
	return c
}

// At is the camera in the base frame while the tool is at hand; one that is not on
// the hand stays as it is.
func (c Camera) At(hand robot.Pose) Camera {
	if !c.OnHand {
		return c
	}
	r := franka.Rotate(hand.Q, c.Pose.P)
	for i := range r {
		r[i] += hand.P[i]
	}
	c.Pose = robot.Pose{P: r, Q: franka.Unit(franka.Mul(hand.Q, c.Pose.Q))}
	c.OnHand = false
	return c
}

// Errors of Lift and Triangulate.
var (
	// ErrBeside says that a pixel's line of sight does not meet what was asked for.
	ErrBeside = errors.New("keypoint: the line of sight does not meet it")
	// ErrParallel says that two lines of sight are too nearly one to tell a depth.
	ErrParallel = errors.New("keypoint: the lines of sight are nearly parallel")
)

// Validate reports what is wrong with c, all of it.
func (c Camera) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("keypoint: camera %q: "+format, append([]any{c.Name}, args...)...))
	}
	if c.Name == "" {
		bad("name is empty")
	}
	if c.W < 1 || c.H < 1 || c.W > 16384 || c.H > 16384 {
		bad("size is %dx%d pixels, want 1 to 16384 each", c.W, c.H)
	}
	if !(c.FX > 0 && c.FY > 0) || c.FX > 1e6 || c.FY > 1e6 {
		bad("focal is %g, %g pixels, want above 0 and at most 1e6", c.FX, c.FY)
	}
	if !(math.Abs(c.CX) < 1e6 && math.Abs(c.CY) < 1e6) {
		bad("centre is %g, %g pixels, want a place near the image", c.CX, c.CY)
	}
	for i, d := range c.Distortion {
		if !(math.Abs(d) < 1e3) {
			bad("distortion[%d] is %g, want a finite number of k1, k2, p1, p2, k3", i, d)
		}
	}
	n := 0.0
	for _, v := range c.Pose.Q {
		n += v * v
	}
	if !(math.Abs(n-1) < 1e-5) {
		bad("pose: q has length %.7g, want a unit quaternion w, x, y, z with seven digits", math.Sqrt(n))
	}
	for i, v := range c.Pose.P {
		if !(math.Abs(v) < 1e3) {
			bad("pose: p[%d] is %g m, want under 1000", i, v)
		}
	}
	if len(errs) == 0 && !c.unfolded() {
		bad("distortion %v folds the image over itself within its corners; calibrate again with views that reach the corners", c.Distortion)
	}
	return errors.Join(errs...)
}

// unfolded says whether every ray out to the image's corners has a pixel of its own:
// whether undistorting the corners finds points that distort back to them.
func (c *Camera) unfolded() bool {
	if c.Distortion == [5]float64{} {
		return true
	}
	for _, x := range []float64{-0.5, float64(c.W-1) / 2, float64(c.W) - 0.5} {
		for _, y := range []float64{-0.5, float64(c.H-1) / 2, float64(c.H) - 0.5} {
			u, v := (x-c.CX)/c.FX, (y-c.CY)/c.FY
			a, b := c.straight(u, v)
			bu, bv, j := c.bend(a, b)
			if !(math.Hypot(bu-u, bv-v) < 1e-9) || !(j[0]*j[3]-j[1]*j[2] > 0) {
				return false
			}
			// The way from the middle must be free of folds, too.
			for s := 0.1; s < 1; s += 0.1 {
				if _, _, j := c.bend(s*a, s*b); !(j[0]*j[3]-j[1]*j[2] > 0) {
					return false
				}
			}
		}
	}
	return true
}

// bend distorts (x,y) at focal length 1; j is the derivative, by rows.
func (c *Camera) bend(x, y float64) (u, v float64, j [4]float64) {
	k1, k2, p1, p2, k3 := c.Distortion[0], c.Distortion[1], c.Distortion[2], c.Distortion[3], c.Distortion[4]
	r2 := x*x + y*y
	k := 1 + r2*(k1+r2*(k2+r2*k3))
	dk := 2 * (k1 + r2*(2*k2+3*r2*k3)) // of k by x, per x
	u = x*k + 2*p1*x*y + p2*(r2+2*x*x)
	v = y*k + p1*(r2+2*y*y) + 2*p2*x*y
	j[0] = k + x*x*dk + 2*p1*y + 6*p2*x
	j[1] = x*y*dk + 2*p1*x + 2*p2*y
	j[2] = x*y*dk + 2*p1*x + 2*p2*y
	j[3] = k + y*y*dk + 6*p1*y + 2*p2*x
	return u, v, j
}

// straight undoes bend by Newton's method, which is quadratic where OpenCV's five
// fixed-point steps leave tenths of a pixel at the corners of wide lenses.
func (c *Camera) straight(u, v float64) (x, y float64) {
	x, y = u, v
	if c.Distortion == [5]float64{} {
		return x, y
	}
	for range 20 {
		a, b, j := c.bend(x, y)
		a, b = a-u, b-v
		det := j[0]*j[3] - j[1]*j[2]
		if det == 0 {
			return x, y
		}
		dx, dy := (j[3]*a-j[1]*b)/det, (j[0]*b-j[2]*a)/det
		x, y = x-dx, y-dy
		if math.Abs(dx)+math.Abs(dy) < 1e-14 {
			break
		}
	}
	return x, y
}

// Project is where the camera sees p (base frame, m), in pixels, which may lie outside
// the image. It is false for what is behind the camera.
func (c *Camera) Project(p [3]float64) (px [2]float64, ok bool) {
	for i := range p {
		p[i] -= c.Pose.P[i]
	}
	p = franka.Rotate(franka.Conj(c.Pose.Q), p)
	if !(p[2] > 1e-9) {
		return px, false
	}
	u, v, _ := c.bend(p[0]/p[2], p[1]/p[2])
	return [2]float64{c.FX*u + c.CX, c.FY*v + c.CY}, true
}

// Inside says whether a pixel is in the image.
func (c *Camera) Inside(px [2]float64) bool {
	return px[0] >= -0.5 && px[1] >= -0.5 && px[0] < float64(c.W)-0.5 && px[1] < float64(c.H)-0.5
}

// Ray is the line of sight of a pixel: from the camera, m, along a unit vector, both in
// the base frame.
func (c *Camera) Ray(px [2]float64) (from, along [3]float64) {
	x, y := c.straight((px[0]-c.CX)/c.FX, (px[1]-c.CY)/c.FY)
	n := math.Sqrt(x*x + y*y + 1)
	return c.Pose.P, franka.Rotate(c.Pose.Q, [3]float64{x / n, y / n, 1 / n})
}

// Lift is the point at height z (base frame, m) that a pixel shows, or ErrBeside where
// it looks another way.
func (c *Camera) Lift(px [2]float64, z float64) ([3]float64, error) {
	from, d := c.Ray(px)
	t := (z - from[2]) / d[2]
	if !(t > 0) || t > 1e4 { // 10 km: along the horizon
		return [3]float64{}, fmt.Errorf("%w: pixel (%.1f, %.1f) of camera %q and the height %.3f m", ErrBeside, px[0], px[1], c.Name, z)
	}
	return [3]float64{from[0] + t*d[0], from[1] + t*d[1], z}, nil
}

// Triangulate is the point between the lines of sight of two cameras' pixels where they
// are nearest (Hartley and Sturm 1997, the midpoint), m, and how far they miss each
// other there. Lines at less than half a degree give ErrParallel.
func Triangulate(a, b *Camera, pa, pb [2]float64) (p [3]float64, miss float64, err error) {
	oa, da := a.Ray(pa)
	ob, db := b.Ray(pb)
	var w [3]float64
	for i := range w {
		w[i] = ob[i] - oa[i]
	}
	cos := dot(da, db)
	sin2 := 1 - cos*cos
	if sin2 < 7.6e-5 { // sin² of half a degree
		return p, 0, fmt.Errorf("%w: cameras %q and %q", ErrParallel, a.Name, b.Name)
	}
	wa, wb := dot(w, da), dot(w, db)
	s, t := (wa-cos*wb)/sin2, (cos*wa-wb)/sin2
	if s <= 0 || t <= 0 {
		return p, 0, fmt.Errorf("%w: the sights of cameras %q and %q meet behind one of them", ErrBeside, a.Name, b.Name)
	}
	for i := range p {
		x, y := oa[i]+s*da[i], ob[i]+t*db[i]
		p[i] = (x + y) / 2
		miss += (x - y) * (x - y)
	}
	return p, math.Sqrt(miss), nil
}

func dot(a, b [3]float64) float64 { return a[0]*b[0] + a[1]*b[1] + a[2]*b[2] }
