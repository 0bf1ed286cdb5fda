package preference

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
)

// Epoch is a line of a Report.
type Epoch struct {
	Train float64 `json:"train"` // mean loss of the members while training, before each step
	Held  Measure `json:"held"`  // after the epoch, members apart
}

// Report tells how a fit went.
type Report struct {
	Train  int     `json:"train"` // pairs
	Held   int     `json:"held"`
	Before Measure `json:"before"` // the first networks, on the held-out pairs
	// After is the kept networks', on the held-out pairs. They chose the epoch, so
	// it flatters: judge on pairs never seen, with Evaluate.
	After  Measure `json:"after"`
	Best   []int   `json:"best"` // (members,) epoch that each is of, from 1; 0 is the first network
	Epochs []Epoch `json:"epochs"`
}

// trainer fits an ensemble whose members each have verdicts of their own:
//
//	L = Σ_e Σ_i w_ei ℓ(v_ei, (R_e(A_i) − R_e(B_i))/T̄) / Σ_i w_ei
//
// ℓ is Ties.Loss, and T̄ the mean length, which only sets the scale of rewards.
type trainer struct {
	net   *Net
	cfg   Config
	pairs []Pair
	said  [][]Verdict // (E, pairs)
	times [][]float64 // (E, pairs) weight in training

	g       *nn.Graph
	rows    *Rows
	d       *nn.Node // (E, B) difference of utilities
	loss    *nn.Node
	batch   []int       // pairs, the rows in use
	verdict [][]Verdict // (E, B)
	weight  [][]float64 // (E, B)
	lost    []float64   // (E,) weighted loss of the last pass
	mass    []float64   // (E,) its weights
	params  []*nn.Param
	adam    *nn.Adam
	best    [][]float32 // copies of params
	tallies []tally     // (E,)
}

// newTrainer makes the graph. said (E, pairs) are the verdicts of each member.
func newTrainer(net *Net, pairs []Pair, said [][]Verdict, times [][]float64) *trainer {
	t := &trainer{net: net, cfg: net.cfg, pairs: pairs, said: said, times: times}
	E, B := len(said), min(t.cfg.Batch, len(pairs))
	T := Longest(pairs)
	t.g = nn.NewGraph()
	g := t.g
	t.rows = NewRows(g, B, T, net.scale)
	r := g.Reshape(net.mlp.Forward(g, t.rows.X), E, 2*B, T)
	ret := g.SumLast(g.Mul(r, t.rows.Share)) // (E, 2B)
	t.d = g.Sub(g.Slice(ret, 0, B), g.Slice(ret, B, 2*B))
	for range E {
		t.verdict = append(t.verdict, make([]Verdict, B))
		t.weight = append(t.weight, make([]float64, B))
	}
	t.lost, t.mass, t.tallies = make([]float64, E), make([]float64, E), make([]tally, E)
	t.params = net.mlp.Params()
	ins := []*nn.Node{t.d}
	if t.cfg.LearnStrength && t.cfg.Ties != BradleyTerry {
		t.params = append(slices.Clone(t.params), net.raw)
		ins = append(ins, g.Param(net.raw))
	}
	t.loss = g.Custom(ins, nil, func(out *nn.Node) {
		var sum float64
		for e := range E {
			k, _ := net.strength(e)
			t.lost[e], t.mass[e] = 0, 0
			for b := range t.batch {
				l, _, _ := t.cfg.Ties.Loss(t.verdict[e][b], float64(t.d.Value[e*B+b]), k)
				t.lost[e] += t.weight[e][b] * l
				t.mass[e] += t.weight[e][b]
			}
			if t.mass[e] > 0 {
				sum += t.lost[e] / t.mass[e]
			}
		}
		out.Value[0] = float32(sum)
	}, func(out *nn.Node) {
		for e := range E {
			if t.mass[e] == 0 {
				continue
			}
			k, slope := net.strength(e)
			for b := range t.batch {
				_, byD, byK := t.cfg.Ties.Loss(t.verdict[e][b], float64(t.d.Value[e*B+b]), k)
				c := float64(out.Grad[0]) * t.weight[e][b] / t.mass[e]
				t.d.Grad[e*B+b] += float32(c * byD)
				if len(ins) > 1 {
					ins[1].Grad[e] += float32(c * byK * slope)
				}
			}
		}
	})
	t.adam = nn.NewAdam(t.params, nn.AdamConfig{LR: t.cfg.Rate, WeightDecay: max(t.cfg.L2, 0)})
	for _, p := range t.params {
		t.best = append(t.best, slices.Clone(p.Data))
	}
	return t
}

