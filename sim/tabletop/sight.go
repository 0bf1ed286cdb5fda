package tabletop

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// Lens describes a camera of the scene as it stands, read from MuJoCo. One on the hand
// is told of in the tool's frame (OnHand), as calibrated cameras are, and not in the
// hand's as LensOf has it. A camera that Disturb moved is told of as if it had not:
// calibration was before that.
func (w *World) Lens(name string) (Lens, error) {
	if w.data == nil {
		return Lens{}, ErrClosed
	}
	cam, err := w.model.Camera(name)
	if err != nil {
		return Lens{}, fmt.Errorf("tabletop: camera %q: %w", name, err)
	}
	v, _ := viewOf(name)
	if w.cfg.Disturb.knocks(v) {
		l, _ := LensOf(name)
		return l, nil
	}
	l := Lens{Pose: w.sight(cam), OnHand: v.attached, Focal: 0.5 / math.Tan(w.model.CamFovy()[cam]*math.Pi/360)}
	if l.OnHand {
		tool := franka.Forward(&w.in.Q)
		back := franka.Conj(tool.Q)
		p := l.Pose.P
		for i := range p {
			p[i] -= tool.P[i]
		}
		l.Pose = robot.Pose{P: franka.Rotate(back, p), Q: franka.Mul(back, l.Pose.Q)}
	}
	return l, nil
}

// sight is the pose of camera cam in the base frame: x right, y down, z forward, where
// MuJoCo has y up and z backward.
func (w *World) sight(cam int) robot.Pose {
	m, p := w.data.CamXMat(cam), w.data.CamXPos(cam)
	return franka.Matrix(&[16]float64{
		m[0], m[3], m[6], 0, -m[1], -m[4], -m[7], 0, -m[2], -m[5], -m[8], 0, p[0], p[1], p[2], 1,
	})
}

// Sees says whether nothing stands between a camera and the place p (base frame, m),
// but for what is nearer to p than slack, m: the thing on which p lies. It asks the
// scene, so that only evaluation and tests may ask it.
func (w *World) Sees(name string, p [3]float64, slack float64) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.data == nil {
		return false, ErrClosed
	}
	cam, err := w.model.Camera(name)
	if err != nil {
		return false, fmt.Errorf("tabletop: camera %q: %w", name, err)
	}
	from := [3]float64(w.data.CamXPos(cam))
	n := dist(from, p)
	_, x := w.data.Ray(from, [3]float64{(p[0] - from[0]) / n, (p[1] - from[1]) / n, (p[2] - from[2]) / n})
	return x < 0 || x >= n-slack, nil
}
