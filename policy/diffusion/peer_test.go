//go:build peers

package diffusion

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/pace"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/view"
)

// peer is a U-Net of 64, 128 and 256 channels over chunks of 16 actions of 7
// numbers, a batch of 64 for it, and PyTorch with the same numbers.
type peer struct {
	net     *Net
	fit     *fit
	adam    *nn.Adam
	chain   *Sampler
	history []float32
	noise   []float32
	*pace.Peer
	theirs []nn.Tensor
}

func newPeer(t testing.TB, on device.Device, args ...string) *peer {
	t.Helper()
	v := view.Config{Embed: 16, Place: []int{0, 1, 2}, Span: 1, Fingers: true, Action: view.Action{Axes: []int{0, 1, 2, 3, 4, 5}, Scale: 1, Turn: 1, MoveGrip: true}}
	rng := newRand(3)
	n, err := NewNet(Arch{View: v, Embed: 128}, rng)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{net: n, fit: newFit(n, 64, on)}
	c, err := buffer.NewChunks(64, n.Arch.window(), v)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range [][]float32{c.Obs, c.Act} {
		for i := range x {
			x[i] = 2*rng.Float32() - 1
		}
	}
	for i := range c.Mask {
		c.Mask[i] = 1
	}
	times := make([]float32, 64) // those that aim draws, found by their embedding
	p.fit.aim(c, rng)
	emb := make([]float32, 128)
	for b := range times {
		times[b] = -1
		for k := range n.Arch.Process.Steps {
			nn.Sinusoid(emb, float64(k))
			if slices.Equal(emb, p.fit.emb.Value[b*128:(b+1)*128]) {
				times[b] = float32(k)
			}
		}
	}
	if p.chain, err = newSampler(n.Clone(), 1, Draw{}, on); err != nil {
		t.Fatal(err)
	}
	p.history, p.noise = c.Obs[:len(p.chain.look.history.rows.Value)], make([]float32, len(p.chain.noised))
	for i := range p.noise {
		p.noise[i] = float32(rng.NormFloat64())
	}
	p.adam = nn.NewAdam(n.params, nn.AdamConfig{LR: 1e-4, Beta1: 0.95, WeightDecay: 1e-6})

	dir := t.TempDir()
	src, dst := filepath.Join(dir, "in.safetensors"), filepath.Join(dir, "out.safetensors")
	data, err := nn.Encode(append(nn.Tensors(n.params),
		nn.Tensor{Name: "noised", Shape: p.fit.x.Shape, Data: p.fit.x.Value}, nn.Tensor{Name: "times", Shape: []int{64}, Data: times},
		nn.Tensor{Name: "seen", Shape: p.fit.history.all.Shape, Data: p.fit.history.rows.Value}, nn.Tensor{Name: "target", Shape: p.fit.target.Shape, Data: p.fit.target.Value},
		nn.Tensor{Name: "history", Shape: p.chain.teller.seen.Shape, Data: p.history}, nn.Tensor{Name: "noise", Shape: p.chain.teller.x.Shape, Data: p.noise},
	), map[string]string{"levels": "3"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(src, data, 0o644); err != nil {
		t.Fatal(err)
	}
	p.Peer = pace.Start(t, "testdata/unet.py", append([]string{src, dst}, args...)...)
	p.Until("ready")
	f, err := os.Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if p.theirs, _, err = nn.Load(f); err != nil {
		t.Fatal(err)
	}
	return p
}

// apart is the largest difference relative to the largest element.
func (p *peer) apart(t testing.TB, name string, got []float32) float64 {
	t.Helper()
	i := slices.IndexFunc(p.theirs, func(x nn.Tensor) bool { return x.Name == name })
	if i < 0 || len(p.theirs[i].Data) != len(got) {
		t.Fatalf("PyTorch gave no %s of %d elements", name, len(got))
	}
	big, diff := 0.0, 0.0
	for j, v := range p.theirs[i].Data {
		big = max(big, math.Abs(float64(v)))
		diff = max(diff, math.Abs(float64(v-got[j])))
	}
	return diff / big
}

// TestPeerUNet compares the prediction, the loss, all gradients and a chunk of
// 16 steps of DDIM with PyTorch's. 1e-5 is room for float32 sums in another order;
// gradients have passed twice as many layers, and the chain divides by the root of
// 2.4e-7 at first, before it clips.
func TestPeerUNet(t *testing.T) {
	p := newPeer(t, device.Default())
	loss := p.fit.step()
	out := p.fit.output.Value
	chunk := slices.Clone(p.noise)
	p.chain.see(p.history, nil)
	p.chain.chain.Run(chunk, p.chain.model, nil)
	grad := 0.0
	for _, q := range p.net.params {
		grad = max(grad, p.apart(t, "grad."+q.Name, q.Grad))
	}
	for _, c := range []struct {
		name      string
		diff, tol float64
	}{
		{"output", p.apart(t, "output", out), 1e-5},
		{"loss", p.apart(t, "loss", []float32{float32(loss)}), 1e-5},
		{"chunk", p.apart(t, "chunk", chunk), 1e-5},
		{"gradients", grad, 2e-5},
	} {
		t.Logf("%s: off by %.2g", c.name, c.diff)
		if !(c.diff <= c.tol) {
			t.Errorf("%s: off by %.2g, tolerance %.0g", c.name, c.diff, c.tol)
		}
	}
}

// BenchmarkPeerUNet takes the processor time of training steps and of chunks of
// 16 steps of DDIM beside PyTorch in alternating pairs and reports the median of
// the ratios. One thread each.
func BenchmarkPeerUNet(b *testing.B) {
	p := newPeer(b, device.Default())
	rng := newRand(1)
	for _, c := range []struct {
		name string
		ours func()
	}{
		{"train", func() { p.fit.step(); p.adam.Step() }},
		{"draw", func() { p.chain.Sample(p.noise, p.history, nil, rng) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			pace.Compare(b, pace.Case{Ours: c.ours, Theirs: func() float64 { return p.Ask(c.name) }, Pairs: 21})
		})
	}
}
