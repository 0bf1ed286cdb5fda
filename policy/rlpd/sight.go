package rlpd

import (
	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/trunk"
)

// sight sees the frames of a batch. The critics' loss trains the trunk, and the
// actor takes its latents as given (Yarats et al. 2021, arXiv:2107.09645,
// section 3.1). Targets are seen through the trunk as it is, as DrQ-v2's are,
// where RLPD's code keeps a slow copy of it.
type sight struct {
	L         int
	now, next *trunk.Glance
	was       *trunk.Glance // by the trunk that learning started from
	dz        []float32     // (B, L)
	params    []*nn.Param
	adam      *nn.Adam
}

func newSight(actor, ref *trunk.Net, B int, c nn.AdamConfig) *sight {
	return &sight{
		L:   actor.Dim(),
		now: actor.Glance(B, true), next: actor.Glance(B, false), was: ref.Glance(B, false),
		dz: make([]float32, B*actor.Dim()), params: actor.Params(), adam: nn.NewAdam(actor.Params(), c),
	}
}

// learn takes the gradient of the critics' loss by what they read, dx (B, n) with
// the latents from column at on, back to the trunk, and steps.
func (s *sight) learn(dx []float32, n, at int) {
	for i := range len(dx) / n {
		copy(s.dz[i*s.L:(i+1)*s.L], dx[i*n+at:])
	}
	nn.ZeroGrad(s.params)
	s.now.Back(s.dz)
	s.adam.Step()
}
