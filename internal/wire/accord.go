package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
)

// elsewhere are the keys that the processes of a session may have other values of, besides
// the free ones: what lies elsewhere on another machine, and what the learner alone goes by.
var elsewhere = slices.Concat(free, []string{"encoder.onnx", "reward.kagi.cache", "reward.kagi.cameras", "learner.device", "session.from", "session.record", "session.lossless", "align.", "practice."})

// publishConfig puts the session's configuration where the others look.
func (s *Session) publishConfig(ctx context.Context) error {
	return keepConfig(s.cfg, func(b []byte) error { return s.publishNewest(ctx, "the configuration", subConfig, b) })
}

// accords says whether r is configured as the learner of its session, where one has begun.
func (r *role) accords(ctx context.Context) error {
	p, err := r.conn.LatestParams(ctx, r.name+subConfig)
	if errors.Is(err, bus.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	return r.fits(p.Data)
}

// fits compares r's configuration with the learner's: an episode of another task or scale
// would be learned from as if it were this session's.
func (r *role) fits(learners []byte) error {
	was := config.Default()
	if err := config.Decode(learners, &was); err != nil {
		return fmt.Errorf("wire: the configuration of session %s's learner: %w; use the same version of rapport for all its processes", r.name, err)
	}
	var errs []error
	for _, c := range r.cfg.Changes(was) {
		if !config.Covers(elsewhere, c.Key) {
			errs = append(errs, fmt.Errorf("wire: session %s: %s is %s here, and %s at its learner; want --set '%s=%s', or the learner's file", r.name, c.Key, c.Is, c.Was, c.Key, c.Was))
		}
	}
	return errors.Join(errs...)
}
