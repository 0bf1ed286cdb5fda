// Package reward labels trajectories: a reward is a property of a whole
// trajectory, since optimal transport needs all of it.
package reward

import (
	"context"

	"github.com/rapport-rl/rapport/perception"
)

// Scorer labels a trajectory. traj holds T+1 features, the first of which was
// seen right after the reset; dst (T,) receives the rewards, and dst[t] rates
// arriving at traj[t+1]. Scoring a prefix of an episode gives the live plot.
type Scorer interface {
	Score(ctx context.Context, dst []float64, traj []perception.Features) error
}
