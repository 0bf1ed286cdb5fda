package tabletop

import (
	"errors"
	"fmt"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/mujoco"
)

// eyes draw the cameras, those of one size together.
type eyes struct {
	cameras []Camera
	groups  []group
	bytes   int // of all images
}

type group struct {
	r    *mujoco.Renderer
	cams []int    // in the model
	at   []int    // in the configured order
	dst  [][]byte // scratch
}

func newEyes(m *mujoco.Model, c Config) (*eyes, error) {
	e := &eyes{}
	if c.Render == None {
		return e, nil
	}
	kind := mujoco.EGL
	if c.Render == Raster {
		kind = mujoco.Raster
	}
	e.cameras = c.Cameras
	for i, cam := range c.Cameras {
		id, err := m.Camera(cam.Name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("tabletop: camera %q: %w", cam.Name, err), e.Close())
		}
		e.bytes += cam.W * cam.H * 3
		size := mujoco.Size{W: cam.W, H: cam.H}
		g := e.group(size)
		if g == nil {
			r, err := mujoco.NewRenderer(m, size, c.Quality, kind)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("tabletop: camera %q: %w", cam.Name, err), e.Close())
			}
			e.groups = append(e.groups, group{r: r})
			g = &e.groups[len(e.groups)-1]
		}
		g.cams, g.at, g.dst = append(g.cams, id), append(g.at, i), append(g.dst, nil)
	}
	return e, nil
}

func (e *eyes) group(s mujoco.Size) *group {
	for i := range e.groups {
		if e.groups[i].r.Size() == s {
			return &e.groups[i]
		}
	}
	return nil
}

// look draws the present instant into images of its own, as frames are kept by
// whoever gets them.
func (e *eyes) look(d *mujoco.Data, tick int, stamp time.Time) ([]robot.Frame, error) {
	if len(e.cameras) == 0 {
		return nil, nil
	}
	frames := make([]robot.Frame, len(e.cameras))
	pix := make([]byte, e.bytes)
	for i, c := range e.cameras {
		n := c.W * c.H * 3
		frames[i] = robot.Frame{Camera: c.Name, Seq: uint64(tick), Stamp: stamp, W: c.W, H: c.H, Pix: pix[:n:n]}
		pix = pix[n:]
	}
	for _, g := range e.groups {
		for k, i := range g.at {
			g.dst[k] = frames[i].Pix
		}
		if err := g.r.Render(d, g.cams, g.dst); err != nil {
			return nil, err
		}
	}
	return frames, nil
}

func (e *eyes) Close() error {
	var errs []error
	for _, g := range e.groups {
		errs = append(errs, g.r.Close())
	}
	e.groups = nil
	return errors.Join(errs...)
}
