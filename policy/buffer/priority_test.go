package buffer_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/robot"
)

// pri draws only by priority, with weights that correct for it wholly.
func pri() buffer.Config {
	return buffer.Config{View: look(), Gamma: 0.9, Prioritised: buffer.Prioritised{Alpha: 0.5, Beta: 1}}
}

// shares draws many online rows, and tells how often each observation came and
// with which weight.
func shares(t *testing.T, b *buffer.Buffer, demos bool) (share, weight map[float32]float64) {
	t.Helper()
	const n = 20000
	dst := buffer.NewBatch(n, look())
	d := 0
	if demos {
		d = n
	}
	if err := b.Sample(dst, d, seed(3)); err != nil {
		t.Fatal(err)
	}
	share, weight = map[float32]float64{}, map[float32]float64{}
	for i, obs := range dst.Obs {
		share[obs] += 1. / n
		weight[obs] = float64(dst.Weight[i])
	}
	return share, weight
}

// rate gives every transition that is drawn the TD error td of its observation.
func rate(t *testing.T, b *buffer.Buffer, demos int, td func(obs float32) float32) {
	t.Helper()
	dst := buffer.NewBatch(500, look())
	if err := b.Sample(dst, demos, seed(9)); err != nil {
		t.Fatal(err)
	}
	var errs []float32
	for _, obs := range dst.Obs {
		errs = append(errs, td(obs))
	}
	if err := b.SetPriorities(dst, errs); err != nil {
		t.Fatal(err)
	}
}

func TestTransitionsAreDrawnByPriority(t *testing.T) {
	b := filled(t, pri(), episode("e", policy.Online, 0, 4))
	share, weight := shares(t, b, false)
	for obs := range 4 {
		if math.Abs(share[float32(obs)]-0.25) > 1e-3 || weight[float32(obs)] != 1 {
			t.Errorf("before any error: step %d has share %v, weight %v", obs, share[float32(obs)], weight[float32(obs)])
		}
	}
	td := []float32{1, -4, 9, 16} // to the power of a half: 1, 2, 3, 4
	rate(t, b, 0, func(obs float32) float32 { return td[int(obs)] })
	share, weight = shares(t, b, false)
	for obs := range 4 {
		p := float64(obs+1) / 10
		// Drawn in strata, the share is as good as exact.
		if got := share[float32(obs)]; math.Abs(got-p) > 1e-3 {
			t.Errorf("step %d has share %v, want %v", obs, got, p)
		}
		// (N P)^-1 over that of the least likely, 1/p over 1/0.1.
		if got, want := weight[float32(obs)], 0.1/p; math.Abs(got-want) > 1e-5 {
			t.Errorf("step %d has weight %v, want %v", obs, got, want)
		}
	}
}

// With weights to the power of one, the mean of anything is that of all
// transitions alike: what the correction is for.
func TestWeightsCorrectForTheDraw(t *testing.T) {
	b := filled(t, pri(), episode("e", policy.Online, 0, 10))
	rate(t, b, 0, func(obs float32) float32 { return obs * obs })
	dst := buffer.NewBatch(20000, look())
	if err := b.Sample(dst, 0, seed(4)); err != nil {
		t.Fatal(err)
	}
	sum, total := 0.0, 0.0
	for i, obs := range dst.Obs {
		sum += float64(dst.Weight[i] * obs)
		total += float64(dst.Weight[i])
	}
	// Step 0 has but the priority of Eps and hardly ever comes: 4.5 of 0..9 is
	// 5 of 1..9.
	if got := sum / total; math.Abs(got-5) > 0.3 {
		t.Errorf("weighted mean = %v, want 5", got)
	}
}

func TestBetaGrowsToOne(t *testing.T) {
	c := pri()
	c.Prioritised.Beta, c.Prioritised.BetaSteps = 0.5, 2
	b := filled(t, c, episode("e", policy.Online, 0, 2))
	rate(t, b, 0, func(obs float32) float32 { return 1 + 15*obs }) // 1 and 4; the first batch
	for i, beta := range []float64{0.75, 1, 1} {
		_, weight := shares(t, b, false)
		if got, want := weight[1], math.Pow(4, -beta); math.Abs(got-want) > 1e-5 {
			t.Errorf("batch %d: weight %v, want %v of beta %v", i+1, got, want, beta)
		}
	}
}

