package regret

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/preference"
)

// Recordings are a world of which only episodes are known, as that of an arm that is
// seen by cameras. The reward of a frame arrived at is linear in the leading principal
// components φ of frames, r = w·φ(o). The library of policies are the ways of acting
// that the episodes show; what one of them gathers from a frame on is foretold by least
// squares from the episodes that show it:
//
//	ψ_j(o, n) ≈ B_j (n, n φ(o), n², n² φ(o)),   n the share of the longest episode that is left
//
// which is nothing at an episode's end. V* is the best of these ways, and so a bound from
// below: regret is against the best that was recorded, as nothing else was seen.
type Recordings struct {
	Episodes []preference.Clip // whole ones, of frames of the same encoder
	// Shows (len(Episodes),) is which way of acting each shows, numbered from 0; nil:
	// all the same.
	Shows      []int
	Components int     // of φ; 0: 8, fewer where frames have fewer
	Gamma      float64 // discount; 0: 0.999, as the authors
}

// ridge of the least squares, relative to the mean square of what is regressed on (ours).
const ridge = 1e-3

// recordedL2 is the penalty of FitRecorded where none is given (ours): no regret depends on
// what stays the same throughout an episode, so that the answers do not determine its
// weight. At Fit's 1e-3 the error of ψ does, and the reward of the test's recordings agrees
// with the truth by 0.5 instead of 0.96.
const recordedL2 = 0.1

// look is what there is to know of recordings before anybody answers.
type look struct {
	mean    []float64  // (D,)
	lead    *mat.Dense // (D, K) components, each to variance 1
	gamma   float64
	longest float64
	ways    []*mat.Dense // (2 + 2K, K) B_j of each way
}

