// Package vpl infers from a handful of answers who somebody is, as a Gaussian over a
// latent z, and rewards frames for that person. It is VPL (Poddar, Wan, Ivison,
// Gupta, Jaques, Personalizing reinforcement learning from human feedback with
// variational preference learning, NeurIPS 2024, arXiv:2408.10075).
//
//	m, report, err := vpl.Fit(ctx, pairs, vpl.Config{Seed: 1}) // by Pair.Annotator
//	user := m.Stranger()
//	i, bits, err := user.Ask(candidates)  // the question that tells most
//	user, err = user.Told(answered)
//
// A User is a preference.Model and a reward.Scorer.
package vpl

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

// Config are the parameters of Fit. The zero value stands for the defaults named.
type Config struct {
	Latent int // numbers in z; 0: 2
	Hidden int // width of either network's two hidden layers; 0: 32 (authors: 256)
	// Beta weighs the divergence from the prior; it grows from 0 over the first third
	// of the steps, so that z is not ignored. 0: 0.02; at 0.1 noisy answers let it be.
	Beta    float64
	Rate    float64 // Adam's; 0: 3e-3
	Decay   float64 // of weights, decoupled; 0: 0.3, negative: none
	People  int     // a step; 0: 16
	Context int     // answers of a person that z is inferred from, at most; 0: 8
	Targets int     // answers that are then foretold; 0: 8
	Steps   int     // 0: 1500
	// Held is the share of each person's answers that choose the step whose networks are
	// kept: a few people are learned by heart long before the last. 0: 0.15, negative:
	// none, and the last step's are.
	Held    float64
	Samples int // of z that a User averages over; 0: 32
	Ties    preference.Ties
	// Strength is that of ties; 0: their default.
	Strength float64
	Seed     uint64
}

func (c Config) withDefaults() Config {
	c.Beta = cmp.Or(c.Beta, 0.02)
	c.Rate = cmp.Or(c.Rate, 3e-3)
	c.Decay = cmp.Or(c.Decay, 0.3)
	c.Held = cmp.Or(c.Held, 0.15)
	c.Strength = cmp.Or(c.Strength, c.Ties.DefaultStrength())
	c.Latent = cmp.Or(c.Latent, 2)
	c.Hidden = cmp.Or(c.Hidden, 32)
	c.People = cmp.Or(c.People, 16)
	c.Context = cmp.Or(c.Context, 8)
	c.Targets = cmp.Or(c.Targets, 8)
	c.Steps = cmp.Or(c.Steps, 1500)
	c.Samples = cmp.Or(c.Samples, 32)
	return c
}

func (c Config) validate() error {
	switch {
	case !(c.Rate > 0) || !(c.Beta > 0) || math.IsInf(c.Rate+c.Beta, 1):
		return fmt.Errorf("vpl: rate %v, beta %v, want positive", c.Rate, c.Beta)
	case !(c.Held < 1):
		return fmt.Errorf("vpl: held-out share %v, want below 1", c.Held)
	case c.Latent < 1 || c.Hidden < 1 || c.People < 1 || c.Context < 1 || c.Targets < 1 || c.Steps < 1 || c.Samples < 1:
		return fmt.Errorf("vpl: latent %d, hidden %d, people %d, context %d, targets %d, steps %d, samples %d, want positive", c.Latent, c.Hidden, c.People, c.Context, c.Targets, c.Steps, c.Samples)
	}
	if err := c.Ties.Valid(c.Strength); err != nil {
		return fmt.Errorf("vpl: %w", err)
	}
	return nil
}

// Report tells how a fit went.
type Report struct {
	People int     // who were learned from
	Loss   float64 // of the answers foretold, mean of the last tenth of the steps
	KL     float64 // of z from the prior, in nats for a person, likewise
	Held   int     // answers held out
	Step   int     // the kept one, from 1
	After  float64 // loss on the held-out answers there, given the others; they chose it, so it flatters
}

