// Package pal models people who want different things by one model: each person's
// ideal point is a mixture of a few prototypes, and a clip is worth the more the
// nearer it lies to it. It is PAL (Chen, Chen, Rege, Vinayak, PAL: Pluralistic
// alignment framework for learning from heterogeneous preferences, ICLR 2025,
// arXiv:2406.08469), on ideal points of Coombs 1950. In its model A the prototypes are
// points, in its model B (Config.Context) they follow what a clip begins with.
//
//	m, report, err := pal.Fit(ctx, pairs, pal.Config{Prototypes: 3, Seed: 1}) // by Pair.Annotator
//	user, err := m.User("ann")      // somebody who was fitted to
//	user, err = m.Meet(answered)    // somebody new, from a few answers
//	err = user.Save(file)           // which Load reads
//
// A User is a preference.Model and a reward.Scorer.
package pal

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/reward/preference"
)

// Likeness is how a frame's place z is compared with an ideal point a.
type Likeness uint8

// The likenesses.
const (
	Cosine   Likeness = iota // s cos(z, a), s learned up to 100, as the authors' code
	Distance                 // −‖z − a‖², the ideal point model itself
)

// Config are the parameters of Fit. The zero value stands for the defaults named,
// the authors' unless said otherwise.
type Config struct {
	Prototypes int // K; 0: 2
	Likeness   Likeness
	// Context takes model B: a prototype is a network of a clip's first frame, for
	// people whose taste depends on how a scene begins.
	Context  bool
	Dim      int     // of the space of ideal points; 0: 16 (authors: 512)
	Hidden   int     // width of the two-layer network; 0: 32
	Linear   bool    // has no hidden layer, for few answers
	Rate     float64 // Adam's, of the network; 0: 1e-3 (authors: 1e-4)
	UserRate float64 // of prototypes and people's weights; 0: 5e-2 (authors: 5e-3)
	Decay    float64 // of weights, decoupled; 0: 0.01, negative: none
	Batch    int     // pairs a step; 0: 64
	Epochs   int     // at most; 0: 60 (authors: 10)
	Patience int     // epochs without a better held-out loss; 0: 15
	Held     float64 // share of pairs that choose epoch and restart; 0: HeldShare
	// Restarts are fits from other networks and prototypes, of which the best on the
	// held-out pairs is kept: prototypes may fall together. 0: 3.
	Restarts int
	// Sparse weighs, beside the sum of a person's losses, the entropy of their shares
	// of the prototypes (ours): people who come in groups are told apart by fewer
	// answers. It grows to its full weight over the first 20 epochs. 0: 4,
	// negative: none, as the authors.
	Sparse   float64
	Ties     preference.Ties
	Strength float64 // of ties; 0: their default
	Seed     uint64
}

// HeldShare is the share of pairs that is held out by default.
const HeldShare = 0.15

func (c Config) withDefaults() Config {
	c.Rate = cmp.Or(c.Rate, 1e-3)
	c.UserRate = cmp.Or(c.UserRate, 5e-2)
	c.Decay = cmp.Or(c.Decay, 0.01)
	c.Held = cmp.Or(c.Held, HeldShare)
	c.Sparse = cmp.Or(c.Sparse, 4)
	c.Strength = cmp.Or(c.Strength, c.Ties.DefaultStrength())
	c.Prototypes = cmp.Or(c.Prototypes, 2)
	c.Dim = cmp.Or(c.Dim, 16)
	c.Hidden = cmp.Or(c.Hidden, 32)
	c.Batch = cmp.Or(c.Batch, 64)
	c.Epochs = cmp.Or(c.Epochs, 60)
	c.Patience = cmp.Or(c.Patience, 15)
	c.Restarts = cmp.Or(c.Restarts, 3)
	return c
}

