// Package regret explains what people prefer by regret: how much worse a stretch of
// behaviour is than the best that could have been done, rather than how much reward
// fell to it. It is the model of Knox, Hatgis-Kessell, Booth, Niekum, Stone, Allievi
// (Models of human preference for learning reward functions, TMLR 2024,
// arXiv:2206.02231), beside the partial return that others assume:
//
//	P(A ≻ B) = σ(regret(B) − regret(A)),   regret(σ) = Σ_t −A*(s_t, a_t)
//
// Somebody who judges decisions thinks well of a good bet that was lost; the partial
// return of such answers is misleading. Which of the two explains somebody is told
// by Compare:
//
//	world := &regret.World{...}
//	m, err := regret.Fit(ctx, world, pairs, regret.Config{Explain: regret.Regret})
//	c, err := regret.Compare(ctx, world, pairs, regret.Config{})
//
// Frames of clips are steps: the numbers of the state, the action and the next state.
package regret

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/rapport-rl/rapport/reward/preference"
)

// World is a decision process of few states whose transitions are known. The reward
// is linear in features of a step, r = w·φ(s, a, s').
type World struct {
	States, Actions int
	P               []float64 // (States, Actions, States) chance of the next state
	Features        int
	Phi             []float64 // (States, Actions, States, Features)
	Gamma           float64   // discount, below 1; 0: 0.999, as the authors. Absorbing states end episodes
}

func (w *World) gamma() float64 {
	if w.Gamma == 0 {
		return 0.999
	}
	return w.Gamma
}

// Validate reports wrong sizes, chances that are none and a discount out of bounds.
func (w *World) Validate() error {
	S, A, F := w.States, w.Actions, w.Features
	switch {
	case S < 1 || A < 1 || F < 1:
		return fmt.Errorf("regret: world of %d states, %d actions, %d features, want positive", S, A, F)
	case len(w.P) != S*A*S || len(w.Phi) != S*A*S*F:
		return fmt.Errorf("regret: %d chances and %d features for %d states and %d actions", len(w.P), len(w.Phi), S, A)
	case w.Gamma < 0 || w.Gamma >= 1 || math.IsNaN(w.Gamma):
		return fmt.Errorf("regret: discount %v, want from 0 to below 1", w.Gamma)
	}
	for i := range S * A {
		sum := 0.0
		for _, p := range w.P[i*S : (i+1)*S] {
			if !(p >= 0) {
				return fmt.Errorf("regret: state %d, action %d: chance %v", i/A, i%A, p)
			}
			sum += p
		}
		if math.Abs(sum-1) > 1e-9 {
			return fmt.Errorf("regret: state %d, action %d: chances sum to %v", i/A, i%A, sum)
		}
	}
	for i, x := range w.Phi {
		if x-x != 0 {
			return fmt.Errorf("regret: feature %d of state %d is %v", i%F, i/(A*S*F), x)
		}
	}
	return nil
}

// phi is φ(s, a, s').
func (w *World) phi(s, a, next int) []float64 {
	i := ((s*w.Actions+a)*w.States + next) * w.Features
	return w.Phi[i : i+w.Features]
}

// chances are those of the states after a in s.
func (w *World) chances(s, a int) []float64 {
	i := (s*w.Actions + a) * w.States
	return w.P[i : i+w.States]
}

// Successor features of a policy: what it is expected to gather.
type successor struct {
	policy []int     // (States,) action
	v      []float64 // (States, F) ψ(s)
	q      []float64 // (States, Actions, F) ψ(s, a), a first and then the policy
}

// follow computes the successor features of a policy (Barreto et al. 2017,
// arXiv:1606.05312, equation 3): ψ(s) = E[φ + γ ψ(s')], by one linear solve.
func (w *World) follow(policy []int) (successor, error) {
	S, A, F, gamma := w.States, w.Actions, w.Features, w.gamma()
	m, b := mat.NewDense(S, S, nil), mat.NewDense(S, F, nil)
	for s := range S {
		m.Set(s, s, 1)
		for next, p := range w.chances(s, policy[s]) {
			m.Set(s, next, m.At(s, next)-gamma*p)
			floats.AddScaled(b.RawRowView(s), p, w.phi(s, policy[s], next))
		}
	}
	var x mat.Dense
	// Nearly singular is what a discount near one makes of it; exactly so is an error.
	var bad mat.Condition
	if err := x.Solve(m, b); err != nil && (!errors.As(err, &bad) || math.IsInf(float64(bad), 1)) {
		return successor{}, fmt.Errorf("regret: successor features: %w", err)
	}
	f := successor{policy: append([]int(nil), policy...), v: make([]float64, S*F), q: make([]float64, S*A*F)}
	for s := range S {
		copy(f.v[s*F:(s+1)*F], x.RawRowView(s))
	}
	for s := range S {
		for a := range A {
			q := f.q[(s*A+a)*F : (s*A+a+1)*F]
			for next, p := range w.chances(s, a) {
				if p == 0 {
					continue
				}
				floats.AddScaled(q, p, w.phi(s, a, next))
				floats.AddScaled(q, p*gamma, f.v[next*F:(next+1)*F])
			}
		}
	}
	return f, nil
}

