// Package view turns what an arm senses into the row of numbers that a policy
// sees, and its actions into commands and back.
//
// Acting, cloning and reinforcement learning share one Config, so that none of
// them can see another world than the others; the replay keeps rows only.
//
//	v := view.Config{
//		Embed: 64, Place: []int{0, 1}, Origin: [3]float64{0.45, 0, 0}, Span: 0.3, Horizon: 45,
//		Action: view.Action{Axes: []int{0, 1}, Scale: 0.0125},
//	}
//	row := make([]float32, v.Dim())
//	err := v.Row(row, input) // what the policy sees
//	cmd := v.Action.Command([]float32{1, 0}) // 12.5 mm along x
package view

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
)

// opening is the distance between the Panda hand's fingers when open, m
// (Franka Hand data sheet: 0 to 80 mm).
const opening = 0.08

// Config says which numbers a policy sees, in this order: the embedding, the
// chosen TCP coordinates, the places of tracked points, the heading, the fingers, the clock. The zero value sees nothing
// and is not valid.
type Config struct {
	// Embed is the length D of Features.Embed; 0 leaves the features out.
	Embed int
	// Place lists the coordinates of the TCP that are seen, 0 to 2 for x, y, z
	// in the base frame, as (p - Origin) / Span.
	Place  []int
	Origin [3]float64 // m
	Span   float64    // m per unit; wanted when Place or Keys is not empty
	// Keys names tracked points whose places are seen, (p - Origin) / Span for x, y
	// and z each; a lost one stays where it was last.
	Keys []string `json:",omitempty"`
	// Heading adds the cosine and the sine of the TCP's turn about z, for what
	// cannot go sideways.
	Heading bool `json:",omitempty"`
	// Fingers adds the opening of the gripper, 0 closed to 1 open.
	Fingers bool
	// Horizon is the number T of ticks of a whole episode. A positive Horizon
	// adds the clock Step/T, since what an optimal-transport reward still
	// pays depends on the time left (Pardo et al. 2018, "Time limits in
	// reinforcement learning", section 3); 0 leaves it out.
	Horizon int
	// Cameras lists the frames that are seen beside the row, in this order; none
	// for a policy that goes by the features.
	Cameras []Camera

	Action Action
}

// Camera is a camera whose frames a policy sees, and the size they must have.
type Camera struct {
	Name string
	W, H int // pixels
}

// maxPixels bounds the pixels of an input's frames together, so that a corrupt
// file cannot ask for the machine's memory: eight cameras of 1024x1024.
const maxPixels = 8 << 20

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.Embed < 0 {
		errs = append(errs, fmt.Errorf("view: Embed is %d, want the length of the embedding or 0", c.Embed))
	}
	if c.Horizon < 0 {
		errs = append(errs, fmt.Errorf("view: Horizon is %d, want the ticks of an episode or 0", c.Horizon))
	}
	if err := axes("Place", c.Place, 3); err != nil {
		errs = append(errs, err)
	}
	if len(c.Place)+len(c.Keys) > 0 && !(c.Span > 0 && !math.IsInf(c.Span, 0)) {
		errs = append(errs, fmt.Errorf("view: Span is %v m, want a positive length", c.Span))
	}
	for i, v := range c.Origin {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			errs = append(errs, fmt.Errorf("view: Origin[%d] is %v", i, v))
		}
	}
	pixels := 0
	for i, cam := range c.Cameras {
		if cam.Name == "" || slices.ContainsFunc(c.Cameras[:i], func(o Camera) bool { return o.Name == cam.Name }) {
			errs = append(errs, fmt.Errorf("view: Cameras[%d] is named %q, want a name of its own", i, cam.Name))
		}
		if cam.W < 1 || cam.H < 1 || cam.W > maxPixels || cam.H > maxPixels || cam.W*cam.H > maxPixels-pixels {
			errs = append(errs, fmt.Errorf("view: Cameras[%d] is %dx%d, want at least a pixel and at most %d with all cameras", i, cam.W, cam.H, maxPixels))
			break
		}
		pixels += cam.W * cam.H
	}
	if c.Dim() == 0 && len(c.Cameras) == 0 {
		errs = append(errs, errors.New("view: the policy sees nothing: set Embed, Place, Fingers, Horizon or Cameras"))
	}
	return errors.Join(append(errs, c.Action.Validate())...)
}

// Dim is the length of a row.
func (c Config) Dim() int {
	n := c.Embed + len(c.Place) + 3*len(c.Keys)
	if c.Heading {
		n += 2
	}
	if c.Fingers {
		n++
	}
	if c.Horizon > 0 {
		n++
	}
	return n
}

// Pixels is the number of bytes of the frames that are seen, 3 a pixel.
func (c Config) Pixels() int {
	n := 0
	for _, cam := range c.Cameras {
		n += 3 * cam.W * cam.H
	}
	return n
}