func (r Recordings) look() (*look, error) {
	if len(r.Episodes) < 2 {
		return nil, fmt.Errorf("regret: %d recorded episodes, want two at least", len(r.Episodes))
	}
	l := &look{gamma: r.Gamma}
	if l.gamma == 0 {
		l.gamma = 0.999
	}
	K := r.Components
	if K == 0 {
		K = 8
	}
	switch {
	case !(l.gamma > 0 && l.gamma <= 1):
		return nil, fmt.Errorf("regret: discount %v, want above 0 and at most 1", r.Gamma)
	case K < 1:
		return nil, fmt.Errorf("regret: %d components, want positive", K)
	case r.Shows != nil && len(r.Shows) != len(r.Episodes):
		return nil, fmt.Errorf("regret: %d episodes, and what %d show", len(r.Episodes), len(r.Shows))
	}
	D := r.Episodes[0].D
	var all []float64
	ways := 1
	for i, e := range r.Episodes {
		if err := e.Validate(); err != nil {
			return nil, fmt.Errorf("regret: episode %d: %w", i, err)
		}
		if e.D != D || e.Rest != 0 {
			return nil, fmt.Errorf("regret: episode %q has %d features and %d frames to come, want a whole one of %d features", e.Name, e.D, e.Rest, D)
		}
		for _, x := range e.Embed {
			all = append(all, float64(x))
		}
		l.longest = max(l.longest, float64(e.Len()))
		if r.Shows != nil {
			if r.Shows[i] < 0 {
				return nil, fmt.Errorf("regret: episode %q shows way %d", e.Name, r.Shows[i])
			}
			ways = max(ways, r.Shows[i]+1)
		}
	}
	if err := l.components(all, D, K); err != nil {
		return nil, err
	}
	for j := range ways {
		if err := l.follow(r, j); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// components finds the leading ones of frames (N, D).
func (l *look) components(frames []float64, D, K int) error {
	x := mat.NewDense(len(frames)/D, D, frames)
	l.mean = make([]float64, D)
	for j := range D {
		l.mean[j] = stat.Mean(mat.Col(nil, j, x), nil)
	}
	var pc stat.PC
	if !pc.PrincipalComponents(x, nil) {
		return errors.New("regret: the frames have no principal components: are they finite?")
	}
	var vectors mat.Dense
	pc.VectorsTo(&vectors)
	vars := pc.VarsTo(nil)
	n := 0
	for n < min(K, len(vars)) && vars[n] > 1e-9*vars[0] && vars[n] > 0 { // the others are rounding
		n++
	}
	if n == 0 {
		return errors.New("regret: all frames of the episodes are alike")
	}
	l.lead = mat.NewDense(D, n, nil)
	for j := range n {
		for i := range D {
			l.lead.Set(i, j, vectors.At(i, j)/math.Sqrt(vars[j]))
		}
	}
	return nil
}

// phi writes φ (K,) of a frame (D,).
func (l *look) phi(dst []float64, frame []float32) {
	clear(dst)
	for i, x := range frame {
		floats.AddScaled(dst, float64(x)-l.mean[i], l.lead.RawRowView(i))
	}
}

// basis is what ψ is linear in, of φ and the frames that are left.
func (l *look) basis(phi []float64, left int) []float64 {
	n := float64(left) / l.longest
	x := []float64{n, n * n}
	for _, p := range phi {
		x = append(x, n*p, n*n*p)
	}
	return x
}

// follow fits what way j gathers.
func (l *look) follow(r Recordings, j int) error {
	_, K := l.lead.Dims()
	M := 2 + 2*K
	a, b := mat.NewSymDense(M, nil), mat.NewDense(M, K, nil)
	square, n := 0.0, 0
	for i, e := range r.Episodes {
		if r.Shows != nil && r.Shows[i] != j {
			continue
		}
		gathered, phi := make([]float64, K), make([]float64, K)
		for t := e.Len() - 1; t >= 0; t-- {
			l.phi(phi, e.Frame(t))
			x := l.basis(phi, e.Len()-1-t)
			a.SymRankOne(a, 1, mat.NewVecDense(M, x))
			for k, v := range x {
				floats.AddScaled(b.RawRowView(k), v, gathered)
			}
			square, n = square+floats.Dot(x, x)/float64(M), n+1
			// Of the frame before: φ of this one, and γ of what comes then.
			floats.Scale(l.gamma, gathered)
			floats.Add(gathered, phi)
		}
	}
	if n == 0 {
		return fmt.Errorf("regret: no episode shows way %d", j)
	}
	for k := range M {
		a.SetSym(k, k, a.At(k, k)+ridge*square+1e-12) // the last for ways of single frames
	}
	var chol mat.Cholesky
	if !chol.Factorize(a) {
		return fmt.Errorf("regret: what way %d gathers cannot be foretold: are the frames finite?", j)
	}
	B := mat.NewDense(M, K, nil)
	if err := chol.SolveTo(B, b); err != nil {
		return fmt.Errorf("regret: what way %d gathers: %w", j, err)
	}
	l.ways = append(l.ways, B)
	return nil
}

// stretch is all that is looked at of a clip.
type stretch struct {
	sum        []float64   // (K,) Σ_t γ^t φ of the frames after the first
	start, end [][]float64 // (ways, K) ψ at the first frame and at the last
	fade       float64     // γ^T
}

func (l *look) stretch(c preference.Clip) (stretch, error) {
	if err := c.Validate(); err != nil {
		return stretch{}, err
	}
	if c.D != len(l.mean) {
		return stretch{}, fmt.Errorf("regret: clip %q has %d features, want %d: was it embedded by another encoder?", c.Name, c.D, len(l.mean))
	}
	_, K := l.lead.Dims()
	s, phi := stretch{sum: make([]float64, K), fade: 1}, make([]float64, K)
	psi := func(left int) (all [][]float64) {
		x := mat.NewVecDense(2+2*K, l.basis(phi, left))
		for _, B := range l.ways {
			var y mat.VecDense
			y.MulVec(B.T(), x)
			all = append(all, y.RawVector().Data)
		}
		return all
	}
	for t := range c.Len() {
		l.phi(phi, c.Frame(t))
		left := c.Len() - 1 - t + c.Rest
		if t == 0 {
			s.start = psi(left)
		} else {
			floats.AddScaled(s.sum, s.fade, phi)
			s.fade *= l.gamma
		}
		if t == c.Len()-1 {
			s.end = psi(left)
		}
	}
	return s, nil
}

// Recorded explains answers about recorded clips. It implements preference.Model and
// reward.Scorer and is safe for several goroutines.
type Recorded struct {
	Weights    []float64 // (K,) w
	cfg        Config
	look       *look
	zero, unit float64 // mean and deviation of the reward of the episodes' frames
}

// FitRecorded is Fit where only recordings are known: a clip is worth −(V*(o_1) − (Σ_t γ^t
// r_t + γ^T V*(o_T))), the deterministic regret of the paper, or its partial return. With
// estimated values the sum of advantages comes to the same: their terms cancel. The
// library does not grow, as nobody can plan.
func FitRecorded(ctx context.Context, r Recordings, pairs []preference.Pair, cfg Config) (*Recorded, error) {
	l, err := r.look()
	if err != nil {
		return nil, err
	}
	m, err := l.fit(ctx, pairs, cfg)
	if err != nil {
		return nil, err
	}
	phi := make([]float64, len(m.Weights))
	n, square := 0.0, 0.0
	for _, e := range r.Episodes {
		for t := range e.Len() {
			l.phi(phi, e.Frame(t))
			x := floats.Dot(phi, m.Weights)
			m.zero, square, n = m.zero+x, square+x*x, n+1
		}
	}
	m.zero /= n
	if m.unit = math.Sqrt(max(square/n-m.zero*m.zero, 0)); !(m.unit > 1e-9) {
		m.unit = 1
	}
	return m, nil
}

// CompareRecorded is Compare where only recordings are known.
func CompareRecorded(ctx context.Context, r Recordings, pairs []preference.Pair, cfg Config) (Comparison, error) {
	l, err := r.look()
	if err != nil {
		return Comparison{}, err
	}
	return compare(pairs, cfg, func(train []preference.Pair, c Config) (preference.Model, error) { return l.fit(ctx, train, c) })
}

func (l *look) fit(ctx context.Context, pairs []preference.Pair, cfg Config) (*Recorded, error) {
	cfg.L2 = cmp.Or(cfg.L2, recordedL2)
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	sides, said, err := answered(pairs, l.stretch)
	if err != nil {
		return nil, err
	}
	_, K := l.lead.Dims()
	m := &Recorded{Weights: make([]float64, K), cfg: cfg, look: l}
	grad := make([]float64, K)
	by := [2][]float64{make([]float64, K), make([]float64, K)}
	opt := newAdam(K, cfg.Rate)
	err = opt.descend(ctx, m.Weights, grad, cfg.Steps, func() {
		cfg.loss(grad, by, m.Weights, said, func(grad []float64, i, side int) float64 { return m.worth(grad, &sides[side][i]) })
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// worth of a stretch, with its derivative by the weights in grad (K,).
func (m *Recorded) worth(grad []float64, s *stretch) float64 {
	copy(grad, s.sum)
	u := floats.Dot(s.sum, m.Weights)
	if m.cfg.Explain == PartialReturn {
		return u
	}
	n := len(m.look.ways)
	u += m.cfg.best(grad, s.fade, m.Weights, n, func(j int) []float64 { return s.end[j] })
	return u + m.cfg.best(grad, -1, m.Weights, n, func(j int) []float64 { return s.start[j] })
}

// Utility implements preference.Model: minus the regret, or the partial return.
func (m *Recorded) Utility(c preference.Clip) (float64, error) {
	s, err := m.look.stretch(c)
	if err != nil {
		return 0, err
	}
	return m.worth(make([]float64, len(m.Weights)), &s), nil
}

// Odds implements preference.Model.
func (m *Recorded) Odds(a, b preference.Clip) (preference.Odds, error) {
	return m.cfg.odds(m.Utility, a, b)
}

// Score implements reward.Scorer: r of each frame arrived at, with mean 0 and deviation 1
// over the recorded episodes. Of answers by regret it is a reward only where it was
// explained by regret: partial returns that were fitted to them are advantages.
func (m *Recorded) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	if len(dst) < 1 || len(traj) != len(dst)+1 {
		return fmt.Errorf("regret: %d features for %d rewards, want one more and at least two", len(traj), len(dst))
	}
	c, err := preference.ClipOf("trajectory", traj[1:])
	if err != nil {
		return err
	}
	if c.D != len(m.look.mean) {
		return fmt.Errorf("regret: features have %d numbers, want %d: were they made by another encoder?", c.D, len(m.look.mean))
	}
	phi := make([]float64, len(m.Weights))
	for t := range dst {
		m.look.phi(phi, c.Frame(t))
		dst[t] = (floats.Dot(phi, m.Weights) - m.zero) / m.unit
	}
	return ctx.Err()
}
