package preference

import (
	"cmp"
	"fmt"
	"math"
)

// HeldShare is the share of pairs that is held out by default.
const HeldShare = 0.2

// Return is how the rewards of a clip's frames make what the clip is worth.
type Return uint8

// The returns.
const (
	Sum  Return = iota // Σ_t r_t, as Christiano et al. have it
	Mean               // whatever the length
)

func (r Return) String() string {
	switch r {
	case Sum:
		return "sum"
	case Mean:
		return "mean"
	}
	return fmt.Sprintf("Return(%d)", uint8(r))
}

// MarshalText implements encoding.TextMarshaler.
func (r Return) MarshalText() ([]byte, error) {
	if r > Mean {
		return nil, fmt.Errorf("preference: no such return: %v", r)
	}
	return []byte(r.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Return) UnmarshalText(b []byte) error {
	switch string(b) {
	case "sum":
		*r = Sum
	case "mean":
		*r = Mean
	default:
		return fmt.Errorf("preference: return %q, want sum or mean", b)
	}
	return nil
}

// Config are the parameters of FitRLHF and FitAxes. The zero value stands for the
// defaults named.
type Config struct {
	Hidden []int `json:"hidden,omitempty"` // widths of the hidden layers; nil: 64
	// Linear has no hidden layer, as the head of RAPL's RLHF baseline.
	Linear  bool   `json:"linear,omitempty"`
	Members int    `json:"members,omitempty"` // of the ensemble; 0: 3, as Christiano et al.
	Return  Return `json:"return"`
	Ties    Ties   `json:"ties"`
	// Strength is k or ν of Ties, or where LearnStrength begins; 0: its default.
	Strength float64 `json:"strength,omitempty"`
	// LearnStrength fits the strength too: how often people say "alike" differs.
	LearnStrength bool    `json:"learn_strength,omitempty"`
	Rate          float64 `json:"rate,omitempty"`   // Adam's; 0: 1e-3
	Batch         int     `json:"batch,omitempty"`  // pairs a step; 0: 16
	Epochs        int     `json:"epochs,omitempty"` // at most; 0: 200
	// Patience ends the fit after so many epochs in which no member got better on
	// the held-out pairs; 0: 30.
	Patience int `json:"patience,omitempty"`
	// Held is the share of pairs that choose the epoch and are not trained on; 0:
	// HeldShare, negative: none, and the last epoch is kept.
	Held float64 `json:"held,omitempty"`
	L2   float64 `json:"l2,omitempty"` // decoupled weight decay; 0: 1e-2, negative: none
	// Bootstrap trains every member on a draw of its own from the pairs, as
	// Christiano et al.; otherwise members differ by where they begin.
	Bootstrap bool `json:"bootstrap,omitempty"`
	// Pessimism takes so many standard deviations between members off the reward
	// that Score gives.
	Pessimism float64 `json:"pessimism,omitempty"`
	Seed      uint64  `json:"seed"` // of the split, the order and the first networks
}

func (c Config) withDefaults() Config {
	c.Rate = cmp.Or(c.Rate, 1e-3)
	c.Held = cmp.Or(c.Held, HeldShare)
	c.L2 = cmp.Or(c.L2, 1e-2)
	c.Strength = cmp.Or(c.Strength, c.Ties.DefaultStrength())
	c.Members = cmp.Or(c.Members, 3)
	c.Batch = cmp.Or(c.Batch, 16)
	c.Epochs = cmp.Or(c.Epochs, 200)
	c.Patience = cmp.Or(c.Patience, 30)
	if c.Linear {
		c.Hidden = nil
	} else if len(c.Hidden) == 0 {
		c.Hidden = []int{64}
	}
	return c
}

func (c Config) validate() error {
	switch {
	case !(c.Rate > 0) || math.IsInf(c.Rate, 1):
		return fmt.Errorf("preference: rate %v, want positive", c.Rate)
	case c.Members < 1 || c.Batch < 1 || c.Epochs < 1 || c.Patience < 1:
		return fmt.Errorf("preference: members %d, batch %d, epochs %d, patience %d, want positive", c.Members, c.Batch, c.Epochs, c.Patience)
	case c.Members > maxWidth || len(c.Hidden) > maxWidth:
		return fmt.Errorf("preference: %d members of %d layers, want at most %d", c.Members, len(c.Hidden), maxWidth)
	case !(c.Held < 1):
		return fmt.Errorf("preference: held-out share %v, want below 1", c.Held)
	case math.IsNaN(c.L2) || math.IsInf(c.L2, 0):
		return fmt.Errorf("preference: l2 is %v", c.L2)
	case !(c.Pessimism >= 0) || math.IsInf(c.Pessimism, 1):
		return fmt.Errorf("preference: pessimism %v, want at least 0", c.Pessimism)
	case c.Return > Mean:
		return fmt.Errorf("preference: no such return: %v", c.Return)
	}
	for _, h := range c.Hidden {
		if h < 1 || h > maxWidth {
			return fmt.Errorf("preference: hidden layer of %d, want 1 to %d", h, maxWidth)
		}
	}
	return c.Ties.Valid(c.Strength)
}

// maxWidth bounds what a file may ask for.
const maxWidth = 1 << 14
