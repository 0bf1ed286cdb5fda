package align

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/seed"
	"github.com/rapport-rl/rapport/policy/checkpoint"
	"github.com/rapport-rl/rapport/policy/diffusion"
)

// Config configures a Tuned. Zero fields take the defaults named.
type Config struct {
	// Rank is that of the adapter that is trained (nn.LoRA); 0 trains the denoiser's
	// own weights.
	Rank int
	// Taste is how many numbers tell a user's taste, by which the adapter is gated
	// (nn.LoRA), so that one policy serves many users; 0: it serves all alike. See Serve.
	Taste int
	// Draw is how chains are drawn. Those of a diffusion must have noise: Eta above 0, or
	// DDPM.
	Draw diffusion.Draw
	// Floor is the smallest noise of a step, on the normalised scale: 0.1 (as DPPO draws,
	// Ren et al. 2024, arXiv:2409.00588). The last
	// step of a chain has none of its own, and would have no density. A flow's steps are
	// drawn without any; Floor is then the noise by whose scale Sample.KL tells distance.
	Floor       float64
	LR          float64 // AdamW's; 3e-4
	WeightDecay float64 // decoupled; 1e-4 (D3PO's settings), negative: none
	ClipNorm    float64 // largest norm of the gradient; 1 (D3PO's settings), +Inf: no limit
	Seed        uint64
}

func (c *Config) complete(kind diffusion.Kind) error {
	number(&c.Floor, 0.1)
	number(&c.LR, 3e-4)
	number(&c.WeightDecay, 1e-4)
	number(&c.ClipNorm, 1)
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("align: "+format, args...)) }
	if c.Rank < 0 {
		bad("Rank is %d, want that of an adapter, or 0 for the weights themselves", c.Rank)
	}
	if c.Taste < 0 || c.Taste > 0 && c.Rank == 0 {
		bad("Taste is %d numbers with the Rank %d, want at least 0, and an adapter where there are some: set Rank to 4", c.Taste, c.Rank)
	}
	if kind == diffusion.Diffusion && c.Draw.Method == diffusion.DDIM && c.Draw.Eta == 0 {
		bad("DDIM with Eta 0 draws without noise, and its steps have no density: set Draw.Eta to 1, or Draw.Method to DDPM")
	}
	if !(c.Floor > 0) || math.IsInf(c.Floor, 0) {
		bad("Floor is %v, want a positive number", c.Floor)
	}
	if !(c.LR > 0) || math.IsInf(c.LR, 0) {
		bad("LR is %v, want a positive number", c.LR)
	}
	if math.IsNaN(c.WeightDecay) || c.WeightDecay >= 1 {
		bad("WeightDecay is %v, want a number below 1", c.WeightDecay)
	}
	c.WeightDecay = max(0, c.WeightDecay)
	if !(c.ClipNorm > 0) {
		bad("ClipNorm is %v, want a positive number, or +Inf for no limit", c.ClipNorm)
	}
	return errors.Join(errs...)
}

// Tuned is a policy that is being fine-tuned beside the frozen one that it was. It is
// used by one goroutine.
type Tuned struct {
	cfg      Config
	net, ref *diffusion.Net
	lora     *nn.LoRA    // nil: the weights themselves
	params   []*nn.Param // what is trained
	adam     *nn.Adam
	hops     []diffusion.Hop // of a diffusion with the floor under Sigma
	bars     []float64       // of a diffusion's times
	pcg      *rand.PCG
	rng      *rand.Rand
	order    []int // of a batch's items
}

// Tune returns a Tuned that begins as start, which it copies.
func Tune(start *diffusion.Net, c Config) (*Tuned, error) {
	if err := c.complete(start.Arch.Process.Kind); err != nil {
		return nil, err
	}
	t := &Tuned{cfg: c, net: start.Clone(), ref: start.Clone()}
	chain, err := diffusion.NewChain(t.net.Arch.Process, c.Draw, t.len())
	if err != nil {
		return nil, err
	}
	t.hops = chain.Hops()
	if !t.flows() {
		t.bars = t.net.Arch.Process.Bars()
		for i := range t.hops {
			t.hops[i].Sigma = max(t.hops[i].Sigma, c.Floor)
		}
	}
	t.pcg = rand.NewPCG(c.Seed, seed.Mix(c.Seed^0x616c69676e)) // "align"
	t.rng = rand.New(t.pcg)
	t.params = t.net.Denoiser()
	if c.Rank > 0 {
		t.lora = nn.NewLoRA("align", t.params, nn.LoRAConfig{Rank: c.Rank, Gates: c.Taste}, t.rng)
		t.params = t.lora.Params()
	}
	t.adam = nn.NewAdam(t.params, nn.AdamConfig{LR: c.LR, WeightDecay: c.WeightDecay, ClipNorm: c.ClipNorm})
	return t, nil
}

// len is L, the numbers of a chunk.
func (t *Tuned) len() int { return t.net.Arch.Horizon * t.net.Arch.View.Action.Dim() }

// flows says whether the policy is a flow.
func (t *Tuned) flows() bool { return t.net.Arch.Process.Kind == diffusion.Flow }

// dense is the error of those who learn from the densities of steps, if there are none.
func (t *Tuned) dense(who string) error {
	if t.flows() {
		return fmt.Errorf("align: %s: a flow's steps have no noise, and no density to learn from: take FlowDPO or RWR, or a policy of Process.Kind Diffusion", who)
	}
	return nil
}

