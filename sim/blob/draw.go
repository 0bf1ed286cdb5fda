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
	wild := hue(s.Hue)
	for i := range n * n {
		p := Point{(float64(i%n) + 0.5) / float64(n), (float64(i/n) + 0.5) / float64(n)}
		c := table
		over := func(with colour, outside float64) { // outside: how far p is out of the thing
			a := min(max(0.5-outside*float64(n), 0), 1)
			for k := range c {
				c[k] += a * (with[k] - c[k])
			}
		}
		ring := math.Abs(p.distance(s.Goal)-goalRadius) - 0.02
		over(goal, ring)
		if cfg.Distractor {
			over(wild, p.distance(s.Distractor)-distractRad)
		}
		over(object, p.distance(s.Object)-objectRadius)
		switch d := p.minus(s.Gripper); cfg.Gripper {
		case Fork:
			bar := max(math.Abs(d.X)-0.02, math.Abs(d.Y)-0.08)
			finger := max(math.Abs(d.X-0.03)-0.05, math.Abs(math.Abs(d.Y)-0.06)-0.02)
			over(yellow, min(bar, finger))
		default:
			over(dark, d.length()-gripperRadius)
		}
		for k := range c {
			pix[3*i+k] = byte(255*c[2-k] + 0.5)
		}
	}
}
