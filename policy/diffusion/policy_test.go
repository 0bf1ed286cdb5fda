package diffusion

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/seed"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/robot"
)

// drawn is a network of small weights, and its parameters.
func drawn(t *testing.T, a Arch, seed uint64) (*Net, policy.Params) {
	t.Helper()
	n, err := NewNet(a, newRand(seed))
	if err != nil {
		t.Fatal(err)
	}
	ps, err := n.Encode(seed)
	if err != nil {
		t.Fatal(err)
	}
	return n, ps
}

// seeded is the source of a chunk's noise.
func seeded(run, episode uint64, step int) *rand.Rand {
	return rand.New(rand.NewPCG(seed.Mix(run^seed.Mix(episode)), seed.Mix(uint64(step))))
}

func at(step int, x float64) policy.Input {
	in := policy.Input{Step: step}
	in.State.EE.P[0] = x
	in.Features.Embed = []float32{0.1, -0.1}
	return in
}

func newPolicy(t *testing.T, c PolicyConfig) *Policy {
	t.Helper()
	c.View = policytest.View()
	pi, err := NewPolicy(c)
	if err != nil {
		t.Fatal(err)
	}
	return pi
}

// TestHorizonRecedes: the commands are the first Exec actions from the current
// step on of chunks that a sampler draws from the histories and seeds documented.
func TestHorizonRecedes(t *testing.T) {
	a := small(MLP)
	a.Horizon, a.History = 6, 3
	n, ps := drawn(t, a, 1)
	pi := newPolicy(t, PolicyConfig{Draw: Draw{Steps: 4}, Exec: 3, Seed: 9})
	if err := pi.Load(ps); err != nil {
		t.Fatal(err)
	}
	s, err := NewSampler(n, 1, Draw{Steps: 4})
	if err != nil {
		t.Fatal(err)
	}
	D, v := a.View.Dim(), a.View
	for episode := range uint64(2) {
		var seen [][]float32
		var chunk []float32
		for step := range 8 {
			in := at(step, 0.01*float64(step))
			row := make([]float32, D)
			if err := v.Row(row, in); err != nil {
				t.Fatal(err)
			}
			if seen = append(seen, row); step == 0 {
				seen = [][]float32{row, row, row}
			}
			if step%3 == 0 {
				chunk = make([]float32, 6*2)
				s.Sample(chunk, slices.Concat(seen[len(seen)-3:]...), nil, seeded(9, episode, step))
			}
			i := 2 + step%3
			want := v.Action.Command(chunk[i*2 : i*2+2])
			got, err := pi.Act(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Fatalf("episode %d, step %d: command %v, want %v", episode, step, got, want)
			}
		}
	}
}

// TestEpisodesDoNotLeak: what an episode saw and drew does not matter to the
// next, and an episode's number alone tells its noise.
func TestEpisodesDoNotLeak(t *testing.T) {
	_, ps := drawn(t, small(MLP), 1)
	play := func(pi *Policy, steps int, x float64) (cs []robot.Command) {
		for step := range steps {
			c, err := pi.Act(t.Context(), at(step, x))
			if err != nil {
				t.Fatal(err)
			}
			cs = append(cs, c)
		}
		return cs
	}
	a, b, c := newPolicy(t, PolicyConfig{Seed: 1}), newPolicy(t, PolicyConfig{Seed: 1}), newPolicy(t, PolicyConfig{Seed: 2})
	for _, pi := range []*Policy{a, b, c} {
		if err := pi.Load(ps); err != nil {
			t.Fatal(err)
		}
	}
	play(a, 2, 0.3) // cut in the middle of a chunk
	b.Begin(1)
	c.Begin(1)
	first, second, third := play(a, 7, 0.1), play(b, 7, 0.1), play(c, 7, 0.1)
	if !slices.Equal(first, second) {
		t.Errorf("after another episode %v, without it %v", first, second)
	}
	if slices.Equal(first, third) {
		t.Error("two seeds gave the same commands")
	}
	if slices.Equal(play(a, 7, 0.1), first) {
		t.Error("two episodes gave the same commands")
	}
}

