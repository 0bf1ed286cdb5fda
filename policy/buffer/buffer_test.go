package buffer_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
	"pgregory.net/rapid"
)

// look sees one feature, so that a row tells where it came from.
func look() view.Config {
	return view.Config{Embed: 1, Action: view.Action{Axes: []int{0}, Scale: 0.01}}
}

// episode has features base, base+1, ..., actions t/100 and rewards base+t+1.
func episode(id string, origin policy.Origin, base float32, T int) policy.Episode {
	e := policy.Episode{ID: id, Origin: origin}
	for t := range T + 1 {
		e.Inputs = append(e.Inputs, policy.Input{Step: t, Features: perception.Features{Embed: []float32{base + float32(t)}}})
	}
	for t := range T {
		e.Applied = append(e.Applied, robot.Command{Delta: [6]float64{float64(t) / 100 * 0.01}})
		e.By = append(e.By, robot.ByPolicy)
		e.Version = append(e.Version, 1)
		e.Rewards = append(e.Rewards, float64(base)+float64(t)+1)
	}
	return e
}

func filled(t testing.TB, c buffer.Config, es ...policy.Episode) *buffer.Buffer {
	t.Helper()
	b, err := buffer.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		if added, err := b.Add(e); err != nil || !added {
			t.Fatalf("Add(%s) = %v, %v", e.ID, added, err)
		}
	}
	return b
}

// table draws often enough to see every transition, and maps Obs to its row:
// action, reward, next, discount.
func table(t testing.TB, b *buffer.Buffer, demos bool) map[float32][4]float32 {
	t.Helper()
	dst := buffer.NewBatch(2000, look())
	want := 0
	if demos {
		want = 2000
	}
	if err := b.Sample(dst, want, rand.New(rand.NewPCG(1, 2))); err != nil {
		t.Fatal(err)
	}
	got := map[float32][4]float32{}
	for i, obs := range dst.Obs {
		row := [4]float32{dst.Act[i], dst.Reward[i], dst.Next[i], dst.Discount[i]}
		if old, ok := got[obs]; ok && old != row {
			t.Fatalf("observation %v came with rows %v and %v", obs, old, row)
		}
		got[obs] = row
	}
	return got
}

