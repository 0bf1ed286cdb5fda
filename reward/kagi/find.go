package kagi

import (
	"fmt"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/robot"
)

// How like a colour a pixel must be to be of its spot: shading changes how bright a
// thing is and little of the shares of red, green and blue.
const (
	alike  = 0.97 // cosine of the angle between the colours
	bright = 0.25 // of the colour's brightness, at least
	least  = 4    // pixels of a spot
)

// Find is the middle of the largest spot of a colour (red, green, blue, 0 to 255) in
// f, in pixels. A spot is connected by pixels' sides. false: there is none of 4 pixels.
func Find(f robot.Frame, colour [3]float64) (px [2]float64, ok bool, err error) {
	like, err := alikeIn(f, colour)
	if err != nil {
		return px, false, err
	}
	most := least - 1
	for i := range like {
		n, at := flood(f.W, f.H, i, func(j int) bool {
			is := like[j]
			like[j] = false
			return is
		})
		if n > most {
			most, px, ok = n, at, true
		}
	}
	return px, ok, nil
}

// Find is where f shows a point that has a Colour, in pixels. false: it does not.
func (k Point) Find(f robot.Frame) (px [2]float64, ok bool, err error) {
	if k.All {
		return middle(f, *k.Colour)
	}
	return Find(f, *k.Colour)
}

// middle is the middle of all pixels of a colour in f, of things that lie about. false:
// there are no 4.
func middle(f robot.Frame, colour [3]float64) (px [2]float64, ok bool, err error) {
	like, err := alikeIn(f, colour)
	if err != nil {
		return px, false, err
	}
	n := 0.0
	for i, is := range like {
		if is {
			n++
			px[0] += (float64(i%f.W) - px[0]) / n
			px[1] += (float64(i/f.W) - px[1]) / n
		}
	}
	return px, n >= least, nil
}

// Numbers of FindNear, ours.
const (
	rounds = 8 // of dividing a colour; a box pushed against another settles in two or three
	jump   = 8 // things are looked for within 1/jump of the image's height of where they were
)

// FindNear tells things of one colour apart, which may touch: the pixels of a colour in f
// go to the nearest of from (pixels), one place for each thing, and each thing is the
// middle of those of its own that hang together with the nearest; and so again from there
// (Lloyd 1982). ok is false of a thing that has fewer than 4 pixels or none within an
// eighth of the image's height, as when a hand hides it; its place is then as it was.
func FindNear(f robot.Frame, colour [3]float64, from [][2]float64) (px [][2]float64, ok []bool, err error) {
	like, err := alikeIn(f, colour)
	if err != nil {
		return nil, nil, err
	}
	px, ok = slices.Clone(from), make([]bool, len(from))
	whose, far := make([]int, len(like)), make([]float64, len(from))
	first := make([]int, len(from)) // pixel of each
	for round := range rounds {
		for k := range px {
			far[k], first[k] = math.Inf(1), -1
		}
		for i, is := range like {
			whose[i] = -1
			if !is {
				continue
			}
			best := math.Inf(1)
			for k, p := range px {
				if d := math.Hypot(float64(i%f.W)-p[0], float64(i/f.W)-p[1]); d < best {
					best, whose[i] = d, k
				}
			}
			if k := whose[i]; k >= 0 && best < far[k] {
				far[k], first[k] = best, i
			}
		}
		still := true
		for k := range px {
			if round > 0 && !ok[k] || first[k] < 0 || far[k] > float64(f.H)/jump {
				continue
			}
			n, at := flood(f.W, f.H, first[k], func(i int) bool {
				mine := whose[i] == k
				if mine {
					whose[i] = -1
				}
				return mine
			})
			if ok[k] = n >= least; ok[k] {
				still = still && at == px[k]
				px[k] = at
			}
		}
		if still {
			break
		}
	}
	return px, ok, nil
}

// flood is how many pixels hang together with i by their sides, and their middle. take says
// of a pixel whether it counts, and is not to say so twice.
func flood(w, h, i int, take func(int) bool) (n int, at [2]float64) {
	if !take(i) {
		return 0, at
	}
	sx, sy := 0, 0
	for heap := []int{i}; len(heap) > 0; {
		j := heap[len(heap)-1]
		heap = heap[:len(heap)-1]
		x, y := j%w, j/w
		n, sx, sy = n+1, sx+x, sy+y
		for _, d := range [4][2]int{{1, 0}, {-1, 0}, {0, 1}, {0, -1}} {
			if x, y := x+d[0], y+d[1]; x >= 0 && y >= 0 && x < w && y < h && take(y*w+x) {
				heap = append(heap, y*w+x)
			}
		}
	}
	return n, [2]float64{float64(sx) / float64(n), float64(sy) / float64(n)}
}

// alikeIn says of each pixel of f whether it is of the colour.
func alikeIn(f robot.Frame, colour [3]float64) ([]bool, error) {
	if f.W <= 0 || f.H <= 0 || len(f.Pix) != 3*f.W*f.H {
		return nil, fmt.Errorf("kagi: camera %q gave %dx%d pixels in %d bytes", f.Camera, f.W, f.H, len(f.Pix))
	}
	norm := math.Sqrt(colour[0]*colour[0] + colour[1]*colour[1] + colour[2]*colour[2])
	if !(norm > 0) {
		return nil, fmt.Errorf("kagi: colour %v has no brightness to be found by", colour)
	}
	like := make([]bool, f.W*f.H)
	for i := range like {
		b, g, r := float64(f.Pix[3*i]), float64(f.Pix[3*i+1]), float64(f.Pix[3*i+2])
		n := math.Sqrt(r*r + g*g + b*b)
		like[i] = n >= bright*norm && r*colour[0]+g*colour[1]+b*colour[2] >= alike*n*norm
	}
	return like, nil
}