// Plan is the best policy under the reward weights, (States,) actions, the first of
// equals, by policy iteration (Howard 1960).
func (w *World) Plan(weights []float64) ([]int, error) {
	f, err := w.plan(weights)
	return f.policy, err
}

func (w *World) plan(weights []float64) (successor, error) {
	if err := w.Validate(); err != nil {
		return successor{}, err
	}
	if len(weights) != w.Features {
		return successor{}, fmt.Errorf("regret: %d weights for %d features", len(weights), w.Features)
	}
	S, A, F := w.States, w.Actions, w.Features
	policy := make([]int, S)
	for range 1000 { // more rounds than any has needed; values only rise
		f, err := w.follow(policy)
		if err != nil {
			return successor{}, err
		}
		same := true
		for s := range S {
			now := floats.Dot(weights, f.q[(s*A+policy[s])*F:(s*A+policy[s]+1)*F])
			for a := range A {
				if q := floats.Dot(weights, f.q[(s*A+a)*F:(s*A+a+1)*F]); q > now+1e-9*(1+math.Abs(now)) {
					policy[s], now, same = a, q, false
				}
			}
		}
		if same {
			return f, nil
		}
	}
	return successor{}, errors.New("regret: policy iteration does not end: are weights and features finite?")
}

// Advantages are A*(s, a) = Q*(s, a) − V*(s) under the weights, (States, Actions).
func (w *World) Advantages(weights []float64) ([]float64, error) {
	f, err := w.plan(weights)
	if err != nil {
		return nil, err
	}
	S, A, F := w.States, w.Actions, w.Features
	adv := make([]float64, S*A)
	for s := range S {
		v := floats.Dot(weights, f.v[s*F:(s+1)*F])
		for a := range A {
			adv[s*A+a] = floats.Dot(weights, f.q[(s*A+a)*F:(s*A+a+1)*F]) - v
		}
	}
	return adv, nil
}

// Step is one decision and where it led.
type Step struct{ State, Action, Next int }

// Clip writes steps as frames.
func Clip(name string, steps []Step) preference.Clip {
	c := preference.Clip{Name: name, D: 3}
	for _, s := range steps {
		c.Embed = append(c.Embed, float32(s.State), float32(s.Action), float32(s.Next))
	}
	return c
}

// Read reads frames as steps. Steps that cannot follow each other are an error.
func (w *World) Read(c preference.Clip) ([]Step, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.D != 3 {
		return nil, fmt.Errorf("regret: clip %q has frames of %d numbers, want 3: state, action, next state", c.Name, c.D)
	}
	var steps []Step
	for t := range c.Len() {
		f := c.Frame(t)
		s := Step{int(f[0]), int(f[1]), int(f[2])}
		switch {
		case f[0] != float32(s.State) || f[1] != float32(s.Action) || f[2] != float32(s.Next) || s.State < 0 || s.State >= w.States || s.Action < 0 || s.Action >= w.Actions || s.Next < 0 || s.Next >= w.States:
			return nil, fmt.Errorf("regret: clip %q, step %d: no such state or action: %v", c.Name, t, f)
		case t > 0 && steps[t-1].Next != s.State:
			return nil, fmt.Errorf("regret: clip %q, step %d: in state %d after arriving in %d", c.Name, t, s.State, steps[t-1].Next)
		case w.chances(s.State, s.Action)[s.Next] == 0:
			return nil, fmt.Errorf("regret: clip %q, step %d: action %d never leads from %d to %d", c.Name, t, s.Action, s.State, s.Next)
		}
		steps = append(steps, s)
	}
	return steps, nil
}
