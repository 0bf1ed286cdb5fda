package pal

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/preference"
)

// embedding is all that a Model sees of a clip: u = toward(a)·place + base.
type embedding struct {
	place []float64 // (Dim,)
	base  float64
}

// bench embeds single frames.
type bench struct {
	mu          sync.Mutex
	g           *nn.Graph
	rows        *preference.Rows
	place, base *nn.Node
}

// lanes are frames that a bench takes at once, half on either side of its pairs.
const lanes = 64

func (m *Model) newBench() *bench {
	b := &bench{g: nn.NewGraph()}
	b.rows = preference.NewRows(b.g, lanes/2, 1, m.scale)
	b.place, b.base = m.places(b.g, b.rows, b.g.Frozen)
	return b
}

// frames embeds T frames, each on its own.
func (m *Model) frames(T int, frame func(int) []float32) []embedding {
	b := m.bench
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]embedding, T)
	D := m.cfg.Dim
	for from := 0; from < T; from += lanes {
		n := min(lanes, T-from)
		for i := range n {
			x := frame(from + i)
			b.rows.LoadClip(i, &preference.Clip{D: len(x), Embed: x}, 1)
		}
		b.g.Forward()
		for i := range n {
			e := embedding{place: make([]float64, D)}
			for j := range D {
				e.place[j] = float64(b.place.Value[i*D+j])
			}
			if b.base != nil {
				e.base = float64(b.base.Value[i])
			}
			out[from+i] = e
		}
	}
	return out
}

// embed is the mean over the frames of a clip.
func (m *Model) embed(c preference.Clip) (embedding, error) {
	if err := m.scale.Fits(c); err != nil {
		return embedding{}, err
	}
	T := c.Len()
	e := embedding{place: make([]float64, m.cfg.Dim)}
	for _, f := range m.frames(T, c.Frame) {
		for j, x := range f.place {
			e.place[j] += x / float64(T)
		}
		e.base += f.base / float64(T)
	}
	return e, nil
}

// ready prepares m for use: at most 512 frames of pairs say what is usual.
func (m *Model) ready(pairs []preference.Pair) {
	m.bench = m.newBench()
	var fs [][]float32
	for _, p := range pairs {
		for _, c := range [2]*preference.Clip{&p.A, &p.B} {
			for t := range c.Len() {
				fs = append(fs, c.Frame(t))
			}
		}
	}
	every := (len(fs) + 511) / 512
	var some [][]float32
	for i := 0; i < len(fs); i += every {
		some = append(some, fs[i])
	}
	m.usual = m.frames(len(some), func(t int) []float32 { return some[t] })
}

// User is one person's view of a Model. It implements preference.Model and
// reward.Scorer and is safe for several goroutines.
type User struct {
	// Shares (K,) are how much of each prototype the person's ideal point holds.
	Shares []float64
	m      *Model
	dir    []float64 // (Dim,) what a place is multiplied by
	zero   float64   // mean and deviation of the usual frames' worth
	unit   float64
}

// People lists those fitted to, sorted.
func (m *Model) People() []string { return slices.Clone(m.people) }

// User is somebody fitted to.
func (m *Model) User(name string) (*User, error) {
	i, ok := slices.BinarySearch(m.people, name)
	if !ok {
		return nil, fmt.Errorf("pal: nobody named %q was fitted to: Meet them", name)
	}
	K := m.cfg.Prototypes
	w := make([]float64, K)
	for k := range w {
		w[k] = float64(m.weight.Data[i*K+k])
	}
	return m.user(w), nil
}

// user is whoever has the weights w (K,).
func (m *Model) user(w []float64) *User {
	u := &User{Shares: make([]float64, len(w)), m: m, dir: make([]float64, m.cfg.Dim)}
	softmax(u.Shares, w)
	m.direct(u.dir, u.Shares)
	var sum, square float64
	for _, e := range m.usual {
		x := u.worth(e)
		sum += x
		square += x * x
	}
	n := float64(len(m.usual))
	u.zero = sum / n
	if u.unit = math.Sqrt(max(square/n-u.zero*u.zero, 0)); !(u.unit > 1e-9) {
		u.unit = 1
	}
	return u
}

// direct writes what places are multiplied by, for shares of the prototypes.
func (m *Model) direct(dst, shares []float64) {
	D := m.cfg.Dim
	clear(dst)
	for k, s := range shares {
		for j := range dst {
			dst[j] += s * float64(m.points.Data[k*D+j])
		}
	}
	c := 2.0
	if m.cfg.Likeness == Cosine {
		square := 1e-6
		for _, x := range dst {
			square += x * x
		}
		c = min(math.Exp(float64(m.temp.Data[0])), lastTemperature) / math.Sqrt(square)
	}
	for j := range dst {
		dst[j] *= c
	}
}

func (u *User) worth(e embedding) float64 {
	s := e.base
	for j, x := range e.place {
		s += u.dir[j] * x
	}
	return s
}

// Utility implements preference.Model.
func (u *User) Utility(c preference.Clip) (float64, error) {
	e, err := u.m.embed(c)
	if err != nil {
		return 0, err
	}
	return u.worth(e), nil
}

// Odds implements preference.Model.
func (u *User) Odds(a, b preference.Clip) (preference.Odds, error) {
	ua, err := u.Utility(a)
	if err != nil {
		return preference.Odds{}, err
	}
	ub, err := u.Utility(b)
	if err != nil {
		return preference.Odds{}, err
	}
	return u.m.cfg.Ties.Odds(ua-ub, u.m.cfg.Strength), nil
}

// Score implements reward.Scorer: the worth of each frame arrived at, with mean 0
// and deviation 1 over the frames fitted to.
func (u *User) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	c, err := u.m.scale.Arrived(ctx, "pal", len(dst), traj)
	if err != nil {
		return err
	}
	for t, e := range u.m.frames(c.Len(), c.Frame) {
		dst[t] = (u.worth(e) - u.zero) / u.unit
	}
	return nil
}

// Measure judges answers by the view of whoever gave them.
func (m *Model) Measure(pairs []preference.Pair) (preference.Measure, error) {
	users := map[string]*User{}
	return preference.EvaluateBy(pairs, func(p preference.Pair) (preference.Model, error) {
		u, ok := users[p.Annotator]
		if !ok {
			var err error
			if u, err = m.User(p.Annotator); err != nil {
				return nil, err
			}
			users[p.Annotator] = u
		}
		return u, nil
	})
}

func softmax(dst, w []float64) {
	m := slices.Max(w)
	var sum float64
	for k, x := range w {
		dst[k] = math.Exp(x - m)
		sum += dst[k]
	}
	for k := range dst {
		dst[k] /= sum
	}
}
