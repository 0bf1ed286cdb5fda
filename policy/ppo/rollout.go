package ppo

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/robot"
)

// edge bounds an action before atanh: what is nearer to 1 is lost in float32.
const edge = 1 - 1e-6

// roll is one episode as rows.
type roll struct {
	id      string
	n       uint64    // in the order of addition
	obs     []float32 // (T+1, D)
	pix     [][]byte  // (T+1) of (P,) each; P may be 0
	u       []float32 // (T, k) actions before tanh
	decided []bool    // (T,) by a policy
	version []uint64  // (T,) of that policy
	reward  []float64 // (T,)
	ends    bool      // no value after the last row
}

func (r *roll) len() int { return len(r.reward) }

// stale tells whether a version that decided something in r is forgotten.
func (l *Learner) stale(r *roll) bool {
	for t, v := range r.version {
		if r.decided[t] && (v == 0 || l.slots[v%uint64(len(l.slots))] != v) {
			return true
		}
	}
	return false
}

// roll checks e and turns it into rows.
func (l *Learner) roll(e policy.Episode) (*roll, error) {
	if err := e.Validate(); err != nil {
		return nil, fmt.Errorf("ppo: %w", err)
	}
	v, T := l.cfg.Arch.View, e.Len()
	D, k := v.Dim(), v.Action.Dim()
	r := &roll{
		id: e.ID, ends: e.Terminal || l.cfg.Finite && T >= v.Horizon,
		obs: make([]float32, (T+1)*D), u: make([]float32, T*k), decided: make([]bool, T), version: slices.Clone(e.Version),
	}
	P := v.Pixels()
	all := make([]byte, (T+1)*P)
	var err error
	if r.reward, err = l.rewards(e.ID, T, e.Rewards); err != nil {
		return nil, err
	}
	for t, in := range e.Inputs {
		pix := all[t*P : (t+1)*P]
		if err := errors.Join(v.Row(r.obs[t*D:(t+1)*D], in), v.Image(pix, in)); err != nil {
			return nil, fmt.Errorf("ppo: episode %s: %w", e.ID, err)
		}
		r.pix = append(r.pix, pix)
	}
	for t, c := range e.Applied {
		lost := v.Action.Row(r.u[t*k:(t+1)*k], c)
		if !finite(lost) || !finite(c.Grip) {
			return nil, fmt.Errorf("ppo: episode %s: command %d is not finite", e.ID, t)
		}
		r.decided[t] = e.By[t] == robot.ByPolicy
	}
	bc.Unsquash(r.u, r.u, edge)
	return r, nil
}

// rewards checks the labels of an episode and gives a scaled copy.
func (l *Learner) rewards(id string, T int, rewards []float64) ([]float64, error) {
	if len(rewards) != T {
		return nil, fmt.Errorf("ppo: episode %s has %d rewards for %d transitions: label it first", id, len(rewards), T)
	}
	scaled := make([]float64, T)
	for t, v := range rewards {
		if !finite(v) {
			return nil, fmt.Errorf("ppo: episode %s: reward %d is %v", id, t, v)
		}
		scaled[t] = l.cfg.Scale*v + l.cfg.Shift
	}
	return scaled, nil
}

// advantages writes the generalised advantage estimates of an episode of T steps
// to adv (T,), from its rewards and the values v (T+1,) of what was seen (Schulman
// et al. 2016, arXiv:1506.02438, equation 16):
//
//	A_t = delta_t + gamma lambda A_{t+1},  delta_t = r_t + gamma v_{t+1} - v_t
//
// After an end nothing is worth anything; an episode that was cut off goes on with
// the value of what was seen last.
func advantages(adv []float32, reward []float64, v []float32, ends bool, gamma, lambda float64) {
	after := 0.0
	for t := len(reward) - 1; t >= 0; t-- {
		next := float64(v[t+1])
		if ends && t == len(reward)-1 {
			next = 0
		}
		after = reward[t] + gamma*next - float64(v[t]) + gamma*lambda*after
		adv[t] = float32(after)
	}
}
