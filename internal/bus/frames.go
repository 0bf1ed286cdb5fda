package bus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"time"
	"unicode/utf8"

	"github.com/rapport-rl/rapport/robot"
)

const (
	// RawFrames is how many bytes of pixels of one request travel as they are,
	// so that features of small frames are the same bits near and far. It is the
	// payload limit of a NATS server left at its defaults, less room for the
	// envelope. Two cameras of 96x96 have 55 kB, of 224x224 301 kB.
	RawFrames = 1<<20 - headRoom
	// headRoom is what the envelopes of many cameras stay below, with headers.
	headRoom = 1 << 16
	// RawView is the same for telemetry, where eyes look and a network is shared.
	RawView = 1 << 16
	// jpegQuality keeps text and edges sharp; the standard library's default, 75,
	// rings around keypoint markers.
	jpegQuality = 90
	// maxPixels bounds the decoded frames of one message, since a JPEG of 1 kB can
	// claim 2^32 pixels. Four cameras of 4K.
	maxPixels = 4 * 3840 * 2160
	// maxFrames bounds the cameras of one tick.
	maxFrames = 64
)

// frameMeta describes one frame; its stamp, number and pixels are in arrays.
type frameMeta struct {
	Camera string `json:"camera"`
	W      int    `json:"w"`
	H      int    `json:"h"`
	Enc    string `json:"enc"` // "bgr8" or "jpeg"
}

// EncodeFrames writes a message of kind "frames". If all pixels together have
// more than raw bytes, every frame becomes a JPEG.
func EncodeFrames(fs []robot.Frame, raw int) ([]byte, error) {
	if len(fs) > maxFrames {
		return nil, fmt.Errorf("bus: encode frames: %d cameras, limit %d", len(fs), maxFrames)
	}
	sum := 0
	metas := make([]frameMeta, len(fs))
	for i, f := range fs {
		switch {
		case f.W < 0 || f.H < 0 || f.W > maxPixels || f.H > maxPixels || sum/3+f.W*f.H > maxPixels:
			return nil, fmt.Errorf("bus: encode frames: camera %q is %dx%d, limit %d pixels in all", f.Camera, f.W, f.H, maxPixels)
		case len(f.Pix) != 3*f.W*f.H:
			return nil, fmt.Errorf("bus: encode frames: camera %q has %d bytes for %dx%d, want %d", f.Camera, len(f.Pix), f.W, f.H, 3*f.W*f.H)
		case !utf8.ValidString(f.Camera):
			return nil, fmt.Errorf("bus: encode frames: camera %q is not UTF-8", f.Camera)
		}
		sum += len(f.Pix)
		metas[i] = frameMeta{f.Camera, f.W, f.H, "bgr8"}
	}
	pix := make([][]byte, len(fs))
	for i, f := range fs {
		pix[i] = f.Pix
		if sum > raw && len(f.Pix) > 0 {
			b, err := toJPEG(f)
			if err != nil {
				return nil, fmt.Errorf("bus: encode frames: camera %q: %w", f.Camera, err)
			}
			metas[i].Enc, pix[i] = "jpeg", b
		}
	}
	return frames(fs, metas, pix)
}

func frames(fs []robot.Frame, metas []frameMeta, pix [][]byte) ([]byte, error) {
	sum := 0
	for _, p := range pix {
		sum += len(p)
	}
	var w writer
	w.add("stamp", "i8", []int{len(fs), 2}, func(b []byte) []byte {
		for i := range fs {
			b = putTime(b, fs[i].Stamp)
		}
		return b
	})
	w.add("seq", "u8", []int{len(fs)}, func(b []byte) []byte {
		for i := range fs {
			b = binary.LittleEndian.AppendUint64(b, fs[i].Seq)
		}
		return b
	})
	w.add("size", "u8", []int{len(fs)}, func(b []byte) []byte {
		for _, p := range pix {
			b = binary.LittleEndian.AppendUint64(b, uint64(len(p)))
		}
		return b
	})
	w.add("pix", "u1", []int{sum}, func(b []byte) []byte {
		for _, p := range pix {
			b = append(b, p...)
		}
		return b
	})
	return encode("frames", metas, &w)
}

