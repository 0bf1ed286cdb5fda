package loop_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
)

// guarded is a rail behind a guard with wide limits.
func guarded(t *testing.T, r robot.Backend) *guard.Guard {
	t.Helper()
	g, err := guard.New(r, guard.Config{
		Tick: 50 * time.Millisecond, Box: guard.Box{Min: [3]float64{-9, -9, -9}, Max: [3]float64{9, 9, 9}},
		Speed: 10, Turn: 10, Acc: 1e3, TurnAcc: 1e3, Lead: 1, LeadTurn: 1, Opening: 0.08, Lease: guard.Leasing{Term: time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestOverrideDecidesAndIsRecorded(t *testing.T) {
	human := robot.Command{Delta: [6]float64{1: 0.02}, Grip: 0.25}
	a := &loop.Actor{Backend: guarded(t, &rail{}), Extractor: eyes{}, Policy: &stride{step: 0.01}, Horizon: 4,
		Override: func(step int, obs robot.Observation, wish robot.Command) (robot.Command, robot.Source) {
			switch {
			case int(obs.Frames[0].Seq) != step:
				t.Errorf("step %d came with frame %d", step, obs.Frames[0].Seq)
			case step == 1:
				return human, robot.ByHuman
			case step == 2:
				return robot.Command{Grip: wish.Grip}, robot.ByGuard
			}
			return wish, robot.ByPolicy
		}}
	ep, err := a.Episode(t.Context(), "a", 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := []robot.Source{robot.ByPolicy, robot.ByHuman, robot.ByGuard, robot.ByPolicy}; !slices.Equal(ep.By, want) {
		t.Errorf("decided by %v, want %v", ep.By, want)
	}
	if ep.Applied[1] != human || ep.Applied[2] != (robot.Command{Grip: 0.5}) {
		t.Errorf("applied %+v and %+v, want the person's and the hold", ep.Applied[1], ep.Applied[2])
	}
}

// yanked is a rail whose third Step is cut off: the caller's context ends meanwhile.
type yanked struct {
	rail
	yank context.CancelFunc
}

func (y *yanked) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	if y.n == 2 {
		y.yank()
	}
	return y.rail.Step(ctx, c)
}

// gripped can be held from beside.
type gripped struct {
	yanked
	holds int
}

func (g *gripped) Hold(context.Context) error { g.holds++; return nil }

func TestAnEpisodeThatIsCutOffWithinAStepHoldsTheArm(t *testing.T) {
	for _, beside := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		g := &gripped{yanked: yanked{rail: rail{grip: 0.04}, yank: cancel}}
		var b robot.Backend = &g.yanked
		if beside {
			b = g
		}
		arm := guarded(t, b)
		a := &loop.Actor{Backend: arm, Extractor: eyes{}, Policy: &stride{step: 0.01}, Horizon: 4}
		if _, err := a.Episode(ctx, "a", 0); !errors.Is(err, context.Canceled) || arm.Fault() != nil {
			t.Errorf("%v, fault %v; want the caller's end", err, arm.Fault())
		} else if strings.Contains(err.Error(), "hold the arm") {
			t.Errorf("the hold was refused: %v", err)
		}
		last := g.applied[len(g.applied)-1]
		if beside && (g.holds != 1 || len(g.applied) != 3) || !beside && (len(g.applied) != 4 || last.Delta != [6]float64{} || last.Grip != 0.5) {
			t.Errorf("held from beside %v: %d holds, commands %v; want the arm told to hold after its third", beside, g.holds, g.applied)
		}
		// Nothing else passes: where the target is is not known.
		if _, err := arm.Step(t.Context(), robot.Command{Delta: [6]float64{0.01}}); err == nil {
			t.Error("a motion passed without a Reset")
		}
	}
}

func TestStoppedEpisodeBeginsAnew(t *testing.T) {
	r := &rail{bad: 2, failure: fmt.Errorf("reflex: %w", robot.ErrStopped)}
	l := &counter{}
	var told []string
	s := loop.Session{
		Actor: &loop.Actor{Backend: r, Extractor: eyes{}, Policy: &stride{step: 0.01}, Scorer: late{}, Horizon: 4}, Learner: l, Episodes: 2,
		Stopped: func(_ context.Context, n int, fault error) error {
			told = append(told, fmt.Sprint(n, errors.Is(fault, robot.ErrStopped)))
			if len(told) == 2 {
				r.failure = nil
			}
			return nil
		},
	}
	if err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(told, []string{"0 true", "0 true"}) {
		t.Errorf("told of %v, want episode 0 twice", told)
	}
	if l.updates != 2 || len(l.eps) != 2 || l.eps[0].Len() != 4 {
		t.Errorf("%d rounds and %d episodes, want 2 whole ones of each", l.updates, len(l.eps))
	}
}

func TestSessionEndsWhereNobodyClearsTheFault(t *testing.T) {
	r := &rail{bad: 2, failure: fmt.Errorf("reflex: %w", robot.ErrStopped)}
	gaveUp := errors.New("nobody came")
	for name, stopped := range map[string]func(context.Context, int, error) error{
		"nobody waits": nil, "waiting fails": func(context.Context, int, error) error { return gaveUp },
	} {
		s := loop.Session{Actor: &loop.Actor{Backend: r, Extractor: eyes{}, Policy: &stride{step: 0.01}, Scorer: late{}, Horizon: 4}, Learner: &counter{}, Episodes: 1, Stopped: stopped}
		if err := s.Run(t.Context()); !errors.Is(err, robot.ErrStopped) || stopped != nil && !errors.Is(err, gaveUp) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
