package paced_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/paced"
)

// still is a backend of virtual time whose Step takes work by the clock.
type still struct {
	n    int
	work time.Duration
	err  error
}

func (s *still) observe() robot.Observation {
	at := time.Unix(0, 0).Add(time.Duration(s.n) * tick)
	return robot.Observation{State: robot.State{Stamp: at}, Frames: []robot.Frame{{Camera: "a", Stamp: at.Add(-7 * time.Millisecond)}}}
}

func (s *still) Reset(context.Context) (robot.Observation, error) { s.n = 0; return s.observe(), nil }
func (s *still) Step(context.Context, robot.Command) (robot.Observation, error) {
	time.Sleep(s.work)
	s.n++
	return s.observe(), s.err
}
func (s *still) Close() error { return nil }

const tick = 50 * time.Millisecond

var clock = paced.Clock{Now: time.Now, After: time.After}

func TestStepTakesATick(t *testing.T) {
	for name, tt := range map[string]struct {
		work, think time.Duration // of the backend, of the commander
		want        time.Duration // ten steps
		late        uint64
	}{
		"nothing to do":      {0, 0, 10 * tick, 0},
		"work within a tick": {30 * time.Millisecond, 10 * time.Millisecond, 10 * tick, 0},
		"a slow backend":     {80 * time.Millisecond, 0, 10 * 80 * time.Millisecond, 10},
		// The command is applied when it comes, and gets a whole tick from there.
		"a slow commander": {0, 120 * time.Millisecond, 10 * (120*time.Millisecond + tick), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := paced.New(&still{work: tt.work}, tick, clock)
				if _, err := p.Reset(t.Context()); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				for range 10 {
					time.Sleep(tt.think)
					obs, err := p.Step(t.Context(), robot.Command{})
					if err != nil {
						t.Fatal(err)
					}
					if !obs.State.Stamp.Equal(time.Now()) || obs.State.Stamp.Sub(obs.Frames[0].Stamp) != 7*time.Millisecond {
						t.Fatalf("stamps %v and %v at %v", obs.State.Stamp, obs.Frames[0].Stamp, time.Now())
					}
				}
				if got := time.Since(began); got != tt.want || p.Late() != tt.late {
					t.Errorf("took %v with %d late, want %v with %d", got, p.Late(), tt.want, tt.late)
				}
			})
		})
	}
}

func TestStepEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &still{}
		p := paced.New(s, tick, clock)
		if _, err := p.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), tick/2)
		defer cancel()
		if _, err := p.Step(ctx, robot.Command{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		s.err = robot.ErrStale
		if _, err := p.Step(t.Context(), robot.Command{}); !errors.Is(err, robot.ErrStale) {
			t.Errorf("got %v, want the backend's error", err)
		}
	})
}
