// Package probe shows what a reward loves most, and where in the picture: an audit of
// rewards that were learned. One that took a shortcut, as a lamp in the corner that
// happened to be lit when things went well, rises there, and not at what the task is
// about.
//
// From real frames it climbs the reward's gradient by the pixels, through the encoder
// that the reward sees by. BrainDiVE (Luo et al. 2023, arXiv:2306.03089) climbs the same
// gradient within a diffusion model, which keeps the pictures natural. There is no such
// model here. Instead patches of other real frames are tried first, gradients are blurred,
// so that changes are larger than pixels, and taken of shifted frames, so that they do not
// hang on single pixels, and no number leaves the range that it has in real frames:
//
//	r, err := probe.Audit(ctx, enc.Lens(), rate, images, probe.Config{})
//	camera, patch, share := r.Top()
package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/perception/encoder"
)

// Rate is the reward of a frame, were its embedding z (D,). It is asked twice D times a
// step.
type Rate func(frame int, z []float32) (float64, error)

// Config are the parameters of Audit. The zero value stands for the defaults named.
type Config struct {
	Frames  int     // that are climbed from, those that the reward likes least; 0: 6
	Others  int     // real frames whose patches are tried; 0: 16, negative: none
	Leaps   int     // patches that are taken from them, at most; 0: 4
	Steps   int     // of the gradient; 0: 20, negative: none
	Stride  float64 // largest change of a number in a step, of a byte's range; 0: 0.05
	Blur    int     // radius of the blur of gradients, pixels; 0: a 32nd of the side
	Shift   int     // largest shift of the frames, pixels; 0: 2, negative: none
	Patches int     // that a side is cut into; 0: 8
	Seed    uint64  // of the shifts
	// Told hears of every frame that was climbed from.
	Told func(done, frames int)
}

func (c Config) withDefaults(side int) (Config, error) {
	c.Frames = cmp.Or(c.Frames, 6)
	c.Others = max(0, cmp.Or(c.Others, 16))
	c.Leaps = cmp.Or(c.Leaps, 4)
	c.Steps = max(0, cmp.Or(c.Steps, 20))
	c.Stride = cmp.Or(c.Stride, 0.05)
	c.Blur = cmp.Or(c.Blur, max(1, side/32))
	c.Shift = max(0, cmp.Or(c.Shift, 2))
	c.Patches = cmp.Or(c.Patches, 8)
	if c.Told == nil {
		c.Told = func(int, int) {}
	}
	switch {
	case c.Frames < 1 || c.Leaps < 1:
		return c, fmt.Errorf("probe: %d frames and %d leaps, want 1 or more", c.Frames, c.Leaps)
	case !(c.Stride > 0 && c.Stride <= 1):
		return c, fmt.Errorf("probe: stride %v, want above 0, to 1", c.Stride)
	case c.Blur < 1 || c.Blur >= side || c.Shift >= side/2:
		return c, fmt.Errorf("probe: blur %d and shift %d of a side of %d pixels, want smaller", c.Blur, c.Shift, side)
	case c.Patches < 2 || c.Patches > side:
		return c, fmt.Errorf("probe: a side of %d pixels cannot be cut into %d patches", side, c.Patches)
	}
	return c, nil
}

// Found is what a climb came to.
type Found struct {
	At            int         // the frame that it began from
	Before, After float64     // the reward of it and of what it became, at most Report.Most
	Frame, Probe  [][]float32 // (cameras) of (S,S,3), as encoder.Lens has images
	// Gain tells of each camera and patch (P,P), row by row, how much of the rise is
	// there: the mean of what the frame gains by that patch of the probe alone, and of
	// what the probe loses without it.
	Gain [][]float64
}

// Report is what an audit found.
type Report struct {
	Found   []Found
	Most    float64     // the most that a real frame is worth
	Patches int         // P
	Gain    [][]float64 // the mean of Found's
}

// Top is the patch in which the reward rises most, of the camera's, counted row by row,
// and its share of all that patches gain; -1 where it rises in none.
func (r Report) Top() (camera, patch int, share float64) {
	camera, patch = -1, -1
	best, all := 0.0, 0.0
	for c, m := range r.Gain {
		for p, x := range m {
			all += max(x, 0)
			if x > best {
				best, camera, patch = x, c, p
			}
		}
	}
	if patch >= 0 {
		share = best / all
	}
	return camera, patch, share
}

