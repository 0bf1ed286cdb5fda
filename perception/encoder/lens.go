package encoder

import (
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/robot"
)

// Lens differentiates what a Conv makes of one tick by the pixels that it sees:
//
//	l := enc.Lens()
//	x, err := l.Images(frames)  // x (cameras) of (S,S,3)
//	l.Embed(z, x)               // z (D,)
//	l.Backward(dx, dz)          // the gradient there of a loss by pixels
//
// Images are in units of a byte's range, BGR, -0.5 to 0.5. Places of colours are
// looked up in a table, so no gradient comes from them. One goroutine uses it.
type Lens struct {
	conv *Conv
	eyes []eye
	pix  []byte // of a camera, for the colours
	ran  bool   // Embed has
}

// Lens returns one that shares c's weights.
func (c *Conv) Lens() *Lens {
	s := c.shape.Side
	l := &Lens{conv: c, pix: make([]byte, 3*s*s)}
	for _, n := range c.nets {
		e := eye{g: nn.NewGraph(), seed: make([]float32, 2*c.shape.Keypoints)}
		e.x = e.g.InputGrad(1, s, s, 3)
		_, e.keys = n.keys(e.g, e.x, e.g.Frozen)
		l.eyes = append(l.eyes, e)
	}
	return l
}

// Cameras names those that are looked at, in the order of the images.
func (l *Lens) Cameras() []string {
	var names []string
	for _, c := range l.conv.cameras {
		names = append(names, c.Name)
	}
	return names
}

// Side is S.
func (l *Lens) Side() int { return l.conv.shape.Side }

// Dim is the length D of an embedding.
func (l *Lens) Dim() int { return l.conv.Dim() }

// Images are the frames of a tick as the encoder sees them, cut and scaled.
func (l *Lens) Images(fs []robot.Frame) ([][]float32, error) {
	s := l.Side()
	var xs [][]float32
	for _, cam := range l.conv.cameras {
		f, err := cam.pick(fs, s, s)
		if err != nil {
			return nil, err
		}
		x := make([]float32, 3*s*s)
		nn.Pixels(x, f.Pix, s, s, 3, 0, 0)
		xs = append(xs, x)
	}
	return xs, nil
}

// Frame is an image as a picture, (S,S,3) BGR.
func (l *Lens) Frame(camera int, x []float32) robot.Frame {
	f := robot.Frame{Camera: l.conv.cameras[camera].Name, W: l.Side(), H: l.Side(), Pix: make([]byte, len(x))}
	quantise(f.Pix, x)
	return f
}

func quantise(dst []byte, x []float32) {
	for i, v := range x {
		dst[i] = byte(min(max(255*(v+0.5), 0), 255) + 0.5)
	}
}

// Embed writes the embedding of the images to dst (D,). It panics on images of
// another encoder.
func (l *Lens) Embed(dst []float32, x [][]float32) {
	if len(dst) != l.Dim() || len(x) != len(l.eyes) {
		panic("encoder: Lens: embedding or images are another encoder's")
	}
	c, n := l.conv, 2*l.conv.shape.places()
	for i := range l.eyes {
		e := &l.eyes[i]
		if len(x[i]) != len(e.x.Value) {
			panic("encoder: Lens: an image is of another size")
		}
		// A camera whose image stayed, while another's was changed, is not run again.
		if !l.ran || !slices.Equal(e.x.Value, x[i]) {
			copy(e.x.Value, x[i])
			e.g.ForwardTo(e.keys)
		}
		out := append(dst[i*n:i*n:(i+1)*n], e.keys.Value...)
		if c.palettes != nil {
			quantise(l.pix, x[i])
			c.palettes[i].find(out, l.pix, c.shape.Side)
		}
		for k := range n {
			j := i*n + k
			dst[j] = min(max(c.gain[j]*(dst[j]-c.mean[j]), -limit), limit)
		}
	}
	l.ran = true
}

// Backward writes to dx, shaped as the images that Embed saw last, the gradient of a
// loss whose derivative by the embedding is dz (D,). Nothing flows through numbers
// that are clipped.
func (l *Lens) Backward(dx [][]float32, dz []float32) {
	if len(dz) != l.Dim() || len(dx) != len(l.eyes) {
		panic("encoder: Lens: gradients are another encoder's")
	}
	c, n := l.conv, 2*l.conv.shape.places()
	for i := range l.eyes {
		e := &l.eyes[i]
		for k, v := range e.keys.Value {
			j := i*n + k
			e.seed[k] = 0
			if z := c.gain[j] * (v - c.mean[j]); z > -limit && z < limit {
				e.seed[k] = c.gain[j] * dz[j]
			}
		}
		e.g.BackwardFrom(e.keys, e.seed)
		copy(dx[i], e.x.Grad)
	}
}
