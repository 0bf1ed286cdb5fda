package diffusion

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/policytest"
)

func pixelArch() Arch {
	a := small(MLP)
	a.View, a.Trunk, a.Process = policytest.PixelView(), policytest.PixelArch().Trunk, Process{Predict: Sample}
	return a
}

func pixelPlayer(ps policy.Params, seed uint64) (policytest.Counted, error) {
	pi, err := NewPolicy(PolicyConfig{View: policytest.PixelView(), Draw: Draw{Steps: 4}, Exec: 2, Seed: seed})
	if err != nil {
		return nil, err
	}
	return pi, pi.Load(ps)
}

func TestLearnerFromPixelsIsAKeeper(t *testing.T) {
	policytest.TestKeeper(t, policytest.Subject{
		New: learner(func(c *Config) { c.Arch = pixelArch() }),
		Others: map[string]func() (policy.Keeper, error){
			"Arch.Trunk is": func() (policy.Keeper, error) {
				return learner(func(c *Config) { c.Arch = pixelArch(); c.Arch.Trunk.Latent = 9 })(1)
			},
		},
		Player:  pixelPlayer,
		Metrics: []string{"denoise_loss", "actor_grad", "rate", "decay"},
	})
}

// TestGoalsAreFoundInPictures: where the goal is stands in the picture alone.
func TestGoalsAreFoundInPictures(t *testing.T) {
	a := pixelArch()
	a.Width = 64
	l, err := New(Config{Arch: a, Batch: 32, Round: 600, LR: 2e-3, Warmup: 50, Total: 700, Seed: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range policytest.Demos(30, 1, [2]float64{}) {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	ps, err := l.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pi, err := pixelPlayer(ps, 1)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(12345, 6))
	won := 0
	for i := range 50 {
		_, near, err := policytest.Play(fmt.Sprint(i), policy.Online, rng, policytest.By(t.Context(), pi))
		if err != nil {
			t.Fatal(err)
		}
		if near {
			won++
		}
	}
	t.Logf("%d of 50 end near the goal", won)
	if won < 40 {
		t.Errorf("%d of 50 end near the goal, want at least 40", won)
	}
}

func TestMissingFrameIsNamed(t *testing.T) {
	_, ps := drawn(t, pixelArch(), 1)
	pi, err := pixelPlayer(ps, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pi.Act(t.Context(), policy.Input{}); err == nil || !strings.Contains(err.Error(), `no frame of camera "top"`) {
		t.Errorf("error = %v, want one that names the camera", err)
	}
}
