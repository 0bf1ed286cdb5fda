package ppo

import (
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/policy/auxiliary"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/trunk"
)

// sight sees the frames of rows, as they are: the ratio is that of the policy that
// acted on them, and shifted ones it never saw (Raileanu et al. 2020,
// arXiv:2006.12862, section 3).
type sight struct {
	B, D, L int           // rows of a batch, numbers of a row, latents beside them
	now     *trunk.Glance // through which the actor's trunk learns
	spare   *trunk.Net    // stands in for the trunk of any version
	read    *trunk.Glance // through spare
	page    []byte        // (B, P)
	rows    []float32     // (B, D)
	latents []float32     // (B, L) of the last look
	dz      []float32     // (B, L)
	params  []*nn.Param   // of the actor's trunk
	adam    *nn.Adam
	aside   *aside // nil for none
}

// aside is what the trunk learns beside policy and value: to tell the reward of the
// step and the row from the latents.
type aside struct {
	g              *nn.Graph
	z, reward, row *nn.Node // (B, L), (B,), (B, D)
	loss           *nn.Node
	params         []*nn.Param // of the heads
	adam           *nn.Adam
}

func newAside(s *sight, weight float64, c nn.AdamConfig, on device.Device, rng *rand.Rand) *aside {
	a := &aside{g: nn.NewGraphOn(on)}
	heads := auxiliary.New("auxiliary", auxiliary.Config{Width: s.L, State: s.D, Reward: weight, Rebuild: weight}, rng)
	a.z, a.reward, a.row = a.g.InputGrad(s.B, s.L), a.g.Input(s.B), a.g.Input(s.B, s.D)
	a.loss = heads.Loss(a.g, a.z, a.reward, a.row)
	a.params = heads.Params()
	a.adam = nn.NewAdam(a.params, c)
	return a
}

// learn does a step of the heads on the latents z of rows, and adds what they say of
// these to dz (B, L).
func (a *aside) learn(dz, z, rows []float32) {
	copy(a.z.Value, z)
	copy(a.row.Value, rows)
	a.g.Forward()
	nn.ZeroGrad(a.params)
	a.g.Backward(a.loss)
	a.adam.Step()
	for i, d := range a.z.Grad {
		dz[i] += d
	}
}

// newSight returns the sight of an actor for batches of B rows; without cameras it
// is nil.
func newSight(actor *bc.Net, B int, c nn.AdamConfig, on device.Device) *sight {
	eye := actor.Eye()
	if eye == nil {
		return nil
	}
	s := &sight{B: B, D: actor.Dim() - eye.Dim(), L: eye.Dim(), now: eye.Glance(B, true, on), spare: eye.Clone(), params: eye.Params()}
	s.read = s.spare.Glance(B, false, on)
	s.page, s.rows, s.dz = make([]byte, B*actor.Arch.View.Pixels()), make([]float32, B*s.D), make([]float32, B*s.L)
	s.adam = nn.NewAdam(s.params, c)
	return s
}

// all writes the rows (M, D) with what the trunk of n makes of their frames beside
// them to dst (M, D+L).
func (s *sight) all(dst, rows []float32, pix [][]byte, n *bc.Net) {
	nn.Copy(s.spare.Params(), n.Eye().Params())
	for len(pix) > 0 {
		m := min(s.B, len(pix))
		for i, p := range pix[:m] {
			copy(s.page[i*len(p):], p)
		}
		z := s.read.Look(s.page, 0, nil)
		trunk.Beside(dst, rows[:m*s.D], z[:m*s.L], m)
		dst, rows, pix = dst[m*(s.D+s.L):], rows[m*s.D:], pix[m:]
	}
}

// look writes the rows idx of d with what the actor's trunk makes of their frames
// to dst (B, D+L).
func (s *sight) look(dst []float32, d *data, idx []int) {
	for i, j := range idx {
		copy(s.rows[i*s.D:(i+1)*s.D], d.rows[j*s.D:])
		copy(s.page[i*len(d.pix[j]):], d.pix[j])
	}
	s.latents = s.now.Look(s.page, 0, nil)
	trunk.Beside(dst, s.rows, s.latents, s.B)
	if s.aside != nil {
		for i, j := range idx {
			s.aside.reward.Value[i] = d.reward[j]
		}
	}
}

// learn does a step along what the losses of policy and value say of the latents of
// the last look, the value's counting by weight: equation 9 of Schulman et al. 2017,
// for networks that share parameters.
func (s *sight) learn(policy, value *nn.Node, weight float64) {
	n := s.D + s.L
	for i := range s.B {
		dz, dp, dv := s.dz[i*s.L:(i+1)*s.L], policy.Grad[i*n+s.D:], value.Grad[i*n+s.D:]
		for j := range dz {
			dz[j] = dp[j] + float32(weight)*dv[j]
		}
	}
	if s.aside != nil {
		s.aside.learn(s.dz, s.latents, s.rows)
	}
	nn.ZeroGrad(s.params)
	s.now.Back(s.dz)
	s.adam.Step()
}
