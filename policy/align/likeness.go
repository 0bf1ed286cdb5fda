package align

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Likeness tells whether chunks are like those of the frozen reference for the same
// history: the score that RPO takes from an encoder of pictures (Miao et al. 2024,
// arXiv:2407.12164), here by distances on the normalised scale. A chunk is like the
// reference's if the nearest of those is no farther than 19 of 20 of them are from
// their own nearest.
type Likeness struct {
	each   int
	chunks [][]float32 // each for every history
	reach  float64
}

// NewLikeness draws each chunks of the reference for every history of held (N, Seen).
func NewLikeness(t *Tuned, held []float32, each int, rng *rand.Rand) (*Likeness, error) {
	if each < 2 {
		return nil, fmt.Errorf("align: likeness to %d chunks of a history, want at least 2", each)
	}
	n := len(held) / t.net.Seen()
	r, err := NewRecorder(t, min(256, n*each))
	if err != nil {
		return nil, err
	}
	ss := r.New(n*each, held)
	r.DrawReference(ss, rng)
	l := &Likeness{each: each}
	for i := range ss {
		l.chunks = append(l.chunks, ss[i].Chunk())
	}
	var far []float64
	for i, c := range l.chunks {
		far = append(far, l.nearest(c, i/each, i))
	}
	slices.Sort(far)
	l.reach = far[len(far)*95/100]
	return l, nil
}

// nearest is the squared distance of chunk from the nearest of a history's, but for
// the one numbered skip.
func (l *Likeness) nearest(chunk []float32, history, skip int) float64 {
	best := math.Inf(1)
	for i := history * l.each; i < (history+1)*l.each; i++ {
		if i == skip {
			continue
		}
		d := 0.0
		for j, v := range l.chunks[i] {
			d += float64(v-chunk[j]) * float64(v-chunk[j])
		}
		best = min(best, d)
	}
	return best
}

// Of is the share of samples that are like the reference's. Their Groups count the
// histories.
func (l *Likeness) Of(ss []Sample) float64 {
	n := 0.0
	for i := range ss {
		if l.nearest(ss[i].Chunk(), ss[i].Group, -1) <= l.reach {
			n++
		}
	}
	return n / float64(len(ss))
}