// noise draws a time of noise as the policy was trained on, as the denoiser is told it,
// with what is left of a chunk there (see Miss.Put).
func (t *Tuned) noise() (time, bar float64) {
	if t.flows() {
		bar = t.rng.Float64()
		return bar * float64(t.net.Arch.Process.Steps), bar
	}
	k := t.rng.IntN(len(t.bars))
	return float64(k), t.bars[k]
}

// Hops are the steps of a chain, a diffusion's with the floor under their noise.
func (t *Tuned) Hops() []diffusion.Hop { return slices.Clone(t.hops) }

// Params lists what is trained, in a fixed order.
func (t *Tuned) Params() []*nn.Param { return t.params }

// Steps counts the gradient steps.
func (t *Tuned) Steps() uint64 { return t.adam.Steps() }

// Rand is the policy's source of random numbers, which Save keeps.
func (t *Tuned) Rand() *rand.Rand { return t.rng }

// Denoise adds the policy's denoiser to g, with gradients (see diffusion.Net.Denoise).
func (t *Tuned) Denoise(g *nn.Graph, x, emb, seen *nn.Node) *nn.Node {
	if t.lora != nil {
		return t.net.Denoise(g, x, emb, seen, t.lora.Weights(g))
	}
	return t.net.Denoise(g, x, emb, seen, g.Param)
}

// Refer adds the frozen reference's denoiser to g.
func (t *Tuned) Refer(g *nn.Graph, x, emb, seen *nn.Node) *nn.Node {
	return t.ref.Denoise(g, x, emb, seen, g.Frozen)
}

// Serve makes the policy that of a user of the given taste, as a Batch's, until another
// is served; nil: of nobody, which is the reference. Chains are drawn and Net is made for
// whoever is served.
func (t *Tuned) Serve(taste []float64) error {
	if len(taste) != 0 && len(taste) != t.cfg.Taste {
		return fmt.Errorf("align: a taste of %d numbers for a policy of tastes of %d: set Config.Taste", len(taste), t.cfg.Taste)
	}
	if t.cfg.Taste > 0 {
		t.lora.Serve(taste)
	}
	return nil
}

// Net returns a copy of the policy as it is now, the adapter merged.
func (t *Tuned) Net() *diffusion.Net {
	if t.lora == nil {
		return t.net.Clone()
	}
	weights, factors := keep(t.net.Denoiser()), keep(t.params)
	t.lora.Merge()
	n := t.net.Clone()
	put(t.net.Denoiser(), weights)
	put(t.params, factors)
	return n
}

// Reference returns a copy of the frozen policy.
func (t *Tuned) Reference() *diffusion.Net { return t.ref.Clone() }

// Descend takes a gradient step on loss, whose graph has been computed.
func (t *Tuned) Descend(g *nn.Graph, loss *nn.Node) error {
	nn.ZeroGrad(t.params)
	g.Backward(loss)
	return t.move(float64(loss.Value[0]))
}

// move steps along the gradients of a loss.
func (t *Tuned) move(loss float64) error {
	if norm := nn.GradNorm(t.params); !finite(loss) || !finite(norm) {
		return fmt.Errorf("align: the loss is %v and its gradient %v at step %d: lower LR, or bound the predictions by Draw.Clip", loss, norm, t.adam.Steps())
	}
	t.adam.Step()
	return nil
}

func finite(v float64) bool { return v-v == 0 }

// keep copies the numbers of params, put writes them back.
func keep(params []*nn.Param) [][]float32 {
	var data [][]float32
	for _, p := range params {
		data = append(data, slices.Clone(p.Data))
	}
	return data
}

func put(params []*nn.Param, data [][]float32) {
	for i, p := range params {
		copy(p.Data, data[i])
		p.Push()
	}
}

// tunedFormat marks a Tuned's checkpoint; its number changes with the layout.
const tunedFormat = "rapport-align-1"

// Save writes all that tuning goes on from: policy, reference, moments and random
// state.
func (t *Tuned) Save(w io.Writer) error {
	if err := checkpoint.SaveStage(w, tunedFormat, t.stage(), t.pcg, t.parts()...); err != nil {
		return fmt.Errorf("align: save: %w", err)
	}
	return nil
}

// Restore takes back what Save wrote. What is corrupt or of another shape is an error,
// and changes nothing.
func (t *Tuned) Restore(r io.Reader) error {
	if _, err := checkpoint.RestoreStage(r, tunedFormat, t.net.Arch, t.pcg, t.parts()...); err != nil {
		return fmt.Errorf("align: restore: %w", err)
	}
	return nil
}

func (t *Tuned) stage() checkpoint.Stage[diffusion.Arch] {
	return checkpoint.Stage[diffusion.Arch]{Arch: t.net.Arch, Steps: t.adam.Steps()}
}

func (t *Tuned) parts() []checkpoint.Part {
	ps := []checkpoint.Part{{Name: "reference", Tensors: t.ref.Tensors()}, {Name: "policy", Tensors: t.net.Tensors()}}
	if t.lora != nil {
		return append(ps, checkpoint.Part{Name: "adapter", Tensors: nn.Tensors(t.params), Adam: t.adam})
	}
	return append(ps, checkpoint.Part{Name: "moments", Adam: t.adam})
}
