// Package trunk turns the frames that a policy sees into a few numbers, the
// latents, that its heads go on with: actor and critics share one trunk, as in
// DrQ (Kostrikov et al. 2020, arXiv:2004.13649) and RLPD from pixels (Ball et al.
// 2023, arXiv:2302.02948, appendix).
//
// Each camera has 3x3 convolutions with ReLU, a linear layer, LayerNorm and tanh
// of its own. While learning, every frame is shifted at random by a few pixels,
// with its edge repeated.
//
//	n, err := trunk.New(trunk.Config{}, v.Cameras, rng)
//	eye := n.Eye(g, 256)
//	latents := n.Forward(g, eye) // (256, n.Dim())
//	eye.Put(batch.Pix, n.Config.Shift, rng)
//	g.Forward()
package trunk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/policy/view"
)

// Config is the shape of a Net. Zero fields take DrQ's values.
type Config struct {
	Channels int   // of every convolution; 32
	Strides  []int // one a convolution; 2, 1, 1, 1
	Latent   int   // numbers a camera; 50
	// Shift is by how many pixels, at most, frames are shifted while learning; 4.
	// Negative: not at all.
	Shift int
}

// Complete fills in the defaults.
func (c Config) Complete() Config {
	if c.Channels == 0 {
		c.Channels = 32
	}
	if c.Strides == nil {
		c.Strides = []int{2, 1, 1, 1}
	}
	if c.Latent == 0 {
		c.Latent = 50
	}
	if c.Shift == 0 {
		c.Shift = 4
	}
	return c
}

// The largest shapes that are taken: far above any use, they keep a corrupt file
// from asking for the machine's memory.
const (
	maxChannels = 1 << 10
	maxLayers   = 16
	maxLatent   = 1 << 12
)

// Validate reports everything that is wrong with c for these cameras.
func (c Config) Validate(cams []view.Camera) error {
	c = c.Complete()
	var errs []error
	for _, f := range []struct {
		name    string
		v, most int
	}{{"Channels", c.Channels, maxChannels}, {"Latent", c.Latent, maxLatent}} {
		if f.v < 1 || f.v > f.most {
			errs = append(errs, fmt.Errorf("trunk: %s is %d, want 1 to %d", f.name, f.v, f.most))
		}
	}
	if len(c.Strides) > maxLayers {
		errs = append(errs, fmt.Errorf("trunk: Strides has %d layers, want at most %d", len(c.Strides), maxLayers))
	}
	for _, cam := range cams {
		h, w := cam.H, cam.W
		for i, s := range c.Strides {
			if s < 1 {
				errs = append(errs, fmt.Errorf("trunk: Strides[%d] is %d, want at least 1", i, s))
				break
			}
			if h < kernel || w < kernel {
				errs = append(errs, fmt.Errorf("trunk: camera %q of %dx%d pixels is too small for %d convolutions: after %d it is %dx%d, less than a kernel; leave out the last Strides, or want larger frames",
					cam.Name, cam.W, cam.H, len(c.Strides), i, w, h))
				break
			}
			h, w = (h-kernel)/s+1, (w-kernel)/s+1
		}
		if c.Shift >= min(cam.H, cam.W) {
			errs = append(errs, fmt.Errorf("trunk: Shift is %d pixels, want less than camera %q's %dx%d", c.Shift, cam.Name, cam.W, cam.H))
		}
	}
	return errors.Join(errs...)
}

// Count is how many numbers a Net of c has for these cameras. It is a float64,
// which no shape overflows.
func (c Config) Count(cams []view.Camera) float64 {
	c = c.Complete()
	sum := 0.0
	for _, cam := range cams {
		h, w, in := cam.H, cam.W, 3.0
		out := float64(c.Channels)
		for _, s := range c.Strides {
			sum += out * (in*kernel*kernel + 1)
			h, w, in = (h-kernel)/s+1, (w-kernel)/s+1, out
		}
		sum += float64(c.Latent) * (float64(h)*float64(w)*in + 3)
	}
	return sum
}

// kernel is the side of every convolution.
const kernel = 3

// Net is a trunk.
type Net struct {
	Config  Config
	Cameras []view.Camera
	convs   []*nn.ConvNet
	heads   []head
}

// head turns what the convolutions of a camera see into its latents.
type head struct{ w, b, gain, bias *nn.Param }

// New draws a Net. Convolutions and linear layers are orthogonal, as DrQ's are.
func New(c Config, cams []view.Camera, rng *rand.Rand) (*Net, error) {
	c = c.Complete()
	if len(cams) == 0 {
		return nil, errors.New("trunk: no cameras")
	}
	if err := c.Validate(cams); err != nil {
		return nil, err
	}
	n := &Net{Config: c, Cameras: slices.Clone(cams)}
	for _, cam := range cams {
		var layers []nn.ConvLayer
		for _, s := range c.Strides {
			layers = append(layers, nn.ConvLayer{Out: c.Channels, Kernel: kernel, Stride: s})
		}
		name := "trunk." + cam.Name
		conv := nn.NewConvNet(name+".conv", nn.ConvConfig{Channels: 3, H: cam.H, W: cam.W, Layers: layers, Act: nn.ReLU}, rng)
		n.convs = append(n.convs, conv)
		h := newHead(name, conv, c.Latent)
		nn.InitOrthogonal(h.w, 1, rng)
		n.heads = append(n.heads, h)
	}
	return n, nil
}