// Audit climbs from those of real frames, images as l has them, that the reward likes
// least. What is worth more than the best of them counts as much as it: there networks
// only extrapolate. The result is determined by the arguments.
func Audit(ctx context.Context, l *encoder.Lens, rate Rate, frames [][][]float32, cfg Config) (Report, error) {
	r := Report{Most: math.Inf(-1)}
	cfg, err := cfg.withDefaults(l.Side())
	if err != nil {
		return r, err
	}
	if len(frames) < 2 {
		return r, errors.New("probe: fewer than two frames, so nothing is known of what changes in them")
	}
	r.Patches = cfg.Patches
	c := climber{l: l, cfg: cfg, z: make([]float32, l.Dim()), dz: make([]float32, l.Dim()), lo: same(frames[0]), hi: same(frames[0])}
	c.rate = rate
	worth := make([]float64, len(frames))
	order := make([]int, len(frames))
	for k, x := range frames {
		c.at, order[k] = k, k
		if worth[k], err = c.worth(x); err != nil {
			return r, err
		}
		r.Most = max(r.Most, worth[k])
		for i := range x {
			for j, v := range x[i] {
				c.lo[i][j], c.hi[i][j] = min(c.lo[i][j], v), max(c.hi[i][j], v)
			}
		}
	}
	c.rate = func(frame int, z []float32) (float64, error) {
		v, err := rate(frame, z)
		return min(v, r.Most), err
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(worth[i], worth[j]) })
	n := min(cfg.Others, len(frames))
	for k := range n {
		c.others = append(c.others, frames[order[(2*k+1)*len(order)/(2*n)]])
	}
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x70726f6265)) // "probe"
	starts := order[:min(cfg.Frames, len(order))]
	for k, at := range starts {
		f, err := c.climb(ctx, at, worth[at], frames[at], rng)
		if err != nil {
			return r, err
		}
		r.Found = append(r.Found, f)
		for i, m := range f.Gain {
			if k == 0 {
				r.Gain = append(r.Gain, make([]float64, len(m)))
			}
			for p, g := range m {
				r.Gain[i][p] += g / float64(len(starts))
			}
		}
		cfg.Told(k+1, len(starts))
	}
	return r, nil
}

// nudge is the step in an embedding, whose numbers have a standard deviation of about
// 1, by which rewards are differentiated.
const nudge = 0.05

// climber is what climbs work with.
type climber struct {
	l      *encoder.Lens
	cfg    Config
	rate   Rate
	at     int // the frame
	others [][][]float32
	lo, hi [][]float32 // of every number in real frames
	z, dz  []float32
}

func (c *climber) worth(x [][]float32) (float64, error) {
	c.l.Embed(c.z, x)
	return c.rate(c.at, c.z)
}

// climb changes a frame so that the reward rises.
func (c *climber) climb(ctx context.Context, at int, was float64, x [][]float32, rng *rand.Rand) (f Found, err error) {
	c.at = at
	f = Found{At: at, Before: was, Frame: x}
	now, s := same(x), c.l.Side()
	if f.After, err = c.leap(ctx, now, was); err != nil {
		return f, err
	}
	f.Probe = same(now)
	moved, dx := same(x), same(x)
	for range c.cfg.Steps {
		if err := ctx.Err(); err != nil {
			return f, err
		}
		sx, sy := nn.DrawShift(c.cfg.Shift, rng)
		for i := range now {
			shift(moved[i], now[i], s, sx, sy)
		}
		if err := c.slope(dx, moved); err != nil {
			return f, err
		}
		top := 0.0
		for i := range dx {
			shift(moved[i], dx[i], s, -sx, -sy)
			blur(dx[i], moved[i], s, c.cfg.Blur)
			for _, d := range dx[i] {
				top = max(top, math.Abs(float64(d)))
			}
		}
		if top == 0 {
			continue // flat here; another shift may not be
		}
		for i := range now {
			for j, d := range dx[i] {
				now[i][j] = min(max(now[i][j]+float32(c.cfg.Stride/top)*d, c.lo[i][j]), c.hi[i][j])
			}
		}
		r, err := c.worth(now)
		if err != nil {
			return f, err
		}
		if r > f.After {
			f.After = r
			for i := range now {
				copy(f.Probe[i], now[i])
			}
		}
	}
	return f, c.gains(&f)
}

