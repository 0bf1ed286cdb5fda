package wire

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"math"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// salience draws what the rewards look at: frames of an episode, every patch of which
// was covered in turn (Zeiler, Fergus 2014, arXiv:1311.2901, section 4.2). It asks of
// encoder and reward nothing but to be run again, so it fits any of them.
func (c *comparer) salience(ctx context.Context) error {
	if c.cc.Saliency <= 0 {
		return nil
	}
	if c.shown == nil {
		if c.cc.Of != "" {
			return fmt.Errorf("wire: saliency: no recording called %q that has frames", c.cc.Of)
		}
		return nil
	}
	var look []rival
	for _, r := range c.rivals {
		if r.scorer != nil && !r.points {
			look = append(look, r)
		}
	}
	if len(look) == 0 {
		return nil
	}
	e := c.shown
	n := min(c.cc.Saliency, e.Len())
	var steps []int
	for k := range n {
		steps = append(steps, (k+1)*e.Len()/n)
	}
	seen, err := e.framesAt(ctx, steps)
	if err != nil {
		return fmt.Errorf("wire: saliency of %s: %w", e.id, err)
	}
	cols := 0
	rows := make([][]robot.Frame, 1+len(look)) // the frames, and what each reward makes of them
	for k, t := range steps {
		frames := seen[t]
		if len(frames) == 0 {
			continue
		}
		cs, err := coverings(ctx, c.parts.eyes, frames, c.cc.Patches)
		if err != nil {
			return fmt.Errorf("wire: saliency of %s: %w", e.id, err)
		}
		add := func(row int, f robot.Frame, m []float64, text string) error {
			f, err := overlay(f, m, c.cc.Patches, cs.keys)
			if err == nil && text != "" {
				f, err = vision.Annotate(f, text)
			}
			rows[row] = append(rows[row], f)
			return err
		}
		for _, f := range frames {
			if err := add(0, f, nil, fmt.Sprintf("%s %d", f.Camera, t)); err != nil {
				return fmt.Errorf("wire: saliency of %s: %w", e.id, err)
			}
		}
		for i, r := range look {
			maps, err := occluded(ctx, r.scorer, e.traj, t, cs)
			if err != nil {
				return fmt.Errorf("wire: saliency of %s: reward %s: %w", e.id, r.name, err)
			}
			for j, m := range maps {
				name := ""
				if len(rows[1+i]) == 0 {
					name = r.name
				}
				if err := add(1+i, frames[j], m, name); err != nil {
					return fmt.Errorf("wire: saliency of %s: %w", e.id, err)
				}
			}
		}
		cols = len(rows[0])
		c.s.tell("saliency", k+1, n, e.id)
	}
	if cols == 0 {
		return nil
	}
	sheet, err := vision.Mosaic(slices.Concat(rows...), cols, magnified, magnified)
	if err != nil {
		return err
	}
	c.out.Salient = e.id
	return putPNG(filepath.Join(c.cc.Out, "saliency.png"), sheet)
}

// framesAt are the frames of some observations; of a stream it is shown again for them.
func (e *exhibit) framesAt(ctx context.Context, steps []int) (map[int][]robot.Frame, error) {
	out := map[int][]robot.Frame{}
	t := 0
	err := e.film.Each(ctx, func(tick record.Tick) error {
		if slices.Contains(steps, t) {
			out[t] = tick.Frames
		}
		t++
		return nil
	})
	return out, err
}

// magnified is the side of a picture in a saliency sheet, pixels.
const magnified = 192

// covering is what an encoder makes of a tick whose patches are covered in turn.
type covering struct {
	whole perception.Features
	each  [][]perception.Features // of each camera and patch
	keys  []perception.Keypoint
}