func (c Config) validate() error {
	switch {
	case !(c.Rate > 0) || !(c.UserRate > 0) || math.IsInf(c.Rate+c.UserRate, 1):
		return fmt.Errorf("pal: rates %v and %v, want positive", c.Rate, c.UserRate)
	case c.Prototypes < 1 || c.Dim < 1 || c.Hidden < 1 || c.Batch < 1 || c.Epochs < 1 || c.Patience < 1 || c.Restarts < 1:
		return fmt.Errorf("pal: %d prototypes, dim %d, hidden %d, batch %d, epochs %d, patience %d, restarts %d, want positive", c.Prototypes, c.Dim, c.Hidden, c.Batch, c.Epochs, c.Patience, c.Restarts)
	case !(c.Held > 0 && c.Held < 1):
		return fmt.Errorf("pal: held-out share %v, want between 0 and 1", c.Held)
	case c.Likeness > Distance:
		return fmt.Errorf("pal: no such likeness: Likeness(%d)", uint8(c.Likeness))
	}
	if err := c.Ties.Valid(c.Strength); err != nil {
		return fmt.Errorf("pal: %w", err)
	}
	return nil
}

// Report tells how a fit went.
type Report struct {
	Train, Held int
	Restart     int                // the kept one, from 0
	Epoch       int                // the kept one, from 1; 0 is the first network
	Losses      []float64          // (Restarts,) lowest held-out loss of each
	After       preference.Measure // on the held-out pairs, which chose: it flatters
}

// Model is fitted to many people. It is safe for several goroutines.
type Model struct {
	cfg    Config
	scale  preference.Scale
	people []string // those fitted to, sorted
	net    *nn.MLP
	temp   *nn.Param // (1,) log s of Cosine
	points *nn.Param // P (K, Dim), the prototypes of model A
	maps   *nn.MLP   // g (K networks of a frame), the prototypes of model B; nil
	weight *nn.Param // W (len(people), K)
	bench  *bench
	usual  []embedding // of frames fitted to, by which rewards are normalised
}

func newModel(cfg Config, people []string, scale preference.Scale, rng *rand.Rand) *Model {
	m := &Model{cfg: cfg, scale: scale, people: people}
	c := nn.MLPConfig{In: len(scale.Mean), Hidden: []int{cfg.Hidden}, Out: cfg.Dim, Act: nn.GELU}
	if cfg.Linear {
		c.Hidden = nil
	}
	m.net = nn.NewMLP("f", c, rng)
	m.temp = nn.NewParam("temperature", 1)
	m.temp.Data[0] = float32(math.Log(firstTemperature))
	if cfg.Context {
		c.Members = cfg.Prototypes
		m.maps = nn.NewMLP("g", c, rng)
	} else {
		m.points = nn.InitNormal(nn.NewParam("prototypes", cfg.Prototypes, cfg.Dim), 1, rng)
	}
	// Equal weights would leave every prototype with the same gradient.
	m.weight = nn.InitNormal(nn.NewParam("weights", len(people), cfg.Prototypes), 0.5, rng)
	return m
}

// The authors' temperature begins at 1/0.07 and stays below 100; on utilities that
// decide pairs at odds of 10 that is far too sure, so that it begins at 5 here.
const firstTemperature, lastTemperature = 5, 100

// places adds what Model compares frames by: their mean place (rows, Dim), and what
// of a clip's worth depends on nobody (rows, 1) or nil.
func (m *Model) places(g *nn.Graph, rows *preference.Rows, get func(*nn.Param) *nn.Node) (place, base *nn.Node) {
	z := m.net.Apply(g, rows.X, get)
	square := g.Reshape(g.SumLast(g.Square(z)), z.Shape[0], 1)
	if m.cfg.Likeness == Distance {
		return rows.Pool(g, z), rows.Pool(g, g.Neg(square))
	}
	return rows.Pool(g, g.Div(z, g.Sqrt(g.AddScalar(square, 1e-6)))), nil
}

// ideals adds the ideal points (2B, Dim) of those who judge the clips of rows, by
// their shares of the prototypes (2B, K).
func (m *Model) ideals(g *nn.Graph, rows *preference.Rows, shares *nn.Node) *nn.Node {
	if m.maps == nil {
		return g.MatMul(shares, g.Param(m.points), false, false)
	}
	n, K, D := 2*rows.B, m.cfg.Prototypes, m.cfg.Dim
	first := make([]int, n)
	for i := range first {
		first[i] = i * rows.T
	}
	points := g.Permute(m.maps.Forward(g, g.Select(rows.X, first)), 1, 0, 2) // (2B, K, Dim)
	return g.Reshape(g.MatMul(g.Reshape(shares, n, 1, K), points, false, false), n, D)
}

