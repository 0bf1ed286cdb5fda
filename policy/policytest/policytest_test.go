package policytest

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
)

func imitator(seed uint64) (policy.Keeper, error) {
	return bc.NewLearner(bc.LearnerConfig{Arch: Arch(), Batch: 8, Seed: seed}, nil)
}

// The flawed learners are right in all but what they override.
type flawed struct {
	policy.Keeper
	n int
}

type greedy struct{ *flawed } // takes everything as new

func (g greedy) Add(ctx context.Context, e policy.Episode) error {
	g.n++
	e.ID = fmt.Sprint(e.ID, g.n)
	return g.Keeper.Add(ctx, e)
}

type forgetful struct{ *flawed } // says that it restored

func (forgetful) Restore(io.Reader) error { return nil }

type deaf struct{ *flawed } // does not hear that it should stop

func (d deaf) Update(ctx context.Context) (policy.Stats, error) {
	return d.Keeper.Update(context.WithoutCancel(ctx))
}

type timeless struct{ *flawed } // has one version

func (l timeless) Latest(ctx context.Context) (policy.Params, error) {
	p, err := l.Keeper.Latest(ctx)
	p.Version = 1
	return p, err
}

type babbling struct{ *flawed } // tells what is no number

func (b babbling) Update(ctx context.Context) (policy.Stats, error) {
	s, err := b.Keeper.Update(ctx)
	s.Metrics = append(s.Metrics, policy.Metric{Name: "loss", Value: math.NaN()})
	return s, err
}

type idle struct{ *flawed } // learns nothing

func (l idle) Update(ctx context.Context) (policy.Stats, error) { return policy.Stats{}, ctx.Err() }

func TestSuiteFindsFlaws(t *testing.T) {
	for _, tt := range []struct {
		name, check, want string
		wrap              func(*flawed) policy.Keeper
	}{
		{"takes an id twice", "an id counts once", "added twice", func(f *flawed) policy.Keeper { return greedy{f} }},
		{"does not restore", "a resumed run goes on to the same bits", "after a restoration", func(f *flawed) policy.Keeper { return forgetful{f} }},
		{"refuses nothing", "what Restore refuses changes nothing", "refused with <nil>", func(f *flawed) policy.Keeper { return forgetful{f} }},
		{"goes on when cancelled", "a cancelled context stops", "Update said", func(f *flawed) policy.Keeper { return deaf{f} }},
		{"does not count", "versions tell parameters apart", "versions 1 and 1", func(f *flawed) policy.Keeper { return timeless{f} }},
		{"tells nonsense", "metrics are finite and named once", "loss is NaN", func(f *flawed) policy.Keeper { return babbling{f} }},
		{"tells too little", "metrics are finite and named once", "no round tells", func(f *flawed) policy.Keeper { return idle{f} }},
		{"learns nothing", "the parameters act", "changed nothing", func(f *flawed) policy.Keeper { return idle{f} }},
		{"has one seed", "one seed gives one result", "two seeds", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Subject{New: func(seed uint64) (policy.Keeper, error) {
				if tt.wrap == nil {
					return imitator(1)
				}
				k, err := imitator(seed)
				return tt.wrap(&flawed{Keeper: k}), err
			}}
			for _, c := range checks() {
				if c.name != tt.check {
					continue
				}
				if err := c.run(t.Context(), s); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("check %q said %v, want an error with %q", c.name, err, tt.want)
				}
				return
			}
			t.Fatalf("no check %q", tt.check)
		})
	}
}

func TestDemonstratorEndsWhereItShould(t *testing.T) {
	near := 0
	for _, e := range Demos(50, 1, [2]float64{}) {
		if e.Rewards[Ticks-1] > -Near {
			near++
		}
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	if near < 45 {
		t.Errorf("%d of 50 demonstrations end near the goal, want 45", near)
	}
	for _, e := range Demos(50, 1, [2]float64{0.16, -0.12}) {
		if d := -e.Rewards[Ticks-1]; math.Abs(d-0.2) > 0.12 {
			t.Errorf("a demonstration beside the goal ends %v m off, want about 0.2", d)
		}
	}
}
