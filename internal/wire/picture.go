package wire

import (
	"context"
	"errors"
	"fmt"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/sim/mujoco"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// Picture draws the configured task after the given number of ticks of a good
// demonstration, as a JPEG of w by h pixels with shadows and smooth edges.
func Picture(ctx context.Context, c config.Config, ticks, w, h int) (jpeg []byte, err error) {
	world, err := tabletop.New(tabletop.Config{
		Task: tabletop.Task(c.Robot.Task), Seed: c.Seed, Timestep: c.Robot.Timestep, Render: tabletop.Render(c.Robot.Render),
		Quality: mujoco.Video, Cameras: []tabletop.Camera{{Name: scene.Name, W: w, H: h}},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	who, err := tabletop.NewDemonstrator(world, tabletop.Good, draw(c.Seed, people, 0))
	if err != nil {
		return nil, err
	}
	a, err := guard.New(world, guardConfig(c))
	if err != nil {
		return nil, err
	}
	obs, err := a.Reset(ctx)
	for range ticks {
		if err == nil {
			obs, err = a.Step(ctx, who.Act(obs))
		}
	}
	if err != nil {
		return nil, err
	}
	if len(obs.Frames) != 1 {
		return nil, fmt.Errorf("wire: the world gave %d frames, want 1", len(obs.Frames))
	}
	return vision.EncodeJPEG(obs.Frames[0], 88)
}
