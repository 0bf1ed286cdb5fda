// Package robottest is the conformance suite that every robot.Backend passes,
// as testing/fstest is for file systems.
//
// What a loop may rely on is in the comments of package robot; a suite keeps an
// arm, a simulator, a recording and a guard in front of any of them to it:
//
//	func TestBackend(t *testing.T) {
//		robottest.TestBackend(t, func(t *testing.T) robot.Backend {
//			w, err := tabletop.New(tabletop.Config{})
//			if err != nil {
//				t.Fatal(err)
//			}
//			return w
//		})
//	}
//
// A backend on real time says by Missed how many ticks it has missed: then its
// stamps need only be right on the whole, since a busy machine delays a tick now
// and then.
//
// A backend whose observations are ByLog replays what happened: it need not
// obey, refuse or hold still, and may end with io.EOF.
package robottest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// TestBackend runs the suite. Each part opens a backend of its own, and closes
// it.
func TestBackend(t *testing.T, open func(*testing.T) robot.Backend) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			b := open(t)
			err := c.run(t.Context(), b)
			if err := b.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// check is one part of the suite. It says what is wrong as an error, so that
// the suite can be tested itself.
type check struct {
	name string
	run  func(ctx context.Context, b robot.Backend) error
}

func checks() []check {
	return []check{
		{"stamps advance by the period", stamps},
		{"observations are complete", complete},
		{"frames stay as they were", readOnly},
		{"commands are reported", reported},
		{"zero commands hold still", still},
		{"numbers that are none are refused", refused},
		{"a cancelled context stops", cancelled},
		{"a reset starts again", again},
		{"close is final", final},
	}
}

// steps is how many control periods a check looks at: 1 s at 20 Hz.
const steps = 20

// drive resets b and takes up to n steps, calling see after each, the reset
// included. The end of a recording ends it too.
func drive(ctx context.Context, b robot.Backend, n int, c robot.Command, see func(i int, o robot.Observation) error) error {
	o, err := b.Reset(ctx)
	if err != nil {
		return fmt.Errorf("robottest: Reset: %w", err)
	}
	if err := see(0, o); err != nil {
		return err
	}
	for i := 1; i <= n; i++ {
		o, err := b.Step(ctx, c)
		if errors.Is(err, io.EOF) && i > 1 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("robottest: Step %d: %w", i, err)
		}
		if err := see(i, o); err != nil {
			return err
		}
	}
	return nil
}

// hold is a command that asks for no motion.
func hold() robot.Command { return robot.Command{} }

// paced is a backend on real time.
type paced interface {
	Missed() uint64
	Period() time.Duration
}

func stamps(ctx context.Context, b robot.Backend) error {
	var at []time.Time
	var missed uint64
	err := drive(ctx, b, steps, hold(), func(i int, o robot.Observation) error {
		if p, ok := b.(paced); ok && i == 0 {
			missed = p.Missed()
		}
		at = append(at, o.State.Stamp)
		return nil
	})
	if err != nil {
		return err
	}
	var gaps []time.Duration
	for i := 1; i < len(at); i++ {
		gaps = append(gaps, at[i].Sub(at[i-1]))
	}
	sorted := slices.Sorted(slices.Values(gaps))
	period := sorted[len(sorted)/2]
	if p, ok := b.(paced); ok {
		if sorted[0] <= 0 {
			return fmt.Errorf("robottest: stamps %v do not advance", at)
		}
		// On an absolute schedule what is late does not add up: the first and the
		// last may each be late by some ticks, and no more in between.
		n := len(gaps) + int(p.Missed()-missed)
		if all := at[len(at)-1].Sub(at[0]); (all - time.Duration(n)*p.Period()).Abs() > steps/4*p.Period() {
			return fmt.Errorf("robottest: %d steps and %d missed ticks took %v by their stamps, want about %v", len(gaps), n-len(gaps), all, time.Duration(n)*p.Period())
		}
		return nil
	}
	for i, g := range gaps {
		// Half a period of jitter is what a loop can live with; simulated
		// periods are exact.
		if g <= 0 || g < period/2 || g > period+period/2 {
			return fmt.Errorf("robottest: stamp %d is %v after the one before, want about %v", i+1, g, period)
		}
	}
	return nil
}

