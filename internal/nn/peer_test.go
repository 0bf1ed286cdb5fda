//go:build peers

package nn

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// peer is a network that PyTorch trains beside us from the same numbers.
type peer struct {
	net        string
	params     []*Param
	fixed      []*Param // statistics that are not trained
	x, y, loss *Node
	out        *Node
	huber      bool
	clip       float64
}

const peerSteps = 3

func peerCritics() (*Graph, peer) {
	rng := newRand(11)
	net := NewMLP("q", MLPConfig{In: 71, Hidden: []int{256, 256}, Out: 1, Members: 10, LayerNorm: true}, rng)
	g := NewGraph()
	p := peer{net: "critics", params: net.Params(), x: g.Input(256, 71), y: g.Input(10, 256, 1)}
	for _, q := range p.params { // gains and biases other than 1 and 0
		for i := range q.Data {
			q.Data[i] += 0.05 * float32(rng.NormFloat64())
		}
	}
	randomise(p.x.Value, rng)
	randomise(p.y.Value, rng)
	p.out = net.Forward(g, p.x)
	p.loss = g.MSE(p.out, p.y)
	return g, p
}

func peerEncoder() (*Graph, peer) {
	rng := newRand(12)
	conv := NewConvNet("e", ConvConfig{Channels: 3, H: 48, W: 48, Layers: DrQLayers()}, rng)
	head := NewMLP("h", MLPConfig{In: conv.Out[0] * conv.Out[1] * conv.Out[2], Out: 50}, rng)
	gain, bias := NewParam("n.weight", 50).Fill(1), NewParam("n.bias", 50)
	g := NewGraph()
	p := peer{net: "encoder", params: append(append(conv.Params(), head.Params()...), gain, bias), x: g.Input(8, 48, 48, 3), y: g.Input(8, 50), clip: 0.5}
	for i := range p.x.Value {
		p.x.Value[i] = rng.Float32() - 0.5
	}
	randomise(p.y.Value, rng)
	h := head.Forward(g, g.Reshape(conv.Forward(g, p.x), 8, head.Config.In))
	p.out = g.Tanh(g.LayerNorm(h, g.Param(gain), g.Param(bias)))
	p.loss = g.MSE(p.out, p.y)
	return g, p
}

func peerParts() (*Graph, peer) {
	rng := newRand(13)
	g := NewGraph()
	p := peer{net: "parts", huber: true, x: g.Input(3, 12, 20, 2), y: g.Input(3, 10)}
	use := func(name string, at float32, shape ...int) *Node {
		q := NewParam(name, shape...)
		for i := range q.Data {
			q.Data[i] = at + 0.3*float32(rng.NormFloat64())
		}
		p.params = append(p.params, q)
		return g.Param(q)
	}
	h := g.Conv(p.x, use("c.weight", 0, 6, 2, 3, 5), use("c.bias", 0, 6), Window{1, 2, 1, 2}, false)
	h = g.GELU(g.GroupNorm(h, use("g.weight", 1, 6), use("g.bias", 0, 6), 2))
	h = g.MaxPool(h, 3, 2, 1)
	gain, bias := use("b.weight", 1, 6), use("b.bias", 0, 6)
	mean, variance := InitNormal(NewParam("mean", 6), 0.3, rng), InitUniform(NewParam("var", 6), 0.5, rng)
	for i := range variance.Data {
		variance.Data[i] += 1
	}
	p.fixed = []*Param{mean, variance}
	h = g.Mish(g.BatchNorm(h, gain, bias, g.Frozen(mean), g.Frozen(variance), 1e-5))
	h = g.SiLU(g.ConvT(h, use("t.weight", 0, 6, 5, 4, 4), use("t.bias", 0, 5), Window{2, 2, 1, 1}))
	h = g.Softplus(g.AvgPool(g.Upsample(h, 2, 2), 4))
	p.out = g.SpatialSoftmax(h, 0.5)
	p.loss = g.Huber(p.out, p.y, 0.3)
	randomise(p.x.Value, rng)
	randomise(p.y.Value, rng)
	return g, p
}