// worth adds what clips are worth (2B, 1) to whoever has the ideal points (2B, Dim):
// s z·a/‖a‖, or −‖z‖² + 2 z·a − ‖a‖².
func (m *Model) worth(g *nn.Graph, rows *preference.Rows, ideal *nn.Node) *nn.Node {
	place, base := m.places(g, rows, g.Param)
	n := ideal.Shape[0]
	along := g.Reshape(g.SumLast(g.Mul(ideal, place)), n, 1)
	square := g.Reshape(g.SumLast(g.Square(ideal)), n, 1)
	if m.cfg.Likeness == Distance {
		return g.Add(base, g.Sub(g.Scale(along, 2), square))
	}
	s := g.Exp(g.Clamp(g.Param(m.temp), -10, float32(math.Log(lastTemperature))))
	return g.Mul(g.Div(along, g.Sqrt(g.AddScalar(square, 1e-6))), s)
}

// trainer fits a Model:
//
//	L = −mean log P(answer | u(A) − u(B)),   u(c) = mean_t likeness(f(o_t), a),   a = Σ_k softmax(w_user)_k P_k
//
// with P_k a point (model A) or g_k(o_1) (model B).
type trainer struct {
	m      *Model
	pairs  []preference.Pair
	user   []int // of each pair
	g      *nn.Graph
	rows   *preference.Rows
	who    []int // (2B,) who judges either clip
	said   []preference.Verdict
	many   []int    // pairs that each person answered
	sparse *nn.Node // (2B, 1) weight of the entropy
	share  float64  // of Sparse that counts now
	loss   *nn.Node // of the answers
	whole  *nn.Node // with the entropy
	params []*nn.Param
	adams  [2]*nn.Adam
}

// ripe is the epoch from which on entropy has its full weight, and fits are kept.
const ripe = 20

// tiny keeps the logarithm of a share finite.
const tiny = 1e-6

func newTrainer(m *Model, pairs []preference.Pair, user []int) *trainer {
	t := &trainer{m: m, pairs: pairs, user: user, g: nn.NewGraph()}
	g, B := t.g, min(m.cfg.Batch, len(pairs))
	t.rows = preference.NewRows(g, B, preference.Longest(pairs), m.scale)
	t.who, t.said = make([]int, 2*B), make([]preference.Verdict, B)
	shares := g.Softmax(g.Select(g.Param(m.weight), t.who))
	a, b := t.rows.Sides(g, m.worth(g, t.rows, m.ideals(g, t.rows, shares)))
	t.loss = m.cfg.Ties.Node(g, g.Sub(a, b), t.said, m.cfg.Strength)
	t.sparse = g.Input(2*B, 1)
	entropy := g.Neg(g.Mul(shares, g.Log(g.AddScalar(shares, tiny))))
	t.whole = g.Add(t.loss, g.Sum(g.Mul(entropy, t.sparse)))
	t.many = make([]int, len(m.people))
	for _, u := range user {
		t.many[u]++
	}
	net, mix := m.net.Params(), []*nn.Param{m.weight}
	if m.maps != nil {
		net = append(net, m.maps.Params()...)
	} else {
		mix = append(mix, m.points)
	}
	if m.cfg.Likeness == Cosine {
		net = append(net, m.temp)
	}
	t.params = append(slices.Clone(net), mix...)
	t.adams[0] = nn.NewAdam(net, nn.AdamConfig{LR: m.cfg.Rate, WeightDecay: max(m.cfg.Decay, 0)})
	t.adams[1] = nn.NewAdam(mix, nn.AdamConfig{LR: m.cfg.UserRate, WeightDecay: max(m.cfg.Decay, 0)})
	return t
}

