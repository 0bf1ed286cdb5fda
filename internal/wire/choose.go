package wire

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/label/query"
	"github.com/rapport-rl/rapport/robot/record"
)

// apart is how far from each other two clips of average difference are thought to be before
// any answer, in units of people's noise (ours).
const apart = 3

// Informed chooses what to ask people by what they said and by the features that
// were recorded with the episodes.
type Informed struct {
	clips *Clips

	mu     sync.Mutex
	source rand.Source
	embeds map[string][][]float64 // (T+1,D) by episode; nil for none
}

// NewInformed chooses among questions about clips; source draws what is believed.
func NewInformed(c *Clips, source rand.Source) *Informed {
	return &Informed{clips: c, source: source, embeds: map[string][][]float64{}}
}

// Choose returns the candidate whose answer is expected to teach most about a
// linear utility of the features (query.Linear) of the mean and the end of clips.
// In a triplet they are the squared distances to the anchor's, negated. Candidates
// about episodes without features are passed over, and where there are no others,
// or what is asked is no pair or triplet, it is the first, which is a random one.
func (s *Informed) Choose(_ context.Context, candidates []label.Query, ls []label.Label) (i int, why string, gain float64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := candidates[0].Kind
	if kind != label.Pair && kind != label.Triplet {
		return 0, "random", 0, nil
	}
	scale := s.scales(candidates, ls)
	if scale == nil {
		return 0, "random, since nothing was recorded to foretell answers from", 0, nil
	}
	var said []query.Answer
	for _, l := range label.Standing(ls) {
		left, known := map[label.Choice]float64{label.Left: 1, label.Tie: 0.5, label.Right: 0}[l.Choice]
		if !known || l.Query.Kind != kind {
			continue
		}
		a, b := l.Query.Sides()
		x, y := s.features(l.Query, a, scale), s.features(l.Query, b, scale)
		if x == nil || y == nil {
			continue
		}
		for k := range x {
			x[k] -= y[k]
		}
		said = append(said, query.Answer{X: x, Left: left})
	}
	belief, err := query.Fit(said, len(scale), query.Config{Source: s.source})
	if err != nil {
		return 0, "", 0, fmt.Errorf("wire: label: %w", err)
	}
	i, gain = -1, math.Inf(-1)
	for n, q := range candidates {
		a, b := q.Sides()
		if s.features(q, a, scale) == nil || s.features(q, b, scale) == nil {
			continue
		}
		p, err := belief.Of(func(c label.Clip) ([]float64, error) { return s.features(q, c, scale), nil }).Left(q)
		if err != nil {
			return 0, "", 0, fmt.Errorf("wire: label: %w", err)
		}
		if g := query.Gain(p); g > gain {
			i, gain = n, g
		}
	}
	if i < 0 {
		return 0, "random, since nothing was recorded to foretell answers from", 0, nil
	}
	return i, "information", gain, nil
}

// point is the mean and the last feature of a clip (2D,), nil for none.
func (s *Informed) point(c label.Clip) []float64 {
	es, ok := s.embeds[c.Episode]
	if !ok {
		es = s.read(c.Episode)
		s.embeds[c.Episode] = es
	}
	to := c.To
	if to == 0 {
		to = len(es) - 1
	}
	if c.From < 0 || to < c.From || to >= len(es) {
		return nil
	}
	dim := len(es[0])
	x := make([]float64, 2*dim)
	for _, e := range es[c.From : to+1] {
		for k, v := range e {
			x[k] += v / float64(to+1-c.From)
		}
	}
	copy(x[dim:], es[to])
	return x
}

func (s *Informed) read(id string) [][]float64 {
	path := s.clips.file(id)
	if r, ok := s.clips.more[id]; ok {
		if !r.ours {
			return nil
		}
		path = r.file
	}
	rec, err := record.ReadNumbers(path)
	if err != nil {
		return nil // whoever shows it will say so
	}
	var es [][]float64
	for _, t := range rec.Ticks {
		if len(t.Embed) == 0 || len(es) > 0 && len(t.Embed) != len(es[0]) {
			return nil
		}
		e := make([]float64, len(t.Embed))
		for k, v := range t.Embed {
			e[k] = float64(v)
		}
		es = append(es, e)
	}
	return es
}

// scales are the factors (2D,) by which features differ by the constant apart between two
// average clips, over all dimensions; nil where there are none. Episodes of other
// dimensions than the first are none.
func (s *Informed) scales(candidates []label.Query, ls []label.Label) []float64 {
	var sum, square []float64
	n := 0.0
	seen := map[string]bool{}
	add := func(q label.Query) {
		for _, c := range q.Clips {
			x := s.point(c)
			if x == nil || seen[c.Episode] || sum != nil && len(x) != len(sum) {
				continue
			}
			seen[c.Episode] = true
			if sum == nil {
				sum, square = make([]float64, len(x)), make([]float64, len(x))
			}
			n++
			for k, v := range x {
				sum[k] += v
				square[k] += v * v
			}
		}
	}
	for _, q := range candidates {
		add(q)
	}
	for _, l := range ls {
		add(l.Query)
	}
	out := make([]float64, len(sum))
	for k := range out {
		if v := square[k]/n - sum[k]*sum[k]/(n*n); v > 1e-12 {
			out[k] = apart / math.Sqrt(2*v*float64(len(out)))
		}
	}
	if n < 2 {
		return nil
	}
	return out
}

// features are those of a clip as a question sees it, nil for none.
func (s *Informed) features(q label.Query, c label.Clip, scale []float64) []float64 {
	x := s.point(c)
	if len(x) != len(scale) {
		return nil
	}
	var anchor []float64
	if q.Kind == label.Triplet {
		if anchor = s.point(q.Clips[0]); len(anchor) != len(scale) {
			return nil
		}
	}
	root := math.Sqrt(float64(len(scale)))
	for k := range x {
		if anchor == nil {
			x[k] *= scale[k]
			continue
		}
		d := (x[k] - anchor[k]) * scale[k]
		x[k] = -d * d * root / apart // of the size that it has in a pair
	}
	return x
}
