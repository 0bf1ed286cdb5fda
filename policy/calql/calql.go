// Package calql learns from demonstrations and other recorded episodes first,
// and goes on online from there without forgetting them: calibrated Q-learning
// (Nakamoto et al. 2023, arXiv:2303.05479, algorithm 1).
//
// It is soft actor-critic as in package rlpd, whose critics are held down where
// the data do not go, but not below the return of the data (critic.Conservative).
// Held down without that floor, they would take the first online episodes, whose
// values are of the true scale, for far better than anything recorded, and the
// actor would unlearn what it had.
//
//	l, err := calql.New(calql.Config{Config: rlpd.Config{Offline: 20_000, Seed: 1}}, cloned)
//	err = l.Add(ctx, e) // for each recorded episode, good and bad
//	for l.Offline() && more {
//		stats, err := l.Update(ctx)
//	}
//	// then as online: Add, Update, Latest
//
// An episode that was cut off counts as if its last reward went on for ever:
// with rewards of -1 until success, the return of a failure of n ticks would else
// be no worse than that of a success after n (the authors' code, and their
// correction of CORL, pull request 63).
package calql

import (
	"errors"
	"fmt"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/critic"
	"github.com/rapport-rl/rapport/policy/rlpd"
)

var _ policy.Keeper = (*Learner)(nil)

// Config configures a Learner: the settings of RLPD, and those of the term. Where
// the authors' code has other values than RLPD's defaults, zero fields take
// these: UTD 1, two critics, Best 10, rates of 1e-4 for actor and temperature, a
// first temperature of 1; the actor climbs the smaller critic. Weight is 5.
//
// Offline is the number of critic steps of the offline phase; as long as there
// are only demonstrations, the phase lasts anyhow. Demos is the mixing ratio of
// the online phase, and Pool mixes by size, as a mixing ratio of -1 does there.
type Config struct {
	rlpd.Config
	critic.Conserve
}

// Learner implements policy.Keeper. It is driven by one goroutine.
type Learner struct{ *rlpd.Learner }

// New returns a Learner that starts from the policy start, which it copies. A
// nil start draws a new one of c.Arch, whose normalisation is fitted to what
// was added by the first Update.
func New(c Config, start *bc.Net) (*Learner, error) {
	def := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	num := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if start != nil {
		c.Arch = start.Arch
	}
	num(&c.UTD, 1)
	num(&c.Critics, 2)
	num(&c.Best, 10)
	def(&c.ActorLR, 1e-4)
	def(&c.AlphaLR, 1e-4)
	def(&c.Alpha, 1)
	def(&c.Weight, 5)
	c.Least = true
	if c.Gamma == 1 && !c.ZeroTail {
		return nil, errors.New("calql: Gamma is 1, so that a reward for ever has no value: want less, or ZeroTail")
	}
	l, err := rlpd.NewConservative(c.Config, c.Conserve, start)
	if err != nil {
		return nil, fmt.Errorf("calql: %w", err)
	}
	return &Learner{l}, nil
}

// Adroit is what Nakamoto et al. use for the dexterous hand with rewards of -1
// until success (their appendix and code): rewards become -5 and 5, batches are
// half recorded.
func Adroit(a bc.Arch) Config {
	return Config{
		Config:   rlpd.Config{Arch: a, Offline: 20_000, Demos: 0.5, CriticHidden: []int{512, 512, 512}, Scale: 10, Shift: 5},
		Conserve: critic.Conserve{Weight: 1},
	}
}

// AntMaze is what they use for the mazes, with rewards of 1 at the goal and 0
// elsewhere, which become 5 and -5; the weight is steered to a gap.
func AntMaze(a bc.Arch) Config {
	return Config{
		Config:   rlpd.Config{Arch: a, Offline: 1_000_000, Demos: 0.5, CriticHidden: []int{256, 256, 256, 256}, Scale: 10, Shift: -5},
		Conserve: critic.Conserve{Weight: 5, Gap: 0.8},
	}
}

// Arm is for a real arm with rewards of -1 until success, after a public code
// base that has RoboFuME's data: a light hand on ten large critics, of which two
// make a target, and four actions.
func Arm(a bc.Arch) Config {
	return Config{
		Config: rlpd.Config{
			Arch: a, Demos: 0.5, Critics: 10, Subset: 2, CriticHidden: []int{512, 512, 512},
			Best: 4, ActorLR: 3e-4, AlphaLR: 3e-4,
		},
		Conserve: critic.Conserve{Weight: 0.01, Actions: 4},
	}
}