// Model is fitted to many people. It is safe for several goroutines.
type Model struct {
	cfg    Config
	scale  preference.Scale
	people map[string][]preference.Pair
	enc    *nn.MLP // (2D + 1) of an answer to (2 Latent) of its evidence
	rew    *nn.MLP // (D + Latent) to a reward
	bench  *bench
	noise  []float64   // (Samples, Latent) fixed normal draws
	usual  [][]float32 // frames fitted to
}

func newModel(cfg Config, scale preference.Scale, rng *rand.Rand) *Model {
	D, h := len(scale.Mean), cfg.Hidden
	m := &Model{cfg: cfg, scale: scale, people: map[string][]preference.Pair{}}
	m.enc = nn.NewMLP("encoder", nn.MLPConfig{In: 2*D + 1, Hidden: []int{h, h}, Out: 2 * cfg.Latent}, rng)
	m.rew = nn.NewMLP("reward", nn.MLPConfig{In: D + cfg.Latent, Hidden: []int{h, h}, Out: 1}, rng)
	for range cfg.Samples * cfg.Latent {
		m.noise = append(m.noise, rng.NormFloat64())
	}
	return m
}

// evidence adds what answers say of z, (n, 2D + 1): a precision and a precision times
// a mean, (n, Latent) each.
func (m *Model) evidence(g *nn.Graph, x *nn.Node, get func(*nn.Param) *nn.Node) (precision, weighted *nn.Node) {
	y := m.enc.Apply(g, x, get)
	L := m.cfg.Latent
	precision = g.Softplus(g.Slice(y, L, 2*L))
	return precision, g.Mul(precision, g.Slice(y, 0, L))
}

// summary writes an answer as the encoder reads it: the mean frame of either clip,
// and 1, −1 or 0 for which is better.
func (m *Model) summary(dst []float32, p *preference.Pair) {
	D := len(m.scale.Mean)
	row := make([]float32, D)
	clear(dst)
	for side, c := range [2]*preference.Clip{&p.A, &p.B} {
		T := c.Len()
		for t := range T {
			m.scale.Apply(row, c.Frame(t))
			for j, x := range row {
				dst[side*D+j] += x / float32(T)
			}
		}
	}
	switch p.Verdict {
	case preference.First:
		dst[2*D] = 1
	case preference.Second:
		dst[2*D] = -1
	}
}

// trainer fits a Model by its evidence lower bound:
//
//	L = −mean log P(answer | z) + β KL(q(z | answers) ‖ N(0, I)) / targets
//
// q is a product of Gaussians, one an answer, and the prior, so that it may have any
// number of answers in any order; the authors' encoder takes a fixed number, joined.
type trainer struct {
	m       *Model
	who     [][]preference.Pair
	read    [][][]float32 // summaries of who
	g       *nn.Graph
	x, mask *nn.Node // (P·C, 2D+1), (P, 1, C)
	eps     *nn.Node // (P, Latent)
	beta    *nn.Node // ()
	rows    *preference.Rows
	said    []preference.Verdict
	loss    *nn.Node
	kl      *nn.Node // mean of a person
	whole   *nn.Node
	params  []*nn.Param
	adam    *nn.Adam
	order   []int
	people  []int
}

