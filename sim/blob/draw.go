package blob

import "math"

// colour is red, green, blue, each 0 to 1.
type colour [3]float64

var (
	table  = colour{0.85, 0.82, 0.78}
	object = colour{0.80, 0.15, 0.15}
	goal   = colour{0.20, 0.65, 0.30}
	dark   = colour{0.15, 0.15, 0.20}
	yellow = colour{0.90, 0.75, 0.10}
)

// hue is a saturated colour of the circle.
func hue(h float64) colour {
	var c colour
	for i := range c {
		x := math.Mod(h+float64(i)/3, 1) * 6
		c[i] = 0.15 + 0.8*min(max(math.Abs(x-3)-1, 0), 1)
	}
	return c
}

// Draw renders s into pix (Side,Side,3), BGR, with edges a pixel wide.
func Draw(pix []byte, cfg Config, s State) {
	n := cfg.Side
	if len(pix) != 3*n*n {
		panic("blob: pixels do not fill the picture")
	}
	page := make([]colour, n*n)
	for i := range page {
		page[i] = table
	}
	// over lays a thing at a place, which reaches no further than size; outside
	// tells how far a point, from there, is out of it.
	over := func(with colour, at Point, size float64, outside func(d Point) float64) {
		side := float64(n)
		lo := func(x float64) int { return max(0, int((x-size)*side)-1) }
		hi := func(x float64) int { return min(n, int((x+size)*side)+2) }
		for y := lo(at.Y); y < hi(at.Y); y++ {
			for x := lo(at.X); x < hi(at.X); x++ {
				p := Point{(float64(x) + 0.5) / side, (float64(y) + 0.5) / side}
				a := min(max(0.5-outside(p.minus(at))*side, 0), 1)
				c := &page[y*n+x]
				for k := range c {
					c[k] += a * (with[k] - c[k])
				}
			}
		}
	}
	disc := func(r float64) func(Point) float64 {
		return func(d Point) float64 { return d.length() - r }
	}
	over(goal, s.Goal, goalRadius+0.02, func(d Point) float64 { return math.Abs(d.length()-goalRadius) - 0.02 })
	if cfg.Distractor {
		over(hue(s.Hue), s.Distractor, distractRad, disc(distractRad))
	}
	over(object, s.Object, objectRadius, disc(objectRadius))
	switch cfg.Gripper {
	case Fork:
		over(yellow, s.Gripper, 0.09, func(d Point) float64 {
			bar := max(math.Abs(d.X)-0.02, math.Abs(d.Y)-0.08)
			finger := max(math.Abs(d.X-0.03)-0.05, math.Abs(math.Abs(d.Y)-0.06)-0.02)
			return min(bar, finger)
		})
	default:
		over(dark, s.Gripper, gripperRadius, disc(gripperRadius))
	}
	for i, c := range page {
		for k := range c {
			pix[3*i+k] = byte(255*c[2-k] + 0.5)
		}
	}
}
