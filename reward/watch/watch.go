// Package watch looks out for reward hacking: a policy that learns to please a
// dense reward while what the reward stands for gets worse. It raises an alarm when,
// over the same window of episodes, the reward rises and a check (success, an audit
// by people, a classifier's margin) falls, each beyond chance (the analysis of
// VLM-R1, Shen et al. 2025, arXiv:2504.07615, where detection rewards rose as boxes
// got worse).
//
//	w, err := watch.New(watch.Config{Checks: []string{"success"}})
//	a, err := w.Add(episodeReward, []float64{success}) // NaN: not known
//	if a.On { … a.Check falls }
package watch

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Config configures a Watch. Zero fields take the defaults named, which are ours.
type Config struct {
	Checks []string // names of the checks, at least one
	Window int      // of the last updates that a trend is looked for in; 40
	Least  int      // known values from which a trend is believed; 15
	// Z is the least size, in standard deviations, of either trend by Mann's test
	// (1945); 2.5.
	Z float64
	// Stay is for how many updates in a row both trends must hold; 3.
	Stay int
}

func (c Config) withDefaults() Config {
	if c.Window == 0 {
		c.Window = 40
	}
	if c.Least == 0 {
		c.Least = 15
	}
	if c.Z == 0 {
		c.Z = 2.5
	}
	if c.Stay == 0 {
		c.Stay = 3
	}
	return c
}

// Alarm is what a Watch says after an update.
type Alarm struct {
	On    bool
	Check string  // the name of the one that falls most; empty if none
	Rise  float64 // of the reward, z of Mann's test; 0: not known
	Fall  float64 // of the check, z, negative when it falls
	// From and To are the check's means over the first and the last third of the
	// window.
	From, To float64
}

// String is a line for a log.
func (a Alarm) String() string {
	if !a.On {
		return "no sign of reward hacking"
	}
	return fmt.Sprintf("reward hacking? the dense reward rises (z %.1f) while %s falls from %.2f to %.2f (z %.1f): look at the last episodes, label some, and align the reward anew", a.Rise, a.Check, a.From, a.To, a.Fall)
}

// Watch keeps the last updates. One goroutine uses it.
type Watch struct {
	cfg    Config
	proxy  []float64   // (≤Window,)
	checks [][]float64 // (n,)(≤Window,)
	held   []int       // (n,) updates in a row that both trends held
	x, y   []float64   // scratch
	sorted []float64
}

// New makes a Watch.
func New(c Config) (*Watch, error) {
	c = c.withDefaults()
	if len(c.Checks) == 0 {
		return nil, errors.New("watch: nothing to check the reward against: name a success, an audit or a classifier")
	}
	if c.Least < 5 || c.Window < c.Least || !(c.Z > 0) || math.IsInf(c.Z, 0) || c.Stay < 1 {
		return nil, fmt.Errorf("watch: window %d, least %d, z %v, stay %d, want 5 values at least in a window, and positive", c.Window, c.Least, c.Z, c.Stay)
	}
	w := &Watch{cfg: c, held: make([]int, len(c.Checks)), proxy: make([]float64, 0, c.Window)}
	for range c.Checks {
		w.checks = append(w.checks, make([]float64, 0, c.Window))
	}
	for _, p := range []*[]float64{&w.x, &w.y, &w.sorted} {
		*p = make([]float64, 0, c.Window)
	}
	return w, nil
}

// Add takes an update's dense reward and what the checks say, in their order; NaN is
// what nobody knows. Both are to be comparable between updates, such as means over
// an episode.
func (w *Watch) Add(proxy float64, checks []float64) (Alarm, error) {
	if len(checks) != len(w.checks) {
		return Alarm{}, fmt.Errorf("watch: %d checks, want %d", len(checks), len(w.checks))
	}
	if math.IsInf(proxy, 0) || slices.ContainsFunc(checks, func(v float64) bool { return math.IsInf(v, 0) }) {
		return Alarm{}, errors.New("watch: infinite reward or check")
	}
	push := func(s []float64, v float64) []float64 {
		if len(s) == w.cfg.Window {
			copy(s, s[1:])
			s = s[:len(s)-1]
		}
		return append(s, v)
	}
	w.proxy = push(w.proxy, proxy)
	var a Alarm
	for k, v := range checks {
		w.checks[k] = push(w.checks[k], v)
		// Where either is unknown neither counts: trends are of the same updates.
		w.x, w.y = w.x[:0], w.y[:0]
		for i, c := range w.checks[k] {
			if p := w.proxy[i]; c == c && p == p {
				w.x, w.y = append(w.x, p), append(w.y, c)
			}
		}
		if len(w.x) < w.cfg.Least {
			w.held[k] = 0
			continue
		}
		rise, fall := w.trend(w.x), w.trend(w.y)
		if rise >= w.cfg.Z && fall <= -w.cfg.Z {
			w.held[k]++
		} else {
			w.held[k] = 0
		}
		on := w.held[k] >= w.cfg.Stay
		if a.Check == "" || on && !a.On || on == a.On && fall < a.Fall {
			third := max(1, len(w.y)/3)
			a = Alarm{On: on, Check: w.cfg.Checks[k], Rise: rise, Fall: fall, From: mean(w.y[:third]), To: mean(w.y[len(w.y)-third:])}
		}
	}
	return a, nil
}

func mean(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v / float64(len(x))
	}
	return s
}

// trend is z of Mann's test (Mann 1945; Kendall's S over its deviation with ties,
// with the correction for continuity): positive if x rises. 0 for what is all the
// same.
func (w *Watch) trend(x []float64) float64 {
	s := 0
	for i, a := range x {
		for _, b := range x[i+1:] {
			switch {
			case b > a:
				s++
			case b < a:
				s--
			}
		}
	}
	n := float64(len(x))
	v := n * (n - 1) * (2*n + 5)
	w.sorted = append(w.sorted[:0], x...)
	slices.Sort(w.sorted)
	for i := 0; i < len(w.sorted); {
		j := i + 1
		for j < len(w.sorted) && w.sorted[j] == w.sorted[i] {
			j++
		}
		t := float64(j - i)
		v -= t * (t - 1) * (2*t + 5)
		i = j
	}
	if v <= 0 || s == 0 {
		return 0
	}
	c := float64(s)
	if s > 0 {
		c--
	} else {
		c++
	}
	return c / math.Sqrt(v/18)
}
