package wire

import (
	"context"
	"errors"
	"fmt"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot/guard"
)

// Picture draws the configured task after the given number of ticks of a good
// demonstration, as a JPEG of w by h pixels with shadows and smooth edges.
func Picture(ctx context.Context, c config.Config, ticks, w, h int) (jpeg []byte, err error) {
	world, err := videoWorld(c, w, h)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	who, err := newDemonstrator(world, true, draw(c.Seed, people, 0))
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