// TestPeerTorch trains three networks beside PyTorch and compares outputs,
// losses and the first step's gradients relative to the array's largest element,
// and the params after three steps of AdamW.
//
// 1e-5 is room for float32 sums of thousands of terms in another order (6e-8
// times the root of their number, and some cancellation). Params are compared in
// the Euclidean norm: where a gradient is itself hardly more than rounding, Adam's
// m/sqrt(v) enlarges its error to a visible share of a step, so that single
// elements may differ by up to 5 % of the way that Adam could have gone.
func TestPeerTorch(t *testing.T) {
	for _, build := range []func() (*Graph, peer){peerCritics, peerEncoder, peerParts} {
		g, p := build()
		t.Run(p.net, func(t *testing.T) { comparePeer(t, g, p) })
	}
}

func comparePeer(t *testing.T, g *Graph, p peer) {
	const lr, decay, tol = 3e-4, 0.01, 1e-5
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "in.safetensors"), filepath.Join(dir, "out.safetensors")
	ts := Tensors(append(append([]*Param{}, p.params...), p.fixed...))
	ts = append(ts, Tensor{Name: "input", Shape: p.x.Shape, Data: p.x.Value}, Tensor{Name: "target", Shape: p.y.Shape, Data: p.y.Value})
	loss := "mse"
	if p.huber {
		loss = "huber"
	}
	f, err := os.Create(src)
	if err != nil {
		t.Fatal(err)
	}
	if err := Save(f, ts, map[string]string{
		"net": p.net, "loss": loss, "steps": fmt.Sprint(peerSteps),
		"lr": fmt.Sprint(lr), "decay": fmt.Sprint(decay), "clip": fmt.Sprint(p.clip),
	}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-B", "testdata/peer.py", src, dst)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("PyTorch (Debian: python3-torch): %v\n%s", err, out)
	}
	f, err = os.Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want, _, err := Load(f)
	if err != nil {
		t.Fatal(err)
	}
	theirs := func(name string, shape []int) []float32 {
		w, err := find(want, name, shape)
		if err != nil {
			t.Fatal(err)
		}
		return w.Data
	}
	adam := NewAdam(p.params, AdamConfig{LR: lr, WeightDecay: decay, ClipNorm: p.clip})
	losses := make([]float32, peerSteps)
	worst := map[string]float64{}
	check := func(kind, name string, e, tol float64) {
		worst[kind] = max(worst[kind], e)
		if !(e <= tol) {
			t.Errorf("%s %s: off by %.2g, tolerance %.0g", kind, name, e, tol)
		}
	}
	for i := range losses {
		g.Forward()
		ZeroGrad(p.params)
		g.Backward(p.loss)
		losses[i] = p.loss.Value[0]
		if i == 0 {
			check("output", "", apart(p.out.Value, theirs("output", p.out.Shape)), tol)
			for _, q := range p.params {
				check("gradient", q.Name, apart(q.Grad, theirs("grad."+q.Name, q.Shape)), tol)
			}
		}
		adam.Step()
	}
	check("losses", "", apart(losses, theirs("losses", []int{peerSteps})), tol)
	for _, q := range p.params {
		w := theirs(q.Name, q.Shape)
		var move, diff, norm float64
		for i, v := range q.Data {
			d := float64(v) - float64(w[i])
			move = max(move, math.Abs(d)/(peerSteps*lr))
			diff += d * d
			norm += float64(w[i]) * float64(w[i])
		}
		check("params", q.Name, math.Sqrt(diff/norm), tol)
		check("share of Adam's step", q.Name, move, 0.05)
	}
	for k, v := range worst {
		t.Logf("%s: largest difference %.2g", k, v)
	}
}