func TestRowsAreTransitions(t *testing.T) {
	ended := episode("e", policy.Online, 10, 3)
	ended.Terminal = true
	cut := episode("e", policy.Online, 10, 3)
	for _, tt := range []struct {
		name string
		c    buffer.Config
		e    policy.Episode
		want map[float32][4]float32
	}{
		{"truncated bootstraps", buffer.Config{Gamma: 0.5}, cut, map[float32][4]float32{
			10: {0, 11, 11, 0.5}, 11: {0.01, 12, 12, 0.5}, 12: {0.02, 13, 13, 0.5}}},
		{"terminal does not", buffer.Config{Gamma: 0.5}, ended, map[float32][4]float32{
			10: {0, 11, 11, 0.5}, 11: {0.01, 12, 12, 0.5}, 12: {0.02, 13, 13, 0}}},
		{"two steps", buffer.Config{Gamma: 0.5, Steps: 2}, cut, map[float32][4]float32{
			10: {0, 11 + 6, 12, 0.25}, 11: {0.01, 12 + 6.5, 13, 0.25}, 12: {0.02, 13, 13, 0.5}}},
		{"five steps, terminal", buffer.Config{Gamma: 0.5, Steps: 5}, ended, map[float32][4]float32{
			10: {0, 11 + 6 + 3.25, 13, 0}, 11: {0.01, 12 + 6.5, 13, 0}, 12: {0.02, 13, 13, 0}}},
		{"scaled", buffer.Config{Gamma: 0.5, Scale: 10, Shift: 5}, cut, map[float32][4]float32{
			10: {0, 115, 11, 0.5}, 11: {0.01, 125, 12, 0.5}, 12: {0.02, 135, 13, 0.5}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.View = look()
			got := table(t, filled(t, tt.c, tt.e), false)
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("rows = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFiniteTaskEndsAtTheHorizon(t *testing.T) {
	c := buffer.Config{View: look(), Gamma: 0.9, Finite: true}
	if _, err := buffer.New(c); err == nil || !strings.Contains(err.Error(), "Horizon") {
		t.Errorf("Finite without a clock: error = %v, want one naming Horizon", err)
	}
	c.View.Horizon = 3
	for _, tt := range []struct {
		name string
		T    int
		want float32
	}{{"whole", 3, 0}, {"cut short", 2, 0.9}} {
		t.Run(tt.name, func(t *testing.T) {
			b := filled(t, c, episode("e", policy.Online, 0, tt.T))
			dst := buffer.NewBatch(200, c.View)
			if err := b.Sample(dst, 0, rand.New(rand.NewPCG(1, 2))); err != nil {
				t.Fatal(err)
			}
			for i, d := range dst.Discount {
				last := dst.Obs[2*i] == float32(tt.T-1)
				if want := map[bool]float32{true: tt.want, false: 0.9}[last]; d != want {
					t.Fatalf("step %v: discount %v, want %v", dst.Obs[2*i], d, want)
				}
			}
		})
	}
}

func TestReturnsToGo(t *testing.T) {
	failed := episode("e", policy.Demo, 0, 3) // cut off before it succeeded
	failed.Rewards = []float64{-1, -1, -1}
	won := episode("e", policy.Demo, 0, 3)
	won.Rewards, won.Terminal = []float64{-1, -1, 0}, true
	dense := episode("e", policy.Demo, 0, 3) // 1, 2, 3
	gaveUp := failed
	gaveUp.Terminal = true
	for _, tt := range []struct {
		name string
		c    buffer.Config
		e    policy.Episode
		want []float32
	}{
		{"success", buffer.Config{Gamma: 0.5}, won, []float32{-1.5, -1, 0}},
		{"success, steady", buffer.Config{Gamma: 0.5, Tail: buffer.TailSteady}, won, []float32{-1.5, -1, 0}},
		{"failure counts its own steps", buffer.Config{Gamma: 0.5}, failed, []float32{-1.75, -1.5, -1}},
		{"failure goes on for ever", buffer.Config{Gamma: 0.5, Tail: buffer.TailSteady}, failed, []float32{-2, -2, -2}},
		{"an end has no tail", buffer.Config{Gamma: 0.5, Tail: buffer.TailSteady}, gaveUp, []float32{-1.75, -1.5, -1}},
		{"dense", buffer.Config{Gamma: 0.5, Tail: buffer.TailSteady}, dense, []float32{1 + 1 + 1.5, 2 + 3, 3 + 3}},
		{"of scaled rewards", buffer.Config{Gamma: 0.5, Scale: 10, Shift: 5, Tail: buffer.TailSteady}, failed, []float32{-10, -10, -10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.View, tt.c.Returns = look(), true
			b := filled(t, tt.c, tt.e)
			check := func(want []float32) {
				t.Helper()
				dst := buffer.NewBatch(50, look())
				if err := b.Sample(dst, 50, rand.New(rand.NewPCG(1, 2))); err != nil {
					t.Fatal(err)
				}
				for i, obs := range dst.Obs {
					if got := dst.Return[i]; got != want[int(obs)] {
						t.Errorf("return from step %v = %v, want %v", obs, got, want[int(obs)])
					}
				}
			}
			check(tt.want)
			if _, err := b.Relabel("e", []float64{0, 0, 0}); err != nil {
				t.Fatal(err)
			}
			if tt.c.Shift == 0 {
				check([]float32{0, 0, 0})
			}
		})
	}
	for want, c := range map[string]buffer.Config{
		"Tail is 7":           {View: look(), Gamma: 0.9, Tail: 7},
		"wants Gamma below 1": {View: look(), Gamma: 1, Returns: true, Tail: buffer.TailSteady},
	} {
		if _, err := buffer.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want one with %q", err, want)
		}
	}
}

func TestSidesOfABatch(t *testing.T) {
	mixed := episode("mixed", policy.Online, 100, 4)
	mixed.By[2] = robot.ByHuman
	mixed.By[3] = robot.ByGuard
	b := filled(t, buffer.Config{View: look(), Gamma: 0.9}, episode("demo", policy.Demo, 0, 3), mixed)

	keys := func(m map[float32][4]float32) []float32 {
		var ks []float32
		for k := range m {
			ks = append(ks, k)
		}
		slices.Sort(ks)
		return ks
	}
	if got, want := keys(table(t, b, true)), []float32{0, 1, 2, 102}; !slices.Equal(got, want) {
		t.Errorf("demonstration side = %v, want %v (with the intervention)", got, want)
	}
	if got, want := keys(table(t, b, false)), []float32{100, 101, 102, 103}; !slices.Equal(got, want) {
		t.Errorf("online side = %v, want %v", got, want)
	}
	if got, want := b.Count(), (buffer.Count{Episodes: 2, Demo: 4, Online: 4, Human: 1}); got != want {
		t.Errorf("count = %+v, want %+v", got, want)
	}
	if got, want := b.Observations(), []float32{0, 1, 2, 102, 100, 101, 102, 103}; !slices.Equal(got, want) {
		t.Errorf("observations = %v, want %v", got, want)
	}
	dst := buffer.NewBatch(10, look())
	if err := b.Sample(dst, 5, rand.New(rand.NewPCG(3, 4))); err != nil {
		t.Fatal(err)
	}
	for i, obs := range dst.Obs {
		if i < 5 && obs >= 100 && obs != 102 || i >= 5 && obs < 100 {
			t.Errorf("row %d is %v: half demonstrations, then half online wanted", i, obs)
		}
	}
	if dst.Demos != 5 {
		t.Errorf("Demos = %d, want 5", dst.Demos)
	}
}

func TestSampleIsUniform(t *testing.T) {
	b := filled(t, buffer.Config{View: look(), Gamma: 0.9},
		episode("a", policy.Online, 0, 2), episode("b", policy.Online, 2, 8))
	dst := buffer.NewBatch(20000, look())
	if err := b.Sample(dst, 0, rand.New(rand.NewPCG(5, 6))); err != nil {
		t.Fatal(err)
	}
	var hist [10]float64
	for _, obs := range dst.Obs {
		hist[int(obs)]++
	}
	for i, n := range hist {
		// Binomial of mean 2000 and deviation 42: six of them.
		if math.Abs(n-2000) > 255 {
			t.Errorf("transition %d drawn %v times of 20000, want 2000 +- 255", i, n)
		}
	}
}

func TestAnIDCountsOnce(t *testing.T) {
	b := filled(t, buffer.Config{View: look(), Gamma: 0.9, Capacity: 2}, episode("a", policy.Online, 0, 2))
	add := func(id string) bool {
		t.Helper()
		added, err := b.Add(episode(id, policy.Online, 50, 2))
		if err != nil {
			t.Fatal(err)
		}
		return added
	}
	if add("a") {
		t.Error("the same id was taken twice")
	}
	if !add("b") || b.Count().Online != 2 {
		t.Errorf("count = %+v, want the new episode in place of the old", b.Count())
	}
	if add("a") {
		t.Error("an evicted id was taken again")
	}
}

func TestEvictionModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.IntRange(1, 12).Draw(t, "capacity")
		b, err := buffer.New(buffer.Config{View: look(), Gamma: 0.9, Capacity: capacity})
		if err != nil {
			t.Fatal(err)
		}
		var kept []int // lengths of the online episodes that must be there
		demo, total, first := 0, 0, 0
		for i := range rapid.IntRange(1, 20).Draw(t, "episodes") {
			T := rapid.IntRange(1, 6).Draw(t, "length")
			e := episode(fmt.Sprint(i), policy.Origin(rapid.IntRange(0, 1).Draw(t, "origin")), float32(first), T)
			if _, err := b.Add(e); err != nil {
				t.Fatal(err)
			}
			if e.Origin == policy.Demo {
				demo += T
			} else {
				kept, total = append(kept, T), total+T
				for total > capacity && len(kept) > 1 {
					total, kept = total-kept[0], kept[1:]
				}
			}
			if got := b.Count(); got.Demo != demo || got.Online != total {
				t.Fatalf("demo %d, online %d; want %d, %d", got.Demo, got.Online, demo, total)
			}
		}
	})
}