func newHead(name string, conv *nn.ConvNet, latent int) head {
	return head{
		w: nn.NewParam(name+".weight", latent, conv.Out[0]*conv.Out[1]*conv.Out[2]), b: nn.NewParam(name+".bias", latent),
		gain: nn.NewParam(name+".norm.weight", latent).Fill(1), bias: nn.NewParam(name+".norm.bias", latent),
	}
}

// Dim is how many latents there are, of all cameras.
func (n *Net) Dim() int { return n.Config.Latent * len(n.Cameras) }

// Params lists what is trained, in a fixed order.
func (n *Net) Params() []*nn.Param {
	var ps []*nn.Param
	for i, h := range n.heads {
		ps = append(append(ps, n.convs[i].Params()...), h.w, h.b, h.gain, h.bias)
	}
	return ps
}

// Clone returns a Net of its own with the same parameters.
func (n *Net) Clone() *Net {
	c := &Net{Config: n.Config, Cameras: n.Cameras}
	for i, cam := range n.Cameras {
		c.convs = append(c.convs, n.convs[i].Clone("trunk."+cam.Name+".conv"))
		c.heads = append(c.heads, newHead("trunk."+cam.Name, c.convs[i], n.Config.Latent))
	}
	nn.Copy(c.Params(), n.Params())
	return c
}

// Eye is where frames enter a graph.
type Eye struct {
	cams []view.Camera
	in   []*nn.Node // for each camera (B,H,W,3)
}

// Eye adds inputs for B rows to g.
func (n *Net) Eye(g *nn.Graph, B int) *Eye {
	e := &Eye{cams: n.Cameras}
	for _, cam := range n.Cameras {
		e.in = append(e.in, g.Input(B, cam.H, cam.W, 3))
	}
	return e
}

// Put takes the frames of the rows, pix (B,P) as view.Config.Image lays them
// out, each shifted at random by up to shift pixels; a shift of 0 or less leaves
// them as they are and needs no rng.
func (e *Eye) Put(pix []byte, shift int, rng *rand.Rand) {
	P := 0
	for _, cam := range e.cams {
		P += 3 * cam.H * cam.W
	}
	B := e.in[0].Shape[0]
	if len(pix) != B*P {
		panic("trunk: frames do not fill the batch")
	}
	for i := range B {
		row := pix[i*P : (i+1)*P]
		for c, cam := range e.cams {
			size := 3 * cam.H * cam.W
			dx, dy := 0, 0
			if shift > 0 {
				dx, dy = nn.DrawShift(shift, rng)
			}
			nn.Pixels(e.in[c].Value[i*size:(i+1)*size], row[:size], cam.H, cam.W, 3, dx, dy)
			row = row[size:]
		}
	}
}

// Forward gives the latents (B, Dim()) of what e sees. Gradients reach the params.
func (n *Net) Forward(g *nn.Graph, e *Eye) *nn.Node {
	return n.apply(g, e, (*nn.ConvNet).Forward, g.Param)
}

// Frozen is Forward with params that get no gradient.
func (n *Net) Frozen(g *nn.Graph, e *Eye) *nn.Node {
	return n.apply(g, e, (*nn.ConvNet).Frozen, g.Frozen)
}

// Static is Forward with params that never change.
func (n *Net) Static(g *nn.Graph, e *Eye) *nn.Node {
	return n.apply(g, e, (*nn.ConvNet).Static, g.Static)
}

func (n *Net) apply(g *nn.Graph, e *Eye, conv func(*nn.ConvNet, *nn.Graph, *nn.Node) *nn.Node, get func(*nn.Param) *nn.Node) *nn.Node {
	var zs []*nn.Node
	for i, h := range n.heads {
		x := conv(n.convs[i], g, e.in[i])
		B := x.Shape[0]
		z := g.Linear(g.Reshape(x, B, x.Len()/B), get(h.w), get(h.b))
		zs = append(zs, g.Tanh(g.LayerNorm(z, get(h.gain), get(h.bias))))
	}
	if len(zs) == 1 {
		return zs[0]
	}
	return g.Concat(zs...)
}

// Glance is a graph of its own from frames to latents.
type Glance struct {
	g   *nn.Graph
	eye *Eye
	z   *nn.Node // (B,Dim())
}

// Glance returns a graph for B rows on a device; learn says whether Back is called.
func (n *Net) Glance(B int, learn bool, on device.Device) *Glance {
	v := &Glance{g: nn.NewGraphOn(on)}
	v.eye = n.Eye(v.g, B)
	if learn {
		v.z = n.Forward(v.g, v.eye)
	} else {
		v.z = n.Frozen(v.g, v.eye)
	}
	return v
}

// Look gives the latents (B,Dim()) of frames, which are taken as Eye.Put does.
// They are overwritten by the next Look.
func (v *Glance) Look(pix []byte, shift int, rng *rand.Rand) []float32 {
	v.eye.Put(pix, shift, rng)
	v.g.ForwardTo(v.z)
	return v.z.Value
}

// Back adds to the gradients of the params what the gradient dz (B,Dim()) by the
// latents of the last Look makes of them.
func (v *Glance) Back(dz []float32) { v.g.BackwardFrom(v.z, dz) }

// Beside writes rows (B,D) with latents z (B,L) beside them to dst (B,D+L), which
// is what heads read.
func Beside(dst, rows, z []float32, B int) {
	D, L := len(rows)/B, len(z)/B
	for i := range B {
		copy(dst[i*(D+L):], rows[i*D:(i+1)*D])
		copy(dst[i*(D+L)+D:], z[i*L:(i+1)*L])
	}
}
