// Package bc clones behaviour: it fits a policy to demonstrations, and holds
// the network that acts, which reinforcement learning goes on tuning.
//
// The network is an MLP with a tanh-Gaussian head, as SAC needs it (Haarnoja et
// al. 2018, "Soft actor-critic algorithms and applications", appendix C).
// Its rows are normalised by the mean and deviation of the demonstrations,
// which travel with the parameters. A view with cameras adds a trunk, whose
// latents of the frames the network reads beside the row.
//
//	net, report, err := bc.Train(ctx, bc.Config{Arch: bc.Arch{View: v}, Seed: 1}, demos, nil)
//	params, err := net.Encode(1)
//	pi := bc.NewPolicy(bc.PolicyConfig{View: v})
//	err = pi.Load(params)
//	cmd, err := pi.Act(ctx, input)
package bc

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/trunk"
	"github.com/rapport-rl/rapport/policy/view"
)

// format marks the parameters of a Net; its number changes with the layout.
const format = "rapport-actor-1"

// rim bounds a normalised number: beyond ten deviations of the demonstrations
// a network only extrapolates.
const rim = 10

// Arch is the shape of a Net.
type Arch struct {
	View view.Config
	// Hidden are the widths of the hidden layers; nil means 256, 256 (RLPD's,
	// Ball et al. 2023, table 3).
	Hidden    []int
	LayerNorm bool // before each activation
	// Trunk is what a view with cameras is seen through; without cameras it does
	// not matter.
	Trunk trunk.Config `json:",omitzero"`
	// Residual, if positive, bounds what is learned on top of a frozen base policy;
	// see Net.Residual.
	Residual float64 `json:",omitzero"`
}

// Validate reports what is wrong with a.
func (a Arch) Validate() error {
	errs := []error{a.View.Validate()}
	for i, n := range a.Hidden {
		// 65536 is far above any use and keeps a corrupt file from asking
		// for the machine's memory.
		if n < 1 || n > 1<<16 {
			errs = append(errs, fmt.Errorf("bc: Hidden[%d] is %d units, want 1 to %d", i, n, 1<<16))
		}
	}
	if len(a.Hidden) > 16 {
		errs = append(errs, fmt.Errorf("bc: Hidden has %d layers, want at most 16", len(a.Hidden)))
	}
	if !(a.Residual >= 0 && !math.IsInf(a.Residual, 0)) {
		errs = append(errs, fmt.Errorf("bc: Residual is %v, want a positive bound, or 0 for none", a.Residual))
	}
	if len(a.View.Cameras) > 0 {
		errs = append(errs, a.Trunk.Validate(a.View.Cameras))
		if a.Residual > 0 {
			errs = append(errs, fmt.Errorf("bc: Residual is %v, but the view has cameras, whose trunk is trained: the base would not stay as it is", a.Residual))
		}
		if a.View.Dim() == 0 {
			errs = append(errs, errors.New("bc: the view has cameras and no number beside them: set Place, Fingers or Horizon"))
		}
	}
	return errors.Join(errs...)
}

// Diff names the fields in which a and o differ, with both values.
func (a Arch) Diff(o Arch) []string {
	d := a.View.Diff(o.View)
	for _, f := range []struct {
		name string
		a, o any
	}{
		{"Arch.Hidden", a.hidden(), o.hidden()}, {"Arch.LayerNorm", a.LayerNorm, o.LayerNorm},
		{"Arch.Trunk", a.trunk(), o.trunk()}, {"Arch.Residual", a.Residual, o.Residual},
	} {
		if x, y := fmt.Sprint(f.a), fmt.Sprint(f.o); x != y {
			d = append(d, fmt.Sprintf("%s is %s and %s", f.name, x, y))
		}
	}
	return d
}

// trunk is the trunk's configuration, complete; the zero value without cameras.
func (a Arch) trunk() trunk.Config {
	if len(a.View.Cameras) == 0 {
		return trunk.Config{}
	}
	return a.Trunk.Complete()
}

func (a Arch) hidden() []int {
	if a.Hidden == nil {
		return []int{256, 256}
	}
	return a.Hidden
}

// Net is the network of a policy.
type Net struct {
	Arch Arch
	// Noise is the deviation of what a Policy that samples adds to its actions, in
	// units of the action; 0: none. It travels with the parameters, so that a
	// learner says how far its policy explores. Clones have none.
	Noise float64
	eye   *trunk.Net // nil without cameras
	mlp   *nn.MLP
	base  *nn.MLP // what mlp is a residual of; nil without
	// mean and inv (D,) normalise a row: (x - mean) * inv.
	mean, inv *nn.Param
}

