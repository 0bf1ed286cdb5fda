package encoder

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/robot"
)

// Shape is the size of a Conv. Every camera has a network of its own.
type Shape struct {
	Side      int // images are scaled to Side by Side pixels, a multiple of 4
	Channels  [2]int
	Keypoints int // per camera; the embedding has two numbers for each
	// Colours are places of colours, per camera, that the embedding has two numbers
	// for each too, after the keypoints.
	Colours int `json:",omitempty"`
}

// stride is how many input pixels lie between neighbouring cells of the
// keypoints' heatmaps: two convolutions of stride 2.
const stride = 4

func (s Shape) validate() error {
	if s.Side < 16 || s.Side > 512 || s.Side%stride != 0 {
		return fmt.Errorf("encoder: side of %d pixels, want a multiple of %d from 16 to 512", s.Side, stride)
	}
	if s.Keypoints < 1 || s.Keypoints > 256 || min(s.Channels[0], s.Channels[1]) < 1 || max(s.Channels[0], s.Channels[1]) > 512 {
		return fmt.Errorf("encoder: %d keypoints and channels %v, want 1..256 and 1..512", s.Keypoints, s.Channels)
	}
	if s.Colours < 0 || s.Colours > maxColours {
		return fmt.Errorf("encoder: %d colours, want 0..%d", s.Colours, maxColours)
	}
	return nil
}

// places are the places that a camera's part of the embedding tells.
func (s Shape) places() int { return s.Keypoints + s.Colours }

// Conv is a trained encoder. It is safe for several goroutines, and equal
// frames give equal bits.
type Conv struct {
	cameras []Camera
	shape   Shape
	nets    []*net
	// palettes, one a camera, find the colours; none without colours.
	palettes []*palette
	// mean and gain (2(K+C) per camera) bring the places' coordinates to the
	// embedding: gain*(x-mean), clipped to +-limit.
	mean, gain []float32
	runs       sync.Pool // of *run
}

// limit bounds the embedding: standardised coordinates of real scenes lie
// within, a keypoint that leaps to another object does not pull a mean away.
const limit = 3

// net finds the keypoints of one camera.
type net struct {
	w, b [3]*nn.Param
}

func newNet(name string, s Shape, rng *rand.Rand) *net {
	n := new(net)
	in := 3
	for i, out := range []int{s.Channels[0], s.Channels[1], s.Keypoints} {
		n.w[i] = nn.NewParam(fmt.Sprintf("%s.conv%d.weight", name, i), out, in, 3, 3)
		n.b[i] = nn.NewParam(fmt.Sprintf("%s.conv%d.bias", name, i), out)
		if rng != nil {
			nn.InitHe(n.w[i], rng)
		}
		in = out
	}
	return n
}

func (n *net) params() []*nn.Param {
	return []*nn.Param{n.w[0], n.b[0], n.w[1], n.b[1], n.w[2], n.b[2]}
}

// temperature of the spatial softmax. Heatmaps start with unit variance; at a
// tenth of that they point somewhere, not at the middle of everything.
const temperature = 0.1

// keys maps images x (B,S,S,3) to heatmaps (B,S/4,S/4,K) and keypoints (B,2K)
// in -1..1.
func (n *net) keys(g *nn.Graph, x *nn.Node, bring func(*nn.Param) *nn.Node) (heat, keys *nn.Node) {
	x = g.Conv2DReLU(x, bring(n.w[0]), bring(n.b[0]), 2, 1)
	x = g.Conv2DReLU(x, bring(n.w[1]), bring(n.b[1]), 2, 1)
	heat = g.Conv2D(x, bring(n.w[2]), bring(n.b[2]), 1, 1)
	return heat, g.SpatialSoftmax(heat, temperature)
}

// run is one goroutine's graphs, sharing the weights.
type run struct {
	graphs []*nn.Graph
	in     []*nn.Node // (1,S,S,3)
	keys   []*nn.Node // (1,2K)
}

func (c *Conv) run() *run {
	if r, ok := c.runs.Get().(*run); ok {
		return r
	}
	r := new(run)
	for _, n := range c.nets {
		g := nn.NewGraph()
		x := g.Input(1, c.shape.Side, c.shape.Side, 3)
		_, k := n.keys(g, x, g.Static)
		r.graphs, r.in, r.keys = append(r.graphs, g), append(r.in, x), append(r.keys, k)
	}
	return r
}

// Dim is the length of an embedding: 2(K+C) for every camera, x and y in turn.
func (c *Conv) Dim() int { return 2 * c.shape.places() * len(c.cameras) }

// Extract embeds the frames of one tick; frames of other cameras are left out.
func (c *Conv) Extract(ctx context.Context, fs []robot.Frame) (perception.Features, error) {
	if err := ctx.Err(); err != nil {
		return perception.Features{}, err
	}
	r := c.run()
	defer c.runs.Put(r)
	out := perception.Features{Embed: make([]float32, 0, c.Dim())}
	s := c.shape.Side
	for i, cam := range c.cameras {
		f, err := cam.pick(fs, s, s)
		if err != nil {
			return perception.Features{}, err
		}
		out.Stamp = f.Stamp
		out.Embed = c.look(out.Embed, r, i, f.Pix)
	}
	for i, v := range out.Embed {
		out.Embed[i] = min(max(c.gain[i]*(v-c.mean[i]), -limit), limit)
	}
	return out, nil
}

// look appends the coordinates of all places in camera i's image (S,S,3).
func (c *Conv) look(out []float32, r *run, i int, pix []byte) []float32 {
	S := c.shape.Side
	nn.Pixels(r.in[i].Value, pix, S, S, 3, 0, 0)
	r.graphs[i].Forward()
	out = append(out, r.keys[i].Value...)
	if c.palettes != nil {
		out = c.palettes[i].find(out, pix, S)
	}
	return out
}

// ExtractBatch embeds many ticks on up to workers goroutines, bit for bit as
// Extract would.
func (c *Conv) ExtractBatch(ctx context.Context, ticks [][]robot.Frame, workers int) ([]perception.Features, error) {
	return Batch(ctx, c, ticks, workers)
}
