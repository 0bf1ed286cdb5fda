package critic

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
)

// glimpse is a Sight of two rows, with frames of noise.
func glimpse(t *testing.T) (*Sight, *bc.Net, []float32, []byte) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	actor, err := bc.NewNet(policytest.PixelArch(), rng)
	if err != nil {
		t.Fatal(err)
	}
	s := NewSight(actor, actor.Clone(), 2, nn.AdamConfig{LR: 1e-3}, nil)
	rows, pix := make([]float32, 2*s.D), make([]byte, 2*3*policytest.Side*policytest.Side)
	Normal(rows, rng)
	for i := range pix {
		pix[i] = byte(rng.IntN(256))
	}
	return s, actor, rows, pix
}

func TestWithoutCamerasThereIsNoSight(t *testing.T) {
	actor, err := bc.NewNet(bc.Arch{View: look(), Hidden: []int{5}}, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	if s := NewSight(actor, actor.Clone(), 2, nn.AdamConfig{LR: 1e-3}, nil); s != nil {
		t.Errorf("got %+v, want nil", s)
	}
}

// TestTrunkFollowsWhatWasTaken: the gradient of the trunk is that of the sum of the
// losses, of which each reads other numbers behind the latents, against
// differences along it.
func TestTrunkFollowsWhatWasTaken(t *testing.T) {
	s, actor, rows, pix := glimpse(t)
	n := actor.Dim()
	rng := rand.New(rand.NewPCG(3, 4))
	dst := make([]float32, 2*n)
	state, action := nn.NewGraph().InputGrad(2, n), nn.NewGraph().InputGrad(2, n+2)
	state.Grad, action.Grad = make([]float32, 2*n), make([]float32, 2*(n+2))
	Normal(state.Grad, rng)
	Normal(action.Grad, rng)
	loss := func() float64 {
		s.Now(dst, rows, pix, nil)
		sum := 0.0
		for i := range 2 {
			for j := s.D; j < n; j++ {
				sum += float64(dst[i*n+j]) * float64(state.Grad[i*n+j]+action.Grad[i*(n+2)+j])
			}
		}
		return sum
	}
	loss()
	ps := actor.Eye().Params()
	old := make([][]float32, len(ps))
	for i, p := range ps {
		old[i] = slices.Clone(p.Data)
	}
	s.Take(action)
	s.Drop()
	s.Take(state)
	s.Take(action)
	s.Step()
	norm := 0.0
	for i, p := range ps {
		if slices.Equal(p.Data, old[i]) {
			t.Errorf("%s stayed", p.Name)
		}
		for _, g := range p.Grad {
			norm += float64(g) * float64(g)
		}
	}
	norm = math.Sqrt(norm)
	at := func(eps float64) float64 {
		for i, p := range ps {
			for j, g := range p.Grad {
				p.Data[j] = old[i][j] + float32(eps*float64(g)/norm)
			}
		}
		return loss()
	}
	// float32 latents and kinks of the ReLUs: 2 %.
	if got := (at(1e-3) - at(-1e-3)) / 2e-3; math.Abs(got-norm) > 0.02*norm || norm < 0.1 {
		t.Errorf("the loss rises by %v along a gradient of norm %v", got, norm)
	}
	if got := s.Norm(); math.Abs(got-norm) > 1e-4*norm {
		t.Errorf("Norm = %v, want %v", got, norm)
	}
}

// TestSightOfWhatWas: the trunk that learning started from stays, the others move.
func TestSightOfWhatWas(t *testing.T) {
	s, actor, rows, pix := glimpse(t)
	n := actor.Dim()
	first, now, next, was := make([]float32, 2*n), make([]float32, 2*n), make([]float32, 2*n), make([]float32, 2*n)
	s.Now(first, rows, pix, nil)
	x := nn.NewGraph().InputGrad(2, n)
	x.Grad = slices.Repeat([]float32{1}, 2*n)
	s.Take(x)
	s.Step()
	s.Now(now, rows, pix, nil)
	s.Next(next, rows, pix, nil)
	s.Was(was, rows, pix)
	if !slices.Equal(was, first) {
		t.Error("what was is not what the first trunk saw")
	}
	if slices.Equal(now, first) || !slices.Equal(now, next) {
		t.Error("now and next are not both of the trunk that moved")
	}
	if !slices.Equal(now[:s.D], rows[:s.D]) {
		t.Errorf("row is %v, want %v before its latents", now[:s.D], rows[:s.D])
	}
}
