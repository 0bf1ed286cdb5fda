package kagi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/perception"
)

// Form is how progress along a stage is measured.
type Form string

// The forms. Places b_0 .. b_n are a stage's: b_0 where its point was when the stage
// began, then the waypoints.
const (
	// Furthest counts from the furthest waypoint i that was reached within Tolerance:
	//
	//	Φ = (i + 1 − min(1, |p−b_{i+1}| / |b_i−b_{i+1}|)) / n, and 1 for i = n
	//
	// which never falls below a waypoint that was reached, but for the last one of the
	// last stage: that counts while the point is there, or else an episode would be paid
	// the same for staying as for leaving.
	Furthest Form = "furthest"
	// Nearest counts from the nearest waypoint i = argmin |p−b_i|:
	//
	//	Φ = (i + clip(1 − |p−b_{i+1}| / |b_i−b_{i+1}|, 0, 1)) / n, and 1 for i = n
	//
	// which forgets, as KAGI's "closest block" does, and pays a stage's last half
	// segment in full: give it several waypoints.
	Nearest Form = "nearest"
)

// Config is a Scorer's. Plan may be empty where episodes carry theirs (Tell).
type Config struct {
	Plan *Plan `json:"plan,omitempty"`
	Form Form  `json:"form,omitempty"` // default Furthest
	// Tolerance is how near a waypoint counts as reached, m (or pixels); default 0.02.
	Tolerance float64 `json:"tolerance,omitempty"`
	// Top is what full progress is paid short of success: the dense reward is
	// −1 + Top Φ. Default 0.9, which leaves success worth having (KAGI's sparse reward
	// is RoboFuME's, −1 and 0).
	Top float64 `json:"top,omitempty"`
	// Sparse is what a step is paid at which the task is done, in place of the dense
	// reward; default 0.
	Sparse float64 `json:"sparse,omitempty"`
	// Potential pays progress made in place of progress had: −1 + Top (γ Φ' − Φ), which
	// leaves the best policy of the sparse reward as it is (Ng, Harada and Russell
	// 1999) for a learner to whom what comes after the last step has a value, and may
	// leave [−1, 0] by what a step makes good. To one to whom it has none, as a session's,
	// Top γ^T Φ of the last state stays paid: who fails near is paid more than who fails
	// far. Gamma is the learner's discount; default 0.99.
	Potential bool    `json:"potential,omitempty"`
	Gamma     float64 `json:"gamma,omitempty"`
}

func (c Config) withDefaults() Config {
	if c.Form == "" {
		c.Form = Furthest
	}
	if c.Tolerance == 0 {
		c.Tolerance = 0.02
	}
	if c.Top == 0 {
		c.Top = 0.9
	}
	if c.Gamma == 0 {
		c.Gamma = 0.99
	}
	return c
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.Plan != nil {
		errs = append(errs, c.Plan.Validate())
	}
	if c.Form != Furthest && c.Form != Nearest {
		errs = append(errs, fmt.Errorf("kagi: form is %q, want furthest or nearest", c.Form))
	}
	if !(c.Tolerance > 0) || math.IsInf(c.Tolerance, 0) {
		errs = append(errs, fmt.Errorf("kagi: tolerance is %v, want a positive distance", c.Tolerance))
	}
	if !(c.Top > 0 && c.Top <= 1) {
		errs = append(errs, fmt.Errorf("kagi: top is %v, want above 0 and at most 1", c.Top))
	}
	if !(c.Sparse >= -1 && c.Sparse <= 0) {
		errs = append(errs, fmt.Errorf("kagi: sparse is %v, want -1 to 0", c.Sparse))
	}
	if !(c.Gamma > 0 && c.Gamma <= 1) {
		errs = append(errs, fmt.Errorf("kagi: gamma is %v, want above 0 and at most 1", c.Gamma))
	}
	return errors.Join(errs...)
}

// Scorer rates steps by progress along a plan:
//
//	r = Sparse if the task is done, else −1 + Top Φ
//
// (KAGI's rule, by its project page: the sparse reward where it is not zero, else the
// dense one; with RoboFuME's −1 and 0 that is the same, shifted.) Φ = (s + Φ_s)/S over
// S stages; stage s < S−1 is done once its point was within Tolerance of its last waypoint. It
// asks no model. It is safe for use by several goroutines.
type Scorer struct{ cfg Config }

// New returns a Scorer.
func New(c Config) (*Scorer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Scorer{c.withDefaults()}, nil
}

// Config is the scorer's, with defaults filled in.
func (s *Scorer) Config() Config { return s.cfg }

// Score implements reward.Scorer. dst (T,) is within [−1, 0] unless Potential; traj is
// (T+1,).
func (s *Scorer) Score(_ context.Context, dst []float64, traj []perception.Features) error {
	if len(traj) != len(dst)+1 {
		return fmt.Errorf("kagi: %d features for %d rewards, want one more", len(traj), len(dst))
	}
	l := s.Live()
	for _, f := range traj {
		if err := l.Add(f); err != nil {
			return err
		}
	}
	l.Rewards(dst)
	return nil
}

// Step is why a step is paid what it is.
type Step struct {
	Stage    int        // from 0
	Waypoint int        // i of the form
	At       [3]float64 // of the stage's point
	Distance float64    // to b_{i+1}; 0 when done
	Length   float64    // |b_i − b_{i+1}|
	Phi      float64    // progress, 0 to 1
	Dense    float64    // −1 + Top Φ, or its potential-based variant
	Done     bool       // the sparse reward takes its place
	Lost     bool       // the point is not seen: At is its last place
	Reward   float64
}

