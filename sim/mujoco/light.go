package mujoco

import "math"

// lamp is a light as OpenGL's fixed pipeline has it, less its gloss.
type lamp struct {
	headlight, directional bool
	pos, dir               vec // dir: where it shines
	attenuation            vec // constant, linear, quadratic
	cosCutoff, exponent    float64
	ambient, diffuse       vec
}

// light returns the colour (RGB, 0..1) of a point p of s with normal n, lit by
// ls and seen from an eye that looks along forward.
//
//go:norace
func light(s *solid, ls []lamp, p, n, forward vec) vec {
	sum := vec{s.emission, s.emission, s.emission}
	for i := range ls {
		l := &ls[i]
		sum = sum.plus(l.ambient)
		switch {
		case l.headlight:
			sum = along(sum, l.diffuse, max(0, -n.dot(forward)))
		case l.directional:
			sum = along(sum, l.diffuse, max(0, -n.dot(l.dir)))
		default:
			sum = along(sum, l.diffuse, l.spot(p, n))
		}
	}
	return sum.times(s.rgb)
}

// spot is how much of a spotlight's light a point p with normal n sends back
// (OpenGL 1.5, section 2.14.1: attenuation, spotlight, Lambert).
//
//go:norace
func (l *lamp) spot(p, n vec) float64 {
	to := l.pos.minus(p)
	lambert := to.dot(n)
	if lambert <= 0 {
		return 0
	}
	d := math.Sqrt(to.dot(to))
	cos := -to.dot(l.dir) / d
	if cos < l.cosCutoff {
		return 0
	}
	return lambert / d * power(max(cos, 0), l.exponent) / (l.attenuation.x + d*(l.attenuation.y+d*l.attenuation.z))
}

// power is x^y; exponents are small whole numbers nearly always.
func power(x, y float64) float64 {
	n := int(y)
	if float64(n) != y || n < 0 || n > 128 { // OpenGL's largest
		return math.Pow(x, y)
	}
	r := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			r *= x
		}
		x *= x
	}
	return r
}

// sky is a skybox, flattened to what depends on elevation: the side faces' rows
// from tan 45° up to tan −45°, and what lies above and below.
type sky struct {
	rows       []vec // RGB, 0..1; none: black
	above, low vec
}

func (s *sky) color(d vec) vec {
	if len(s.rows) == 0 {
		return vec{}
	}
	flat := max(math.Abs(d.x), math.Abs(d.y)) // the face of the cube that d meets
	switch {
	case d.z > flat:
		return s.above
	case d.z < -flat:
		return s.low
	}
	n := len(s.rows)
	return s.rows[min(int((1-d.z/flat)/2*float64(n)), n-1)]
}
