package wire

import (
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/diffusion"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

// sums is an extractor whose features are of the frames, and counts how often it was asked.
type sums struct {
	of   int // numbers
	seen int
}

func (s *sums) Extract(_ context.Context, frames []robot.Frame) (perception.Features, error) {
	s.seen++
	f := perception.Features{Embed: make([]float32, s.of)}
	for i, v := range frames[0].Pix {
		f.Embed[i%s.of] += float32(v) / 1e6
	}
	return f, nil
}

// A policy that draws chunks does the same, to the bit, whether or not the ticks at which it
// does not look are drawn.
func TestChunksAreCarriedOutUnseen(t *testing.T) {
	const horizon = 33
	for _, tt := range []struct {
		history, exec int
		pixels        bool
		seen          int // of the ticks 0 to horizon
	}{
		{history: 2, exec: 7, seen: 1 + 4*2},               // 0, and 6, 7, 13, 14 ... 28
		{history: 1, exec: 5, seen: 1 + 6},                 // 0, 5, 10 ... 30
		{history: 3, exec: 2, seen: horizon + 1},           // all
		{history: 2, exec: 4, pixels: true, seen: 1 + 8*2}, // 0, and 3, 4, 7, 8 ... 32
	} {
		c := tiny(t)
		if tt.pixels {
			set(t, &c, "policy.sees=pixels")
		}
		v := viewConfig(c, 3)
		a, err := newArm(c, evaluation)
		if err != nil {
			t.Fatal(err)
		}
		net, err := diffusion.NewNet(diffusion.Arch{View: v, History: tt.history, Horizon: 10, Channels: []int{8}, Process: diffusion.Process{Steps: 8}}, rand.New(rand.NewPCG(1, 2)))
		if err != nil {
			t.Fatal(err)
		}
		ps, err := net.Encode(1)
		if err != nil {
			t.Fatal(err)
		}
		did := func(seldom bool) (policy.Episode, int) {
			t.Helper()
			pi, err := diffusion.NewPolicy(diffusion.PolicyConfig{View: v, Draw: diffusion.Draw{Steps: 4}, Exec: tt.exec, Seed: 5})
			if err != nil {
				t.Fatal(err)
			}
			x := &sums{of: 3}
			actor := &loop.Actor{Backend: a.guard, Extractor: x, Policy: pi, Horizon: horizon, Pixels: tt.pixels}
			if err := actor.Load(ps); err != nil {
				t.Fatal(err)
			}
			if seldom {
				lookSeldom(actor, a)
			}
			a.next = 3
			pi.Begin(3)
			ep, err := actor.Episode(t.Context(), "e", 3)
			if err != nil {
				t.Fatal(err)
			}
			return ep, x.seen
		}
		want, all := did(false)
		got, some := did(true)
		if !slices.Equal(got.Applied, want.Applied) || got.Inputs[horizon].State != want.Inputs[horizon].State {
			t.Errorf("history %d, exec %d: the arm went elsewhere", tt.history, tt.exec)
		}
		if all != horizon+1 || some != tt.seen {
			t.Errorf("history %d, exec %d: %d of %d ticks were looked at, want %d", tt.history, tt.exec, some, all, tt.seen)
		}
		if obs, err := a.guard.Reset(t.Context()); err != nil || len(obs.Frames) == 0 {
			t.Errorf("afterwards %d frames are drawn, %v", len(obs.Frames), err)
		}
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}
}

// What a start comes to does not depend on those that the same policy had before it.
func TestStartsKnowNothingOfEachOther(t *testing.T) {
	c := tiny(t)
	set(t, &c, "policy.diffusion.draws=4")
	c.People.Groups = []config.Group{{Name: "near", Share: 1, Distance: 1}}
	v := viewConfig(c, 3)
	net, err := diffusion.NewNet(diffusion.Arch{View: v, History: 2, Horizon: 10, Channels: []int{8}, Process: diffusion.Process{Steps: 8}}, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	ps, err := net.Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	did := func(starts ...int) (policy.Episode, []sim.Truth) {
		t.Helper()
		a, err := newArm(c, evaluation)
		if err != nil {
			t.Fatal(err)
		}
		defer a.close()
		x := &sums{of: 3}
		tr, err := newTrier(t.Context(), c, a, x, nil, v, ps, true)
		if err != nil {
			t.Fatal(err)
		}
		var ep policy.Episode
		for _, i := range starts {
			a.next = i
			tr.pi.Begin(uint64(i))
			if ep, err = tr.actor.Episode(t.Context(), "e", uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
		if x.seen >= len(starts)*(c.Robot.Horizon+1) {
			t.Error("every tick was looked at")
		}
		return ep, tr.truths
	}
	want, truths := did(3)
	got, again := did(0, 7, 3)
	other, _ := did(7)
	if !slices.Equal(got.Applied, want.Applied) || slices.Equal(other.Applied, want.Applied) || !reflect.DeepEqual(got.Inputs, want.Inputs) {
		t.Error("after two others a start goes otherwise")
	}
	if len(truths) != c.Robot.Horizon+1 || !reflect.DeepEqual(again, truths) {
		t.Errorf("%d and %d truths of one start of %d ticks", len(truths), len(again), c.Robot.Horizon)
	}
}
