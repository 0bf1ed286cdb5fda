package vision

/*
#include <stdlib.h>
#include "track.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/rapport-rl/rapport/robot"
)

// FlowConfig sets Lucas and Kanade's method up (pyramids as of Bouguet 2001).
type FlowConfig struct {
	Window int // odd side of the square compared, pixels; default 15
	Levels int // halvings of the image above itself; default 3
}

// Validate reports what is wrong with c.
func (c FlowConfig) Validate() error {
	if c.Window != 0 && (c.Window < 3 || c.Window > 101 || c.Window%2 == 0) {
		return fmt.Errorf("vision: flow window is %d pixels, want an odd number from 3 to 101", c.Window)
	}
	if c.Levels < 0 || c.Levels > 8 {
		return fmt.Errorf("vision: flow has %d levels, want 0 (for 3) to 8", c.Levels)
	}
	return nil
}

// Flow follows points through the images of one camera. It is used by one
// goroutine at a time. Close it.
type Flow struct {
	f    *C.vision_flow
	w, h int
	seen int // images
	msg  [512]C.char
	out  *[4]C.float // of Match: memory that C may write
}

// ErrSize says that a camera's images have changed their size.
var ErrSize = errors.New("vision: the images have changed their size")

// NewFlow returns a Flow that has seen nothing.
func NewFlow(c FlowConfig) (*Flow, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Window == 0 {
		c.Window = 15
	}
	if c.Levels == 0 {
		c.Levels = 3
	}
	f := C.vision_flow_new(C.int(c.Window), C.int(c.Levels))
	if f == nil {
		return nil, errors.New("vision: flow: out of memory")
	}
	return &Flow{f: f, out: new([4]C.float)}, nil
}

func (f *Flow) err(what string, rc C.int) error {
	if rc == 0 {
		return nil
	}
	return fmt.Errorf("vision: flow: %s: %s", what, C.GoString(&f.msg[0]))
}

// Next takes the next image.
func (f *Flow) Next(img robot.Frame) error {
	if f.f == nil {
		return ErrClosed
	}
	if err := Check(img); err != nil {
		return err
	}
	if f.seen > 0 && (img.W != f.w || img.H != f.h) {
		return fmt.Errorf("%w: camera %q from %dx%d to %dx%d pixels; begin again", ErrSize, img.Camera, f.w, f.h, img.W, img.H)
	}
	f.w, f.h = img.W, img.H
	f.seen++
	return f.err("next image", C.vision_flow_next(f.f, (*C.uchar)(unsafe.Pointer(&img.Pix[0])), C.int(img.W), C.int(img.H), &f.msg[0], C.size_t(len(f.msg))))
}

// Follow finds the points from (pixels x, y) of the image before in the newest. to comes
// as a guess of where they are and goes as where they are; back says how many pixels each
// ends from where it began when it is followed back again, or -1 where it was not found.
func (f *Flow) Follow(from, to [][2]float32, back []float32) error {
	if f.f == nil {
		return ErrClosed
	}
	if len(to) != len(from) || len(back) != len(from) {
		panic("vision: follow wants as many guesses and results as points")
	}
	if f.seen < 2 {
		return errors.New("vision: flow: follow before two images")
	}
	if len(from) == 0 {
		return nil
	}
	return f.err("follow", C.vision_flow_follow(f.f, (*C.float)(&from[0][0]), (*C.float)(&to[0][0]), (*C.float)(&back[0]), C.int(len(from)), &f.msg[0], C.size_t(len(f.msg))))
}

// Skin learns the colours of a thing from the newest image: those of the pixels within the
// hull of points, or within radius pixels of one where the points span no area, against
// those of all the rest. To Cut and Match with the number that it returns, what has
// other colours is black, so that a thing looks alike on any ground. It is -1, which is
// to see everything, where colours do not tell the thing from the rest.
func (f *Flow) Skin(points [][2]float32, radius float32) (int, error) {
	if f.f == nil {
		return -1, ErrClosed
	}
	if f.seen == 0 {
		return -1, errors.New("vision: flow: skin before an image")
	}
	if len(points) == 0 {
		return -1, nil
	}
	skin := new(C.int)
	rc := C.vision_flow_skin(f.f, (*C.float)(&points[0][0]), C.int(len(points)), C.float(radius), skin, &f.msg[0], C.size_t(len(f.msg)))
	return int(*skin), f.err("skin", rc)
}

// Cut copies the square of the newest image around at into patch (side,side,3); side is
// odd.
func (f *Flow) Cut(skin int, at [2]float32, side int, patch []byte) error {
	if f.f == nil {
		return ErrClosed
	}
	if side < 3 || side%2 == 0 || len(patch) != 3*side*side {
		panic("vision: a patch is square, odd, and of three channels")
	}
	if f.seen == 0 {
		return errors.New("vision: flow: cut before an image")
	}
	return f.err("cut", C.vision_flow_cut(f.f, C.int(skin), C.float(at[0]), C.float(at[1]), C.int(side), (*C.uchar)(&patch[0]), &f.msg[0], C.size_t(len(f.msg))))
}

// Found is what Match found.
type Found struct {
	At    [2]float32
	Score float32 // normalised correlation, -1..1
	Rival float32 // the best one that is farther than half a patch from there, or -1
}

// Match finds patch (side,side,3) in the newest image with its centre within reach pixels
// of about.
func (f *Flow) Match(skin int, patch []byte, side int, about [2]float32, reach int) (Found, error) {
	if f.f == nil {
		return Found{}, ErrClosed
	}
	if side < 3 || side%2 == 0 || len(patch) != 3*side*side {
		panic("vision: a patch is square, odd, and of three channels")
	}
	if f.seen == 0 {
		return Found{}, errors.New("vision: flow: match before an image")
	}
	o := f.out
	rc := C.vision_flow_match(f.f, C.int(skin), (*C.uchar)(&patch[0]), C.int(side), C.float(about[0]), C.float(about[1]), C.int(max(0, reach)),
		&o[0], &o[1], &o[2], &o[3], &f.msg[0], C.size_t(len(f.msg)))
	return Found{At: [2]float32{float32(o[0]), float32(o[1])}, Score: float32(o[2]), Rival: float32(o[3])}, f.err("match", rc)
}

// Close frees the images.
func (f *Flow) Close() error {
	if f.f != nil {
		C.vision_flow_free(f.f)
		f.f = nil
	}
	return nil
}

// Size is that of the images, pixels.
func (f *Flow) Size() (w, h int) { return f.w, f.h }
