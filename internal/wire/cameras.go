package wire

import (
	"fmt"

	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// SimCameras are the models of a simulated world's cameras, from MuJoCo, in the order of
// its frames.
func SimCameras(w *tabletop.World) ([]keypoint.Camera, error) {
	var cs []keypoint.Camera
	for _, c := range w.Config().Cameras {
		l, err := w.Lens(c.Name)
		if err != nil {
			return nil, fmt.Errorf("wire: cameras: %w", err)
		}
		k := keypoint.Pinhole(c.Name, c.W, c.H, l.Focal, l.Pose)
		k.OnHand = l.OnHand
		cs = append(cs, k)
	}
	return cs, nil
}
