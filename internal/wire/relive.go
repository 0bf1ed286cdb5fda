package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// adrift is how far a joint may be from what was recorded for an episode to count as
// lived through again, rad.
const adrift = 1e-3

// reliver lives through recorded episodes of simulated sessions again, which brings
// back their truth: no recording holds it, so that nothing can learn from it.
type reliver struct {
	homes map[string]config.Config // by session folder
	world *tabletop.World          // of the configuration that was asked for last
	of    config.Config
}

// home is the folder of the session that a file is an episode of, or "".
func home(file string) string {
	dir := filepath.Dir(filepath.Dir(filepath.Clean(file)))
	if filepath.Base(filepath.Dir(file)) != "episodes" || !SessionAt(dir) {
		return ""
	}
	return dir
}

// errStranger says that nothing is known of the world of a recording.
var errStranger = errors.New("it is no episode of a simulated session")

// begin puts the world of the session to which file belongs at the start of the
// episode; c's renderer is left out unless draw is set.
func (r *reliver) begin(ctx context.Context, file string, info record.Info, draw bool) error {
	dir := home(file)
	if dir == "" {
		return errStranger
	}
	c, ok := r.homes[dir]
	if !ok {
		var err error
		if c, err = asBegun(dir); err != nil {
			return err
		}
		if r.homes == nil {
			r.homes = map[string]config.Config{}
		}
		r.homes[dir] = c
	}
	if real(c) {
		return errStranger
	}
	if c.Practice.Mate != "" && policy.Origin(info.Origin) == policy.Online {
		return fmt.Errorf("its scene was as the episode before it, one of %s, left it, which no seed brings back", c.Practice.Mate)
	}
	if !draw {
		c.Robot.Render = string(tabletop.None)
	}
	if r.world == nil || len(c.Changes(r.of)) > 0 {
		if err := r.close(); err != nil {
			return err
		}
		tc, err := tabletopConfig(c)
		if err != nil {
			return err
		}
		w, err := tabletop.New(tc)
		if err != nil {
			return drawn(err)
		}
		r.world, r.of = w, c
	}
	_, err := r.world.ResetWay(ctx, info.Seed, wayOf(c))
	return err
}

// truths are those of the observations (T+1,) of an episode: its seed and what was
// applied, in the simulator again, with the arm where it was recorded to be.
func (r *reliver) truths(ctx context.Context, file string, info record.Info, ticks []record.Tick) ([]sim.Truth, error) {
	if err := r.begin(ctx, file, info, false); err != nil {
		return nil, err
	}
	return r.follow(ctx, ticks)
}

// follow plays what was applied, from the start of an episode.
func (r *reliver) follow(ctx context.Context, ticks []record.Tick) ([]sim.Truth, error) {
	var out []sim.Truth
	for i, t := range ticks {
		if i > 0 {
			if _, err := r.world.Step(ctx, t.Applied); err != nil {
				return nil, err
			}
		}
		q := r.world.Feel(t.State.Stamp).Q
		for j := range q {
			if d := math.Abs(q[j] - t.State.Q[j]); !(d <= adrift) {
				return nil, fmt.Errorf("lived through again, joint %d is %.3g rad off at step %d: was it of another version, or did a person move the arm?", j+1, d, i)
			}
		}
		out = append(out, r.world.Truth())
	}
	return out, nil
}

func (r *reliver) close() error {
	if r.world == nil {
		return nil
	}
	err := r.world.Close()
	r.world = nil
	return err
}
