package pal

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/preference"
)

// embedding is all that a Model sees of a frame or a clip.
type embedding struct {
	place  []float64 // (Dim,)
	base   float64
	points []float64 // (K, Dim) the prototypes there
}

// bench embeds single frames.
type bench struct {
	mu          sync.Mutex
	g           *nn.Graph
	rows        *preference.Rows
	place, base *nn.Node
	points      *nn.Node  // (K, lanes, Dim) of model B; nil
	fixed       []float64 // (K, Dim) of model A
}

// lanes are frames that a bench takes at once, half on either side of its pairs.
const lanes = 16

func (m *Model) newBench() *bench {
	b := &bench{g: nn.NewGraph()}
	b.rows = preference.NewRows(b.g, lanes/2, 1, m.scale)
	b.place, b.base = m.places(b.g, b.rows, b.g.Frozen)
	if m.maps != nil {
		b.points = m.maps.Frozen(b.g, b.rows.X)
		return b
	}
	for _, x := range m.points.Data {
		b.fixed = append(b.fixed, float64(x))
	}
	return b
}

// each computes what there is of T frames, each on its own, and calls got with the
// lane of each.
func (m *Model) each(T int, frame func(int) []float32, got func(b *bench, t, lane int)) {
	b := m.bench
	b.mu.Lock()
	defer b.mu.Unlock()
	for from := 0; from < T; from += lanes {
		n := min(lanes, T-from)
		for i := range n {
			x := frame(from + i)
			b.rows.LoadClip(i, &preference.Clip{D: len(x), Embed: x}, 1)
		}
		b.g.Forward()
		for i := range n {
			got(b, from+i, i)
		}
	}
}

// frames embeds the T frames of a clip, each on its own; the first has the prototypes.
func (m *Model) frames(T int, frame func(int) []float32) []embedding {
	out := make([]embedding, T)
	D := m.cfg.Dim
	m.each(T, frame, func(b *bench, t, lane int) {
		e := embedding{place: make([]float64, D)}
		if t == 0 {
			e.points = m.prototypesAt(b, lane)
		}
		for j := range D {
			e.place[j] = float64(b.place.Value[lane*D+j])
		}
		if b.base != nil {
			e.base = float64(b.base.Value[lane])
		}
		out[t] = e
	})
	return out
}

// prototypesAt are those (K, Dim) of a clip that begins with the frame in a lane.
func (m *Model) prototypesAt(b *bench, lane int) []float64 {
	K, D := m.cfg.Prototypes, m.cfg.Dim
	if b.points == nil {
		return b.fixed
	}
	out := make([]float64, K*D)
	for k := range K {
		for j := range D {
			out[k*D+j] = float64(b.points.Value[(k*lanes+lane)*D+j])
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
	fs := m.frames(T, c.Frame)
	e := embedding{place: make([]float64, m.cfg.Dim), points: fs[0].points}
	for _, f := range fs {
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
	var fs, first [][]float32
	for _, p := range pairs {
		for _, c := range [2]*preference.Clip{&p.A, &p.B} {
			for t := range c.Len() {
				fs, first = append(fs, c.Frame(t)), append(first, c.Frame(0))
			}
		}
	}
	every := (len(fs) + 511) / 512
	n := (len(fs) + every - 1) / every
	m.usual = m.frames(n, func(t int) []float32 { return fs[t*every] })
	m.each(n, func(t int) []float32 { return first[t*every] }, func(b *bench, t, lane int) {
		m.usual[t].points = m.prototypesAt(b, lane)
	})
}

// view is how somebody looks at a clip.
type view struct {
	ideal []float64 // (Dim,) a
	dir   []float64 // (Dim,) what a place is multiplied by
	rest  float64   // what is added
}

func newView(dim int) view { return view{ideal: make([]float64, dim), dir: make([]float64, dim)} }

func (m *Model) temperature() float64 { return min(math.Exp(float64(m.temp.Data[0])), lastTemperature) }

// look makes the view of shares (K,) where the prototypes are points (K, Dim).
func (m *Model) look(v *view, shares, points []float64) {
	D := m.cfg.Dim
	clear(v.ideal)
	for k, s := range shares {
		for j := range D {
			v.ideal[j] += s * points[k*D+j]
		}
	}
	square := 0.0
	for _, x := range v.ideal {
		square += x * x
	}
	c := 2.0
	v.rest = -square
	if m.cfg.Likeness == Cosine {
		c = m.temperature() / math.Sqrt(square+1e-6)
		v.rest = 0
	}
	for j, x := range v.ideal {
		v.dir[j] = c * x
	}
}

func (v *view) worth(e embedding) float64 {
	s := e.base + v.rest
	for j, x := range e.place {
		s += v.dir[j] * x
	}
	return s
}

// User is one person's view of a Model. It implements preference.Model and
// reward.Scorer and is safe for several goroutines.
type User struct {
	// Shares (K,) are how much of each prototype the person's ideal point holds.
	Shares []float64
	m      *Model
	zero   float64 // mean and deviation of the usual frames' worth
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

// Common is what those fitted to have in common: the mean of their ideal points, everybody
// counting alike.
func (m *Model) Common() *User {
	K, n := m.cfg.Prototypes, len(m.people)
	mean, shares, w := make([]float64, K), make([]float64, K), make([]float64, K)
	for i := range n {
		for k := range w {
			w[k] = float64(m.weight.Data[i*K+k])
		}
		softmax(shares, w)
		floats.AddScaled(mean, 1/float64(n), shares)
	}
	return m.sharing(mean)
}

// user is whoever has the weights w (K,).
func (m *Model) user(w []float64) *User {
	shares := make([]float64, len(w))
	softmax(shares, w)
	return m.sharing(shares)
}

// sharing is whoever has the shares (K,) of the prototypes.
func (m *Model) sharing(shares []float64) *User {
	u := &User{Shares: shares, m: m}
	v := newView(m.cfg.Dim)
	var sum, square float64
	for _, e := range m.usual {
		m.look(&v, u.Shares, e.points)
		x := v.worth(e)
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

// Utility implements preference.Model.
func (u *User) Utility(c preference.Clip) (float64, error) {
	e, err := u.m.embed(c)
	if err != nil {
		return 0, err
	}
	v := newView(u.m.cfg.Dim)
	u.m.look(&v, u.Shares, e.points)
	return v.worth(e), nil
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
// and deviation 1 over the frames fitted to. Model B takes the first frame arrived at
// for what the episode begins with.
func (u *User) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	c, err := u.m.scale.Arrived(ctx, "pal", len(dst), traj)
	if err != nil {
		return err
	}
	v, fs := newView(u.m.cfg.Dim), u.m.frames(c.Len(), c.Frame)
	u.m.look(&v, u.Shares, fs[0].points)
	for t, e := range fs {
		dst[t] = (v.worth(e) - u.zero) / u.unit
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