func newTrainer(m *Model, who [][]preference.Pair, longest int) *trainer {
	t := &trainer{m: m, who: who, g: nn.NewGraph()}
	g, c, D := t.g, m.cfg, len(m.scale.Mean)
	P, C, N, L := c.People, c.Context, c.Targets, c.Latent
	t.x, t.mask, t.eps, t.beta = g.Input(P*C, 2*D+1), g.Input(P, 1, C), g.Input(P, L), g.Input()
	precision, weighted := m.evidence(g, t.x, g.Param)
	pool := func(x *nn.Node) *nn.Node {
		return g.Reshape(g.MatMul(t.mask, g.Reshape(x, P, C, L), false, false), P, L)
	}
	lambda := g.AddScalar(pool(precision), 1) // with the prior's
	mean := g.Div(pool(weighted), lambda)
	dev := g.Exp(g.Scale(g.Log(lambda), -0.5))
	z := g.Add(mean, g.Mul(t.eps, dev))
	// KL = ½ Σ (1/λ + μ² − 1 + log λ), with the half that the authors' code lacks.
	t.kl = g.Scale(g.Sum(g.AddScalar(g.Add(g.Add(g.Square(dev), g.Square(mean)), g.Log(lambda)), -1)), float32(0.5/float64(P)))
	t.rows = preference.NewRows(g, P*N, longest, m.scale)
	whose := make([]int, 2*P*N*longest)
	for i := range whose {
		whose[i] = i / longest % (P * N) / N
	}
	r := m.rew.Forward(g, g.Concat(t.rows.X, g.Select(z, whose)))
	a, b := t.rows.Sides(g, t.rows.Pool(g, r))
	t.said = make([]preference.Verdict, P*N)
	t.loss = c.Ties.Node(g, g.Sub(a, b), t.said, c.Strength)
	t.whole = g.Add(t.loss, g.Mul(g.Scale(t.kl, 1/float32(N)), t.beta))
	t.params = append(m.enc.Params(), m.rew.Params()...)
	t.adam = nn.NewAdam(t.params, nn.AdamConfig{LR: c.Rate, WeightDecay: max(c.Decay, 0)})
	longestList := 0
	for _, ps := range who {
		var read [][]float32
		for i := range ps {
			s := make([]float32, 2*D+1)
			m.summary(s, &ps[i])
			read = append(read, s)
		}
		t.read = append(t.read, read)
		longestList = max(longestList, len(ps))
	}
	t.order = make([]int, 0, longestList)
	for i := range who {
		t.people = append(t.people, i)
	}
	return t
}

// load draws people, how many of their answers are known, and which are foretold.
func (t *trainer) load(rng *rand.Rand) {
	P, C, N := t.m.cfg.People, t.m.cfg.Context, t.m.cfg.Targets
	W := t.x.Shape[1]
	clear(t.mask.Value)
	for i := range t.eps.Value {
		t.eps.Value[i] = float32(rng.NormFloat64())
	}
	for p := range P {
		u := rng.IntN(len(t.who))
		ps := t.who[u]
		t.order = t.order[:len(ps)]
		for i := range t.order {
			t.order[i] = i
		}
		for i := range t.order { // Fisher and Yates; rng.Shuffle's closure would allocate
			j := i + rng.IntN(len(t.order)-i)
			t.order[i], t.order[j] = t.order[j], t.order[i]
		}
		known := rng.IntN(min(C, len(ps)-1) + 1)
		for i := range known {
			copy(t.x.Value[(p*C+i)*W:(p*C+i+1)*W], t.read[u][t.order[i]])
			t.mask.Value[p*C+i] = 1
		}
		for i := range N {
			id := t.order[known+i%(len(ps)-known)]
			t.rows.Load(p*N+i, &ps[id], 0)
			t.said[p*N+i] = ps[id].Verdict
			if i >= len(ps)-known {
				t.said[p*N+i] = preference.Unknown // there already
			}
		}
	}
}

func (t *trainer) step(rng *rand.Rand, beta float64) {
	t.load(rng)
	t.beta.Value[0] = float32(beta)
	t.g.ForwardTo(t.whole)
	nn.ZeroGrad(t.params)
	t.g.Backward(t.whole)
	t.adam.Step()
}

// looks is how often the held-out answers are foretold.
const looks = 30

// judge is the mean loss of held-out answers of each person, given the mean of z after as
// many of their others as a step knows at most.
func (t *trainer) judge(held [][]preference.Pair) float64 {
	P, C, N := t.m.cfg.People, t.m.cfg.Context, t.m.cfg.Targets
	W := t.x.Shape[1]
	clear(t.eps.Value)
	sum, n := 0.0, 0.0
	for first := 0; first < len(held); first += P {
		for from := 0; ; from += N {
			clear(t.mask.Value)
			told := 0.0
			for p := range P {
				u := first + p
				for i := range N {
					t.said[p*N+i] = preference.Unknown
					if u < len(held) && from+i < len(held[u]) {
						t.rows.Load(p*N+i, &held[u][from+i], 0)
						t.said[p*N+i] = held[u][from+i].Verdict
						told++
					}
				}
				if u < len(held) {
					for i := range min(C, len(t.read[u])) {
						copy(t.x.Value[(p*C+i)*W:(p*C+i+1)*W], t.read[u][i])
						t.mask.Value[p*C+i] = 1
					}
				}
			}
			if told == 0 {
				break
			}
			t.g.ForwardTo(t.loss)
			sum, n = sum+told*float64(t.loss.Value[0]), n+told
		}
	}
	return sum / max(n, 1)
}

