package mujoco

import "math"

// lamp is a light as OpenGL's fixed pipeline has it, less its gloss.
type lamp struct {
	headlight, directional bool
	pos, dir               vec // dir: where it shines
	attenuation            vec
	cosCutoff, exponent    float64
	ambient, diffuse       vec
}

// light returns the colour (RGB, 0..1) of a point p of s with normal n, lit by
// ls and seen from an eye that looks along forward.
func light(s *solid, ls []lamp, p, n, forward vec) vec {
	sum := vec{s.emission, s.emission, s.emission}
	for i := range ls {
		l := &ls[i]
		to, k := l.toward(p, forward)
		lambert := k * max(0, dot(n, to))
		for c := range 3 {
			sum[c] += l.ambient[c] + lambert*l.diffuse[c]
		}
	}
	for c := range 3 {
		sum[c] *= s.rgba[c]
	}
	return sum
}

// toward returns the unit vector from p to the light, and how much of its light
// arrives (OpenGL 1.5, section 2.14.1: attenuation and spotlight).
func (l *lamp) toward(p, forward vec) (vec, float64) {
	if l.headlight {
		return scale(forward, -1), 1
	}
	if l.directional {
		return scale(l.dir, -1), 1
	}
	to := sub(l.pos, p)
	d := math.Sqrt(dot(to, to))
	if d == 0 {
		return vec{2: 1}, 0
	}
	to = scale(to, 1/d)
	k := 1 / (l.attenuation[0] + d*(l.attenuation[1]+d*l.attenuation[2]))
	cos := -dot(to, l.dir)
	if cos < l.cosCutoff {
		return to, 0
	}
	return to, k * power(max(cos, 0), l.exponent)
}

// power is x^y; exponents are small whole numbers nearly always.
func power(x, y float64) float64 {
	n := int(y)
	if float64(n) != y || n < 0 || n > 128 {
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
	flat := max(math.Abs(d[0]), math.Abs(d[1])) // the face of the cube that d meets
	switch {
	case d[2] > flat:
		return s.above
	case d[2] < -flat:
		return s.low
	}
	n := len(s.rows)
	return s.rows[min(int((1-d[2]/flat)/2*float64(n)), n-1)]
}
