package encoder

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
)

// Config says what Train builds and how.
type Config struct {
	Cameras []Camera
	Shape   Shape
	Seed    uint64
	Steps   int     // gradient steps
	Batch   int     // ticks of a step, even
	LR      float64 // of Adam, falling to a tenth along a cosine
	// Weights of the losses; a zero leaves one out. Each is about 1 before
	// training.
	Redraw   float64 // squared error of the image redrawn from keypoints and joint angles
	Tool     float64 // squared error of the tool's pose told linearly from the embedding
	Dynamics float64 // squared error of the tool's motion told from two embeddings Lag apart
	Clone    float64 // squared error of the applied command told from embedding and joint angles
	// Focus is how much more a pixel that differs from the data's mean image
	// counts: 1 + Focus*(difference/mean difference).
	Focus float64
	Lag   int // ticks between the two embeddings of Dynamics
	Shift int // random shift of the input, pixels; keypoints are shifted back
}

// Default returns a configuration for the cameras called names, sized so that
// 40 demonstrations of 46 frames by two cameras train in a minute on one core.
func Default(names ...string) Config {
	c := Config{
		Shape: Shape{Side: 96, Channels: [2]int{16, 32}, Keypoints: 16},
		Steps: 400, Batch: 32, LR: 2e-3,
		Redraw: 1, Tool: 0.1, Dynamics: 0.1, Clone: 0.1,
		Focus: 1, Lag: 3, Shift: 0,
	}
	for _, n := range names {
		c.Cameras = append(c.Cameras, Camera{Name: n})
	}
	return c
}

// Validate reports all that is wrong with c.
func (c Config) Validate() error {
	errs := []error{validCameras(c.Cameras), c.Shape.validate()}
	if c.Steps < 1 || c.Batch < 2 || c.Batch%2 != 0 || !(c.LR > 0) {
		errs = append(errs, fmt.Errorf("encoder: %d steps of batch %d at rate %g, want steps > 0, an even batch, rate > 0", c.Steps, c.Batch, c.LR))
	}
	if !(min(c.Redraw, c.Tool, c.Dynamics, c.Clone, c.Focus) >= 0) || !(c.Redraw+c.Tool+c.Dynamics+c.Clone > 0) {
		errs = append(errs, errors.New("encoder: loss weights and focus must be >= 0, and one loss above 0"))
	}
	if c.Lag < 1 || c.Shift < 0 || c.Shift > c.Shape.Side/4 {
		errs = append(errs, fmt.Errorf("encoder: lag of %d ticks and shift of %d pixels, want >= 1 and 0..a quarter of the side", c.Lag, c.Shift))
	}
	return errors.Join(errs...)
}

// Report tells how training went.
type Report struct {
	Ticks int     // ticks of data
	First float64 // loss of the first step
	Last  float64 // mean loss of the last tenth of the steps
	// Explained is the share, 0..1, of the weighted variance around the mean
	// image that keypoints and joint angles redraw, over the last tenth.
	Explained float64
}

// drawing is the side of the redrawn image: three input pixels of 96 to one,
// fine enough to place an object of ten.
const drawing = 32

// trainer holds the graph of a training step.
type trainer struct {
	cfg    Config
	data   *set
	nets   []*net
	params []*nn.Param
	rng    *rand.Rand
	rows   []int // ticks of the batch: i and i+half are Lag apart

	g                         *nn.Graph
	x, offset, target, weight []*nn.Node // per camera
	body, tool, motion, act   *nn.Node
	acted                     *nn.Node // (B,1) 1 where a command follows
	redraw                    *nn.Node
	loss                      *nn.Node
	base                      float64 // weighted variance of the batch's targets
}