// DecodeFrames reads what EncodeFrames wrote. Raw pixels alias b.
func DecodeFrames(b []byte) ([]robot.Frame, error) {
	metas, r, err := decode[[]frameMeta]("frames", b)
	if err != nil {
		return nil, err
	}
	n := len(metas)
	if n > maxFrames {
		return nil, fmt.Errorf("bus: decode frames: %w: %d cameras, limit %d", ErrWire, n, maxFrames)
	}
	fs := make([]robot.Frame, n)
	r.times("stamp", n, func(i int, t time.Time) { fs[i].Stamp = t })
	seq, size := cursor(r.rows("seq", "u8", -1, n)), cursor(r.rows("size", "u8", -1, n))
	pix, _ := r.take("pix", "u1", -1)
	area := 0
	for i := 0; i < n && r.err == nil; i++ {
		fs[i].Seq = seq.u64()
		k := size.u64()
		if k > uint64(len(pix)) {
			r.fail("frame %d of %d bytes exceeds the message", i, k)
			break
		}
		m := metas[i]
		if m.W < 0 || m.H < 0 || m.W > maxPixels || m.H > maxPixels || area+m.W*m.H > maxPixels {
			r.fail("frame %d of %dx%d, limit %d pixels in all", i, m.W, m.H, maxPixels)
			break
		}
		area += m.W * m.H
		r.frame(&fs[i], m, pix[:k:k])
		pix = pix[k:]
	}
	if len(pix) > 0 {
		r.fail("%d bytes after the last frame", len(pix))
	}
	if err := r.done("frames"); err != nil {
		return nil, err
	}
	return fs, nil
}

func (r *reader) frame(f *robot.Frame, m frameMeta, b []byte) {
	f.Camera, f.W, f.H = m.Camera, m.W, m.H
	switch m.Enc {
	case "bgr8":
		if len(b) != 3*m.W*m.H {
			r.fail("frame of %d bytes for %dx%d", len(b), m.W, m.H)
			return
		}
		f.Pix = b
	case "jpeg":
		c, err := jpeg.DecodeConfig(bytes.NewReader(b))
		if err != nil || c.Width != m.W || c.Height != m.H {
			r.fail("JPEG of %dx%d, announced as %dx%d: %v", c.Width, c.Height, m.W, m.H, err)
			return
		}
		img, err := jpeg.Decode(bytes.NewReader(b))
		if err != nil {
			r.fail("JPEG: %v", err)
			return
		}
		f.Pix = fromImage(img)
	default:
		r.fail("frame encoded as %.20q", m.Enc)
	}
}

// toJPEG encodes BGR8 as a JPEG.
func toJPEG(f robot.Frame) ([]byte, error) {
	img := image.NewRGBA(image.Rect(0, 0, f.W, f.H))
	for i, j := 0, 0; i < len(f.Pix); i, j = i+3, j+4 {
		d, s := img.Pix[j:j+4:j+4], f.Pix[i:i+3:i+3]
		d[0], d[1], d[2], d[3] = s[2], s[1], s[0], 255
	}
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: jpegQuality}); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// fromImage converts to BGR8. image/draw knows the fast way from each type that
// the JPEG decoder makes.
func fromImage(img image.Image) []byte {
	r := img.Bounds()
	rgba := image.NewRGBA(image.Rect(0, 0, r.Dx(), r.Dy()))
	draw.Draw(rgba, rgba.Rect, img, r.Min, draw.Src)
	pix := make([]byte, 3*r.Dx()*r.Dy())
	for i, j := 0, 0; i < len(pix); i, j = i+3, j+4 {
		d, s := pix[i:i+3:i+3], rgba.Pix[j:j+4:j+4]
		d[0], d[1], d[2] = s[2], s[1], s[0]
	}
	return pix
}