// Image writes the frames that the policy sees to dst (Pixels(),): for each
// camera in order its BGR8 rows (H,W,3). A missing camera and a frame of another
// size are errors.
func (c Config) Image(dst []byte, in policy.Input) error {
	if len(dst) != c.Pixels() {
		panic("view: image of another length than Pixels")
	}
	for _, cam := range c.Cameras {
		i := slices.IndexFunc(in.Frames, func(f robot.Frame) bool { return f.Camera == cam.Name })
		if i < 0 {
			return fmt.Errorf("view: step %d has no frame of camera %q, which the policy sees", in.Step, cam.Name)
		}
		f := in.Frames[i]
		if f.W != cam.W || f.H != cam.H || len(f.Pix) != 3*f.W*f.H {
			return fmt.Errorf("view: step %d: camera %q gave %dx%d pixels in %d bytes, want %dx%d", in.Step, cam.Name, f.W, f.H, len(f.Pix), cam.W, cam.H)
		}
		dst = dst[copy(dst, f.Pix):]
	}
	return nil
}

// Row writes what the policy sees of in to dst (Dim(),). An embedding of
// another length and numbers that are not finite are errors.
func (c Config) Row(dst []float32, in policy.Input) error {
	if len(dst) != c.Dim() {
		panic("view: row of another length than Dim")
	}
	n := 0
	if c.Embed > 0 {
		if len(in.Features.Embed) != c.Embed {
			return fmt.Errorf("view: embedding has %d numbers, want %d as configured in Embed", len(in.Features.Embed), c.Embed)
		}
		n = copy(dst, in.Features.Embed)
	}
	for _, axis := range c.Place {
		dst[n] = float32((in.State.EE.P[axis] - c.Origin[axis]) / c.Span)
		n++
	}
	for _, name := range c.Keys {
		p, _, ok := perception.Place(in.Features.Keys, name)
		if !ok {
			return fmt.Errorf("view: step %d has no place of the point %q, which the policy sees", in.Step, name)
		}
		for axis, v := range p {
			dst[n+axis] = float32((v - c.Origin[axis]) / c.Span)
		}
		n += 3
	}
	if c.Heading {
		sin, cos := math.Sincos(yaw(in.State.EE.Q))
		dst[n], dst[n+1] = float32(cos), float32(sin)
		n += 2
	}
	if c.Fingers {
		dst[n] = float32(in.State.Grip / opening)
		n++
	}
	if c.Horizon > 0 {
		dst[n] = float32(in.Step) / float32(c.Horizon)
	}
	for i, v := range dst {
		// NaN and the infinities are what differs from itself after v - v.
		if d := v - v; d != d {
			return fmt.Errorf("view: step %d: number %d of what the policy sees is %v", in.Step, i, v)
		}
	}
	return nil
}

// yaw is the turn about z of the unit quaternion q (w,x,y,z), rad.
func yaw(q [4]float64) float64 {
	return math.Atan2(2*(q[0]*q[3]+q[1]*q[2]), 1-2*(q[2]*q[2]+q[3]*q[3]))
}

// Diff names the fields in which c and o differ, with both values; it is nil
// for two views that give the same rows and commands.
func (c Config) Diff(o Config) []string {
	var ds []string
	diff := func(field string, a, b any) {
		if sa, sb := fmt.Sprint(a), fmt.Sprint(b); sa != sb {
			ds = append(ds, fmt.Sprintf("%s is %s and %s", field, sa, sb))
		}
	}
	diff("Embed", c.Embed, o.Embed)
	diff("Place", c.Place, o.Place)
	diff("Keys", c.Keys, o.Keys)
	if len(c.Place)+len(c.Keys)+len(o.Place)+len(o.Keys) > 0 {
		diff("Origin", c.Origin, o.Origin)
		diff("Span", c.Span, o.Span)
	}
	diff("Heading", c.Heading, o.Heading)
	diff("Fingers", c.Fingers, o.Fingers)
	diff("Horizon", c.Horizon, o.Horizon)
	diff("Cameras", c.Cameras, o.Cameras)
	diff("Action.Axes", c.Action.Axes, o.Action.Axes)
	diff("Action.Scale", c.Action.Scale, o.Action.Scale)
	diff("Action.Turn", c.Action.Turn, o.Action.Turn)
	diff("Action.MoveGrip", c.Action.MoveGrip, o.Action.MoveGrip)
	if !c.Action.MoveGrip || !o.Action.MoveGrip {
		diff("Action.Grip", c.Action.Grip, o.Action.Grip)
	}
	return ds
}

// axes reports an index outside [0, n) or one that occurs twice.
func axes(field string, list []int, n int) error {
	seen := 0
	for _, a := range list {
		if a < 0 || a >= n {
			return fmt.Errorf("view: %s holds axis %d, want 0 to %d", field, a, n-1)
		}
		if seen&(1<<a) != 0 {
			return fmt.Errorf("view: %s holds axis %d twice", field, a)
		}
		seen |= 1 << a
	}
	return nil
}
