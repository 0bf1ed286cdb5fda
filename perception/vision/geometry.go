package vision

import (
	"fmt"
	"image"

	"gocv.io/x/gocv"

	"github.com/rapport-rl/rapport/robot"
)

// Crop cuts r out of f; r must lie inside f.
func Crop(f robot.Frame, r image.Rectangle) (robot.Frame, error) {
	if err := Check(f); err != nil {
		return robot.Frame{}, err
	}
	if r.Empty() || !r.In(image.Rect(0, 0, f.W, f.H)) {
		return robot.Frame{}, fmt.Errorf("vision: crop %v of camera %q lies outside its %dx%d pixels", r, f.Camera, f.W, f.H)
	}
	out := like(f, r.Dx(), r.Dy())
	for y := range out.H {
		src := 3 * ((r.Min.Y+y)*f.W + r.Min.X)
		copy(out.Pix[3*y*out.W:], f.Pix[src:src+3*out.W])
	}
	return out, nil
}

// CentreCrop cuts w by h pixels out of the middle of f.
func CentreCrop(f robot.Frame, w, h int) (robot.Frame, error) {
	x, y := (f.W-w)/2, (f.H-h)/2
	if w > f.W || h > f.H {
		return robot.Frame{}, fmt.Errorf("vision: centre crop of %dx%d is larger than the %dx%d pixels of camera %q", w, h, f.W, f.H, f.Camera)
	}
	return Crop(f, image.Rect(x, y, x+w, y+h))
}

// Resize scales f to w by h pixels: area averaging where both sides shrink,
// which does not alias, and cubic interpolation otherwise.
func Resize(f robot.Frame, w, h int) (robot.Frame, error) {
	return Prepare{W: w, H: h}.Apply(f)
}

// Prepare says how a camera's image becomes what an encoder sees. The zero
// value passes frames through.
type Prepare struct {
	Crop [4]int // x, y, width, height in pixels; all zero: the whole image
	W, H int    // size after the crop in pixels; zero: leave it
}

// Validate reports what is wrong with p.
func (p Prepare) Validate() error {
	if p.W < 0 || p.H < 0 || p.W > MaxSide || p.H > MaxSide || (p.W == 0) != (p.H == 0) {
		return fmt.Errorf("vision: prepare to %dx%d pixels, want both 1..%d or both 0", p.W, p.H, MaxSide)
	}
	if p.Crop != [4]int{} && (p.Crop[0] < 0 || p.Crop[1] < 0 || p.Crop[2] <= 0 || p.Crop[3] <= 0) {
		return fmt.Errorf("vision: crop %v, want x >= 0, y >= 0, width > 0, height > 0", p.Crop)
	}
	return nil
}

// Apply crops and scales f. OpenCV reads f's memory and writes the result's,
// with no image in between.
func (p Prepare) Apply(f robot.Frame) (robot.Frame, error) {
	if err := p.Validate(); err != nil {
		return robot.Frame{}, err
	}
	if err := Check(f); err != nil {
		return robot.Frame{}, err
	}
	r := image.Rect(0, 0, f.W, f.H)
	if p.Crop != [4]int{} {
		c := image.Rect(p.Crop[0], p.Crop[1], p.Crop[0]+p.Crop[2], p.Crop[1]+p.Crop[3])
		if !c.In(r) {
			return robot.Frame{}, fmt.Errorf("vision: crop %v of camera %q lies outside its %dx%d pixels", p.Crop, f.Camera, f.W, f.H)
		}
		r = c
	}
	if p.W == 0 || p.W == r.Dx() && p.H == r.Dy() {
		return Crop(f, r)
	}
	src, err := look(f.Pix, f.W, f.H, gocv.MatTypeCV8UC3)
	if err != nil {
		return robot.Frame{}, err
	}
	defer src.done()
	out := like(f, p.W, p.H)
	dst, err := look(out.Pix, out.W, out.H, gocv.MatTypeCV8UC3)
	if err != nil {
		return robot.Frame{}, err
	}
	defer dst.done()
	cut := src.mat.Region(r)
	defer cut.Close()
	how := gocv.InterpolationCubic
	if p.W <= r.Dx() && p.H <= r.Dy() {
		how = gocv.InterpolationArea
	}
	gocv.Resize(cut, &dst.mat, image.Pt(p.W, p.H), 0, 0, how)
	return out, nil
}
