package arm

import (
	"fmt"

	"github.com/rapport-rl/rapport/robot"
)

// maxSide bounds an image's width and height in pixels, before memory is taken
// for it.
const maxSide = 8192

// layouts says how the pixels of an encoding of sensor_msgs/Image become BGR8:
// how many bytes one has, and where its blue, green and red are.
var layouts = map[string]struct{ size, b, g, r int }{
	"bgr8":   {3, 0, 1, 2},
	"8UC3":   {3, 0, 1, 2}, // as cv_bridge reads it
	"rgb8":   {3, 2, 1, 0},
	"bgra8":  {4, 0, 1, 2},
	"rgba8":  {4, 2, 1, 0},
	"mono8":  {1, 0, 0, 0},
	"8UC1":   {1, 0, 0, 0},
	"mono16": {2, 1, 1, 1}, // its upper byte; little-endian
}

// picture turns the contents of a sensor_msgs/Image into a frame with pixels of
// its own, brought to another size by scale unless that is nil. step is the length of
// a row in bytes.
func picture(encoding string, w, h, step int, big bool, data []byte, scale func(robot.Frame) (robot.Frame, error)) (robot.Frame, error) {
	l, ok := layouts[encoding]
	if !ok {
		return robot.Frame{}, fmt.Errorf("encoding %q is unknown; have the driver publish rgb8, bgr8, rgba8, bgra8, mono8 or mono16", encoding)
	}
	if w < 1 || h < 1 || w > maxSide || h > maxSide {
		return robot.Frame{}, fmt.Errorf("%dx%d pixels; want 1 to %d a side", w, h, maxSide)
	}
	if step < w*l.size {
		return robot.Frame{}, fmt.Errorf("rows of %d bytes for %d pixels of %s; want %d at least", step, w, encoding, w*l.size)
	}
	if need := (h-1)*step + w*l.size; len(data) < need {
		return robot.Frame{}, fmt.Errorf("%d bytes for %dx%d pixels of %s; want %d: the image is cut off", len(data), w, h, encoding, need)
	}
	if scale != nil && l.size == 3 && step == 3*w {
		// Every channel is scaled by itself, so their order can wait until few pixels are left.
		f, err := scale(robot.Frame{W: w, H: h, Pix: data[:3*w*h]})
		if err == nil && l.b == 2 {
			for i := 0; i < len(f.Pix); i += 3 {
				f.Pix[i], f.Pix[i+2] = f.Pix[i+2], f.Pix[i]
			}
		}
		return f, err
	}
	if encoding == "mono16" && big {
		l.b, l.g, l.r = 0, 0, 0
	}
	f := robot.Frame{W: w, H: h, Pix: make([]byte, 3*w*h)}
	dst := f.Pix
	for y := range h {
		row := data[y*step : y*step+w*l.size]
		if l.size == 3 && l.b == 0 {
			dst = dst[copy(dst, row):]
			continue
		}
		for len(row) > 0 {
			dst[0], dst[1], dst[2] = row[l.b], row[l.g], row[l.r]
			row, dst = row[l.size:], dst[3:]
		}
	}
	if scale != nil {
		return scale(f)
	}
	return f, nil
}
