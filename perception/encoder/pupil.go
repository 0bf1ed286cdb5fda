package encoder

import (
	"fmt"
	"sync"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/robot"
)

// Film is a clip as a Conv sees it: every camera's frames, scaled, as bytes. A
// frame of 96 by 96 takes 27 kB, a clip of 45 by two cameras 2.5 MB.
type Film struct {
	T   int      // ticks
	pix [][]byte // (cameras) of (T,S,S,3)
}

// Film prepares the frames of a clip's ticks for a Pupil.
func (c *Conv) Film(ticks [][]robot.Frame) (Film, error) {
	f := Film{T: len(ticks), pix: make([][]byte, len(c.cameras))}
	s := c.shape.Side
	for t, fs := range ticks {
		for i, cam := range c.cameras {
			x, err := cam.pick(fs, s, s)
			if err != nil {
				return Film{}, fmt.Errorf("encoder: tick %d: %w", t, err)
			}
			f.pix[i] = append(f.pix[i], x.Pix...)
		}
	}
	return f, nil
}

// Pupil is a copy of a Conv that learns by a loss of the caller's own on its
// embeddings, such as a reward's:
//
//	p := enc.Pupil(16)
//	p.Embed(z, film)        // z (T,D)
//	nn.ZeroGrad(p.Params())
//	p.Backward(dz, film)    // the loss's gradient by z
//	adam.Step()             // an nn.Adam of p.Params()
//	enc = p.Conv()
//
// Activations are kept for a batch of frames alone: Backward computes them again,
// so memory does not grow with the clip. Mean and gain of the embedding stay as
// they are, and so do the places of colours, in which there is nothing to learn. The
// cameras' networks, which share nothing, run beside each other. One goroutine uses it.
type Pupil struct {
	conv  *Conv
	batch int
	eyes  []eye
}

// eye is a camera's network on a batch of frames.
type eye struct {
	g    *nn.Graph
	x    *nn.Node // (batch,S,S,3)
	keys *nn.Node // (batch,2K)
	seed []float32
}

// Pupil returns a copy that learns, on batches of the given number of frames.
func (c *Conv) Pupil(batch int) *Pupil {
	if batch < 1 {
		panic("encoder: Pupil: the batch is empty")
	}
	p := &Pupil{conv: c.copy(), batch: batch}
	s := c.shape.Side
	for _, n := range p.conv.nets {
		e := eye{g: nn.NewGraph(), seed: make([]float32, batch*2*c.shape.Keypoints)}
		e.x = e.g.Input(batch, s, s, 3)
		_, e.keys = n.keys(e.g, e.x, e.g.Param)
		p.eyes = append(p.eyes, e)
	}
	return p
}

// copy shares nothing that is written with c.
func (c *Conv) copy() *Conv {
	d := &Conv{cameras: c.cameras, shape: c.shape, palettes: c.palettes, mean: c.mean, gain: c.gain}
	for i, n := range c.nets {
		m := newNet(c.cameras[i].Name, c.shape, nil)
		nn.Copy(m.params(), n.params())
		d.nets = append(d.nets, m)
	}
	return d
}

// Params are what learns.
func (p *Pupil) Params() []*nn.Param {
	var ps []*nn.Param
	for _, n := range p.conv.nets {
		ps = append(ps, n.params()...)
	}
	return ps
}

// Conv is a copy of what p has become, which p's learning does not change.
func (p *Pupil) Conv() *Conv { return p.conv.copy() }

// Dim is the length D of an embedding.
func (p *Pupil) Dim() int { return p.conv.Dim() }

// each runs f for every camera at once, and for every batch of its frames: those
// from lo up to hi are in e's input.
func (p *Pupil) each(film Film, f func(i int, e *eye, lo, hi int)) {
	s := p.conv.shape.Side
	size := 3 * s * s
	if len(film.pix) != len(p.eyes) || len(film.pix[0]) != film.T*size {
		panic("encoder: the film is not this encoder's")
	}
	var wg sync.WaitGroup
	for i := range p.eyes {
		e := &p.eyes[i]
		work := func() {
			for lo := 0; lo < film.T; lo += p.batch {
				hi := min(lo+p.batch, film.T)
				for t := lo; t < hi; t++ {
					nn.Pixels(e.x.Value[(t-lo)*size:(t-lo+1)*size], film.pix[i][t*size:(t+1)*size], s, s, 3, 0, 0)
				}
				e.g.ForwardTo(e.keys)
				f(i, e, lo, hi)
			}
		}
		if i < len(p.eyes)-1 {
			wg.Go(work)
			continue
		}
		work()
	}
	wg.Wait()
}

// Embed writes the embeddings of a film's frames to dst (T,D). It panics on a film
// of another encoder.
func (p *Pupil) Embed(dst []float32, film Film) {
	D, n, keys, S := p.Dim(), 2*p.conv.shape.places(), 2*p.conv.shape.Keypoints, p.conv.shape.Side
	if len(dst) != film.T*D {
		panic("encoder: Pupil: embeddings and film differ in length")
	}
	p.each(film, func(i int, e *eye, lo, hi int) {
		mean, gain := p.conv.mean[i*n:(i+1)*n], p.conv.gain[i*n:(i+1)*n]
		for t := lo; t < hi; t++ {
			out := dst[t*D+i*n : t*D+(i+1)*n]
			copy(out, e.keys.Value[(t-lo)*keys:(t-lo+1)*keys])
			if p.conv.palettes != nil {
				p.conv.palettes[i].find(out[:keys], film.pix[i][3*S*S*t:3*S*S*(t+1)], S)
			}
			for k, v := range out {
				out[k] = min(max(gain[k]*(v-mean[k]), -limit), limit)
			}
		}
	})
}

// Backward adds to the gradients of Params that of a loss whose derivative by the
// embeddings is dz (T,D).
func (p *Pupil) Backward(dz []float32, film Film) {
	D, n, keys := p.Dim(), 2*p.conv.shape.places(), 2*p.conv.shape.Keypoints
	if len(dz) != film.T*D {
		panic("encoder: Pupil: gradient and film differ in length")
	}
	p.each(film, func(i int, e *eye, lo, hi int) {
		mean, gain := p.conv.mean[i*n:(i+1)*n], p.conv.gain[i*n:(i+1)*n]
		clear(e.seed) // frames beyond the film's end earn nothing
		for t := lo; t < hi; t++ {
			d := dz[t*D+i*n : t*D+(i+1)*n]
			out := e.seed[(t-lo)*keys : (t-lo+1)*keys]
			for k, v := range e.keys.Value[(t-lo)*keys : (t-lo+1)*keys] {
				if z := gain[k] * (v - mean[k]); z > -limit && z < limit {
					out[k] = gain[k] * d[k]
				}
			}
		}
		e.g.BackwardFrom(e.keys, e.seed)
	})
}