// coverings covers every patch of every camera's image with that image's mean colour.
func coverings(ctx context.Context, x perception.Extractor, frames []robot.Frame, patches int) (covering, error) {
	var c covering
	ticks := [][]robot.Frame{frames}
	for j, f := range frames {
		if err := vision.Check(f); err != nil {
			return c, err
		}
		if patches < 2 || patches > f.W || patches > f.H {
			return c, fmt.Errorf("a side of %d by %d pixels cannot be cut into %d patches", f.W, f.H, patches)
		}
		mean := meanColour(f)
		for p := range patches * patches {
			tick := slices.Clone(frames)
			tick[j].Pix = slices.Clone(f.Pix)
			r := patch(f, p, patches)
			for y := r.Min.Y; y < r.Max.Y; y++ {
				for x := r.Min.X; x < r.Max.X; x++ {
					copy(tick[j].Pix[3*(y*f.W+x):], mean[:])
				}
			}
			ticks = append(ticks, tick)
		}
	}
	fs, err := encoder.Batch(ctx, x, ticks, runtime.GOMAXPROCS(0))
	if err != nil {
		return c, err
	}
	c.whole, fs = fs[0], fs[1:]
	for range frames {
		c.each = append(c.each, fs[:patches*patches])
		fs = fs[patches*patches:]
	}
	if conv, ok := x.(*encoder.Conv); ok {
		if c.keys, err = conv.Keypoints(ctx, frames); err != nil {
			return c, err
		}
	}
	return c, nil
}

// patch is the p-th of the patches, row by row.
func patch(f robot.Frame, p, patches int) image.Rectangle {
	x, y := p%patches, p/patches
	return image.Rect(x*f.W/patches, y*f.H/patches, (x+1)*f.W/patches, (y+1)*f.H/patches)
}

func meanColour(f robot.Frame) (m [3]byte) {
	for ch := range m {
		sum := 0
		for i := ch; i < len(f.Pix); i += 3 {
			sum += int(f.Pix[i])
		}
		m[ch] = byte(sum / (len(f.Pix) / 3))
	}
	return m
}

// occluded tells of each camera and patch by how much covering it lowers the reward of
// arriving at traj[t].
func occluded(ctx context.Context, s reward.Scorer, traj []perception.Features, t int, c covering) ([][]float64, error) {
	traj = slices.Clone(traj)
	dst := make([]float64, len(traj)-1)
	at := func(f perception.Features) (float64, error) {
		traj[t] = f
		err := s.Score(ctx, dst, traj)
		return dst[t-1], err
	}
	whole, err := at(c.whole)
	if err != nil {
		return nil, err
	}
	var out [][]float64
	for _, fs := range c.each {
		m := make([]float64, len(fs))
		for p, f := range fs {
			r, err := at(f)
			if err != nil {
				return nil, err
			}
			m[p] = whole - r
		}
		out = append(out, m)
	}
	return out, nil
}

// overlay tints a frame red where covering it lowers the reward, and blue where it
// raises it, as strongly as the largest change of this map allows, on grey, lest a red
// box be taken for a tint; a nil map leaves the colours. Dots are the keypoints of its
// camera.
func overlay(f robot.Frame, m []float64, patches int, keys []perception.Keypoint) (robot.Frame, error) {
	top := 0.0
	for _, x := range m {
		top = max(top, math.Abs(x))
	}
	out := f
	out.Pix = slices.Clone(f.Pix)
	for p, x := range m {
		a := 0.0
		if top > 0 {
			a = 0.7 * math.Abs(x) / top
		}
		tint := [3]float64{0, 0, 255} // BGR
		if x < 0 {
			tint = [3]float64{255, 0, 0}
		}
		r := patch(f, p, patches)
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				i := 3 * (y*f.W + x)
				// Rec. 601's weights of blue, green and red.
				grey := 0.114*float64(f.Pix[i]) + 0.587*float64(f.Pix[i+1]) + 0.299*float64(f.Pix[i+2])
				for ch := range 3 {
					out.Pix[i+ch] = byte((1-a)*grey + a*tint[ch])
				}
			}
		}
	}
	// Magnified first, so that the dots are small.
	big, err := vision.Resize(out, magnified, magnified)
	if err != nil {
		return big, err
	}
	var dots []image.Point
	for _, k := range keys {
		if k.Camera == f.Camera {
			dots = append(dots, image.Pt(int((k.X+0.5)*magnified/float64(f.W)), int((k.Y+0.5)*magnified/float64(f.H))))
		}
	}
	return vision.Dot(big, dots, 2, color.RGBA{R: 255, G: 255, A: 255})
}