// NewNet draws a Net that does not normalise yet.
func NewNet(a Arch, rng *rand.Rand) (*Net, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	a.Hidden, a.Trunk = a.hidden(), a.trunk()
	D, k := a.View.Dim(), a.View.Action.Dim()
	var eye *trunk.Net
	in := D
	if len(a.View.Cameras) > 0 {
		var err error
		if eye, err = trunk.New(a.Trunk, a.View.Cameras, rng); err != nil {
			return nil, err
		}
		in += eye.Dim()
	}
	// A small last layer starts with actions about zero.
	head := func(name string) *nn.MLP {
		return nn.NewMLP(name, nn.MLPConfig{In: in, Hidden: a.Hidden, Out: 2 * k, LayerNorm: a.LayerNorm, OutScale: 0.01}, rng)
	}
	n := &Net{
		Arch: a,
		eye:  eye,
		mlp:  head("actor"),
		mean: nn.NewParam("actor.input.mean", D),
		inv:  nn.NewParam("actor.input.inv", D).Fill(1),
	}
	if a.Residual > 0 {
		n.base = head(baseName)
	}
	return n, nil
}

// Clone returns a Net of its own with the same parameters.
func (n *Net) Clone() *Net {
	c := &Net{Arch: n.Arch, mlp: n.mlp.Clone("actor"), mean: nn.NewParam(n.mean.Name, n.mean.Shape...), inv: nn.NewParam(n.inv.Name, n.inv.Shape...)}
	nn.Copy([]*nn.Param{c.mean, c.inv}, []*nn.Param{n.mean, n.inv})
	if n.eye != nil {
		c.eye = n.eye.Clone()
	}
	if n.base != nil {
		c.base = n.base.Clone(baseName)
	}
	return c
}

// Params lists what is trained of the head, in a fixed order. The trunk's are
// Eye's, and a base is not trained.
func (n *Net) Params() []*nn.Param { return n.mlp.Params() }

// Head is the network that Params are of.
func (n *Net) Head() *nn.MLP { return n.mlp }

// Eye is the trunk that frames are seen through; nil without cameras.
func (n *Net) Eye() *trunk.Net { return n.eye }

// Dim is the number D' of what the head reads: a normalised row, then the
// latents of the frames.
func (n *Net) Dim() int { return n.mlp.Config.In }

// all lists everything that is not derived.
func (n *Net) all() []*nn.Param {
	ps := append([]*nn.Param{n.mean, n.inv}, n.Params()...)
	if n.eye != nil {
		ps = append(ps, n.eye.Params()...)
	}
	if n.base != nil {
		ps = append(ps, n.base.Params()...)
	}
	return ps
}

// Tensors lists all that Assign takes back; the arrays are shared.
func (n *Net) Tensors() []nn.Tensor { return nn.Tensors(n.all()) }

// Assign copies the tensors of this Net's names from ts.
func (n *Net) Assign(ts []nn.Tensor) error { return nn.Assign(n.all(), ts) }

// Fit sets the normalisation to that of rows (N, D). Numbers of the embedding
// count as spread by at least a tenth of what the embedding's are on the
// average, so that one which barely moved in the demonstrations is not blown up.
func (n *Net) Fit(rows []float32) {
	D := len(n.mean.Data)
	if len(rows) == 0 || len(rows)%D != 0 {
		panic("bc: rows to fit do not fill a matrix")
	}
	N := float64(len(rows) / D)
	mean, dev := make([]float64, D), make([]float64, D)
	for i, v := range rows {
		mean[i%D] += float64(v) / N
	}
	for i, v := range rows {
		d := float64(v) - mean[i%D]
		dev[i%D] += d * d / N
	}
	floor := 0.0
	for i := range dev {
		dev[i] = math.Sqrt(dev[i])
		if i < n.Arch.View.Embed {
			floor += 0.1 * dev[i] / float64(n.Arch.View.Embed)
		}
	}
	for i, d := range dev {
		if i < n.Arch.View.Embed {
			d = max(d, floor)
		}
		// Positions are in units of Span and clocks in episodes: a thousandth
		// is noise.
		n.mean.Data[i], n.inv.Data[i] = float32(mean[i]), float32(1/max(d, 1e-3))
	}
}

// Normalise writes the normalised rows (N, D) to dst, which may be rows.
func (n *Net) Normalise(dst, rows []float32) {
	D := len(n.mean.Data)
	for i := 0; i < len(rows); i += D {
		x, y := rows[i:i+D], dst[i:i+D]
		for j, m := range n.mean.Data {
			y[j] = min(rim, max(-rim, (x[j]-m)*n.inv.Data[j]))
		}
	}
}

