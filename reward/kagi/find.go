package kagi

import (
	"fmt"
	"math"

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
	var heap []int
	for i := range like {
		if !like[i] {
			continue
		}
		like[i] = false
		n, sx, sy := 0, 0, 0
		for heap = append(heap[:0], i); len(heap) > 0; {
			j := heap[len(heap)-1]
			heap = heap[:len(heap)-1]
			x, y := j%f.W, j/f.W
			n, sx, sy = n+1, sx+x, sy+y
			for _, d := range [4][2]int{{1, 0}, {-1, 0}, {0, 1}, {0, -1}} {
				x, y := x+d[0], y+d[1]
				if x < 0 || y < 0 || x >= f.W || y >= f.H || !like[y*f.W+x] {
					continue
				}
				like[y*f.W+x] = false
				heap = append(heap, y*f.W+x)
			}
		}
		if n > most {
			most, px, ok = n, [2]float64{float64(sx) / float64(n), float64(sy) / float64(n)}, true
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