// slope writes the reward's gradient by the pixels of x to dx: by the embedding of
// differences, since rewards are of any kind, from there on exactly.
func (c *climber) slope(dx, x [][]float32) error {
	c.l.Embed(c.z, x)
	for j, v := range c.z {
		c.z[j] = v + nudge
		hi, err := c.rate(c.at, c.z)
		if err != nil {
			return err
		}
		c.z[j] = v - nudge
		lo, err := c.rate(c.at, c.z)
		if err != nil {
			return err
		}
		c.z[j] = v
		c.dz[j] = float32((hi - lo) / (2 * nudge))
	}
	c.l.Backward(dx, c.dz)
	return nil
}

// leap puts into at, time and again, the patch of another frame that raises the reward
// most, and returns what it rose to from was.
// A spatial softmax tells nothing, by its gradient, of places that it does not point at.
func (c *climber) leap(ctx context.Context, at [][]float32, was float64) (float64, error) {
	s, P := c.l.Side(), c.cfg.Patches
	mixed := same(at)
	for range c.cfg.Leaps {
		best, from, camera, patch := was, -1, 0, 0
		for k, y := range c.others {
			if err := ctx.Err(); err != nil {
				return was, err
			}
			for i := range at {
				for p := range P * P {
					if !put(mixed[i], y[i], s, p, P) {
						continue // the same there
					}
					r, err := c.worth(mixed)
					if err != nil {
						return was, err
					}
					put(mixed[i], at[i], s, p, P)
					if r > best {
						best, from, camera, patch = r, k, i, p
					}
				}
			}
		}
		if from < 0 {
			break
		}
		was = best
		put(at[camera], c.others[from][camera], s, patch, P)
		put(mixed[camera], at[camera], s, patch, P)
	}
	return was, nil
}

// put copies patch p of P by P from one image to another, and tells whether that
// changed anything.
func put(dst, src []float32, s, p, P int) (changed bool) {
	for y := p / P * s / P; y < (p/P+1)*s/P; y++ {
		lo, hi := 3*(y*s+p%P*s/P), 3*(y*s+(p%P+1)*s/P)
		if !slices.Equal(dst[lo:hi], src[lo:hi]) {
			copy(dst[lo:hi], src[lo:hi])
			changed = true
		}
	}
	return changed
}

// gains says where f's reward rose.
func (c *climber) gains(f *Found) error {
	s, P := c.l.Side(), c.cfg.Patches
	less, more := same(f.Probe), same(f.Frame)
	for i := range f.Frame {
		m := make([]float64, P*P)
		for p := range m {
			if !put(more[i], f.Probe[i], s, p, P) {
				continue
			}
			put(less[i], f.Frame[i], s, p, P)
			with, err := c.worth(more)
			if err != nil {
				return err
			}
			without, err := c.worth(less)
			if err != nil {
				return err
			}
			m[p] = (with - f.Before + f.After - without) / 2
			put(more[i], f.Frame[i], s, p, P)
			put(less[i], f.Probe[i], s, p, P)
		}
		f.Gain = append(f.Gain, m)
	}
	return nil
}

// same is a copy.
func same(x [][]float32) [][]float32 {
	out := make([][]float32, len(x))
	for i := range x {
		out[i] = append([]float32(nil), x[i]...)
	}
	return out
}

// shift moves an image (s,s,3) by (dx,dy) pixels to the right and down, the edge
// repeated.
func shift(dst, src []float32, s, dx, dy int) {
	for y := range s {
		row := src[3*s*min(max(y-dy, 0), s-1):]
		for x := range s {
			copy(dst[3*(y*s+x):3*(y*s+x)+3], row[3*min(max(x-dx, 0), s-1):])
		}
	}
}

// blur is the mean over a square of 2r+1 pixels, twice, within the image; src is
// scratch after.
func blur(dst, src []float32, s, r int) {
	for range 2 {
		box(dst, src, s, r, 3, 3*s)
		box(src, dst, s, r, 3*s, 3)
	}
	copy(dst, src)
}

// box is the mean along lines: along is the step in a line, across that between lines.
func box(dst, src []float32, s, r, along, across int) {
	for k := range s {
		for c := range 3 {
			at := k*across + c
			sum, n := float32(0), float32(0)
			for i := range min(r, s) {
				sum += src[at+i*along]
				n++
			}
			for i := range s {
				if i+r < s {
					sum += src[at+(i+r)*along]
					n++
				}
				if i-r-1 >= 0 {
					sum -= src[at+(i-r-1)*along]
					n--
				}
				dst[at+i*along] = sum / n
			}
		}
	}
}
