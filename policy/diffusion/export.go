package diffusion

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/onnx"
	"github.com/rapport-rl/rapport/policy/view"
)

// About is what an exported file says beside the network.
type About struct {
	Program string  // version of the program that writes
	Version uint64  // of the parameters
	Rate    float64 // commands a second that the policy was made for, Hz; 0: not said
	Exec    int     // commands of a chunk that are carried out; 0: not said
}

// ExportONNX writes the whole chain from noise to commands as one ONNX file of opset
// 13: the denoiser is in it once for each step of d, and its weights once. Inputs are
// those of view.Config.Export for the last To ticks, (batch, To, ...) with the newest
// last, at the start of an episode filled up with its first; frame.NAME (batch, To, 3,
// H, W) of each camera, blue, green, red, 0 to 255; and
//
//	noise     (batch, H, k)       standard normal numbers, new ones for each chunk
//
// The output is
//
//	commands  (batch, H-To+1, 7)  from the current tick on: translation, m, and
//	                              rotation vector, rad, both in the base frame;
//	                              opening, 0 closed to 1 open
//
// of which the first few are carried out before the next are drawn. A chain that
// draws noise on the way, as DDPM and DDIM with Eta do, is refused. Commands are what
// robot.Command holds: guard them before they move an arm.
func (n *Net) ExportONNX(w io.Writer, d Draw, about About) error {
	a := n.Arch
	H, k, ahead := a.Horizon, a.View.Action.Dim(), a.Horizon-a.History+1
	if about.Rate < 0 || about.Exec < 0 || about.Exec > ahead {
		return fmt.Errorf("diffusion: export: Rate is %v Hz and Exec %d, want a positive rate and up to %d commands of a chunk, or 0", about.Rate, about.Exec, ahead)
	}
	chain, err := NewChain(a.Process, d, H*k)
	if err != nil {
		return fmt.Errorf("diffusion: export: %w", err)
	}
	if d = chain.d; a.Process.Kind == Diffusion && (d.Method != DDIM || d.Eta > 0) {
		return errors.New("diffusion: export: the chain draws noise on the way, which a file cannot; take DDIM with an Eta of 0")
	}
	b := onnx.NewBuilder("rapport-policy")
	meta := []onnx.Entry{
		{Key: "rapport.format", Value: "rapport-chunks-1"},
		{Key: "rapport.program", Value: about.Program},
		{Key: "rapport.parameters", Value: strconv.FormatUint(about.Version, 10)},
	}
	if about.Rate > 0 {
		meta = append(meta, onnx.Entry{Key: "rapport.rate_hz", Value: strconv.FormatFloat(about.Rate, 'g', -1, 64)})
	}
	if about.Exec > 0 {
		meta = append(meta, onnx.Entry{Key: "rapport.exec", Value: strconv.Itoa(about.Exec)})
	}
	says := func(name, doc string) { meta = append(meta, onnx.Entry{Key: "input." + name, Value: doc}) }
	seen := n.exportHistory(b, says)
	doc := fmt.Sprintf("(batch,%d,%d) standard normal numbers, new ones for each chunk", H, k)
	says("noise", doc)
	// Like every input it is reshaped at once, so that readers may give rows.
	f := &file{Builder: b, noise: b.Reshape(b.Input("noise", doc, H, k), -1, H, k)}
	f.batch = b.Slice(b.Reshape(f.noise, -1, H*k), 1, 0, 1)
	x := n.exportChain(f, chain, seen)

	x = b.Reshape(b.Slice(x, 1, a.History-1, H), -1, k)
	x = b.Add(b.Mul(x, b.Const(n.actHalf.Name, n.actHalf.Data, k)), b.Const(n.actMid.Name, n.actMid.Data, k))
	scale, still := a.View.Action.Matrix()
	x = b.Op("Gemm", []string{b.Clamp(x, 1), b.Const("command.scale", scale, 7, k), b.Const("command.still", still, 7)},
		onnx.Attr{Name: "transB", Kind: onnx.Int, I: 1})
	doc = fmt.Sprintf("(batch,%d,7) of successive ticks, the first of them now: %s", ahead, view.CommandDoc)
	b.Output("commands", doc, b.Reshape(x, -1, ahead, 7), ahead, 7)
	arch, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("diffusion: export: %w", err)
	}
	m := b.Model()
	m.Version = about.Program
	m.Doc = "A policy of Rapport that turns noise into chunks of commands. Guard them before they move an arm."
	m.Meta = append(meta, onnx.Entry{Key: "output.commands", Value: doc}, onnx.Entry{Key: "rapport.draws", Value: strconv.Itoa(d.Steps)},
		onnx.Entry{Key: "rapport.arch", Value: string(arch)})
	if err := m.Write(w); err != nil {
		return fmt.Errorf("diffusion: export: %w", err)
	}
	return nil
}

// exportHistory adds what is seen, (batch, To*D').
func (n *Net) exportHistory(b *onnx.Builder, says func(input, doc string)) string {
	a := n.Arch
	D := a.View.Dim()
	x := a.View.Export(b, a.History, says)
	x = b.Sub(x, b.Const(n.rowMid.Name, n.rowMid.Data, D))
	x = b.Clamp(b.Op("Div", []string{x, b.Const(n.rowHalf.Name, n.rowHalf.Data, D)}), rim)
	if n.eye != nil {
		x = b.Concat(1, x, n.eye.Export(b, a.History, says))
		D += n.eye.Dim()
	}
	return b.Reshape(x, -1, a.History*D)
}

// exportChain adds Chain.Run: from the noise to normalised actions (batch, H, k).
func (n *Net) exportChain(f *file, c *Chain, seen string) string {
	x := f.noise
	predict := func(time float64) string { return n.den.export(f, n.Arch, x, n.embedded(time), seen) }
	if c.p.Kind == Flow {
		for i := range c.d.Steps {
			t := float64(i) / float64(c.d.Steps)
			end := f.bound(f.Add(x, f.Scale(predict(t*float64(c.p.Steps)), 1-t)), c.d.Clip)
			share := 1 / (1 - t) / float64(c.d.Steps)
			x = f.Add(f.Scale(x, 1-share), f.Scale(end, share))
		}
		return x
	}
	for i, k := range c.times {
		s, noise, a, b, _ := c.step(c.bars[k], c.before(i))
		out := predict(float64(k))
		switch c.p.Predict {
		case Epsilon:
			out = f.Scale(f.Sub(x, f.Scale(out, noise)), 1/s)
		case Velocity:
			out = f.Sub(f.Scale(x, s), f.Scale(out, noise))
		}
		x = f.Add(f.Scale(f.bound(out, c.d.Clip), a), f.Scale(x, b))
	}
	return x
}

// embedded is the embedding of a time, as the denoiser reads it.
func (n *Net) embedded(time float64) []float32 {
	g := nn.NewGraph()
	x := g.Input(1, n.Arch.Embed)
	nn.Sinusoid(x.Value, time)
	e := net{g, g.Frozen}.embedding(x, n.den.embeds())
	g.Forward()
	return e.Value
}
