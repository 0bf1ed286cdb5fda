package critic

import (
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/trunk"
)

// Sight sees the frames of a batch. The losses of the values train the trunk, and
// the actor takes its latents as given (Yarats et al. 2021, arXiv:2107.09645,
// section 3.1). What came next is seen through the trunk as it is, as DrQ-v2 does,
// where RLPD's code keeps a slow copy of it.
type Sight struct {
	D, L      int // numbers of a row, latents beside them
	shift     int // pixels
	now, next *trunk.Glance
	was       *trunk.Glance // by the trunk that learning started from
	dz        []float32     // (B, L)
	params    []*nn.Param
	adam      *nn.Adam
}

// NewSight returns the Sight of an actor that started from ref, for B rows. Without
// cameras it is nil.
func NewSight(actor, ref *bc.Net, B int, c nn.AdamConfig, on device.Device) *Sight {
	eye := actor.Eye()
	if eye == nil {
		return nil
	}
	ps := eye.Params()
	return &Sight{
		D: actor.Dim() - eye.Dim(), L: eye.Dim(), shift: eye.Config.Shift,
		now: eye.Glance(B, true, on), next: eye.Glance(B, false, on), was: ref.Eye().Glance(B, false, on),
		dz: make([]float32, B*eye.Dim()), params: ps, adam: nn.NewAdam(ps, c),
	}
}

// Now writes the rows (B, D) with the latents of their frames beside them to dst
// (B, D+L). Frames are shifted at random.
func (s *Sight) Now(dst, rows []float32, pix []byte, rng *rand.Rand) {
	trunk.Beside(dst, rows, s.now.Look(pix, s.shift, rng), len(rows)/s.D)
}

// Next is Now for what came next, through which nothing is learned.
func (s *Sight) Next(dst, rows []float32, pix []byte, rng *rand.Rand) {
	trunk.Beside(dst, rows, s.next.Look(pix, s.shift, rng), len(rows)/s.D)
}

// Was writes the rows with what the trunk that learning started from makes of
// their frames, as they are, to dst (B, D+L).
func (s *Sight) Was(dst, rows []float32, pix []byte) {
	trunk.Beside(dst, rows, s.was.Look(pix, 0, nil), len(rows)/s.D)
}

// Take adds the gradient of a loss by what it read of the last Now: x (B, D+L+...)
// is the graph's InputGrad.
func (s *Sight) Take(x *nn.Node) {
	n := x.Shape[1]
	for i := range len(s.dz) / s.L {
		dz, dx := s.dz[i*s.L:(i+1)*s.L], x.Grad[i*n+s.D:]
		for j := range dz {
			dz[j] += dx[j]
		}
	}
}

// Step trains the trunk on what was taken since the last Step or Drop.
func (s *Sight) Step() {
	nn.ZeroGrad(s.params)
	s.now.Back(s.dz)
	s.adam.Step()
	s.Drop()
}

// Drop forgets what was taken.
func (s *Sight) Drop() { clear(s.dz) }

// Norm is that of the gradient of the last Step.
func (s *Sight) Norm() float64 { return s.adam.Norm() }

// Optimiser is what a checkpoint keeps.
func (s *Sight) Optimiser() *nn.Adam { return s.adam }