// Fit fits a Model to answered pairs of several people, told apart by
// Pair.Annotator. Of whoever answered a single one nothing is learned, since it takes
// one to know them by and one to foretell; as a User they are known by it. The result is
// determined by the arguments. ctx is looked at between steps.
func Fit(ctx context.Context, pairs []preference.Pair, cfg Config) (*Model, Report, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, Report{}, err
	}
	if _, err := preference.Validate(pairs); err != nil {
		return nil, Report{}, err
	}
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x76706c)) // any stream of its own
	m := newModel(cfg, preference.NewScale(pairs), rng)
	var names []string
	for i, p := range pairs {
		if p.Annotator == "" {
			return nil, Report{}, fmt.Errorf("vpl: pair %d: nobody is named who answered it", i)
		}
		if p.Verdict == preference.Unknown {
			continue
		}
		if m.people[p.Annotator] == nil {
			names = append(names, p.Annotator)
		}
		m.people[p.Annotator] = append(m.people[p.Annotator], p)
	}
	slices.Sort(names)
	var who, held [][]preference.Pair
	rep := Report{}
	for _, n := range names {
		if len(m.people[n]) < 2 {
			continue
		}
		// Two at least are left to learn from.
		ps, h := m.people[n], 0
		if cfg.Held > 0 {
			h = min(int(math.Round(cfg.Held*float64(len(ps)))), len(ps)-2)
		}
		order := rng.Perm(len(ps))
		var mine [2][]preference.Pair
		for i, j := range order {
			side := 0
			if i < h {
				side = 1
			}
			mine[side] = append(mine[side], ps[j])
		}
		who, held = append(who, mine[0]), append(held, mine[1])
		rep.Held += h
	}
	if rep.People = len(who); len(names) == 0 {
		return nil, Report{}, fmt.Errorf("vpl: none of %d pairs is answered", len(pairs))
	} else if len(who) == 0 {
		return nil, Report{}, fmt.Errorf("vpl: %d people answered one pair each, want two at least of somebody: one to know them by and one to foretell", len(names))
	}
	t := newTrainer(m, who, preference.Longest(pairs))
	late := 0.0
	rep.Step, rep.After = cfg.Steps, math.Inf(1)
	var keep [][]float32
	for _, p := range t.params {
		keep = append(keep, slices.Clone(p.Data))
	}
	every := max(1, cfg.Steps/looks)
	for s := range cfg.Steps {
		if err := ctx.Err(); err != nil {
			return nil, Report{}, err
		}
		t.step(rng, cfg.Beta*min(1, 3*float64(s)/float64(cfg.Steps)))
		if x := t.whole.Value[0]; x-x != 0 {
			return nil, Report{}, fmt.Errorf("vpl: the loss is %v after step %d: lower the rate", x, s)
		}
		if s >= cfg.Steps*9/10 {
			rep.Loss += float64(t.loss.Value[0])
			rep.KL += float64(t.kl.Value[0])
			late++
		}
		if rep.Held == 0 || (s+1)%every != 0 {
			continue
		}
		if l := t.judge(held); l < rep.After {
			rep.Step, rep.After = s+1, l
			for i, p := range t.params {
				copy(keep[i], p.Data)
			}
		}
	}
	if rep.Held == 0 {
		rep.After = math.NaN()
	} else {
		for i, p := range t.params {
			copy(p.Data, keep[i])
		}
	}
	rep.Loss /= late
	rep.KL /= late
	m.ready(pairs)
	return m, rep, nil
}