func TestRelabelChangesRewardsOnly(t *testing.T) {
	b := filled(t, buffer.Config{View: look(), Gamma: 0.5, Steps: 2, Scale: 2}, episode("a", policy.Demo, 0, 2))
	if ok, err := b.Relabel("a", []float64{10, 20}); !ok || err != nil {
		t.Fatalf("Relabel = %v, %v", ok, err)
	}
	want := map[float32][4]float32{0: {0, 20 + 20, 2, 0.25}, 1: {0.01, 40, 2, 0.5}}
	if got := table(t, b, true); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("rows = %v, want %v", got, want)
	}
	if ok, err := b.Relabel("b", nil); ok || err != nil {
		t.Errorf("Relabel of an unknown id = %v, %v; want false, nil", ok, err)
	}
	if _, err := b.Relabel("a", []float64{1}); err == nil {
		t.Error("Relabel took too few rewards")
	}
}

func TestAddRefuses(t *testing.T) {
	for _, tt := range []struct {
		want  string
		spoil func(e *policy.Episode)
	}{
		{"label it first", func(e *policy.Episode) { e.Rewards = nil }},
		{"reward 1 is NaN", func(e *policy.Episode) { e.Rewards[1] = math.NaN() }},
		{"without an id", func(e *policy.Episode) { e.ID = "" }},
		{"episode e: view: embedding has 0", func(e *policy.Episode) { e.Inputs[2].Features.Embed = nil }},
		{"command 0 is not finite", func(e *policy.Episode) { e.Applied[0].Delta[0] = math.NaN() }},
		{"command 1 is not finite", func(e *policy.Episode) { e.Applied[1].Delta[4] = math.Inf(1) }},
		{"command 1 is not finite", func(e *policy.Episode) { e.Applied[1].Grip = math.NaN() }},
	} {
		t.Run(tt.want, func(t *testing.T) {
			b := filled(t, buffer.Config{View: look(), Gamma: 0.9})
			e := episode("e", policy.Online, 0, 2)
			tt.spoil(&e)
			if _, err := b.Add(e); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
			if got := b.Count(); got != (buffer.Count{}) {
				t.Errorf("count = %+v after a refusal, want nothing", got)
			}
			if added, err := b.Add(episode("e", policy.Online, 0, 2)); !added || err != nil {
				t.Errorf("the mended episode: Add = %v, %v", added, err)
			}
		})
	}
}