// Train learns an encoder from data. progress, which may be nil, hears of every
// step. Equal data and configuration give equal bits.
func Train(ctx context.Context, data Data, cfg Config, progress func(step, total int, loss float64)) (*Conv, Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, Report{}, err
	}
	s, err := prepare(data, cfg.Cameras, cfg.Shape, drawing)
	if err != nil {
		return nil, Report{}, err
	}
	t := newTrainer(cfg, s)
	adam := nn.NewAdam(t.params, nn.AdamConfig{LR: cfg.LR, ClipNorm: 10})
	rep := Report{Ticks: s.ticks}
	tail := max(1, cfg.Steps/10)
	for i := range cfg.Steps {
		if err := ctx.Err(); err != nil {
			return nil, rep, err
		}
		adam.LR = cfg.LR * (0.55 + 0.45*math.Cos(math.Pi*float64(i)/float64(cfg.Steps)))
		t.draw()
		t.g.Forward()
		nn.ZeroGrad(t.params)
		t.g.Backward(t.loss)
		adam.Step()
		loss := float64(t.loss.Value[0])
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return nil, rep, fmt.Errorf("encoder: the loss is %g at step %d: lower the rate %g", loss, i, cfg.LR)
		}
		if i == 0 {
			rep.First = loss
		}
		if i >= cfg.Steps-tail {
			rep.Last += loss / float64(tail)
			if t.redraw != nil && t.base > 0 {
				rep.Explained += (1 - float64(t.redraw.Value[0])/t.base) / float64(tail)
			}
		}
		if progress != nil {
			progress(i+1, cfg.Steps, loss)
		}
	}
	c := &Conv{cameras: cfg.Cameras, shape: cfg.Shape, nets: t.nets}
	if cfg.Shape.Colours > 0 {
		rng := rand.New(rand.NewPCG(cfg.Seed, 0x636f6c6f7572)) // "colour"
		for j := range cfg.Cameras {
			p, err := learnPalette(s, j, cfg.Shape.Colours, cfg.Shape.Side, rng)
			if err != nil {
				return nil, rep, err
			}
			c.palettes = append(c.palettes, p)
		}
	}
	c.calibrate(s)
	return c, rep, nil
}

func newTrainer(cfg Config, s *set) *trainer {
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x656e636f646572)) // "encoder"
	t := &trainer{cfg: cfg, data: s, rng: rng, rows: make([]int, cfg.Batch), g: nn.NewGraph()}
	g, B, K, R := t.g, cfg.Batch, cfg.Shape.Keypoints, drawing
	t.body = g.Input(B, body)
	var losses, keys []*nn.Node
	add := func(w float64, n *nn.Node) { losses = append(losses, g.Scale(n, float32(w))) }
	var redraws []*nn.Node
	for j, cam := range cfg.Cameras {
		n := newNet(cam.Name, cfg.Shape, rng)
		t.nets = append(t.nets, n)
		t.params = append(t.params, n.params()...)
		x := g.Input(B, cfg.Shape.Side, cfg.Shape.Side, 3)
		offset := g.Input(B, 2*K)
		_, k := n.keys(g, x, g.Param)
		k = g.Sub(k, offset)
		t.x, t.offset = append(t.x, x), append(t.offset, offset)
		keys = append(keys, k)
		if cfg.Redraw == 0 {
			continue
		}
		// The image is the mean, plus the arm drawn from its own senses, plus a
		// learned 5 by 5 stamp at every keypoint.
		arm := nn.NewMLP(cam.Name+".arm", nn.MLPConfig{In: body, Hidden: []int{64}, Out: 3 * R * R, OutScale: 0.1}, rng)
		stamp := nn.InitNormal(nn.NewParam(cam.Name+".stamp", 3, K, 5, 5), 0.03, rng)
		t.params = append(append(t.params, arm.Params()...), stamp)
		blob := blobs(g, k, cfg.Shape.Side/stride, R, 1)
		image := g.Add(g.Conv2D(blob, g.Param(stamp), nil, 1, 2), g.Reshape(arm.Forward(g, t.body), B, R, R, 3))
		image = g.Add(image, g.Const(s.mean[j], R, R, 3))
		target, weight := g.Input(B, R, R, 3), g.Input(B, R, R, 3)
		t.target, t.weight = append(t.target, target), append(t.weight, weight)
		redraws = append(redraws, g.Mean(g.Mul(weight, g.Square(g.Sub(image, target)))))
	}
	z := g.Concat(keys...)
	if cfg.Redraw > 0 {
		sum := redraws[0]
		for _, r := range redraws[1:] {
			sum = g.Add(sum, r)
		}
		t.redraw = g.Scale(sum, 1/float32(len(redraws)))
		add(cfg.Redraw, t.redraw)
	}
	linear := func(name string, in *nn.Node, hidden []int, out int) *nn.Node {
		m := nn.NewMLP(name, nn.MLPConfig{In: in.Shape[1], Hidden: hidden, Out: out}, rng)
		t.params = append(t.params, m.Params()...)
		return m.Forward(g, in)
	}
	if cfg.Tool > 0 {
		t.tool = g.Input(B, 4)
		add(cfg.Tool, g.MSE(linear("tool", z, nil, 4), t.tool))
	}
	if cfg.Dynamics > 0 {
		t.motion = g.Input(B/2, 4)
		now, next := make([]int, B/2), make([]int, B/2)
		for i := range now {
			now[i], next[i] = i, i+B/2
		}
		pair := g.Concat(g.Select(z, now), g.Select(z, next))
		add(cfg.Dynamics, g.MSE(linear("motion", pair, []int{64}, 4), t.motion))
	}
	if cfg.Clone > 0 {
		t.act, t.acted = g.Input(B, 7), g.Input(B, 1)
		told := linear("clone", g.Concat(z, t.body), []int{64}, 7)
		add(cfg.Clone, g.Mean(g.Mul(g.Square(g.Sub(told, t.act)), t.acted)))
	}
	t.loss = losses[0]
	for _, l := range losses[1:] {
		t.loss = g.Add(t.loss, l)
	}
	return t
}

