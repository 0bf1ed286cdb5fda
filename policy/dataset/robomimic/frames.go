package robomimic

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy/dataset/hdf5"
	"github.com/rapport-rl/rapport/policy/dataset/table"
	"github.com/rapport-rl/rapport/robot"
)

// maxSlab bounds the bytes of images that are read at once.
const maxSlab = 64 << 20

// frames reads the wanted cameras into t, and what they saw last if the file
// holds it for all of them.
func (s *Source) frames(ctx context.Context, g *hdf5.Group, t *table.Table, w table.Want) error {
	t.Frames = make([][]robot.Frame, t.Len)
	var last []robot.Frame
	for _, c := range w.Cameras {
		d, err := s.rows(g, c, t.Len)
		if err != nil {
			return err
		}
		err = images(ctx, d, 0, t.Len, func(i int, f robot.Frame) error {
			f, err := w.Shrink(c, f)
			if err == nil && len(f.Pix) > math.MaxInt32/t.Len {
				err = fmt.Errorf("%d images of %dx%d pixels take more memory than they may; make them smaller by width and height of this camera in the map", t.Len, f.W, f.H)
			}
			t.Frames[i] = append(t.Frames[i], f)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		next := "next_obs/" + strings.TrimPrefix(c, "obs/")
		if !g.Has("next_obs") {
			continue
		}
		if d, err = s.rows(g, next, t.Len); err != nil {
			continue
		}
		err = images(ctx, d, t.Len-1, t.Len, func(_ int, f robot.Frame) error {
			f, err := w.Shrink(c, f)
			last = append(last, f)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", next, err)
		}
	}
	if len(last) == len(w.Cameras) {
		t.LastFrames = last
	}
	return nil
}

// images calls f with the images from up to to, a chunk of the file at a time.
func images(ctx context.Context, d *hdf5.Dataset, from, to int, f func(i int, f robot.Frame) error) error {
	kind, h, w := layout(d)
	if kind == "" {
		return fmt.Errorf("the shape %v is that of no images, want (T,H,W,3) or (T,3,H,W)", d.Shape)
	}
	if h < 1 || w < 1 || h > vision.MaxSide || w > vision.MaxSide || h*w > vision.MaxPixels {
		return fmt.Errorf("images of %dx%d pixels, want at most %d a side", w, h, vision.MaxSide)
	}
	bytes := d.Kind.Class == hdf5.Uint && d.Kind.Size == 1
	if !bytes && d.Kind.Class != hdf5.Float {
		return fmt.Errorf("images of %v, want uint8 from 0 to 255 or floats from 0 to 1", d.Kind)
	}
	// A chunk at once, so that none is unpacked twice, unless it takes much memory.
	step := max(1, min(d.Step(), maxSlab/(3*w*h*d.Kind.Size)))
	for a := from; a < to; a += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := min(a+step, to)
		var raw []byte
		var err error
		if bytes {
			raw, err = d.Bytes(a, b)
		} else {
			raw, err = grey(d, a, b)
		}
		if err != nil {
			return err
		}
		for i := a; i < b; i++ {
			frame := robot.Frame{Seq: uint64(i), W: w, H: h, Pix: bgr(raw[3*w*h*(i-a):3*w*h*(i-a+1)], kind, w*h)}
			if err := f(i, frame); err != nil {
				return err
			}
		}
	}
	return nil
}

// grey reads floats from 0 to 1 as bytes.
func grey(d *hdf5.Dataset, from, to int) ([]byte, error) {
	xs, err := d.Floats(from, to)
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(xs))
	for i, x := range xs {
		if !(x >= 0 && x <= 1) {
			return nil, fmt.Errorf("a pixel of image %d is %v; images of floats go from 0 to 1; store others as uint8", from+i/d.Width(), x)
		}
		out[i] = byte(255*x + 0.5)
	}
	return out, nil
}

// bgr turns an RGB image of n pixels into our order.
func bgr(raw []byte, kind string, n int) []byte {
	pix := make([]byte, 3*n)
	if kind == "HWC" {
		for i := 0; i < 3*n; i += 3 {
			pix[i], pix[i+1], pix[i+2] = raw[i+2], raw[i+1], raw[i]
		}
		return pix
	}
	for i := range n {
		pix[3*i], pix[3*i+1], pix[3*i+2] = raw[2*n+i], raw[n+i], raw[i]
	}
	return pix
}
