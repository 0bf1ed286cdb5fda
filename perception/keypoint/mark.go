package keypoint

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/perception"
)

// Contour lists the mask's pixels that have a neighbour outside it, row by row.
func (m *Mask) Contour() [][2]int {
	in := func(x, y int) bool { return x >= 0 && y >= 0 && x < m.W && y < m.H && m.In[y*m.W+x] }
	var c [][2]int
	for y := range m.H {
		for x := range m.W {
			if in(x, y) && !(in(x-1, y) && in(x+1, y) && in(x, y-1) && in(x, y+1)) {
				c = append(c, [2]int{x, y})
			}
		}
	}
	return c
}

// Points are n candidates on the mask, as MOKA has them (authors' code): the middle of
// the contour, then always the pixel of the contour that is farthest from those chosen,
// sorted by y. Where the middle is not on the thing, the pixel of it that is nearest
// stands for it. A mask of fewer pixels gives fewer points.
func (m *Mask) Points(n int) [][2]float64 {
	contour := m.Contour()
	if len(contour) == 0 || n < 1 {
		return nil
	}
	var mx, my float64
	for _, c := range contour {
		mx, my = mx+float64(c[0]), my+float64(c[1])
	}
	mx, my = mx/float64(len(contour)), my/float64(len(contour))
	best, at := math.Inf(1), [2]float64{}
	for i, in := range m.In {
		if d := math.Hypot(float64(i%m.W)-mx, float64(i/m.W)-my); in && d < best {
			best, at = d, [2]float64{float64(i % m.W), float64(i / m.W)}
		}
	}
	if best <= math.Sqrt2/2+1e-9 { // on the thing: between its pixels
		at = [2]float64{mx, my}
	}
	ps := [][2]float64{at}
	near := make([]float64, len(contour))
	for i := range near {
		near[i] = math.Inf(1)
	}
	for len(ps) < n {
		last := ps[len(ps)-1]
		far := 0
		for i, c := range contour {
			near[i] = min(near[i], math.Hypot(float64(c[0])-last[0], float64(c[1])-last[1]))
			if near[i] > near[far] {
				far = i
			}
		}
		if near[far] < 1 {
			break
		}
		ps = append(ps, [2]float64{float64(contour[far][0]), float64(contour[far][1])})
	}
	slices.SortStableFunc(ps, func(a, b [2]float64) int { return cmp.Or(cmp.Compare(a[1], b[1]), cmp.Compare(a[0], b[0])) })
	return ps
}

// Mark names n points on a mask for a model to choose from and a Tracker to follow:
// prefix and a number, from the top of the image down.
func Mark(m *Mask, camera, prefix string, n int) []perception.Keypoint {
	var ks []perception.Keypoint
	for i, p := range m.Points(n) {
		ks = append(ks, perception.Keypoint{Name: fmt.Sprintf("%s%d", prefix, i+1), Camera: camera, X: p[0], Y: p[1], Score: 1})
	}
	return ks
}

// Candidates marks each mask with n points: P1.. on the first, Q1.. on the second, and so
// on through the alphabet.
func Candidates(ms []Mask, camera string, n int) []perception.Keypoint {
	var ks []perception.Keypoint
	for i := range min(len(ms), 'Z'-'P'+1) {
		ks = append(ks, Mark(&ms[i], camera, string(rune('P'+i)), n)...)
	}
	return ks
}
