package tabletop

import (
	"errors"
	"fmt"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/mujoco"
)

// Moment is the scene at one instant, kept to be drawn later.
type Moment struct {
	state mujoco.Snapshot
	tick  int
	stamp time.Time
}

// Moment keeps the present instant.
func (w *World) Moment() (*Moment, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.data == nil {
		return nil, ErrClosed
	}
	m := &Moment{tick: w.tick, stamp: w.stamp()}
	w.data.Save(&m.state)
	return m, nil
}

// Photos draws what cam saw at each of the world's moments; cam need not be one of the
// configured cameras. The world does not notice.
func (w *World) Photos(cam Camera, ms []*Moment) (fs []robot.Frame, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.data == nil {
		return nil, ErrClosed
	}
	if err := w.studio.open(w, cam); err != nil {
		return nil, err
	}
	for _, m := range ms {
		if err := w.studio.data.Restore(&m.state); err != nil {
			return nil, fmt.Errorf("tabletop: photos: %w", err)
		}
		f, err := w.studio.eyes.look(w.studio.data, m.tick, m.stamp)
		if err != nil {
			return nil, fmt.Errorf("tabletop: photos: %w", err)
		}
		fs = append(fs, f...)
	}
	return fs, nil
}

// Photo draws what cam sees now, as Photos does.
func (w *World) Photo(cam Camera) (robot.Frame, error) {
	m, err := w.Moment()
	if err != nil {
		return robot.Frame{}, err
	}
	fs, err := w.Photos(cam, []*Moment{m})
	if err != nil {
		return robot.Frame{}, err
	}
	return fs[0], nil
}

// studio is where photos are taken: beside the world, since what controls the arm is of
// its last step and not of the instant that is drawn.
type studio struct {
	data *mujoco.Data
	eyes *eyes
}

// open takes a camera in, unless it is there already: that takes long.
func (s *studio) open(w *World, cam Camera) (err error) {
	if s.eyes != nil && s.eyes.cameras[0] == cam {
		return nil
	}
	c := w.cfg
	c.Cameras = []Camera{cam}
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Render == None {
		return errors.New("tabletop: photos of a world that draws nothing (render none)")
	}
	if err := s.close(); err != nil {
		return err
	}
	if s.data, err = w.model.NewData(); err != nil {
		return fmt.Errorf("tabletop: photos: %w", err)
	}
	s.eyes, err = newEyes(w.model, c)
	return err
}

func (s *studio) close() error {
	var errs []error
	if s.eyes != nil {
		errs = append(errs, s.eyes.Close())
	}
	if s.data != nil {
		errs = append(errs, s.data.Close())
	}
	*s = studio{}
	return errors.Join(errs...)
}