// load writes pairs ids into the graph; weigh says that times count.
func (t *trainer) load(ids []int, weigh bool) {
	t.batch = append(t.batch[:0], ids...)
	share := 1 / t.net.length
	if t.cfg.Return == Mean {
		share = 0 // Rows: one over the number of frames
	}
	for b, id := range ids {
		t.rows.Load(b, &t.pairs[id], share)
		for e := range t.said {
			t.verdict[e][b] = t.said[e][id]
			t.weight[e][b] = 0
			if t.said[e][id] != Unknown {
				t.weight[e][b] = 1
				if weigh {
					t.weight[e][b] = t.times[e][id]
				}
			}
		}
	}
}

// step learns from pairs ids and adds up the members' losses and weights.
func (t *trainer) step(ids []int, lost, mass []float64) {
	t.load(ids, true)
	t.g.ForwardTo(t.loss)
	nn.ZeroGrad(t.params)
	t.g.Backward(t.loss)
	t.adam.Step()
	for e := range lost {
		lost[e] += t.lost[e]
		mass[e] += t.mass[e]
	}
}

// judge measures every member on pairs ids, and all their answers together. losses
// (E,) receives their means.
func (t *trainer) judge(ids []int, losses []float64) Measure {
	clear(t.tallies)
	B := t.rows.B
	var all tally
	for b := range slices.Chunk(ids, B) {
		t.load(b, false)
		t.g.ForwardTo(t.d)
		for e := range t.said {
			k, _ := t.net.strength(e)
			for i := range b {
				v := t.verdict[e][i]
				if v == Unknown {
					continue
				}
				d := float64(t.d.Value[e*B+i])
				l, _, _ := t.cfg.Ties.Loss(v, d, k)
				o := t.cfg.Ties.Odds(d, k)
				t.tallies[e].add(v, d, l, o)
				all.add(v, d, l, o)
			}
		}
	}
	for e := range t.tallies {
		losses[e] = t.tallies[e].measure().Loss
	}
	return all.measure()
}

// keep copies member e's parameters to the best, or back from them.
func (t *trainer) keep(e int, back bool) {
	for i, p := range t.params {
		n := len(p.Data) / len(t.said)
		now, best := p.Data[e*n:(e+1)*n], t.best[i][e*n:(e+1)*n]
		if back {
			now, best = best, now
		}
		copy(best, now)
	}
}

// fit trains until no member gets better, and leaves the best of each.
func (t *trainer) fit(ctx context.Context, rng *rand.Rand) (Report, error) {
	E := len(t.said)
	order := rng.Perm(len(t.pairs))
	var held []int
	if t.cfg.Held > 0 {
		n := int(math.Round(t.cfg.Held * float64(len(order))))
		if n < 1 || n >= len(order) {
			return Report{}, fmt.Errorf("preference: %d pairs are too few to hold %.0f%% out, want %d at least: label more", len(order), 100*t.cfg.Held, Fewest(t.cfg.Held))
		}
		held, order = order[:n], order[n:]
	}
	if t.cfg.Bootstrap {
		for e := range E {
			clear(t.times[e])
			for range order {
				t.times[e][order[rng.IntN(len(order))]]++
			}
		}
	}
	rep := Report{Train: len(order), Held: len(held), Best: make([]int, E)}
	losses, least := make([]float64, E), make([]float64, E)
	rep.Before = t.judge(held, least)
	lost, mass := make([]float64, E), make([]float64, E)
	stale := 0
	for epoch := 1; epoch <= t.cfg.Epochs && stale < t.cfg.Patience; epoch++ {
		clear(lost)
		clear(mass)
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for b := range slices.Chunk(order, t.rows.B) {
			if err := ctx.Err(); err != nil {
				return Report{}, err
			}
			t.step(b, lost, mass)
		}
		line := Epoch{Held: t.judge(held, losses)}
		for e := range E {
			if mass[e] > 0 {
				line.Train += lost[e] / mass[e] / float64(E)
			}
			if x := lost[e]; x-x != 0 {
				return Report{}, fmt.Errorf("preference: the loss of member %d is %v after epoch %d: lower the rate", e, x, epoch)
			}
		}
		stale++
		for e := range E {
			if len(held) == 0 || losses[e] < least[e] {
				least[e], rep.Best[e], stale = losses[e], epoch, 0
				t.keep(e, false)
			}
		}
		rep.Epochs = append(rep.Epochs, line)
	}
	for e := range E {
		t.keep(e, true)
	}
	rep.After = t.judge(held, losses)
	return rep, nil
}

// Fewest are the pairs of which a share between 0 and 1 can be held out: one at least, and not all.
func Fewest(held float64) int {
	for n := max(2, int(math.Ceil(0.5/held))); ; n++ {
		if h := int(math.Round(held * float64(n))); h >= 1 && h < n {
			return n
		}
	}
}