// Explain tells the T steps of a trajectory, and its waypoints.
func (s *Scorer) Explain(traj []perception.Features) ([]Step, []Leg, error) {
	l := s.Live()
	for _, f := range traj {
		if err := l.Add(f); err != nil {
			return nil, nil, err
		}
	}
	if len(l.steps) == 0 {
		return nil, nil, fmt.Errorf("kagi: %d features, want two at least for a reward", len(traj))
	}
	return l.steps[1:], l.legs, nil
}

// Live begins an episode that is scored while it goes on.
func (s *Scorer) Live() *Live { return &Live{cfg: s.cfg} }

// Live scores one episode, feature by feature. One goroutine drives it.
type Live struct {
	cfg   Config
	legs  []Leg
	at    map[string][3]float64 // last places
	stage int
	from  [3]float64 // b_0 of the stage
	seen  bool       // whether from is known
	far   int        // furthest waypoint reached
	steps []Step     // (T+1,) the first of the reset
}

// Add takes the next features.
func (l *Live) Add(f perception.Features) error {
	if l.at == nil {
		if err := l.begin(f); err != nil {
			return err
		}
	}
	for _, leg := range l.legs {
		if p, ok := Place(f.Keys, leg.Point, l.camera()); ok {
			l.at[leg.Point] = p
		}
	}
	var e Step
	for {
		e = l.look(f)
		if l.last() || e.Waypoint < len(l.legs[l.stage].To) || !l.there(e.At) {
			break
		}
		l.stage, l.seen, l.far = l.stage+1, false, 0
	}
	e.Stage = l.stage
	for _, k := range f.Keys {
		if k.Name == Success && k.Score >= 0.5 {
			e.Done = true
		}
	}
	e.Dense = -1 + l.cfg.Top*e.Phi
	if l.cfg.Potential && len(l.steps) > 0 {
		e.Dense = -1 + l.cfg.Top*(l.cfg.Gamma*e.Phi-l.steps[len(l.steps)-1].Phi)
	}
	if e.Reward = e.Dense; e.Done {
		e.Reward = l.cfg.Sparse
	}
	l.steps = append(l.steps, e)
	return nil
}

// last says whether the present stage is the last.
func (l *Live) last() bool { return l.stage == len(l.legs)-1 }

func (l *Live) camera() string {
	if l.cfg.Plan == nil {
		return ""
	}
	return l.cfg.Plan.Camera
}

// begin takes the plan that the first features carry, or makes the configured one's
// places absolute.
func (l *Live) begin(f perception.Features) (err error) {
	if l.legs, err = Told(f.Keys); err != nil {
		return err
	}
	if l.legs == nil && l.cfg.Plan == nil {
		return errors.New("kagi: neither the episode nor the configuration has a plan; ask a model for one, click one, or name a task file")
	}
	at := map[string][3]float64{}
	if l.legs == nil {
		for _, k := range l.cfg.Plan.Points {
			if p, ok := Place(f.Keys, k.Name, l.camera()); ok {
				at[k.Name] = p
			}
		}
		if l.legs, err = l.cfg.Plan.Fix(at); err != nil {
			return err
		}
	}
	l.at = at
	return nil
}

// there says whether p is at the end of the stage.
func (l *Live) there(p [3]float64) bool {
	to := l.legs[l.stage].To
	return distance(p, to[len(to)-1]) <= l.cfg.Tolerance
}

// look measures the present stage.
func (l *Live) look(f perception.Features) Step {
	leg := l.legs[l.stage]
	n := len(leg.To)
	p, known := l.at[leg.Point]
	_, now := Place(f.Keys, leg.Point, l.camera())
	e := Step{At: p, Lost: !now, Phi: float64(l.stage) / float64(len(l.legs))}
	if !known { // never seen yet
		return e
	}
	if !l.seen {
		l.from, l.seen = p, true
	}
	b := func(i int) [3]float64 {
		if i == 0 {
			return l.from
		}
		return leg.To[i-1]
	}
	if l.cfg.Form == Nearest {
		for i := 1; i <= n; i++ {
			if distance(p, b(i)) < distance(p, b(e.Waypoint)) {
				e.Waypoint = i
			}
		}
	} else {
		for i := l.far + 1; i <= n; i++ {
			if distance(p, b(i)) <= l.cfg.Tolerance {
				l.far = i
			}
		}
		e.Waypoint = l.far
		if l.last() && l.far == n && !l.there(p) {
			e.Waypoint = n - 1
		}
	}
	part := 1.0
	if i := e.Waypoint; i < n {
		e.Distance, e.Length = distance(p, b(i+1)), distance(b(i), b(i+1))
		s := 0.0
		if e.Length > 0 {
			s = 1 - min(1, e.Distance/e.Length)
		}
		part = (float64(i) + s) / float64(n)
	}
	e.Phi = (float64(l.stage) + part) / float64(len(l.legs))
	return e
}

// Len is the number of rewards so far.
func (l *Live) Len() int { return max(0, len(l.steps)-1) }

// Rewards writes those so far to dst (Len(),); no expert video is behind them.
func (l *Live) Rewards(dst []float64) (expert int) {
	for i := range dst {
		dst[i] = l.steps[i+1].Reward
	}
	return -1
}

// Steps are why.
func (l *Live) Steps() []Step { return slices.Clone(l.steps[min(1, len(l.steps)):]) }

// Legs are the episode's, nil before its first features.
func (l *Live) Legs() []Leg { return l.legs }

func distance(a, b [3]float64) float64 {
	x, y, z := a[0]-b[0], a[1]-b[1], a[2]-b[2]
	return math.Sqrt(x*x + y*y + z*z)
}
