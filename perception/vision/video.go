package vision

import (
	"fmt"
	"io"
	"math"
	"os"

	"gocv.io/x/gocv"

	"github.com/rapport-rl/rapport/robot"
)

// Video decodes a video file from its beginning, frame by frame: seeking by time
// is inexact in most containers, and whoever trains on frames must get the right
// ones. It is used by one goroutine.
//
// OpenCV decodes through ffmpeg, here with H.264, H.265, AV1, VP9 and MPEG-4. As
// everywhere in OpenCV, what the file says about its colour matrix is ignored
// (BT.601 is taken).
type Video struct {
	path string
	cap  *gocv.VideoCapture
	mat  gocv.Mat
	w, h int
	pos  int
}

// OpenVideo opens a file; what is not a video that can be decoded is an error.
func OpenVideo(path string) (*Video, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("vision: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("vision: %s is no file", path)
	}
	// ffmpeg alone: the other backends guess, as by making a number in a name the
	// start of a series of pictures.
	c, err := gocv.VideoCaptureFileWithAPI(path, gocv.VideoCaptureFFmpeg)
	if err != nil {
		return nil, fmt.Errorf("vision: %s is no video that can be decoded: it is damaged or of an unknown codec; encode it anew, as by: ffmpeg -i IN -c:v libx264 OUT", path)
	}
	v := &Video{path: path, cap: c, mat: gocv.NewMat()}
	v.w, v.h = v.number(gocv.VideoCaptureFrameWidth), v.number(gocv.VideoCaptureFrameHeight)
	if v.w <= 0 || v.h <= 0 || v.w > MaxSide || v.h > MaxSide || v.w*v.h > MaxPixels {
		v.Close()
		return nil, fmt.Errorf("%w: %s has %dx%d pixels, limit %d a side", ErrTooLarge, path, v.w, v.h, MaxSide)
	}
	return v, nil
}

// Size is the width and height in pixels.
func (v *Video) Size() (w, h int) { return v.w, v.h }

// FPS is the rate that the container states, 0 if it states none.
func (v *Video) FPS() float64 {
	if f := v.cap.Get(gocv.VideoCaptureFPS); f > 0 && !math.IsInf(f, 0) {
		return f
	}
	return 0
}

// Frames is how many frames the container states, 0 if it states none. Only
// decoding to the end tells how many there are.
func (v *Video) Frames() int { return max(0, v.number(gocv.VideoCaptureFrameCount)) }

// Codec is the four letters that name the codec, as avc1 or av01.
func (v *Video) Codec() string { return v.cap.CodecString() }

// Pos is the number of the frame that Next returns.
func (v *Video) Pos() int { return v.pos }

func (v *Video) number(p gocv.VideoCaptureProperties) int {
	f := v.cap.Get(p)
	if !(f > -1e9 && f < 1e9) {
		return 0
	}
	return int(f)
}

// Next decodes the next frame; io.EOF says that there is none. Camera and stamp
// are the caller's to fill, Seq is the number of the frame.
func (v *Video) Next() (robot.Frame, error) {
	if !v.cap.Read(&v.mat) || v.mat.Empty() {
		return robot.Frame{}, io.EOF
	}
	if v.mat.Type() != gocv.MatTypeCV8UC3 || v.mat.Cols() != v.w || v.mat.Rows() != v.h {
		return robot.Frame{}, fmt.Errorf("vision: %s: frame %d has %dx%d pixels, the first ones %dx%d", v.path, v.pos, v.mat.Cols(), v.mat.Rows(), v.w, v.h)
	}
	f := robot.Frame{Seq: uint64(v.pos), W: v.w, H: v.h, Pix: v.mat.ToBytes()}
	v.pos++
	return f, nil
}

// Skip decodes n frames and drops them; io.EOF says that there were fewer.
func (v *Video) Skip(n int) error {
	for ; n > 0; n-- {
		// Grab has no result in gocv, so only a whole read tells the end.
		if !v.cap.Read(&v.mat) || v.mat.Empty() {
			return io.EOF
		}
		v.pos++
	}
	return nil
}

// Close releases the file.
func (v *Video) Close() error {
	v.mat.Close()
	return v.cap.Close()
}
