package bc

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/rapport-rl/rapport/internal/nn/onnx"
	"github.com/rapport-rl/rapport/policy/view"
)

// About is what an exported file says beside the network.
type About struct {
	Program string  // version of the program that writes
	Version uint64  // of the parameters
	Rate    float64 // commands a second that the policy was made for, Hz; 0: not said
}

// ExportONNX writes the policy that acts by the mean of n as an ONNX file of
// opset 13. Each part of the view is an input of its own in SI units, and what
// view and Normalise do is inside:
//
//	embedding (batch, Embed)       the encoder's features, as they are
//	place     (batch, len(Place))  chosen coordinates of the TCP, m, base frame
//	fingers   (batch, 1)           distance between the fingers, m
//	step      (batch, 1)           tick of the episode, from 0
//	frame.NAME (batch, 3, H, W)    of each camera: blue, green, red, 0 to 255
//
// and the output is
//
//	command   (batch, 7)           translation, m, and rotation vector, rad, both
//	                               in the base frame; opening, 0 closed to 1 open
//
// The file's metadata repeats this with the numbers. A command is what
// robot.Command holds: guard it before it moves an arm.
func (n *Net) ExportONNX(w io.Writer, about About) error {
	v := n.Arch.View
	if about.Rate < 0 {
		return fmt.Errorf("bc: export: Rate is %v Hz, want a positive rate or 0", about.Rate)
	}
	b := onnx.NewBuilder("rapport-policy")
	meta := []onnx.Entry{
		{Key: "rapport.format", Value: "rapport-policy-1"},
		{Key: "rapport.program", Value: about.Program},
		{Key: "rapport.parameters", Value: strconv.FormatUint(about.Version, 10)},
	}
	if about.Rate > 0 {
		meta = append(meta, onnx.Entry{Key: "rapport.rate_hz", Value: strconv.FormatFloat(about.Rate, 'g', -1, 64)})
	}
	says := func(kind, name, doc string) { meta = append(meta, onnx.Entry{Key: kind + "." + name, Value: doc}) }
	row := v.Export(b, 0, func(name, doc string) { says("input", name, doc) })
	D := v.Dim()
	row = b.Op("Mul", []string{
		b.Op("Sub", []string{row, b.Const(n.mean.Name, n.mean.Data, D)}), b.Const(n.inv.Name, n.inv.Data, D)})
	row = b.Clamp(row, rim)
	if n.eye != nil {
		row = b.Op("Concat", []string{row, n.eye.Export(b, 0, func(name, doc string) { says("input", name, doc) })}, onnx.Attr{Name: "axis", Kind: onnx.Int, I: 1})
	}
	k := v.Action.Dim()
	mean := b.MLP(row, n.mlp, k) // of 2k outputs the first k are the means
	if n.base != nil {
		bound := b.Const("residual.bound", []float32{float32(n.Arch.Residual)}, 1)
		mean = b.Op("Add", []string{b.MLP(row, n.base, k), b.Op("Mul", []string{b.Op("Tanh", []string{mean}), bound})})
	}
	act := b.Op("Tanh", []string{mean})
	scale, still := v.Action.Matrix()
	says("output", "command", "(batch,7) "+view.CommandDoc)
	b.Output("command", meta[len(meta)-1].Value,
		b.Op("Gemm", []string{act, b.Const("command.scale", scale, 7, k), b.Const("command.still", still, 7)},
			onnx.Attr{Name: "transB", Kind: onnx.Int, I: 1}), 7)
	arch, err := json.Marshal(n.Arch)
	if err != nil {
		return fmt.Errorf("bc: export: %w", err)
	}
	m := b.Model()
	m.Version = about.Program
	m.Doc = "A policy of Rapport, acting by its mean. Guard its commands before they move an arm."
	m.Meta = append(meta, onnx.Entry{Key: "rapport.arch", Value: string(arch)})
	if err := m.Write(w); err != nil {
		return fmt.Errorf("bc: export: %w", err)
	}
	return nil
}