func complete(ctx context.Context, b robot.Backend) error {
	var cameras []string
	var seq []uint64
	return drive(ctx, b, 5, hold(), func(i int, o robot.Observation) error {
		if err := sane(o.State); err != nil {
			return fmt.Errorf("robottest: step %d: %w", i, err)
		}
		names := make([]string, len(o.Frames))
		for k, f := range o.Frames {
			names[k] = f.Camera
			switch {
			case f.Camera == "":
				return fmt.Errorf("robottest: step %d: frame %d names no camera", i, k)
			case f.W < 1 || f.H < 1 || len(f.Pix) != f.W*f.H*3:
				return fmt.Errorf("robottest: step %d: camera %s: %d bytes for %dx%d pixels, want %d", i, f.Camera, len(f.Pix), f.W, f.H, f.W*f.H*3)
			case f.Stamp.IsZero():
				return fmt.Errorf("robottest: step %d: camera %s: no stamp", i, f.Camera)
			case i > 0 && k < len(seq) && f.Seq < seq[k]:
				return fmt.Errorf("robottest: step %d: camera %s: image %d after image %d", i, f.Camera, f.Seq, seq[k])
			}
		}
		if i == 0 {
			cameras = names
		} else if !slices.Equal(names, cameras) {
			return fmt.Errorf("robottest: step %d: cameras %q, want %q as after the reset", i, names, cameras)
		}
		seq = seq[:0]
		for _, f := range o.Frames {
			seq = append(seq, f.Seq)
		}
		return nil
	})
}

// sane says what no arm can sense.
func sane(s robot.State) error {
	if s.Stamp.IsZero() {
		return errors.New("the state has no stamp")
	}
	for _, part := range []struct {
		name string
		v    []float64
	}{{"q", s.Q[:]}, {"dq", s.DQ[:]}, {"position", s.EE.P[:]}, {"orientation", s.EE.Q[:]}, {"wrench", s.Wrench[:]}, {"grip", []float64{s.Grip}}} {
		for k, v := range part.v {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("%s[%d] is %g", part.name, k, v)
			}
		}
	}
	q := s.EE.Q
	if n := math.Sqrt(q[0]*q[0] + q[1]*q[1] + q[2]*q[2] + q[3]*q[3]); math.Abs(n-1) > 1e-6 {
		return fmt.Errorf("the orientation has length %g, want 1", n)
	}
	if s.Grip < -0.001 || s.Grip > 0.2 {
		return fmt.Errorf("the fingers are %g m apart", s.Grip)
	}
	return nil
}

