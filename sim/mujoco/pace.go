package mujoco

/*
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Pace is the CPU time that the same steps took in a Go loop over Data.Step and
// in a plain C loop over mj_step, which neither catches errors nor looks at
// warnings.
type Pace struct {
	Steps int
	Go, C time.Duration
}

// Ratio is Go's speed over C's: 1 if Go costs nothing.
func (p Pace) Ratio() float64 { return p.C.Seconds() / p.Go.Seconds() }

// GoRate and CRate are steps per CPU-second.
func (p Pace) GoRate() float64 { return float64(p.Steps) / p.Go.Seconds() }

// CRate is C's GoRate.
func (p Pace) CRate() float64 { return float64(p.Steps) / p.C.Seconds() }

// MedianPace returns the pair of the median ratio.
func MedianPace(ps []Pace) Pace {
	if len(ps) == 0 {
		panic("mujoco: no pace to take the median of")
	}
	ps = slices.Clone(ps)
	slices.SortFunc(ps, func(a, b Pace) int {
		switch {
		case a.Ratio() < b.Ratio():
			return -1
		case a.Ratio() > b.Ratio():
			return 1
		}
		return 0
	})
	return ps[len(ps)/2]
}

// Compare times steps of m in Go and in C, pairs times, taking turns at who goes
// first, after one unmeasured pair. Both start from the first keyframe, if there
// is one, and follow the same random controls, within a twentieth of their
// ranges. It fails if their last states differ in a single bit, for then they
// did not do the same work. The clock is the process's, which should do nothing
// else meanwhile.
func Compare(m *Model, steps, pairs int, src rand.Source) ([]Pace, error) {
	if steps < 1 || pairs < 1 {
		return nil, errors.New("mujoco: compare: want at least one step and one pair")
	}
	d, err := m.NewData()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	const rows = 256 // controls repeat after these
	ctrl := controls(m, rows, rand.New(src))

	var paces []Pace
	for i := range pairs + 1 {
		var took [2]time.Duration // Go, C
		var last [2]Snapshot
		for turn := range 2 {
			who := turn ^ i&1
			if i == 0 {
				who = turn // the first C loop must follow a guarded one: it cannot catch errors
			}
			if err := d.start(); err != nil {
				return nil, err
			}
			if who == 0 {
				if took[0], err = paceGo(d, ctrl, rows, steps); err != nil {
					return nil, err
				}
			} else {
				took[1] = paceC(d, ctrl, rows, steps)
			}
			d.Save(&last[who])
		}
		if !last[0].equal(&last[1]) {
			return nil, errors.New("mujoco: compare: Go and C end in different states")
		}
		if i > 0 {
			paces = append(paces, Pace{Steps: steps, Go: took[0], C: took[1]})
		}
	}
	return paces, nil
}

func (d *Data) start() error {
	if d.m.c.nkey > 0 {
		return d.ResetKey(0)
	}
	return d.Reset()
}

// controls draws (rows,nu) controls.
func controls(m *Model, rows int, rng *rand.Rand) []float64 {
	limits := m.CtrlRange()
	nu := len(limits) / 2
	out := make([]float64, rows*nu)
	for i := range out {
		lo, hi := limits[i%nu*2], limits[i%nu*2+1]
		if lo == hi { // no limits
			lo, hi = -1, 1
		}
		out[i] = (lo+hi)/2 + (hi-lo)/40*(2*rng.Float64()-1)
	}
	return out
}

func paceGo(d *Data, ctrl []float64, rows, steps int) (time.Duration, error) {
	start := C.mjx_cpu()
	nu := len(d.Ctrl())
	for i := range steps {
		copy(d.Ctrl(), ctrl[i%rows*nu:][:nu])
		if err := d.Step(); err != nil {
			return 0, fmt.Errorf("mujoco: compare: step %d: %w", i, err)
		}
	}
	return seconds(C.mjx_cpu() - start), nil
}

func paceC(d *Data, ctrl []float64, rows, steps int) time.Duration {
	return seconds(C.mjx_pace(d.m.c, d.c, ptr(ctrl), C.int(rows), C.int(steps)))
}

func seconds(s C.double) time.Duration { return time.Duration(float64(s) * float64(time.Second)) }
