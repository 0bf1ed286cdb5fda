package vision

import (
	"fmt"
	"image"
	"math/rand/v2"

	"gocv.io/x/gocv"

	"github.com/rapport-rl/rapport/robot"
)

// Augmentation says how far Augment may change an image. Zero leaves a kind
// out.
type Augmentation struct {
	Shift      int     // pixels either way, edges repeated (DrQ, Kostrikov et al. 2021: 4 at 84x84)
	Brightness float64 // factor from 1-b to 1+b
	Contrast   float64 // factor around the mean, from 1-c to 1+c
	Saturation float64 // factor around each pixel's grey, from 1-s to 1+s
	Blur       float64 // standard deviation of a Gaussian in pixels, from 0 to this
}

// Validate reports what is wrong with a.
func (a Augmentation) Validate() error {
	for _, v := range []struct {
		name string
		v    float64
	}{{"brightness", a.Brightness}, {"contrast", a.Contrast}, {"saturation", a.Saturation}} {
		if !(v.v >= 0 && v.v < 1) {
			return fmt.Errorf("vision: augmentation: %s %g, want 0 <= x < 1", v.name, v.v)
		}
	}
	if !(a.Blur >= 0 && a.Blur <= 20) || a.Shift < 0 || a.Shift > MaxSide {
		return fmt.Errorf("vision: augmentation: shift %d and blur %g, want 0..%d and 0..20 pixels", a.Shift, a.Blur, MaxSide)
	}
	return nil
}

// Augment returns a changed copy of f. rng is asked six times whatever a says,
// so that switching one kind off leaves the draws of the others alone.
func Augment(f robot.Frame, a Augmentation, rng *rand.Rand) (robot.Frame, error) {
	if err := Check(f); err != nil {
		return robot.Frame{}, err
	}
	if err := a.Validate(); err != nil {
		return robot.Frame{}, err
	}
	var u [6]float64
	for i := range u {
		u[i] = rng.Float64()
	}
	side := float64(2*a.Shift + 1)
	out := shift(f, int(u[0]*side)-a.Shift, int(u[1]*side)-a.Shift)
	factor := func(u, x float64) float64 { return 1 + x*(2*u-1) }
	if a.Brightness != 0 || a.Contrast != 0 || a.Saturation != 0 {
		jitter(out.Pix, factor(u[2], a.Brightness), factor(u[3], a.Contrast), factor(u[4], a.Saturation))
	}
	// Below 0.1 pixels the kernel is a single 1.
	if sigma := u[5] * a.Blur; sigma > 0.1 {
		return blur(out, sigma)
	}
	return out, nil
}

// shift moves the image by (dx,dy) pixels and repeats its edges.
func shift(f robot.Frame, dx, dy int) robot.Frame {
	out := like(f, f.W, f.H)
	for y := range f.H {
		row := f.Pix[3*f.W*min(max(y-dy, 0), f.H-1):][:3*f.W]
		dst := out.Pix[3*f.W*y:][:3*f.W]
		for x := range f.W {
			s := 3 * min(max(x-dx, 0), f.W-1)
			dst[3*x], dst[3*x+1], dst[3*x+2] = row[s], row[s+1], row[s+2]
		}
	}
	return out
}

// jitter scales saturation, contrast and brightness of pix in place.
func jitter(pix []byte, brightness, contrast, saturation float64) {
	var sum float64
	for i := 0; i+2 < len(pix); i += 3 {
		sum += grey(pix[i], pix[i+1], pix[i+2])
	}
	mean := sum / float64(len(pix)/3)
	for i := 0; i+2 < len(pix); i += 3 {
		g := grey(pix[i], pix[i+1], pix[i+2])
		for c := range 3 {
			v := g + saturation*(float64(pix[i+c])-g)
			v = brightness * (mean + contrast*(v-mean))
			pix[i+c] = byte(min(max(v+0.5, 0), 255))
		}
	}
}

// grey is the luma of ITU-R BT.601.
func grey(b, g, r byte) float64 {
	return 0.114*float64(b) + 0.587*float64(g) + 0.299*float64(r)
}

func blur(f robot.Frame, sigma float64) (robot.Frame, error) {
	src, err := look(f.Pix, f.W, f.H, gocv.MatTypeCV8UC3)
	if err != nil {
		return robot.Frame{}, err
	}
	defer src.done()
	out := like(f, f.W, f.H)
	dst, err := look(out.Pix, f.W, f.H, gocv.MatTypeCV8UC3)
	if err != nil {
		return robot.Frame{}, err
	}
	defer dst.done()
	gocv.GaussianBlur(src.mat, &dst.mat, image.Point{}, sigma, sigma, gocv.BorderReplicate)
	return out, nil
}