func readOnly(ctx context.Context, b robot.Backend) error {
	var kept []robot.Frame
	var copies [][]byte
	err := drive(ctx, b, 5, robot.Command{Delta: [6]float64{2: 0.002}}, func(_ int, o robot.Observation) error {
		for _, f := range o.Frames {
			kept, copies = append(kept, f), append(copies, slices.Clone(f.Pix))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := b.Reset(ctx); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("robottest: second Reset: %w", err)
	}
	for i, f := range kept {
		if !slices.Equal(f.Pix, copies[i]) {
			return fmt.Errorf("robottest: camera %s: image %d changed after it was published", f.Camera, f.Seq)
		}
	}
	return nil
}

func reported(ctx context.Context, b robot.Backend) error {
	c := robot.Command{Delta: [6]float64{0: 0.0005, 2: 0.001}, Grip: 1}
	return drive(ctx, b, 5, c, func(i int, o robot.Observation) error {
		switch {
		case i == 0 && o.Applied != (robot.Command{}):
			return fmt.Errorf("robottest: the reset applied %v, want nothing", o.Applied)
		case i == 0 || o.By == robot.ByLog || o.By == robot.ByGuard:
			return nil
		}
		for k, v := range o.Applied.Delta {
			if math.Abs(v-c.Delta[k]) > 1e-9 {
				return fmt.Errorf("robottest: step %d applied %v by the %v, want %v", i, o.Applied, o.By, c)
			}
		}
		if o.Applied.Grip != c.Grip {
			return fmt.Errorf("robottest: step %d applied grip %g by the %v, want %g", i, o.Applied.Grip, o.By, c.Grip)
		}
		return nil
	})
}

func still(ctx context.Context, b robot.Backend) error {
	var from [3]float64
	return drive(ctx, b, steps, hold(), func(i int, o robot.Observation) error {
		if i == 0 {
			from = o.State.EE.P
		}
		if d := away(from, o.State.EE.P); d > 0.002 && o.By != robot.ByLog {
			return fmt.Errorf("robottest: the arm was told to hold still and moved %.1f mm in %d steps", 1000*d, i)
		}
		return nil
	})
}

func away(a, b [3]float64) float64 {
	return math.Sqrt((a[0]-b[0])*(a[0]-b[0]) + (a[1]-b[1])*(a[1]-b[1]) + (a[2]-b[2])*(a[2]-b[2]))
}

func refused(ctx context.Context, b robot.Backend) error {
	for _, c := range []robot.Command{
		{Delta: [6]float64{1: math.NaN()}},
		{Delta: [6]float64{0: math.Inf(1)}},
		{Delta: [6]float64{5: math.NaN()}},
		{Grip: math.NaN()},
	} {
		o, err := b.Reset(ctx)
		if errors.Is(err, robot.ErrStopped) {
			return nil // latched by the command before, until an operator comes
		}
		if err != nil {
			return fmt.Errorf("robottest: Reset: %w", err)
		}
		before := o.State.EE.P
		if o, err = b.Step(ctx, hold()); err != nil {
			if errors.Is(err, robot.ErrStopped) {
				return nil
			}
			return fmt.Errorf("robottest: Step: %w", err)
		}
		if o.By == robot.ByLog {
			return nil
		}
		if _, err := b.Step(ctx, c); err == nil {
			return fmt.Errorf("robottest: the command %v was taken", c)
		}
		o, err = b.Step(ctx, hold())
		if err != nil && !errors.Is(err, robot.ErrStopped) {
			return fmt.Errorf("robottest: Step after the refused command %v: %w", c, err)
		}
		if d := away(before, o.State.EE.P); err == nil && !(d < 0.002) {
			return fmt.Errorf("robottest: the refused command %v moved the arm %.1f mm", c, 1000*d)
		}
	}
	return nil
}

func cancelled(ctx context.Context, b robot.Backend) error {
	if _, err := b.Reset(ctx); err != nil {
		return fmt.Errorf("robottest: Reset: %w", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := b.Step(gone, hold()); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("robottest: Step with a cancelled context: error %v, want context.Canceled", err)
	}
	if _, err := b.Reset(gone); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("robottest: Reset with a cancelled context: error %v, want context.Canceled", err)
	}
	return nil
}

func again(ctx context.Context, b robot.Backend) error {
	for range 2 {
		n := 0
		err := drive(ctx, b, 3, robot.Command{Delta: [6]float64{2: 0.001}}, func(int, robot.Observation) error {
			n++
			return nil
		})
		if err != nil {
			return err
		}
		if n < 2 {
			return errors.New("robottest: an episode without a step")
		}
	}
	return nil
}

func final(ctx context.Context, b robot.Backend) error {
	if _, err := b.Reset(ctx); err != nil {
		return fmt.Errorf("robottest: Reset: %w", err)
	}
	for range 2 {
		if err := b.Close(); err != nil {
			return fmt.Errorf("robottest: Close: %w", err)
		}
	}
	if _, err := b.Step(ctx, hold()); err == nil {
		return errors.New("robottest: Step after Close succeeded")
	}
	if _, err := b.Reset(ctx); err == nil {
		return errors.New("robottest: Reset after Close succeeded")
	}
	return nil
}
