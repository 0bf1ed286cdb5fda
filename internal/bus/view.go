package bus

import (
	"fmt"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// View is one camera's picture for eyes: a JPEG, which a browser draws as it is.
type View struct {
	Camera string
	Seq    uint64
	Stamp  time.Time // by the backend's clock
	W, H   int
	JPEG   []byte
}

// ViewTopic carries what FrameTopic does. What came as a JPEG is neither
// unpacked nor checked beyond its envelope: who looks at it must bear a broken
// picture.
func ViewTopic(camera string) Topic[View] {
	return Topic[View]{Name: "frame." + camera, Encode: EncodeView, Decode: DecodeView}
}

// EncodeView writes a message of kind "frames" with one JPEG.
func EncodeView(v View) ([]byte, error) {
	f := robot.Frame{Camera: v.Camera, Seq: v.Seq, Stamp: v.Stamp, W: v.W, H: v.H}
	return frames([]robot.Frame{f}, []frameMeta{{v.Camera, v.W, v.H, "jpeg"}}, [][]byte{v.JPEG})
}

// DecodeView reads a message of kind "frames" with one frame. Raw pixels become
// a JPEG.
func DecodeView(b []byte) (View, error) {
	metas, r, err := decode[[]frameMeta]("frames", b)
	if err != nil {
		return View{}, err
	}
	if len(metas) != 1 {
		return View{}, fmt.Errorf("bus: decode view: %w: %d frames of one camera", ErrWire, len(metas))
	}
	m := metas[0]
	if m.Enc != "jpeg" {
		fs, err := DecodeFrames(b)
		if err != nil {
			return View{}, err
		}
		f := fs[0]
		if f.W == 0 || f.H == 0 {
			return View{}, fmt.Errorf("bus: decode view: %w: frame of %dx%d", ErrWire, f.W, f.H)
		}
		j, err := toJPEG(f)
		if err != nil {
			return View{}, fmt.Errorf("bus: decode view: camera %q: %w", f.Camera, err)
		}
		return View{f.Camera, f.Seq, f.Stamp, f.W, f.H, j}, nil
	}
	v := View{Camera: m.Camera, W: m.W, H: m.H}
	if m.W <= 0 || m.H <= 0 || m.W > maxPixels/m.H {
		r.fail("frame of %dx%d, limit %d pixels", m.W, m.H, maxPixels)
	}
	r.times("stamp", 1, func(_ int, t time.Time) { v.Stamp = t })
	seq, size := cursor(r.rows("seq", "u8", -1, 1)), cursor(r.rows("size", "u8", -1, 1))
	v.JPEG, _ = r.take("pix", "u1", -1)
	if r.err == nil {
		v.Seq = seq.u64()
		if n := size.u64(); n != uint64(len(v.JPEG)) {
			r.fail("picture of %d bytes, announced as %d", len(v.JPEG), n)
		}
	}
	return v, r.done("view")
}
