package align_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
	"github.com/rapport-rl/rapport/policy/checkpoint"
	"github.com/rapport-rl/rapport/policy/diffusion"
	"github.com/rapport-rl/rapport/policy/sample"
	"github.com/rapport-rl/rapport/policy/trunk"
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
	k.Chunks = -1
	var file bytes.Buffer
	if err := k.Save(&file, w.Net); err != nil {
		t.Fatal(err)
	}
	again, err := align.RestoreCritic(file.Bytes(), n)
	if err != nil {
		t.Fatal(err)
	}
	if again.Chunks != -1 {
		t.Errorf("it is of the first %d chunks of episodes, want all (-1)", again.Chunks)
	}
	s := again.Steer(n)
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
	s.See(ss[0].Seen)
	value, grad := make([]float64, 4), make([]float32, 8)
	s.Grad(value, grad, chunks, nil)
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
		s.Value(up, chunks, nil)
		chunks[j] = at - h
		s.Value(down, chunks, nil)
		chunks[j] = at
		if want := (up[j/2] - down[j/2]) / (2 * h); math.Abs(want-float64(grad[j])) > 0.02*(1+math.Abs(want)) {
			t.Errorf("number %d: gradient %v, by differences %v", j, grad[j], want)
		}
	}
	if allocs := testing.AllocsPerRun(10, func() { s.Grad(value, grad, chunks, nil) }); allocs != 0 {
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
		s := critic(t, tt.w).Steer(n)
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
	if err := k.Save(&file, w.Net); err != nil {
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
}

// Of a policy that sees frames, a critic that likes one way where they are bright and the
// other where they are dark steers by the frames of the moment.
func TestSteeringSeesFrames(t *testing.T) {
	a := aligntest.Arch()
	a.View.Cameras, a.Trunk = []view.Camera{{Name: "front", W: 32, H: 32}}, trunk.Config{Channels: 4, Strides: []int{2, 2}, Latent: 4}
	n, err := diffusion.NewNet(a, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := align.Tune(n, align.Config{Draw: diffusion.Draw{Steps: 2, Eta: 1}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := align.NewRecorder(p, 64)
	if err != nil {
		t.Fatal(err)
	}
	look, err := diffusion.NewLooker(n, 1)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(2, 2))
	raw := []float32{0}
	frames := map[bool][]byte{true: bytes.Repeat([]byte{220}, 32*32*3), false: bytes.Repeat([]byte{30}, 32*32*3)}
	likes := func(chunk []float32, bright bool) bool { return (chunk[0]+chunk[1] > 0) == bright }
	var fit []align.Sample
	for _, bright := range []bool{true, false} {
		seen := make([]float32, n.Seen())
		look.Look(seen, raw, frames[bright])
		ss := r.New(64, seen)
		r.Draw(ss, rng)
		for i := range ss {
			if likes(ss[i].Actions, bright) {
				ss[i].Reward = 1
			}
		}
		fit = append(fit, ss...)
	}
	k, err := align.FitCritic(t.Context(), fit, align.CriticConfig{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	d, err := sample.New(n, diffusion.Draw{Steps: 2}, sample.Config{Kind: sample.Best, N: 16}, k.Steer(n))
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]float32, 2)
	for _, bright := range []bool{true, false} {
		liked := 0
		for range 50 {
			d.Sample(chunk, raw, frames[bright], rng)
			if likes(chunk, bright) {
				liked++
			}
		}
		if liked < 45 {
			t.Errorf("bright %t: %d of 50 chunks are liked, want 45 at least", bright, liked)
		}
	}
	testCriticsGoByTheirTrunk(t, k, n)
}

// testCriticsGoByTheirTrunk: of a policy whose trunk learned on, the critic k of n is
// refused, and of one whose denoiser did, or from before critics told their trunk, read.
func testCriticsGoByTheirTrunk(t *testing.T, k *align.Critic, n *diffusion.Net) {
	t.Helper()
	var file, old bytes.Buffer
	if err := k.Save(&file, n); err != nil {
		t.Fatal(err)
	}
	ts, meta, err := nn.Load(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	stage := struct{ Seen, Len, Hidden int }{n.Seen(), n.Arch.Horizon, 64}
	if err := checkpoint.Save(&old, meta["format"], stage, checkpoint.Part{Tensors: ts}); err != nil {
		t.Fatal(err)
	}
	tuned, learned := n.Clone(), n.Clone()
	tuned.Params()[0].Data[0]++
	learned.Params()[len(n.Denoiser())].Data[0]++
	for _, tt := range []struct {
		name string
		file []byte
		of   *diffusion.Net
		want string
	}{
		{"its own policy", file.Bytes(), n, ""},
		{"its own, tuned", file.Bytes(), tuned, ""},
		{"its own, with another trunk", file.Bytes(), learned, "another trunk"},
		{"an old critic", old.Bytes(), learned, ""},
	} {
		_, err := align.RestoreCritic(tt.file, tt.of)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}
