package vision

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // header only: OpenCV decodes
	_ "image/png"  // header only

	"gocv.io/x/gocv"

	"github.com/rapport-rl/rapport/robot"
)

const (
	// MaxSide bounds a frame's width and height in pixels.
	MaxSide = 8192
	// MaxPixels bounds a frame's area: 4 times a 4K camera.
	MaxPixels = 4 * 3840 * 2160
	// MaxEncoded bounds the size of an encoded image in bytes.
	MaxEncoded = 64 << 20
)

// Reasons why Decode refuses bytes, besides what the header's parser says.
var (
	ErrTooLarge  = errors.New("vision: image too large")
	ErrTruncated = errors.New("vision: image truncated")
	ErrFormat    = errors.New("vision: neither JPEG nor PNG")
)

// Decode turns a JPEG or PNG into a frame whose camera, number and stamp are
// the caller's to fill. An alpha channel is dropped, 16 bits become 8, and an
// EXIF orientation is ignored, since a camera on an arm has no up. The header
// is checked before OpenCV sees the bytes, so that a hostile image can neither
// exhaust memory nor end the process.
func Decode(data []byte) (robot.Frame, error) {
	if len(data) > MaxEncoded {
		return robot.Frame{}, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(data), MaxEncoded)
	}
	head, format, err := image.DecodeConfig(bytes.NewReader(data))
	switch {
	case errors.Is(err, image.ErrFormat):
		return robot.Frame{}, fmt.Errorf("%w: %d bytes starting with %x", ErrFormat, len(data), data[:min(4, len(data))])
	case err != nil:
		return robot.Frame{}, fmt.Errorf("vision: image header: %w", err)
	case head.Width <= 0 || head.Height <= 0:
		return robot.Frame{}, fmt.Errorf("vision: %s of %dx%d pixels", format, head.Width, head.Height)
	case head.Width > MaxSide || head.Height > MaxSide || head.Width*head.Height > MaxPixels:
		return robot.Frame{}, fmt.Errorf("%w: %dx%d pixels, limit %d a side and %d in all", ErrTooLarge, head.Width, head.Height, MaxSide, MaxPixels)
	case !finished(data, format):
		return robot.Frame{}, fmt.Errorf("%w: %s of %dx%d pixels has no end marker within %d bytes", ErrTruncated, format, head.Width, head.Height, len(data))
	}
	m, err := gocv.IMDecode(data, gocv.IMReadColor|gocv.IMReadIgnoreOrientation)
	if err != nil {
		return robot.Frame{}, fmt.Errorf("vision: decode %s: %w", format, err)
	}
	defer m.Close()
	if m.Empty() || m.Type() != gocv.MatTypeCV8UC3 {
		return robot.Frame{}, fmt.Errorf("vision: decode %s of %dx%d pixels: OpenCV rejects its contents", format, head.Width, head.Height)
	}
	return robot.Frame{W: m.Cols(), H: m.Rows(), Pix: m.ToBytes()}, nil
}

// finished reports whether an image's end marker is there. OpenCV would fill a
// cut JPEG with grey and call it decoded.
func finished(data []byte, format string) bool {
	if format == "png" {
		return bytes.Contains(data[len(data)-min(len(data), 64):], []byte("IEND"))
	}
	// ISO 10918-1, table B.1: a scan starts with FFDA, the image ends with FFD9.
	// An EXIF thumbnail holds both too, so the end must follow the last scan.
	return bytes.LastIndex(data, []byte{0xff, 0xd9}) > bytes.LastIndex(data, []byte{0xff, 0xda})
}

// EncodeJPEG compresses f at a quality from 1 to 100; 90 keeps the episodes of
// a session small without visible loss.
func EncodeJPEG(f robot.Frame, quality int) ([]byte, error) {
	if quality < 1 || quality > 100 {
		return nil, fmt.Errorf("vision: JPEG quality %d, want 1..100", quality)
	}
	return encode(f, gocv.JPEGFileExt, []int{gocv.IMWriteJpegQuality, quality})
}

// EncodePNG compresses f without loss.
func EncodePNG(f robot.Frame) ([]byte, error) {
	// Level 1 of 9: three times as fast as the default for a tenth more bytes.
	return encode(f, gocv.PNGFileExt, []int{gocv.IMWritePngCompression, 1})
}

func encode(f robot.Frame, ext gocv.FileExt, params []int) ([]byte, error) {
	if err := Check(f); err != nil {
		return nil, err
	}
	v, err := look(f.Pix, f.W, f.H, gocv.MatTypeCV8UC3)
	if err != nil {
		return nil, err
	}
	defer v.done()
	b, err := gocv.IMEncodeWithParams(ext, v.mat, params)
	if err != nil {
		return nil, fmt.Errorf("vision: encode %s: %w", ext, err)
	}
	defer b.Close()
	if b.Len() == 0 {
		return nil, fmt.Errorf("vision: encode %s: OpenCV wrote nothing", ext)
	}
	return bytes.Clone(b.GetBytes()), nil
}
