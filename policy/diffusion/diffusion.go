// Package diffusion imitates by denoising: a policy that draws whole chunks of
// actions, and so follows one of several ways that demonstrations went where a
// mean would go between them (Chi et al. 2023, "Diffusion Policy",
// arXiv:2303.04137). Flow matching (Lipman et al. 2023, arXiv:2210.02747) is the
// same policy by another process.
//
//	l, err := diffusion.New(diffusion.Config{Arch: diffusion.Arch{View: v}, Round: 100, Seed: 1}, nil)
//	err = l.Add(ctx, demonstration)
//	stats, err := l.Update(ctx)
//	params, err := l.Latest(ctx)
//	pi, err := diffusion.NewPolicy(diffusion.PolicyConfig{View: v, Exec: 8, Seed: 1})
//	err = pi.Load(params)
//	cmd, err := pi.Act(ctx, input)
//
// Rows and actions are brought to [-1,1] by the smallest and the largest number of
// the demonstrations, which travel with the parameters. A view with cameras adds a
// trunk, whose latents of the frames the network reads beside the rows.
package diffusion

import (
	"errors"
	"fmt"

	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/checkpoint"
	"github.com/rapport-rl/rapport/policy/trunk"
	"github.com/rapport-rl/rapport/policy/view"
)

// Shape names the network that denoises.
type Shape uint8

// The shapes. The zero value is Diffusion Policy's.
const (
	UNet        Shape = iota // one-dimensional convolutions over the chunk
	MLP                      // residual layers, the quickest
	Transformer              // attention among actions and to observations
	shapes
)

// Arch is the shape of a Net. Zero fields take the defaults named.
type Arch struct {
	View view.Config
	// Process is how actions are noised and what is predicted.
	Process Process
	History int // To, inputs that are seen: 2
	Horizon int // H, actions of a chunk, from the first input seen on: 16

	Shape Shape
	// Embed is the length of a step's embedding: 64.
	Embed int
	// Channels of the U-Net's levels: 64, 128, 256. Every level after the first
	// halves the chunk.
	Channels []int
	// Width, Depth and Heads of the MLP (512, 3 and none) and of the transformer
	// (128, 4 and 4).
	Width, Depth, Heads int
	// Trunk is what a view with cameras is seen through; without cameras it does
	// not matter.
	Trunk trunk.Config `json:",omitzero"`
}

const (
	groups = 8 // of the U-Net's group norm (Chi et al. 2023, published settings)
	kernel = 5 // of its convolutions, as there

	maxLevels = 8
	maxDepth  = 64
	maxUnits  = 1 << 16 // far above any use; keeps a corrupt file from asking for the machine's memory
)

// complete fills in the defaults.
func (a Arch) complete() Arch {
	num := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	a.Process = a.Process.complete()
	num(&a.History, 2)
	num(&a.Horizon, 16)
	num(&a.Embed, 64)
	if a.Channels == nil {
		a.Channels = []int{64, 128, 256}
	}
	width, depth := 512, 3
	if a.Shape == Transformer {
		width, depth = 128, 4
	}
	num(&a.Width, width)
	num(&a.Depth, depth)
	num(&a.Heads, 4)
	if len(a.View.Cameras) > 0 {
		a.Trunk = a.Trunk.Complete()
	} else {
		a.Trunk = trunk.Config{}
	}
	return a
}

// window is what a row of a batch spans.
func (a Arch) window() buffer.Window { return buffer.Window{History: a.History, Actions: a.Horizon} }

// Validate reports everything that is wrong with a.
func (a Arch) Validate() error {
	a = a.complete()
	errs := []error{a.View.Validate(), a.Process.Validate()}
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("diffusion: "+format, args...)) }
	if len(a.View.Cameras) > 0 {
		errs = append(errs, a.Trunk.Validate(a.View.Cameras))
		if a.View.Dim() == 0 {
			bad("the view has cameras and no number beside them: set Place, Fingers or Horizon")
		}
	}
	if a.History < 1 || a.History > a.Horizon {
		bad("History is %d inputs, want 1 to the %d actions of Horizon", a.History, a.Horizon)
	}
	if a.Horizon < 1 || a.Horizon > maxUnits {
		bad("Horizon is %d actions, want 1 to %d", a.Horizon, maxUnits)
	}
	if a.Embed < 4 || a.Embed%2 != 0 || a.Embed > maxUnits {
		bad("Embed is %d, want an even number from 4 to %d", a.Embed, maxUnits)
	}
	switch a.Shape {
	case UNet:
		if n := len(a.Channels); n < 1 || n > maxLevels {
			bad("Channels has %d levels, want 1 to %d", n, maxLevels)
		} else if d := 1 << (n - 1); a.Horizon%d != 0 {
			bad("Horizon is %d actions, want a multiple of %d, which %d levels of Channels halve to one", a.Horizon, d, n)
		}
		for i, c := range a.Channels {
			if c < groups || c%groups != 0 || c > maxUnits {
				bad("Channels[%d] is %d, want a multiple of %d up to %d", i, c, groups, maxUnits)
			}
		}
	case MLP, Transformer:
		if a.Width < 1 || a.Width > maxUnits {
			bad("Width is %d units, want 1 to %d", a.Width, maxUnits)
		}
		if a.Depth < 1 || a.Depth > maxDepth {
			bad("Depth is %d layers, want 1 to %d", a.Depth, maxDepth)
		}
		if a.Shape == Transformer && (a.Heads < 1 || a.Width%a.Heads != 0) {
			bad("Heads is %d, want a divisor of the Width %d", a.Heads, a.Width)
		}
	default:
		bad("Shape is %d, want UNet, MLP or Transformer", a.Shape)
	}
	return errors.Join(errs...)
}

// Diff names the fields in which a and o differ, with both values.
func (a Arch) Diff(o Arch) []string {
	a, o = a.complete(), o.complete()
	d := checkpoint.Diff(a.View.Diff(o.View))
	d.Field("Arch.Process", a.Process, o.Process)
	d.Field("Arch.History", a.History, o.History)
	d.Field("Arch.Horizon", a.Horizon, o.Horizon)
	d.Field("Arch.Shape", a.Shape, o.Shape)
	d.Field("Arch.Embed", a.Embed, o.Embed)
	d.Field("Arch.Trunk", a.Trunk, o.Trunk)
	if a.Shape == UNet {
		d.Field("Arch.Channels", a.Channels, o.Channels)
		return d
	}
	d.Field("Arch.Width", a.Width, o.Width)
	d.Field("Arch.Depth", a.Depth, o.Depth)
	if a.Shape == Transformer {
		d.Field("Arch.Heads", a.Heads, o.Heads)
	}
	return d
}