// draw fills the inputs with a new batch.
func (t *trainer) draw() {
	B, s, R, S := t.cfg.Batch, t.data, drawing, t.cfg.Shape.Side
	for i := range B / 2 {
		a := t.rng.IntN(s.ticks)
		b := min(a+t.cfg.Lag, s.ticks-1)
		for s.clip[b] != s.clip[a] {
			b--
		}
		t.rows[i], t.rows[i+B/2] = a, b
	}
	n := 3 * R * R
	t.base = 0
	for j := range t.x {
		for i, row := range t.rows {
			dx, dy := nn.DrawShift(t.cfg.Shift, t.rng)
			s.fill(t.x[j].Value[i*3*S*S:(i+1)*3*S*S], row, j, S, dx, dy)
			unit := 2 / float32(S-stride) // one input pixel in keypoint coordinates
			o := t.offset[j].Value[i*t.offset[j].Shape[1] : (i+1)*t.offset[j].Shape[1]]
			for k := 0; k < len(o); k += 2 {
				o[k], o[k+1] = float32(dx)*unit, float32(dy)*unit
			}
			if t.redraw == nil {
				continue
			}
			want := s.small[j][row*n : (row+1)*n]
			copy(t.target[j].Value[i*n:], want)
			w := t.weight[j].Value[i*n : (i+1)*n]
			t.base += focus(w, want, s.mean[j], s.spread[j], t.cfg.Focus) / float64(len(t.x)*B)
		}
	}
	for i, row := range t.rows {
		copy(t.body.Value[i*body:], s.body[row])
		if t.tool != nil {
			copy(t.tool.Value[i*4:], s.tool[row])
		}
		if t.act != nil {
			t.acted.Value[i] = 0
			clear(t.act.Value[i*7 : (i+1)*7])
			if s.act[row] != nil {
				t.acted.Value[i] = 1
				copy(t.act.Value[i*7:], s.act[row])
			}
		}
		if t.motion != nil && i < B/2 {
			for c := range 4 {
				t.motion.Value[i*4+c] = s.tool[t.rows[i+B/2]][c] - s.tool[row][c]
			}
		}
	}
}

// focus writes the weights of one small image, scaled so that the mean image
// would cost about 1, and returns what it costs.
func focus(w, x, mean []float32, spread float32, amount float64) float64 {
	spread = max(spread, 1e-4)
	unit := 1 / (spread * spread)
	var base float64
	for p, v := range x {
		d := v - mean[p]
		a := d
		if a < 0 {
			a = -a
		}
		w[p] = unit * (1 + float32(amount)*min(a/spread, 10)) / (1 + float32(amount)*4)
		base += float64(w[p] * d * d)
	}
	return base / float64(len(x))
}

// calibrate sets mean and gain from the places in the training data.
func (c *Conv) calibrate(s *set) {
	dim := c.Dim()
	xs := make([][]float32, s.ticks)
	r := c.run()
	defer c.runs.Put(r)
	for i := range xs {
		for j := range c.nets {
			xs[i] = c.look(xs[i], r, j, s.pix[j][i])
		}
	}
	c.mean, c.gain = make([]float32, dim), make([]float32, dim)
	for d := range dim {
		mean, std := moments(xs, d)
		c.mean[d], c.gain[d] = float32(mean), float32(1/max(std, floor))
	}
}

// floor is the smallest spread that is brought to 1: a twentieth of the image,
// so that a keypoint at rest does not turn its noise into an embedding.
const floor = 0.1
