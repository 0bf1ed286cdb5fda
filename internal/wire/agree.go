package wire

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/reward/rank"
	"github.com/rapport-rl/rapport/reward/starc"
)

// starcMost is how many transitions STARC is estimated on; finding neighbours among
// them is quadratic. Of more, evenly spaced ones count.
const starcMost = 4000

// agree fills in how the rewards agree.
func (c *comparer) agree() error {
	o := c.out
	logs := map[string]*ledger{} // by the episodes that are in
	for a := range o.Rewards {
		for b := range a {
			p := Pair{A: b, B: a}
			var x, y, rx, ry []float64
			key := make([]byte, len(o.Episodes))
			for i, e := range o.Episodes {
				if len(e.Rewards) == 0 || e.Rewards[a] == nil || e.Rewards[b] == nil {
					continue
				}
				key[i] = 1
				p.Episodes++
				x, y = append(x, e.Rewards[b]...), append(y, e.Rewards[a]...)
				rx, ry = append(rx, total(e.Rewards[b])), append(ry, total(e.Rewards[a]))
			}
			p.Frames = len(x)
			p.PerFrame, p.PerReturn = rank.Spearman(x, y), rank.Spearman(rx, ry)
			p.STARC = math.NaN()
			if p.Frames > 1 {
				l := logs[string(key)]
				if l == nil {
					var err error
					if l, err = newLedger(o, key); err != nil {
						return err
					}
					logs[string(key)] = l
				}
				var err error
				if p.STARC, err = l.distance(b, a, x, y); err != nil {
					return err
				}
			}
			o.Pairs = append(o.Pairs, p)
		}
	}
	o.judge()
	return nil
}

func total(xs []float64) float64 {
	s := 0.0
	for _, x := range xs {
		s += x
	}
	return s
}

// ledger are the transitions of some episodes, and the rewards that are canonical on
// them already.
type ledger struct {
	log   *starc.Log
	each  int // every so many transitions are in
	canon map[int]starc.Canonical
}

func newLedger(o *Comparison, in []byte) (*ledger, error) {
	n, width := 0, 0
	for i, e := range o.Episodes {
		if in[i] == 0 {
			continue
		}
		n += e.Steps
		w := len(e.states) / (e.Steps + 1)
		if width != 0 && w != width {
			return nil, fmt.Errorf("wire: compare: embeddings of %d and of %d numbers", width-1, w-1)
		}
		width = w
	}
	l := &ledger{each: (n + starcMost - 1) / starcMost, canon: map[int]starc.Canonical{}}
	t := starc.Transitions{D: width}
	at := 0
	for i, e := range o.Episodes {
		if in[i] == 0 {
			continue
		}
		for s := range e.Steps {
			if at++; (at-1)%l.each != 0 {
				continue
			}
			t.N++
			t.State = append(t.State, e.states[s*width:(s+1)*width]...)
			t.Next = append(t.Next, e.states[(s+1)*width:(s+2)*width]...)
			t.Act = append(t.Act, e.acts[7*s:7*s+7]...)
			t.Terminal = append(t.Terminal, e.terminal && s == e.Steps-1)
		}
	}
	unit(t.State, t.Next, width)
	var err error
	l.log, err = starc.NewLog(t, starc.LogConfig{Discount: o.Discount})
	return l, err
}

// unit divides the columns of xs by their standard deviation, and those of ys alike, so
// that the clock counts as much as an embedding's number.
func unit(xs, ys []float64, width int) {
	n := float64(len(xs) / width)
	for j := range width {
		mean, square := 0.0, 0.0
		for i := j; i < len(xs); i += width {
			mean += xs[i] / n
		}
		for i := j; i < len(xs); i += width {
			square += (xs[i] - mean) * (xs[i] - mean) / n
		}
		if s := math.Sqrt(square); s > 1e-9 {
			for i := j; i < len(xs); i += width {
				xs[i], ys[i] = xs[i]/s, ys[i]/s
			}
		}
	}
}

// distance is STARC's of rewards a and b, whose numbers on the episodes are x and y.
func (l *ledger) distance(a, b int, x, y []float64) (float64, error) {
	var c [2]starc.Canonical
	for i, r := range []struct {
		of int
		xs []float64
	}{{a, x}, {b, y}} {
		have, ok := l.canon[r.of]
		if !ok {
			var some []float64
			for at := 0; at < len(r.xs); at += l.each {
				some = append(some, r.xs[at])
			}
			var err error
			if have, err = l.log.Canonical(some); err != nil {
				return 0, err
			}
			l.canon[r.of] = have
		}
		c[i] = have
	}
	return starc.Distance(c[0], c[1]), nil
}

// judge holds each reward against the truth.
func (o *Comparison) judge() {
	known := false
	for i := range o.Episodes {
		known = known || o.Episodes[i].Distance != nil
	}
	if !known {
		return
	}
	for k := range o.Rewards {
		var j Judged
		var returns, ends [2][]float64 // of negative ones, of all
		for _, e := range o.Episodes {
			if e.Distance == nil || len(e.Rewards) == 0 || e.Rewards[k] == nil {
				continue
			}
			var r, near []float64
			for t := 0; t < e.Steps; t += o.Every {
				r, near = append(r, e.Rewards[k][t]), append(near, -math.Round(e.Distance[t]/kept))
			}
			rho := rank.Spearman(r, near)
			for i, in := range []bool{e.Negative, true} {
				if in {
					returns[i], ends[i] = append(returns[i], total(e.Rewards[k])), append(ends[i], -e.Distance[e.Steps-1])
				}
			}
			if math.IsNaN(rho) {
				if math.IsNaN(rank.Spearman(near, near)) {
					continue // nothing moved: there is no order to agree with
				}
				rho = 0 // a reward that stays the same tells nothing
			}
			j.All += rho
			j.OfAll++
			if e.Negative {
				j.Negative += rho
				j.OfNegative++
			}
		}
		j.All /= float64(j.OfAll) // NaN for none
		j.Negative /= float64(j.OfNegative)
		j.ReturnNegative, j.Returns = rank.Spearman(returns[0], ends[0]), rank.Spearman(returns[1], ends[1])
		o.Truth = append(o.Truth, j)
	}
}