func TestNewTransitionsHaveTheLargestPriority(t *testing.T) {
	b := filled(t, pri(), episode("e", policy.Online, 0, 1))
	rate(t, b, 0, func(float32) float32 { return 16 })
	rate(t, b, 0, func(float32) float32 { return 1 })
	add(t, b, episode("f", policy.Online, 10, 1))
	if share, _ := shares(t, b, false); math.Abs(share[10]-0.8) > 1e-3 {
		t.Errorf("share of the new one = %v, want 0.8 for 4 beside 1", share[10])
	}
	if ok, err := b.Relabel("e", []float64{7}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if share, _ := shares(t, b, false); math.Abs(share[0]-0.5) > 1e-3 {
		t.Errorf("share of the relabelled one = %v, want 0.5", share[0])
	}
}

func TestPrioritiesOutliveEvictionAndForgetting(t *testing.T) {
	c := pri()
	c.Capacity = 4
	mixed := episode("mixed", policy.Online, 0, 2)
	mixed.By[1] = robot.ByHuman
	b := filled(t, c, episode("demo", policy.Demo, 90, 1), mixed, episode("b", policy.Online, 10, 2))
	td := map[float32]float32{0: 1, 1: 4, 10: 9, 11: 16, 90: 36}
	stale := buffer.NewBatch(400, look())
	if err := b.Sample(stale, 200, seed(5)); err != nil {
		t.Fatal(err)
	}
	rate(t, b, 250, func(obs float32) float32 { return td[obs] })
	// An intervention has one priority for both sides: 2 of 8, 6 of 8.
	if share, _ := shares(t, b, true); math.Abs(share[1]-0.25) > 1e-3 {
		t.Errorf("share of the intervention = %v, want 0.25", share[1])
	}
	check := func(when string, want map[float32]float64) {
		t.Helper()
		got, _ := shares(t, b, false)
		for obs, w := range want {
			if math.Abs(got[obs]-w) > 1e-3 {
				t.Errorf("%s: share of %v is %v, want %v", when, obs, got[obs], w)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: shares %v, want %v", when, got, want)
		}
	}
	check("before", map[float32]float64{0: 0.1, 1: 0.2, 10: 0.3, 11: 0.4})
	add(t, b, episode("c", policy.Online, 20, 2)) // in place of mixed; priority 6 each
	check("evicted", map[float32]float64{10: 3. / 19, 11: 4. / 19, 20: 6. / 19, 21: 6. / 19})
	if share, _ := shares(t, b, true); math.Abs(share[1]-0.25) > 1e-3 {
		t.Errorf("after its eviction, share of the intervention = %v, want 0.25", share[1])
	}
	if ok, err := b.Forget("b"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	check("forgotten", map[float32]float64{20: 0.5, 21: 0.5})
	add(t, b, episode("d", policy.Online, 30, 2))
	// A batch from before all this rates what is gone, and the intervention.
	ones := make([]float32, 400)
	for i := range ones {
		ones[i] = 1
	}
	if err := b.SetPriorities(stale, ones); err != nil {
		t.Fatal(err)
	}
	check("stale", map[float32]float64{20: 0.25, 21: 0.25, 30: 0.25, 31: 0.25})
	if share, _ := shares(t, b, true); math.Abs(share[1]-0.5) > 1e-3 {
		t.Errorf("rated late, share of the intervention = %v, want 0.5", share[1])
	}
}

func TestPrioritiesRefuse(t *testing.T) {
	b := filled(t, pri(), episode("e", policy.Online, 0, 2))
	plain := filled(t, buffer.Config{View: look(), Gamma: 0.9}, episode("e", policy.Online, 0, 2))
	dst, other := buffer.NewBatch(2, look()), buffer.NewBatch(2, look())
	for _, s := range []struct {
		b *buffer.Buffer
		d *buffer.Batch
	}{{b, dst}, {plain, other}} {
		if err := s.b.Sample(s.d, 0, seed(1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		want string
		err  error
	}{
		{"Config.Prioritised is not", plain.SetPriorities(other, []float32{1, 1})},
		{"did not fill", b.SetPriorities(other, []float32{1, 1})},
		{"did not fill", b.SetPriorities(buffer.NewBatch(2, look()), []float32{1, 1})},
		{"1 TD errors for a batch of 2", b.SetPriorities(dst, []float32{1})},
		{"of row 1 is NaN", b.SetPriorities(dst, []float32{1, float32(math.NaN())})},
		{"of row 0 is +Inf", b.SetPriorities(dst, []float32{float32(math.Inf(1)), 1})},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("error = %v, want one with %q", tt.err, tt.want)
		}
	}
}

func TestRestoredPrioritiesDrawTheSameBatches(t *testing.T) {
	c := pri()
	c.Capacity, c.Prioritised.Beta, c.Prioritised.BetaSteps = 6, 0.4, 10
	var es []policy.Episode
	for i := range 9 {
		es = append(es, episode(fmt.Sprint(i), policy.Origin(i%2), float32(10*i), 1+i%4))
	}
	b := filled(t, c, es[:8]...)
	for range 3 {
		rate(t, b, 250, func(obs float32) float32 { return obs })
	}
	var state bytes.Buffer
	if err := b.Save(&state); err != nil {
		t.Fatal(err)
	}
	again := filled(t, c, es[:8]...)
	if err := again.Restore(bytes.NewReader(state.Bytes())); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*buffer.Buffer{b, again} {
		add(t, x, es[8])
	}
	want, got := buffer.NewBatch(100, look()), buffer.NewBatch(100, look())
	for range 3 {
		for x, dst := range map[*buffer.Buffer]*buffer.Batch{b: want, again: got} {
			if err := x.Sample(dst, 50, seed(6)); err != nil {
				t.Fatal(err)
			}
			if err := x.SetPriorities(dst, dst.Obs); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got.Obs, want.Obs) || !slices.Equal(got.Weight, want.Weight) {
			t.Fatal("the restored buffer draws another batch")
		}
	}
	for name, bad := range map[string][]byte{
		"nothing":     nil,
		"cut off":     state.Bytes()[:state.Len()-1],
		"with a tail": append(bytes.Clone(state.Bytes()), 0),
		"a flipped bit": func() []byte {
			s := bytes.Clone(state.Bytes())
			s[40] ^= 1
			return s
		}(),
	} {
		if err := filled(t, c, es[:8]...).Restore(bytes.NewReader(bad)); err == nil {
			t.Errorf("priorities that are %s were restored", name)
		}
	}
	if err := filled(t, c, es[:7]...).Restore(bytes.NewReader(state.Bytes())); err == nil {
		t.Error("priorities of other episodes were restored")
	}
}