// TestGapBeginsAnew: after a step that it was not asked for, a chunk is drawn at
// once from what is seen now.
func TestGapBeginsAnew(t *testing.T) {
	_, ps := drawn(t, small(MLP), 1)
	a, b := newPolicy(t, PolicyConfig{Exec: 3}), newPolicy(t, PolicyConfig{Exec: 3})
	for _, pi := range []*Policy{a, b} {
		if err := pi.Load(ps); err != nil {
			t.Fatal(err)
		}
	}
	for _, in := range []policy.Input{at(0, 0.2), at(1, 0.2)} {
		if _, err := a.Act(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Act(t.Context(), at(0, -0.3)); err != nil {
		t.Fatal(err)
	}
	x, errA := a.Act(t.Context(), at(5, 0.1))
	y, errB := b.Act(t.Context(), at(5, 0.1))
	if errA != nil || errB != nil || x != y {
		t.Errorf("commands %v and %v, errors %v and %v, want the same command", x, y, errA, errB)
	}
}

// TestLoadWaitsForTheNextChunk, also where the new parameters see another history
// and plan another chunk.
func TestLoadWaitsForTheNextChunk(t *testing.T) {
	_, one := drawn(t, small(MLP), 1)
	other := small(UNet)
	other.Horizon, other.History = 8, 4
	_, two := drawn(t, other, 2)
	a, b := newPolicy(t, PolicyConfig{Exec: 3}), newPolicy(t, PolicyConfig{Exec: 3})
	for _, pi := range []*Policy{a, b} {
		if err := pi.Load(one); err != nil {
			t.Fatal(err)
		}
	}
	for step := range 6 {
		if step == 1 {
			if err := b.Load(two); err != nil {
				t.Fatal(err)
			}
			if a.Version() != 1 || b.Version() != 2 {
				t.Errorf("versions %d and %d, want 1 and 2", a.Version(), b.Version())
			}
		}
		x, errA := a.Act(t.Context(), at(step, 0.1))
		y, errB := b.Act(t.Context(), at(step, 0.1))
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if same := x == y; same != (step < 3) {
			t.Errorf("step %d: %v and %v", step, x, y)
		}
	}
}

func TestPolicyTells(t *testing.T) {
	n, ps := drawn(t, small(MLP), 1)
	if _, err := NewPolicy(PolicyConfig{}); err == nil || !strings.Contains(err.Error(), "sees nothing") {
		t.Errorf("error = %v, want one about the view", err)
	}
	if _, err := NewPolicy(PolicyConfig{View: policytest.View(), Exec: -1}); err == nil || !strings.Contains(err.Error(), "Exec") {
		t.Errorf("error = %v, want one about Exec", err)
	}
	pi := newPolicy(t, PolicyConfig{})
	if _, err := pi.Act(t.Context(), at(0, 0)); err == nil || !strings.Contains(err.Error(), "Load comes before Act") {
		t.Errorf("error = %v, want one about Load", err)
	}
	broken := n.Clone()
	broken.params[0].Data[0] = float32(math.Inf(1))
	inf, err := broken.Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	flat := n.Clone()
	flat.actHalf.Data[0] = 0
	zero, err := flat.Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	wide := small(MLP)
	wide.View.Action.Scale = 1
	_, foreign := drawn(t, wide, 1)
	for want, c := range map[string]struct {
		pi *Policy
		ps policy.Params
	}{
		"Exec is 4 actions, want at most the 3": {newPolicy(t, PolicyConfig{Exec: 4}), ps},
		"Draw.Eta is 2":                         {newPolicy(t, PolicyConfig{Draw: Draw{Eta: 2}}), ps},
		"another view":                          {pi, foreign},
		"holds +Inf":                            {pi, inf},
		"half range 0 is 0":                     {pi, zero},
		"version 3":                             {pi, policy.Params{Version: 3, Data: ps.Data[:99]}},
	} {
		if err := c.pi.Load(c.ps); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want one with %q", err, want)
		}
	}
	if err := pi.Load(ps); err != nil {
		t.Fatal(err)
	}
	if _, err := pi.Act(t.Context(), at(-1, 0)); err == nil || !strings.Contains(err.Error(), "step -1") {
		t.Errorf("error = %v, want one about the step", err)
	}
	if _, err := pi.Act(t.Context(), at(0, math.NaN())); err == nil || !strings.Contains(err.Error(), "NaN") {
		t.Errorf("error = %v, want one about the NaN", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pi.Act(over, at(0, 0)); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want the context's", err)
	}
	huge := n.Clone()
	for i := range huge.params[len(huge.params)-1].Data {
		huge.params[len(huge.params)-1].Data[i] = math.MaxFloat32
	}
	huge.actHalf.Data[0] = math.MaxFloat32
	huge.actMid.Data[0] = -math.MaxFloat32
	hp, err := huge.Encode(2)
	if err != nil {
		t.Fatal(err)
	}
	if err := pi.Load(hp); err != nil {
		t.Fatal(err)
	}
	if _, err := pi.Act(t.Context(), at(0, 0)); err == nil || !strings.Contains(err.Error(), "the parameters diverged") {
		t.Errorf("error = %v, want one about diverged parameters", err)
	}
}

// TestSpoiltRowBeginsAnew: after an input that is refused the history does not
// hold it.
func TestSpoiltRowBeginsAnew(t *testing.T) {
	_, ps := drawn(t, small(MLP), 1)
	pi := newPolicy(t, PolicyConfig{})
	if err := pi.Load(ps); err != nil {
		t.Fatal(err)
	}
	for step, x := range []float64{0, 0.1, math.NaN(), 0.2} {
		c, err := pi.Act(t.Context(), at(step, x))
		if (err != nil) != (step == 2) {
			t.Fatalf("step %d: error %v", step, err)
		}
		if d := c.Delta[0] - c.Delta[0]; d != d {
			t.Errorf("step %d: command %v", step, c)
		}
	}
}

func TestRangesOfTheData(t *testing.T) {
	a := small(MLP)
	n, err := NewNet(a, newRand(1))
	if err != nil {
		t.Fatal(err)
	}
	D := a.View.Dim()
	rows := make([]float32, 3*D)
	for i := range 3 {
		rows[i*D], rows[i*D+1] = float32(2*i), 7 // from 0 to 4, and always 7
	}
	n.Fit(rows, []float32{-0.2, 0.5, 0.2, 0.9})
	got := make([]float32, 3*D)
	n.see(got, rows)
	for i, want := range []float32{-1, 0, 1} {
		if got[i*D] != want || got[i*D+1] != 0 {
			t.Errorf("row %d is %v, want %v and 0 first", i, got[i*D:(i+1)*D], want)
		}
	}
	rows[0] = 100
	n.see(got, rows)
	if got[0] != rim {
		t.Errorf("far outside the range it sees %v, want %v", got[0], float32(rim))
	}
	act := []float32{-0.2, 0.9, 0, 0.7}
	x, back := make([]float32, 4), make([]float32, 4)
	n.scale(x, act)
	n.act(back, x)
	for i, want := range []float64{-1, 1, 0, 0} {
		if math.Abs(float64(x[i])-want) > 1e-6 || math.Abs(float64(back[i]-act[i])) > 1e-6 {
			t.Errorf("action %v is %v normalised, want %v, and %v back", act[i], x[i], want, back[i])
		}
	}
}

// FuzzDecode: whatever the bytes, Decode gives an error or a Net that encodes to
// them again.
func FuzzDecode(f *testing.F) {
	for _, s := range shapeNames {
		n, err := NewNet(small(s), newRand(1))
		if err != nil {
			f.Fatal(err)
		}
		ps, err := n.Encode(1)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ps.Data)
		f.Add(ps.Data[:len(ps.Data)/2])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := Decode(policy.Params{Data: data})
		if err != nil {
			return
		}
		ps, err := n.Encode(1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(ps); err != nil {
			t.Errorf("decoded, but not again: %v", err)
		}
	})
}
