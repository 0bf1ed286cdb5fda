package vision

import (
	"fmt"
	"runtime"

	"gocv.io/x/gocv"

	"github.com/rapport-rl/rapport/robot"
)

// Version is OpenCV's own, as 4.6.0.
func Version() string { return gocv.OpenCVVersion() }

// view is a cv::Mat header over Go memory. The memory is pinned until done,
// because the header, which lives in C++, holds its address across calls.
type view struct {
	mat gocv.Mat
	pin runtime.Pinner
}

// look lays a header of h rows and w columns over pix. pix must be long enough.
func look(pix []byte, w, h int, t gocv.MatType) (*view, error) {
	v := new(view)
	v.pin.Pin(&pix[0])
	m, err := gocv.NewMatFromBytes(h, w, t, pix)
	if err != nil {
		v.pin.Unpin()
		return nil, fmt.Errorf("vision: wrap pixels: %w", err)
	}
	v.mat = m
	return v, nil
}

// done frees the header and lets the memory go.
func (v *view) done() {
	v.mat.Close()
	v.pin.Unpin()
}

// Check reports whether f's pixels agree with its width and height.
func Check(f robot.Frame) error {
	if f.W <= 0 || f.H <= 0 || f.W > MaxSide || f.H > MaxSide {
		return fmt.Errorf("vision: frame of camera %q is %dx%d, want 1..%d pixels a side", f.Camera, f.W, f.H, MaxSide)
	}
	if len(f.Pix) != 3*f.W*f.H {
		return fmt.Errorf("vision: frame of camera %q holds %d bytes, want %d for %dx%d BGR8", f.Camera, len(f.Pix), 3*f.W*f.H, f.W, f.H)
	}
	return nil
}

// like returns a frame of w by h pixels with the name, number and stamp of f.
func like(f robot.Frame, w, h int) robot.Frame {
	f.W, f.H, f.Pix = w, h, make([]byte, 3*w*h)
	return f
}
