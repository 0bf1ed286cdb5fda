package person

import (
	"cmp"
	"context"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rapport-rl/rapport/reward/label"
)

// Habits are how a person answers, whatever he likes. The zero value never errs.
type Habits struct {
	// Noise is the difference of utility over which he errs in 27 of 100 answers:
	// the better is chosen with probability σ(Δu/Noise), as Bradley and Terry
	// have it (Plackett and Luce, of a ranking). 0 never errs.
	Noise float64
	// Ties is the difference of utility below which two are alike to him.
	Ties float64
	// Unsure is how often he says that he cannot tell.
	Unsure float64
	// Fatigue is by how much each question raises the chance of an answer that he
	// does not think about, which is a coin's. A pause takes it down again.
	Fatigue float64
	// Recovery is the pause after which a share 1/e of the fatigue is left; 0: 5
	// minutes (ours).
	Recovery time.Duration
	// Bias is how often he answers left (above 0) or right (below) whatever is
	// there.
	Bias float64
	// Took is how long an answer takes him; 0: 10 s (ours).
	Took time.Duration
}

// Annotator is a simulated person who answers questions as one at a browser does.
// What he says to a question depends on it and on his fatigue alone, so that it is
// the same in a session that was gone on with. He belongs to one goroutine.
type Annotator struct {
	Name   string
	Seed   uint64
	Habits Habits
	// Utility is what a clip is worth to him.
	Utility func(label.Clip) (float64, error)
	// Alike says whether he sees no difference between two clips; nil goes by
	// Habits.Ties.
	Alike func(a, b label.Clip) (bool, error)
	// Progress (T+1,) is how good a clip's states are, for marks; nil marks nothing.
	Progress func(label.Clip) ([]float64, error)
	// Approach is how many steps of a clip lead to the way that it then goes, and whether
	// he likes that way: what Progress says nothing of is marked so, up to there. nil
	// marks nothing.
	Approach func(label.Clip) (steps int, good bool, err error)
	// Clock is when he begins.
	Clock time.Time

	tired float64 // questions that he has not rested from
}

// Rest is a pause.
func (a *Annotator) Rest(d time.Duration) {
	a.Clock = a.Clock.Add(d)
	a.tired *= math.Exp(-float64(d) / float64(cmp.Or(a.Habits.Recovery, 5*time.Minute)))
}

// Recall has him remember that he said l, as he would after answering it.
func (a *Annotator) Recall(l label.Label) {
	if pause := l.Stamp.Add(-l.Took).Sub(a.Clock); pause > 0 {
		a.Rest(pause)
	}
	a.Clock = l.Stamp
	a.tired++
}

// lapse is the chance of an answer without thought.
func (a *Annotator) lapse() float64 { return min(1, a.Habits.Fatigue*a.tired) }

// Answer is what he says to q: label ID is his name and the question's.
func (a *Annotator) Answer(ctx context.Context, q label.Query) (label.Label, error) {
	if err := ctx.Err(); err != nil {
		return label.Label{}, err
	}
	if err := q.Validate(); err != nil {
		return label.Label{}, err
	}
	took := cmp.Or(a.Habits.Took, 10*time.Second)
	l := label.Label{ID: a.Name + "-" + q.ID, Query: q, Annotator: a.Name, Stamp: a.Clock.Add(took), Took: took}
	h := fnv.New64a()
	h.Write([]byte(l.ID))
	rng := rand.New(rand.NewPCG(a.Seed, h.Sum64()))
	var err error
	switch q.Kind {
	case label.Pair, label.Triplet:
		l.Choice, err = a.choose(rng, q)
	case label.Ranking:
		l.Places, err = a.rank(rng, q.Clips)
	case label.Segments:
		l.Marks, err = a.mark(q.Clips[0])
	}
	if err != nil {
		return label.Label{}, err
	}
	a.Clock = l.Stamp
	a.tired++
	return l, l.Validate()
}

func (a *Annotator) choose(rng *rand.Rand, q label.Query) (label.Choice, error) {
	left, right := q.Sides()
	ul, err := a.Utility(left)
	if err != nil {
		return "", err
	}
	ur, err := a.Utility(right)
	if err != nil {
		return "", err
	}
	// Always as many draws, so that one habit does not change what another does.
	unsure, lapse, coin, bias, slip := rng.Float64(), rng.Float64(), rng.Float64(), rng.Float64(), rng.Float64()
	side := func(leftwards bool) label.Choice {
		if leftwards {
			return label.Left
		}
		return label.Right
	}
	switch {
	case lapse < a.lapse():
		return side(coin < 0.5), nil
	case bias < math.Abs(a.Habits.Bias):
		return side(a.Habits.Bias > 0), nil
	case unsure < a.Habits.Unsure:
		return label.Unsure, nil
	}
	same, err := a.same(left, right, ul, ur)
	if err != nil {
		return "", err
	}
	if same {
		return label.Tie, nil
	}
	if a.Habits.Noise > 0 {
		return side(slip < 1/(1+math.Exp(-(ul-ur)/a.Habits.Noise))), nil
	}
	return side(ul > ur), nil
}

// same says whether there is no difference to him between two clips of these utilities.
func (a *Annotator) same(x, y label.Clip, ux, uy float64) (bool, error) {
	if a.Alike != nil {
		return a.Alike(x, y)
	}
	return ux == uy || math.Abs(ux-uy) < a.Habits.Ties, nil
}

// rank orders clips by their utilities, each with Gumbel noise: the order of Plackett
// and Luce. Neighbours that are alike share a place.
func (a *Annotator) rank(rng *rand.Rand, clips []label.Clip) ([]int, error) {
	us, felt := make([]float64, len(clips)), make([]float64, len(clips))
	order := make([]int, len(clips))
	for i, c := range clips {
		u, err := a.Utility(c)
		if err != nil {
			return nil, err
		}
		us[i], felt[i], order[i] = u, u, i
		if gumbel := -math.Log(rng.ExpFloat64()); a.Habits.Noise > 0 {
			felt[i] += a.Habits.Noise * gumbel
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(felt[j], felt[i]) })
	if rng.Float64() < a.lapse() {
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	places := make([]int, len(clips))
	for n, i := range order {
		places[i] = n + 1
		if n == 0 {
			continue
		}
		before := order[n-1]
		same, err := a.same(clips[before], clips[i], us[before], us[i])
		if err != nil {
			return nil, err
		}
		if same {
			places[i] = places[before]
		}
	}
	return places, nil
}

// mark finds the stretches in which a clip gets better, and those in which it gets
// worse, by more than Ties a step, or which lead to a way that he likes or not.
func (a *Annotator) mark(c label.Clip) ([]label.Mark, error) {
	if a.Progress == nil {
		return nil, nil
	}
	p, err := a.Progress(c)
	if err != nil {
		return nil, err
	}
	leads, led := 0, 0 // steps of the approach, and the sign of where it leads
	if a.Approach != nil {
		steps, good, err := a.Approach(c)
		if err != nil {
			return nil, err
		}
		if leads, led = steps, -1; good {
			led = 1
		}
	}
	var marks []label.Mark
	was := 0
	for t := 1; t < len(p); t++ {
		step := 0
		if d := p[t] - p[t-1]; math.Abs(d) > a.Habits.Ties {
			step = cmp.Compare(d, 0)
		} else if t <= leads {
			step = led
		}
		at := c.From + t - 1
		switch {
		case step == 0:
		case step == was:
			marks[len(marks)-1].To = at + 1
		default:
			marks = append(marks, label.Mark{From: at, To: at + 1, Good: step > 0})
		}
		was = step
	}
	return marks, nil
}
