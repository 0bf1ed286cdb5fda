package rosarm

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// ImageTopic is where a camera's images are, as realsense2_camera calls it.
func ImageTopic(camera string) string { return "/" + camera + "/color/image_raw" }

// CompressedTopic is where they are as JPEG.
func CompressedTopic(camera string) string { return ImageTopic(camera) + "/compressed" }

// InfoTopic is where a camera's CameraInfo is.
func InfoTopic(camera string) string { return "/" + camera + "/color/camera_info" }

// eye publishes images beside the physics, which does not wait for it: what comes
// while it is busy replaces what waits.
type eye struct {
	s     *Sim
	in    chan []robot.Frame
	noise []int8
	rng   *rand.Rand

	mu    sync.Mutex
	views []view
}

type view struct {
	name   string
	image  *ros.Publisher[std.Image]
	jpeg   *ros.Publisher[std.CompressedImage]
	info   *ros.Publisher[std.CameraInfo]
	lens   tabletop.Lens
	blind  bool
	frozen bool
	last   []byte // RGB8 as published
	seq    uint32
}

func newEye(s *Sim) *eye {
	e := &eye{s: s, in: make(chan []robot.Frame, 1), rng: rand.New(rand.NewPCG(s.cfg.World.Seed, 0x657965)), noise: make([]int8, 1<<16)}
	for i := range e.noise {
		e.noise[i] = int8(e.rng.IntN(5) - 2)
	}
	for _, c := range s.cfg.World.Cameras {
		v := view{name: c.Name}
		v.lens, _ = tabletop.LensOf(c.Name)
		e.views = append(e.views, v)
	}
	return e
}

func (e *eye) advertise() error {
	var errs []error
	for i := range e.views {
		v := &e.views[i]
		v.image = advertise[std.Image](e.s, ImageTopic(v.name), false, &errs)
		v.info = advertise[std.CameraInfo](e.s, InfoTopic(v.name), false, &errs)
		if e.s.cfg.JPEG > 0 {
			v.jpeg = advertise[std.CompressedImage](e.s, CompressedTopic(v.name), false, &errs)
		}
	}
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}

func (e *eye) set(camera string, change func(*view)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.views {
		if e.views[i].name == camera {
			change(&e.views[i])
		}
	}
}

// show hands over the images of one instant, and never waits.
func (e *eye) show(fs []robot.Frame) {
	select {
	case <-e.in: // too late for these
	default:
	}
	e.in <- fs // the physics alone sends
}

func (e *eye) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case fs := <-e.in:
			for i := range fs {
				e.publish(i, &fs[i])
			}
		}
	}
}

func (e *eye) publish(i int, f *robot.Frame) {
	e.mu.Lock()
	v := &e.views[i]
	if v.blind {
		e.mu.Unlock()
		return
	}
	rgb := v.last
	if !v.frozen || rgb == nil {
		rgb = e.grain(f.Pix)
		v.last = rgb
	}
	v.seq++
	h := std.Header{Seq: v.seq, Stamp: f.Stamp, FrameId: opticalFrame(v.name)}
	e.mu.Unlock()
	// Published bytes are never written again.
	v.image.Publish(&std.Image{Header: h, Height: uint32(f.H), Width: uint32(f.W), Encoding: "rgb8", Step: uint32(3 * f.W), Data: rgb})
	v.info.Publish(info(h, f, v.lens.Focal))
	if v.jpeg != nil {
		if b, err := squeeze(rgb, f.W, f.H, e.s.cfg.JPEG); err == nil {
			v.jpeg.Publish(&std.CompressedImage{Header: h, Format: "rgb8; jpeg compressed bgr8", Data: b})
		} else {
			e.s.log.Error("rosarm: JPEG", "camera", v.name, "err", err)
		}
	}
}

// grain returns the image as RGB with the noise of a sensor, up to ±2, so that no
// two images are the same.
func (e *eye) grain(bgr []byte) []byte {
	rgb := make([]byte, len(bgr))
	at := e.rng.IntN(len(e.noise))
	for i := 0; i+2 < len(bgr); i += 3 {
		for k := range 3 {
			if at++; at == len(e.noise) {
				at = 0
			}
			rgb[i+k] = byte(min(max(int(bgr[i+2-k])+int(e.noise[at]), 0), 255))
		}
	}
	return rgb
}

// info is the pinhole camera of a frame.
func info(h std.Header, f *robot.Frame, focal float64) *std.CameraInfo {
	k := focal * float64(f.H)
	x, y := float64(f.W)/2, float64(f.H)/2
	return &std.CameraInfo{
		Header: h, Width: uint32(f.W), Height: uint32(f.H), DistortionModel: "plumb_bob", D: make([]float64, 5),
		K: [9]float64{k, 0, x, 0, k, y, 0, 0, 1}, R: [9]float64{1, 0, 0, 0, 1, 0, 0, 0, 1},
		P: [12]float64{k, 0, x, 0, 0, k, y, 0, 0, 0, 1, 0},
	}
}

func squeeze(pix []byte, w, h, quality int) ([]byte, error) {
	// image/jpeg is quick for its own types alone.
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for i, k := 0, 0; i < len(pix); i, k = i+3, k+4 {
		m.Pix[k], m.Pix[k+1], m.Pix[k+2], m.Pix[k+3] = pix[i], pix[i+1], pix[i+2], 255
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality})
	return slices.Clip(b.Bytes()), err
}
