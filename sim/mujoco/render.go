package mujoco

import (
	"errors"
	"fmt"
)

// ErrNoGL says that there is no OpenGL to draw with.
var ErrNoGL = errors.New("mujoco: no offscreen OpenGL (install libegl1 and libgl1-mesa-dri, " +
	"or draw with kind Raster, or build with -tags nogl)")

// Size is an image's, in pixels.
type Size struct{ W, H int }

// Quality trades beauty for speed.
type Quality uint8

const (
	// Lean is for training: no shadows, no reflections, no antialiasing, coarse
	// curves. It is up to 17 times as fast as MuJoCo's defaults.
	Lean Quality = iota
	// Video is for people: as the model's <visual> says under EGL, four samples
	// per pixel in the rasteriser.
	Video
)

// Kind says who draws. The two give different images of the same scene: use one
// for all of a data set.
type Kind uint8

const (
	// Auto is EGL, or Raster in a build with the tag nogl.
	Auto Kind = iota
	// EGL is MuJoCo's own renderer on OpenGL, without a display.
	EGL
	// Raster is a small renderer in Go, for primitives only; it needs no library.
	Raster
)

func (k Kind) String() string {
	switch k {
	case Auto:
		return "auto"
	case EGL:
		return "egl"
	case Raster:
		return "raster"
	}
	return "unknown"
}

// ParseKind reads what String writes.
func ParseKind(s string) (Kind, error) {
	for _, k := range []Kind{Auto, EGL, Raster} {
		if s == k.String() {
			return k, nil
		}
	}
	return Auto, fmt.Errorf("mujoco: renderer %q: want auto, egl or raster", s)
}

// Renderer draws what a model's cameras see: geom and site groups 0 to 2, as
// MuJoCo's viewer shows by default. It is used by one goroutine at a time, not
// always the same one; several may draw at once. Images are byte-identical from
// run to run on one version of Mesa.
type Renderer struct {
	m    *Model
	size Size
	kind Kind
	painter
}

// painter is EGL's or the rasteriser's side of a Renderer.
type painter interface {
	paint(d *Data, cams []int, dst [][]byte) error
	close()
}

// NewRenderer returns a renderer for worlds of m. Close it. The error is ErrNoGL
// where EGL is wanted and missing. The environment variable RAPPORT_EGL names
// another library than libEGL.so.1.
func NewRenderer(m *Model, size Size, q Quality, k Kind) (*Renderer, error) {
	if size.W < 1 || size.H < 1 || size.W > 8192 || size.H > 8192 { // Mesa draws up to 8192
		return nil, fmt.Errorf("mujoco: image of %d×%d pixels: want 1 to 8192 each", size.W, size.H)
	}
	if k == Auto {
		k = preferred
	}
	if err := m.hold(); err != nil {
		return nil, err
	}
	r := &Renderer{m: m, size: size, kind: k}
	var err error
	if k == EGL {
		r.painter, err = newEGL(m, size, q)
	} else {
		r.painter, err = newRaster(m, size, q)
	}
	if err != nil {
		m.release()
		return nil, err
	}
	return r, nil
}

// Size returns the size of the images.
func (r *Renderer) Size() Size { return r.size }

// Kind returns who draws: EGL or Raster.
func (r *Renderer) Kind() Kind { return r.kind }

// Render draws d, a world of the renderer's model, as cams see it, into dst, one
// image (H,W,3) each: BGR8, top row first. It draws the poses that were last
// computed: call Kinematics or Forward after Step, or see them one step old.
func (r *Renderer) Render(d *Data, cams []int, dst [][]byte) error {
	if r.painter == nil || d.c == nil {
		return ErrClosed
	}
	if d.m != r.m {
		panic("mujoco: the data is of another model than the renderer")
	}
	if len(cams) != len(dst) {
		panic("mujoco: one image per camera")
	}
	for i, c := range cams {
		if c < 0 || c >= int(r.m.c.ncam) {
			panic("mujoco: camera out of range")
		}
		if len(dst[i]) != r.size.W*r.size.H*3 {
			panic("mujoco: an image has H*W*3 bytes")
		}
	}
	if len(cams) == 0 {
		return nil
	}
	return r.paint(d, cams, dst)
}

// Close frees the renderer. Further calls do nothing.
func (r *Renderer) Close() error {
	if r.painter != nil {
		r.close()
		r.painter = nil
		r.m.release()
	}
	return nil
}
