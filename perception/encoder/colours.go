package encoder

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
)

// palette finds where the colours of what moves are in one camera's images.
//
// Keypoints that are learned by redrawing images follow what takes up room in
// them; a ball of seven pixels that lies elsewhere in every episode hardly counts.
// Its colour does: the colours of pixels that differ from the mean image are
// clustered, and each cluster's place is the centre of mass of how much more of its
// colour than usual there is. There is nothing to learn but the clusters, and what
// is not in the picture, is in the middle of it.
type palette struct {
	centre []float32 // (C,3), in the space of tint
	width  []float32 // (C), standard deviation there
	usual  []float32 // (S,S,C), mean weight over the training data
	table  []float32 // (levels^3,C) weight of each colour, by its levels of blue, green and red
}

// levels are the steps of a channel that are told apart: so few that a colour is
// looked up rather than computed.
const levels = 32

// blur is the smallest width of a cluster (ours): a tenth of the way between red and
// green is still the same colour.
const blur = 0.08

// maxColours bounds Shape.Colours.
const maxColours = 64

// scrap is how many pixels' worth of colour leave a place half-way to the middle.
const scrap = 4

// tint maps a colour (0..1) to a space in which shade counts little: brightness at
// three tenths, red against green, blue against both.
func tint(b, g, r float64) [3]float64 {
	return [3]float64{0.3 * (b + g + r) / 3, r - g, b - (r+g)/2}
}

func newPalette(C, S int) *palette {
	return &palette{centre: make([]float32, 3*C), width: make([]float32, C), usual: make([]float32, S*S*C)}
}

func (p *palette) colours() int { return len(p.width) }

// fill computes the table.
func (p *palette) fill() {
	C := p.colours()
	p.table = make([]float32, levels*levels*levels*C)
	at := func(l int) float64 { return (float64(l) + 0.5) / levels }
	for i := range levels * levels * levels {
		t := tint(at(i/levels/levels), at(i/levels%levels), at(i%levels))
		for c := range C {
			var d2 float64
			for a, v := range t {
				d := v - float64(p.centre[3*c+a])
				d2 += d * d
			}
			w := float64(p.width[c])
			p.table[i*C+c] = float32(math.Exp(-d2 / (2 * w * w)))
		}
	}
}

// row is the table's row for a pixel.
func (p *palette) row(pix []byte) []float32 {
	const bits = 256 / levels
	C := p.colours()
	i := (int(pix[0])/bits*levels+int(pix[1])/bits)*levels + int(pix[2])/bits
	return p.table[i*C : (i+1)*C : (i+1)*C]
}

// find appends x and y, -1..1, of each colour in an image (S,S,3).
func (p *palette) find(out []float32, pix []byte, S int) []float32 {
	var buf [maxColours][3]float32
	for _, m := range p.sum(buf[:0], pix, S) {
		w := m[0] + scrap
		out = append(out, m[1]/w, m[2]/w)
	}
	return out
}

// sum appends to sums, for each colour, how much more of it than usual there is in an
// image, in pixels, and that times x and times y.
func (p *palette) sum(sums [][3]float32, pix []byte, S int) [][3]float32 {
	C := p.colours()
	sums = append(sums, make([][3]float32, C)...)
	half := float32(S-1) / 2
	for v := range S {
		y := (float32(v) - half) / half
		for u := range S {
			x := (float32(u) - half) / half
			i := v*S + u
			usual := p.usual[i*C : (i+1)*C]
			for c, w := range p.row(pix[3*i : 3*i+3]) {
				if w -= usual[c]; w > 0 {
					m := &sums[c]
					m[0] += w
					m[1] += w * x
					m[2] += w * y
				}
			}
		}
	}
	return sums
}

// learnPalette clusters the colours of what moves in camera j's images.
func learnPalette(s *set, j, C, S int, rng *rand.Rand) (*palette, error) {
	mean := make([]float64, 3*S*S)
	for _, pix := range s.pix[j] {
		for i, v := range pix {
			mean[i] += float64(v) / 255 / float64(s.ticks)
		}
	}
	// As many pixels as tell a cluster of one in a thousand.
	const want, tries = 20_000, 4_000_000
	var moving [][3]float64
	for range tries {
		if len(moving) == want {
			break
		}
		pix, i := s.pix[j][rng.IntN(s.ticks)], 3*rng.IntN(S*S)
		t := tint(float64(pix[i])/255, float64(pix[i+1])/255, float64(pix[i+2])/255)
		if math.Sqrt(apart(t, tint(mean[i], mean[i+1], mean[i+2]))) > blur {
			moving = append(moving, t)
		}
	}
	if len(moving) < 10*C {
		return nil, fmt.Errorf("encoder: hardly anything moves in the images, which makes no %d colours; set encoder.colours to 0", C)
	}
	p := newPalette(C, S)
	cluster(p, moving, rng)
	p.fill()
	for _, pix := range s.pix[j] {
		for i := range S * S {
			usual := p.usual[i*C : (i+1)*C]
			for c, w := range p.row(pix[3*i : 3*i+3]) {
				usual[c] += w / float32(s.ticks)
			}
		}
	}
	return p, nil
}

func apart(a, b [3]float64) float64 {
	x, y, z := a[0]-b[0], a[1]-b[1], a[2]-b[2]
	return x*x + y*y + z*z
}

// cluster sets centres and widths by k-means (Lloyd 1982) from the seeds of
// k-means++ (Arthur and Vassilvitskii 2007), which finds small clusters far from
// the others.
func cluster(p *palette, xs [][3]float64, rng *rand.Rand) {
	C := p.colours()
	centres := [][3]float64{xs[rng.IntN(len(xs))]}
	near := make([]float64, len(xs))
	for len(centres) < C {
		sum := 0.0
		for i, x := range xs {
			if d := apart(x, centres[len(centres)-1]); len(centres) == 1 || d < near[i] {
				near[i] = d
			}
			sum += near[i]
		}
		u, at := rng.Float64()*sum, 0
		for at < len(xs)-1 && u >= near[at] {
			u -= near[at]
			at++
		}
		centres = append(centres, xs[at])
	}
	of := make([]int, len(xs))
	for range 20 {
		sums, counts := make([][3]float64, C), make([]float64, C)
		for i, x := range xs {
			of[i] = 0
			for c := range centres {
				if apart(x, centres[c]) < apart(x, centres[of[i]]) {
					of[i] = c
				}
			}
			counts[of[i]]++
			for a, v := range x {
				sums[of[i]][a] += v
			}
		}
		for c := range centres {
			if counts[c] > 0 {
				for a := range 3 {
					centres[c][a] = sums[c][a] / counts[c]
				}
			}
		}
	}
	for c, m := range centres {
		var sum, n float64
		for i, x := range xs {
			if of[i] == c {
				sum += apart(x, m)
				n++
			}
		}
		p.width[c] = float32(max(blur, math.Sqrt(sum/max(n, 1))))
		for a, v := range m {
			p.centre[3*c+a] = float32(v)
		}
	}
}

// params lists what a palette is saved as.
func (p *palette) params(camera string, S int) []*nn.Param {
	C := p.colours()
	of := func(name string, data []float32, shape ...int) *nn.Param {
		q := nn.NewParam(camera+".colour."+name, shape...)
		q.Data = data
		return q
	}
	return []*nn.Param{of("centre", p.centre, C, 3), of("width", p.width, C), of("usual", p.usual, S, S, C)}
}