func (t *trainer) load(ids []int) {
	for b := range t.said {
		other := len(t.said) + b
		t.said[b], t.sparse.Value[b] = preference.Unknown, 0
		if b < len(ids) {
			p := &t.pairs[ids[b]]
			t.rows.Load(b, p, 0)
			t.who[b], t.who[other], t.said[b] = t.user[ids[b]], t.user[ids[b]], p.Verdict
			t.sparse.Value[b] = float32(t.share * max(t.m.cfg.Sparse, 0) / float64(2*t.many[t.who[b]]*len(ids)))
		}
		t.sparse.Value[other] = t.sparse.Value[b]
	}
}

func (t *trainer) step(ids []int) {
	t.load(ids)
	t.g.ForwardTo(t.whole)
	nn.ZeroGrad(t.params)
	t.g.Backward(t.whole)
	t.adams[0].Step()
	t.adams[1].Step()
}

func (t *trainer) judge(ids []int) float64 {
	var sum, n float64
	for b := range slices.Chunk(ids, len(t.said)) {
		t.load(b)
		t.g.ForwardTo(t.loss)
		known := 0.0
		for _, v := range t.said {
			if v != preference.Unknown {
				known++
			}
		}
		sum, n = sum+known*float64(t.loss.Value[0]), n+known
	}
	return sum / max(n, 1)
}

// Fit fits a Model to answered pairs of several people, told apart by
// Pair.Annotator. The result is determined by the arguments. ctx is looked at
// between steps.
func Fit(ctx context.Context, pairs []preference.Pair, cfg Config) (*Model, Report, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, Report{}, err
	}
	if _, err := preference.Validate(pairs); err != nil {
		return nil, Report{}, err
	}
	var people []string
	for i, p := range pairs {
		if p.Annotator == "" {
			return nil, Report{}, fmt.Errorf("pal: pair %d: nobody is named who answered it", i)
		}
		people = append(people, p.Annotator)
	}
	slices.Sort(people)
	people = slices.Compact(people)
	user := make([]int, len(pairs))
	for i, p := range pairs {
		user[i], _ = slices.BinarySearch(people, p.Annotator)
	}
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x70616c)) // any stream of its own
	order := rng.Perm(len(pairs))
	n := int(math.Round(cfg.Held * float64(len(order))))
	if n < 1 || n >= len(order) {
		return nil, Report{}, fmt.Errorf("pal: %d pairs are too few to hold %.0f%% out, want %d at least: label more", len(order), 100*cfg.Held, preference.Fewest(cfg.Held))
	}
	held, train := order[:n], order[n:]
	rep := Report{Train: len(train), Held: n}
	var best *Model
	least := math.Inf(1)
	scale := preference.NewScale(pairs)
	for r := range cfg.Restarts {
		m := newModel(cfg, people, scale, rng)
		t := newTrainer(m, pairs, user)
		keep := make([][]float32, len(t.params))
		for i, p := range t.params {
			keep[i] = slices.Clone(p.Data)
		}
		low, at := t.judge(held), 0
		for epoch := 1; epoch <= cfg.Epochs && epoch-at <= cfg.Patience; epoch++ {
			t.share = min(1, float64(epoch)/ripe)
			rng.Shuffle(len(train), func(i, j int) { train[i], train[j] = train[j], train[i] })
			for b := range slices.Chunk(train, len(t.said)) {
				if err := ctx.Err(); err != nil {
					return nil, Report{}, err
				}
				t.step(b)
			}
			if l := t.judge(held); l < low || epoch == min(ripe, cfg.Epochs) && cfg.Sparse > 0 {
				low, at = l, epoch
				for i, p := range t.params {
					copy(keep[i], p.Data)
				}
			}
		}
		for i, p := range t.params {
			copy(p.Data, keep[i])
		}
		rep.Losses = append(rep.Losses, low)
		if low < least {
			least, best = low, m
			rep.Restart, rep.Epoch = r, at
		}
	}
	if best == nil {
		return nil, Report{}, fmt.Errorf("pal: the loss is not finite in any of %d fits: lower the rates", cfg.Restarts)
	}
	best.ready(pairs)
	var all []preference.Pair
	for _, id := range held {
		all = append(all, pairs[id])
	}
	var err error
	rep.After, err = best.Measure(all)
	return best, rep, err
}
