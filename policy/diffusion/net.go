package diffusion

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/trunk"
	"github.com/rapport-rl/rapport/policy/view"
)

// format marks the parameters of a Net; its number changes with the layout.
const format = "rapport-diffusion-actor-1"

// rim bounds a normalised number of what is seen: beyond five times the range of
// the demonstrations a network only extrapolates.
const rim = 5

// Net is a denoiser with the ranges of what it was trained on.
type Net struct {
	Arch   Arch
	eye    *trunk.Net // nil without cameras
	den    denoiser
	params []*nn.Param
	// middle and half the width of the ranges, of rows (D,) and actions (k,).
	rowMid, rowHalf, actMid, actHalf *nn.Param
}

// NewNet draws a Net that does not normalise yet.
func NewNet(a Arch, rng *rand.Rand) (*Net, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	return newNet(a.complete(), rng), nil
}

// newNet is NewNet for what is valid and complete.
func newNet(a Arch, rng *rand.Rand) *Net {
	D, k := a.View.Dim(), a.View.Action.Dim()
	var eye *trunk.Net
	in := D
	if len(a.View.Cameras) > 0 {
		var err error
		if eye, err = trunk.New(a.Trunk, a.View.Cameras, rng); err != nil {
			panic("diffusion: a trunk refused what it had validated")
		}
		in += eye.Dim()
	}
	m := &maker{rng: rng}
	den := m.build(a, in)
	params := m.list
	if eye != nil {
		params = append(params, eye.Params()...)
	}
	return &Net{
		Arch: a, eye: eye, den: den, params: params,
		rowMid: nn.NewParam("row.mid", D), rowHalf: nn.NewParam("row.half", D).Fill(1),
		actMid: nn.NewParam("action.mid", k), actHalf: nn.NewParam("action.half", k).Fill(1),
	}
}

// Clone returns a Net of its own with the same parameters.
func (n *Net) Clone() *Net {
	c := newNet(n.Arch, rand.New(rand.NewPCG(0, 0))) // overwritten at once
	nn.Copy(c.all(), n.all())
	return c
}

// Params lists what is trained, in a fixed order.
func (n *Net) Params() []*nn.Param { return n.params }

func (n *Net) ranges() []*nn.Param { return []*nn.Param{n.rowMid, n.rowHalf, n.actMid, n.actHalf} }

// all lists everything that is not derived.
func (n *Net) all() []*nn.Param { return append(n.ranges(), n.params...) }

// Tensors lists all that a checkpoint holds; the arrays are shared.
func (n *Net) Tensors() []nn.Tensor { return nn.Tensors(n.all()) }

// Fit brings rows (N, D) and actions (M, k) to [-1,1] by their smallest and
// largest numbers (Chi et al. 2023, section IV-B's normalisation). What never
// changed by more than a ten-thousandth is only moved to 0.
func (n *Net) Fit(rows, actions []float32) {
	for _, f := range []struct {
		x         []float32
		mid, half []float32
	}{{rows, n.rowMid.Data, n.rowHalf.Data}, {actions, n.actMid.Data, n.actHalf.Data}} {
		D := len(f.mid)
		if len(f.x) == 0 || len(f.x)%D != 0 {
			panic("diffusion: rows to fit do not fill a matrix")
		}
		for j := range D {
			lo, hi := f.x[j], f.x[j]
			for i := j; i < len(f.x); i += D {
				lo, hi = min(lo, f.x[i]), max(hi, f.x[i])
			}
			f.mid[j], f.half[j] = lo+(hi-lo)/2, (hi-lo)/2
			if hi-lo < 1e-4 { // as there
				f.half[j] = 1
			}
		}
	}
}

// see writes rows (N, D) normalised to dst.
func (n *Net) see(dst, rows []float32) {
	D := len(n.rowMid.Data)
	for i := 0; i < len(rows); i += D {
		for j, m := range n.rowMid.Data {
			dst[i+j] = min(rim, max(-rim, (rows[i+j]-m)/n.rowHalf.Data[j]))
		}
	}
}

// scale writes actions (N, k) normalised to dst, act the other way.
func (n *Net) scale(dst, actions []float32) {
	k := len(n.actMid.Data)
	for i, v := range actions {
		dst[i] = (v - n.actMid.Data[i%k]) / n.actHalf.Data[i%k]
	}
}

func (n *Net) act(dst, x []float32) {
	k := len(n.actMid.Data)
	for i, v := range x {
		dst[i] = v*n.actHalf.Data[i%k] + n.actMid.Data[i%k]
	}
}

// Encode returns the parameters for a Policy, as safetensors. Data is its own.
func (n *Net) Encode(version uint64) (policy.Params, error) {
	arch, err := json.Marshal(n.Arch)
	if err != nil {
		return policy.Params{}, fmt.Errorf("diffusion: encode: %w", err)
	}
	data, err := nn.Encode(n.Tensors(), map[string]string{"format": format, "arch": string(arch)})
	if err != nil {
		return policy.Params{}, fmt.Errorf("diffusion: encode: %w", err)
	}
	return policy.Params{Version: version, Data: data}, nil
}

// Decode reads what Encode wrote. Parameters that are corrupt, not finite, or not
// of a Net are errors.
func Decode(p policy.Params) (*Net, error) {
	fail := func(err error) (*Net, error) {
		return nil, fmt.Errorf("diffusion: parameters of version %d: %w", p.Version, err)
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
	n := newNet(a.complete(), rand.New(rand.NewPCG(0, 0))) // overwritten at once
	if err := nn.Assign(n.all(), ts); err != nil {
		return fail(err)
	}
	for _, half := range []*nn.Param{n.rowHalf, n.actHalf} {
		for i, v := range half.Data {
			if !(v > 0) {
				return fail(fmt.Errorf("tensor %q: half range %d is %v, want a positive number", half.Name, i, v))
			}
		}
	}
	return n, nil
}

// holds checks that ts are finite and as many as a wants, before memory is taken
// for what a claims.
func (a Arch) holds(ts []nn.Tensor) error {
	if err := a.Validate(); err != nil {
		return err
	}
	a = a.complete()
	var m maker
	if len(a.View.Cameras) > 0 {
		m.build(a, a.View.Dim()+a.Trunk.Latent*len(a.View.Cameras))
		m.count += a.Trunk.Count(a.View.Cameras)
	} else {
		m.build(a, a.View.Dim())
	}
	got := 0.0
	for _, t := range ts {
		got += float64(len(t.Data))
		for _, v := range t.Data {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("tensor %q holds %v", t.Name, v)
			}
		}
	}
	if got < m.count {
		return fmt.Errorf("%v numbers, but the architecture wants at least %v", got, m.count)
	}
	return nil
}

// Same reports, with both values, where the view of n differs from v.
func (n *Net) Same(v view.Config) error {
	if d := n.Arch.View.Diff(v); d != nil {
		return fmt.Errorf("diffusion: the parameters were made for another view than configured: %s", strings.Join(d, ", "))
	}
	return nil
}