func TestLossyCommandsAreCounted(t *testing.T) {
	e := episode("e", policy.Online, 0, 3)
	e.Applied[0].Delta[2] = 0.01 // the view moves x alone
	e.Applied[1].Delta[0] = 0.02 // twice the range
	b := filled(t, buffer.Config{View: look(), Gamma: 0.9}, e)
	if got := b.Count().Lossy; got != 2 {
		t.Errorf("lossy = %d, want 2", got)
	}
}

func TestEmptySides(t *testing.T) {
	b := filled(t, buffer.Config{View: look(), Gamma: 0.9})
	dst, rng := buffer.NewBatch(2, look()), rand.New(rand.NewPCG(1, 1))
	for demos := range 3 {
		if err := b.Sample(dst, demos, rng); !errors.Is(err, buffer.ErrEmpty) {
			t.Errorf("%d demonstrations of nothing: error = %v, want ErrEmpty", demos, err)
		}
	}
}

func TestSampleDoesNotAllocate(t *testing.T) {
	b := filled(t, buffer.Config{View: look(), Gamma: 0.9}, episode("a", policy.Demo, 0, 9), episode("b", policy.Online, 0, 9))
	dst, rng := buffer.NewBatch(64, look()), rand.New(rand.NewPCG(1, 1))
	if n := testing.AllocsPerRun(100, func() { _ = b.Sample(dst, 32, rng) }); n != 0 {
		t.Errorf("Sample allocates %v times, want 0", n)
	}
}

func BenchmarkSample(b *testing.B) {
	v := view.Config{Embed: 64, Place: []int{0, 1, 2}, Span: 1, Horizon: 45, Action: view.Action{Axes: []int{0, 1}, Scale: 0.01}}
	buf, err := buffer.New(buffer.Config{View: v, Gamma: 0.99})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 200 {
		e := episode(fmt.Sprint(i), policy.Origin(i%2), 0, 45)
		for t := range e.Inputs {
			e.Inputs[t].Features.Embed = make([]float32, 64)
		}
		if _, err := buf.Add(e); err != nil {
			b.Fatal(err)
		}
	}
	dst, rng := buffer.NewBatch(256, v), rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		_ = buf.Sample(dst, 128, rng)
	}
}
