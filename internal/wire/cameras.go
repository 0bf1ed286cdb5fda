package wire

import (
	"fmt"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// SimCameras are the models of a simulated world's cameras, from MuJoCo, in the order of
// its frames.
func SimCameras(w *tabletop.World) ([]keypoint.Camera, error) {
	var cs []keypoint.Camera
	for _, c := range w.Config().Cameras {
		k, err := simCamera(w, c)
		if err != nil {
			return nil, err
		}
		cs = append(cs, k)
	}
	return cs, nil
}

// simCamera is the model of one camera of a simulated world.
func simCamera(w *tabletop.World, c tabletop.Camera) (keypoint.Camera, error) {
	l, err := w.Lens(c.Name)
	if err != nil {
		return keypoint.Camera{}, fmt.Errorf("wire: cameras: %w", err)
	}
	k := keypoint.Pinhole(c.Name, c.W, c.H, l.Focal, l.Pose)
	k.OnHand = l.OnHand
	return k, nil
}

// fine is how many pixels the longer side of a photo of a simulated camera has at
// least: what a camera of 640x480, the usual one on ROS, sees before frames are shrunk.
const fine = 640

// full is what one of the arm's cameras sees now, as large as there is.
func (a *arm) full(camera string) (robot.Frame, error) {
	if a.ros != nil {
		return a.ros.Full(camera)
	}
	w, ok := a.world.(*tabletop.World)
	if !ok {
		return robot.Frame{}, errFlat
	}
	return photo(w, camera)
}

// photo is what a simulated camera sees now, larger than its frames.
func photo(w *tabletop.World, camera string) (robot.Frame, error) {
	for _, c := range w.Config().Cameras {
		if c.Name == camera {
			k := max(1, (fine+max(c.W, c.H)-1)/max(c.W, c.H))
			c.W, c.H = k*c.W, k*c.H
			return w.Photo(c)
		}
	}
	return robot.Frame{}, fmt.Errorf("wire: there is no camera %s", camera)
}

// cameras are the models of an arm's cameras, in the order of its frames: a simulated
// world's own, known from the first reset on, or those of the file of calibrated ones.
func (a *arm) cameras(c config.Config) ([]keypoint.Camera, error) {
	if a.ros != nil {
		if err := a.sized(c); err != nil {
			return nil, err
		}
		return calibrated(c)
	}
	w, ok := a.world.(*tabletop.World)
	if !ok {
		return nil, errFlat
	}
	return SimCameras(w)
}

// sized refuses cameras that were calibrated at another shape than their images have, which
// stretches what they see: at another size alone is scaled.
func (a *arm) sized(c config.Config) error {
	if a.shaped {
		return nil
	}
	cs, err := onFile(c)
	if err != nil {
		return err
	}
	for _, k := range cs {
		f, err := a.full(k.Name)
		if err != nil {
			return err
		}
		if f.W*k.H != f.H*k.W {
			return fmt.Errorf("wire: reward.kagi.cameras: %s has camera %s at %dx%d pixels, but its images have %dx%d; calibrate it as it comes: rapport calibrate", c.Reward.KAGI.Cameras, k.Name, k.W, k.H, f.W, f.H)
		}
	}
	a.shaped = true
	return nil
}

// calibrated are the configured cameras as reward.kagi.cameras has them, at the size
// that frames have.
func calibrated(c config.Config) ([]keypoint.Camera, error) {
	cs, err := onFile(c)
	for i, k := range cs {
		cs[i] = k.Scaled(c.Robot.Cameras[i].Width, c.Robot.Cameras[i].Height)
	}
	return cs, err
}

// onFile are the configured cameras as reward.kagi.cameras has them, at the size at which
// they were calibrated.
func onFile(c config.Config) ([]keypoint.Camera, error) {
	all, err := keypoint.Load(c.Reward.KAGI.Cameras)
	if err != nil {
		return nil, fmt.Errorf("wire: reward.kagi.cameras: %w", mislaid("reward.kagi.cameras", "FILE", err))
	}
	var cs []keypoint.Camera
	for _, cam := range c.Robot.Cameras {
		k, err := keypoint.Find(all, cam.Name)
		if err != nil {
			return nil, fmt.Errorf("wire: reward.kagi.cameras: %w; it wants every camera of robot.cameras, and rapport calibrate adds one to the file", err)
		}
		cs = append(cs, k)
	}
	return cs, nil
}
