package bag

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	_ "image/jpeg" // formats of compressed images
	_ "image/png"

	"github.com/rapport-rl/rapport/robot"
)

// maxPixels bounds images: a message of a few bytes may claim any size.
const maxPixels = 1 << 26

// Image makes a BGR frame of a sensor_msgs/Image or CompressedImage: into gets size,
// stamp (the header's) and pixels, which use into.Pix again if it is large enough.
func (d *Decoder) Image(data []byte, into *robot.Frame) error {
	var p Picture
	if err := d.Picture(data, &p); err != nil {
		return err
	}
	return p.Frame(into)
}

// Frame makes a BGR frame of the picture.
func (p *Picture) Frame(into *robot.Frame) error {
	into.Stamp = p.Stamp
	if p.Packed {
		return p.unpackFrame(into)
	}
	depth := 0
	switch p.Encoding {
	case "bgr8", "rgb8", "8UC3":
		depth = 3
	case "bgra8", "rgba8", "8UC4":
		depth = 4
	case "mono8", "8UC1":
		depth = 1
	case "yuv422_yuy2", "yuyv":
		depth = 2
	default:
		return fmt.Errorf("bag: pixels of encoding %.40q are not read; bgr8, rgb8, bgra8, rgba8, mono8 and yuv422_yuy2 are", p.Encoding)
	}
	if p.W < 1 || p.H < 1 || p.W > maxPixels/p.H {
		return fmt.Errorf("bag: image of %dx%d pixels", p.W, p.H)
	}
	if p.Step < p.W*depth || len(p.Data) < (p.H-1)*p.Step+p.W*depth {
		return fmt.Errorf("bag: %d bytes in rows of %d for %dx%d pixels of %s", len(p.Data), p.Step, p.W, p.H, p.Encoding)
	}
	into.W, into.H = p.W, p.H
	into.Pix = grow(into.Pix, 3*p.W*p.H)
	for y := range p.H {
		row(into.Pix[3*p.W*y:][:3*p.W], p.Data[y*p.Step:][:p.W*depth], p.Encoding)
	}
	return nil
}

// row turns a row of pixels into BGR.
func row(dst, src []byte, encoding string) {
	switch encoding {
	case "bgr8", "8UC3":
		copy(dst, src)
	case "rgb8":
		for i := 0; i+3 <= len(src) && i+3 <= len(dst); i += 3 {
			dst[i], dst[i+1], dst[i+2] = src[i+2], src[i+1], src[i]
		}
	case "bgra8", "8UC4":
		for i, j := 0, 0; i+4 <= len(src); i, j = i+4, j+3 {
			dst[j], dst[j+1], dst[j+2] = src[i], src[i+1], src[i+2]
		}
	case "rgba8":
		for i, j := 0, 0; i+4 <= len(src); i, j = i+4, j+3 {
			dst[j], dst[j+1], dst[j+2] = src[i+2], src[i+1], src[i]
		}
	case "mono8", "8UC1":
		for i, v := range src {
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
		}
	default: // Y U Y V, ITU-R BT.601 of full range
		for i := 0; i+2 <= len(src); i += 2 {
			k := i &^ 3
			u, v := 0, 0
			if k+4 <= len(src) {
				u, v = int(src[k+1])-128, int(src[k+3])-128
			}
			y := int(src[i]) << 16
			dst[i/2*3] = clip(y + 116130*u)
			dst[i/2*3+1] = clip(y - 22554*u - 46802*v)
			dst[i/2*3+2] = clip(y + 91881*v)
		}
	}
}

// clip rounds a number of 16 fractional bits to a byte.
func clip(x int) byte { return byte(max(0, min(255, (x+1<<15)>>16))) }

// unpackFrame decodes a JPEG or PNG.
func (p *Picture) unpackFrame(into *robot.Frame) error {
	c, kind, err := image.DecodeConfig(bytes.NewReader(p.Data))
	if err != nil {
		return fmt.Errorf("bag: image of format %.40q: %w", p.Encoding, err)
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxPixels/c.Height {
		return fmt.Errorf("bag: image of %dx%d pixels", c.Width, c.Height)
	}
	img, _, err := image.Decode(bytes.NewReader(p.Data))
	if err != nil {
		return fmt.Errorf("bag: %s image: %w", kind, err)
	}
	b := img.Bounds()
	rgba, ok := img.(*image.RGBA)
	if !ok || rgba.Stride != 4*b.Dx() {
		rgba = image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
		draw.Draw(rgba, rgba.Rect, img, b.Min, draw.Src)
	}
	into.W, into.H = b.Dx(), b.Dy()
	into.Pix = grow(into.Pix, 3*into.W*into.H)
	row(into.Pix, rgba.Pix, "rgba8")
	return nil
}