// Raw adds the head to g: what it reads (B, D') to (B, 2k), the k means before
// tanh, then the k numbers that LogStd turns into log deviations.
func (n *Net) Raw(g *nn.Graph, x *nn.Node) *nn.Node { return n.onBase(g, x, n.mlp.Forward(g, x)) }

// Frozen is Raw with parameters that get no gradient.
func (n *Net) Frozen(g *nn.Graph, x *nn.Node) *nn.Node { return n.onBase(g, x, n.mlp.Frozen(g, x)) }

// SetStd makes the deviation before tanh std in every state.
func (n *Net) SetStd(std float64) {
	ps := n.mlp.Params()
	w, b := ps[len(ps)-2], ps[len(ps)-1]
	k := n.Arch.View.Action.Dim()
	in := w.Shape[1]
	clear(w.Data[k*in:])
	for i := range k {
		b.Data[k+i] = float32(rawStd(std))
	}
}

// Encode returns the parameters for a Policy, as safetensors. Data is its own.
func (n *Net) Encode(version uint64) (policy.Params, error) {
	arch, err := json.Marshal(n.Arch)
	if err != nil {
		return policy.Params{}, fmt.Errorf("bc: encode: %w", err)
	}
	meta := map[string]string{"format": format, "arch": string(arch)}
	if n.Noise > 0 {
		meta["noise"] = strconv.FormatFloat(n.Noise, 'g', -1, 64)
	}
	data, err := nn.Encode(n.Tensors(), meta)
	if err != nil {
		return policy.Params{}, fmt.Errorf("bc: encode: %w", err)
	}
	return policy.Params{Version: version, Data: data}, nil
}

// Decode reads what Encode wrote. Parameters that are corrupt, not finite, or
// not of a Net are errors.
func Decode(p policy.Params) (*Net, error) { return decode(p, nil) }

// decode is Decode, faster where like, which may be nil, has the same shape.
func decode(p policy.Params, like *Net) (*Net, error) {
	fail := func(err error) (*Net, error) {
		return nil, fmt.Errorf("bc: parameters of version %d: %w", p.Version, err)
	}
	ts, meta, err := nn.Decode(p.Data)
	if err != nil {
		return fail(err)
	}
	if meta["format"] != format {
		return fail(fmt.Errorf("format is %q, want %q", meta["format"], format))
	}
	var a Arch
	if err := json.Unmarshal([]byte(meta["arch"]), &a); err != nil {
		return fail(fmt.Errorf("architecture: %w", err))
	}
	if err := a.holds(ts); err != nil {
		return fail(err)
	}
	var n *Net
	if like != nil && like.Arch.Diff(a) == nil {
		n = like.Clone()
	} else if n, err = NewNet(a, rand.New(rand.NewPCG(0, 0))); err != nil { // overwritten at once
		return fail(err)
	}
	if err := n.Assign(ts); err != nil {
		return fail(err)
	}
	if s, ok := meta["noise"]; ok {
		// Ten times what an action can be is noise alone.
		if n.Noise, err = strconv.ParseFloat(s, 64); err != nil || !(n.Noise > 0 && n.Noise <= 10) {
			return fail(fmt.Errorf("noise is %q, want a number above 0 and up to 10", s))
		}
	}
	return n, nil
}

// holds checks that ts are the finite tensors of a before memory is taken for
// what a claims.
func (a Arch) holds(ts []nn.Tensor) error {
	if err := a.Validate(); err != nil {
		return err
	}
	if a.View.Dim() > 1<<20 { // so that the sum below cannot overflow
		return fmt.Errorf("architecture of %d inputs", a.View.Dim())
	}
	want, in := 0, a.View.Dim()
	if len(a.View.Cameras) > 0 {
		want = int(min(a.Trunk.Count(a.View.Cameras), 1<<50))
		in += a.Trunk.Complete().Latent * len(a.View.Cameras)
	}
	heads := 1
	if a.Residual > 0 {
		heads = 2
	}
	for _, h := range append(append([]int{}, a.hidden()...), 2*a.View.Action.Dim()) {
		want += heads * h * in
		in = h
	}
	got := 0
	for _, t := range ts {
		got += len(t.Data)
		for _, v := range t.Data {
			if d := v - v; d != d {
				return fmt.Errorf("tensor %q holds %v", t.Name, v)
			}
		}
	}
	if got < want {
		return fmt.Errorf("%d numbers, but layers %v want at least %d", got, a.hidden(), want)
	}
	return nil
}

// Same reports, with both values, where the view of n differs from v.
func (n *Net) Same(v view.Config) error {
	if d := n.Arch.View.Diff(v); d != nil {
		return fmt.Errorf("bc: the parameters were made for another view than configured: %s", strings.Join(d, ", "))
	}
	return nil
}
