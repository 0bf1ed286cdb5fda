package align_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
	"github.com/rapport-rl/rapport/policy/diffusion"
	"github.com/rapport-rl/rapport/policy/sample"
	"github.com/rapport-rl/rapport/policy/view"
)

// critic is fitted to the liked way.
func critic(t testing.TB, w *aligntest.Ways) *align.Critic {
	t.Helper()
	seen := draw(t, w, tune(t, w, align.Config{}), 64, 2, 1)
	won(seen)
	k, err := align.FitCritic(t.Context(), seen, align.CriticConfig{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A critic that was saved judges chunks in the view's units as it judges the samples
// that they are, whatever the ranges, and its gradient is that of its values.
func TestSteeringIsTheCritic(t *testing.T) {
	w := ways(t)
	k := critic(t, w)
	n := w.Net.Clone()
	n.Fit([]float32{-3, 1}, []float32{-2, 6})
	var file bytes.Buffer
	if err := k.Save(&file); err != nil {
		t.Fatal(err)
	}
	again, err := align.RestoreCritic(file.Bytes(), n)
	if err != nil {
		t.Fatal(err)
	}
	s, err := again.Steer(n)
	if err != nil {
		t.Fatal(err)
	}
	look, err := diffusion.NewLooker(n, 1)
	if err != nil {
		t.Fatal(err)
	}
	ss := draw(t, w, tune(t, w, align.Config{}), 4, 1, 3)
	raw, chunks := []float32{-1.7}, make([]float32, 8)
	for i := range ss {
		look.Look(ss[i].Seen, raw, nil)
		n.Actions(chunks[2*i:2*i+2], ss[i].Chunk())
	}
	value, grad := make([]float64, 4), make([]float32, 8)
	s.Grad(value, grad, chunks, raw)
	for i := range ss {
		if got, want := 1/(1+math.Exp(-value[i])), k.Of(&ss[i]); math.Abs(got-want) > 1e-5 {
			t.Errorf("chunk %d is judged %v, as a sample %v", i, got, want)
		}
	}
	const h = 1e-2
	up, down := make([]float64, 4), make([]float64, 4)
	for j := range chunks {
		at := chunks[j]
		chunks[j] = at + h
		s.Value(up, chunks, raw)
		chunks[j] = at - h
		s.Value(down, chunks, raw)
		chunks[j] = at
		if want := (up[j/2] - down[j/2]) / (2 * h); math.Abs(want-float64(grad[j])) > 0.02*(1+math.Abs(want)) {
			t.Errorf("number %d: gradient %v, by differences %v", j, grad[j], want)
		}
	}
	if allocs := testing.AllocsPerRun(10, func() { s.Grad(value, grad, chunks, raw) }); allocs != 0 {
		t.Errorf("asking allocates %v times, want 0", allocs)
	}
}

// Each search by the critic goes the liked way more often than the policy does.
func TestSearchesByACriticFindWhatIsLiked(t *testing.T) {
	for _, tt := range []struct {
		w    *aligntest.Ways
		draw diffusion.Draw
		c    sample.Config
		want float64
	}{
		{ways(t), diffusion.Draw{Steps: 10}, sample.Config{Kind: sample.Best, N: 8}, 0.95},
		{ways(t), diffusion.Draw{Steps: 10}, sample.Config{Kind: sample.FK, N: 8}, 0.95},
		{ways(t), diffusion.Draw{Steps: 10}, sample.Config{Kind: sample.Guided, Scale: 2}, 0.7},
		{flows(t), diffusion.Draw{Steps: 10}, sample.Config{Kind: sample.NRG, Scale: 2}, 0.7},
	} {
		n := tt.w.Net
		s, err := critic(t, tt.w).Steer(n)
		if err != nil {
			t.Fatal(err)
		}
		share := func(c sample.Config) float64 {
			d, err := sample.New(n, tt.draw, c, s)
			if err != nil {
				t.Fatal(err)
			}
			rng, chunk, liked := rand.New(rand.NewPCG(5, 5)), make([]float32, 2), 0.0
			for i := range 200 {
				d.Begin()
				d.Sample(chunk, tt.w.Held[i%64:i%64+1], nil, rng)
				if chunk[0]+chunk[1] > 0 {
					liked++
				}
			}
			return liked / 200
		}
		before, after := share(sample.Config{}), share(tt.c)
		t.Logf("%v: %.2f to %.2f", tt.c.Kind, before, after)
		if after < tt.want || after < before+0.15 {
			t.Errorf("%v: liked share %.2f to %.2f, want %.2f at least", tt.c.Kind, before, after, tt.want)
		}
	}
}

func TestCriticsOfOtherPoliciesAreRefused(t *testing.T) {
	w := ways(t)
	k := critic(t, w)
	var file bytes.Buffer
	if err := k.Save(&file); err != nil {
		t.Fatal(err)
	}
	a := aligntest.Arch()
	a.Horizon = 4
	other, err := diffusion.NewNet(a, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := align.RestoreCritic(file.Bytes(), other); err == nil {
		t.Error("a critic of longer chunks was read")
	}
	if _, err := align.RestoreCritic(file.Bytes()[:file.Len()/2], w.Net); err == nil {
		t.Error("half a critic was read")
	}
	a.View.Cameras = []view.Camera{{Name: "front", W: 32, H: 32}}
	if other, err = diffusion.NewNet(a, rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Steer(other); err == nil || !strings.Contains(err.Error(), "sees frames") {
		t.Errorf("error %v, want that the policy sees frames", err)
	}
}
