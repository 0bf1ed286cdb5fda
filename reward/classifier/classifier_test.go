package classifier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
)

var _ reward.Success = Model{}

// marked draws n frames of each of groups episodes; successes are shifted by gap in
// the first number, the rest is noise.
func marked(rng *rand.Rand, groups, n int, gap float64) []Shot {
	var out []Shot
	for g := range groups {
		for i := range n {
			s := Shot{Group: fmt.Sprint(g), Success: i%2 == 0, Input: make([]float32, 8)}
			for j := range s.Input {
				s.Input[j] = float32(3 + 2*rng.NormFloat64())
			}
			if s.Success {
				s.Input[0] += float32(2 * gap)
			}
			out = append(out, s)
		}
	}
	return out
}

func TestTellsWhatIsApart(t *testing.T) {
	for _, hidden := range []int{0, 8} {
		shots := marked(rand.New(rand.NewPCG(1, 2)), 20, 20, 5)
		m, rep, err := Train(t.Context(), shots, Config{Hidden: hidden, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Validate(); err != nil {
			t.Fatal(err)
		}
		if rep.Shots != 400 || rep.Groups != 20 || rep.Folds != 5 || m.Measured != rep.Measured {
			t.Errorf("report %+v", rep)
		}
		if p, r := rep.Measured.Precision(), rep.Measured.Recall(); p < 0.95 || r < 0.9 {
			t.Errorf("hidden %d: precision %.3f, recall %.3f", hidden, p, r)
		}
		// New frames, through JSON.
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var back Model
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		var got Measure
		for _, s := range marked(rand.New(rand.NewPCG(3, 4)), 50, 10, 5) {
			p, err := back.Succeeded(t.Context(), perception.Features{Embed: s.Input})
			if err != nil {
				t.Fatal(err)
			}
			margin, err := back.Margin(perception.Features{Embed: s.Input})
			if err != nil {
				t.Fatal(err)
			}
			if chance, _ := back.Chance(s.Input); (p >= 0.5) != (margin >= 0) || (p >= 0.5) != (chance >= back.Threshold) {
				t.Fatalf("p %v, margin %v, chance %v at threshold %v do not agree", p, margin, chance, back.Threshold)
			}
			got.Add(s.Success, p >= 0.5)
		}
		if got.Precision() < 0.95 || got.Recall() < 0.9 {
			t.Errorf("hidden %d: unseen precision %.3f, recall %.3f", hidden, got.Precision(), got.Recall())
		}
	}
}

// What was measured before use is what use gives: precision on 20,000 new frames.
func TestMeasuredPrecisionHolds(t *testing.T) {
	shots := marked(rand.New(rand.NewPCG(5, 6)), 40, 20, 2)
	m, rep, err := Train(t.Context(), shots, Config{Precision: 0.85, Seed: 2})
	if err != nil {
		t.Fatalf("%v\n%s", err, rep)
	}
	var got Measure
	var brier float64
	fresh := marked(rand.New(rand.NewPCG(7, 8)), 1000, 20, 2)
	for _, s := range fresh {
		p, err := m.Chance(s.Input)
		if err != nil {
			t.Fatal(err)
		}
		y := 0.0
		if s.Success {
			y = 1
		}
		brier += (p - y) * (p - y) / float64(len(fresh))
		got.Add(s.Success, p >= m.Threshold)
	}
	// Thresholds of folds are chosen on fewer frames, so that the measure errs on the
	// safe side.
	lo, _ := Wilson(rep.Measured.TP, rep.Measured.TP+rep.Measured.FP)
	if p, was := got.Precision(), rep.Measured.Precision(); p < max(0.85, lo) || p > was+0.08 {
		t.Errorf("precision %.3f on new frames, measured %.3f (from %.3f)", p, was, lo)
	}
	if math.Abs(brier-rep.Brier) > 0.03 {
		t.Errorf("Brier score %.3f on new frames, measured %.3f", brier, rep.Brier)
	}
	if rep.ECE > 0.08 {
		t.Errorf("calibration error %.3f", rep.ECE)
	}
}

func TestWhatCannotBeToldIsRefused(t *testing.T) {
	shots := marked(rand.New(rand.NewPCG(9, 10)), 10, 10, 0)
	m, rep, err := Train(t.Context(), shots, Config{Seed: 1})
	if !errors.Is(err, ErrPrecision) || !strings.Contains(err.Error(), "mark more frames") {
		t.Fatalf("error %v, want ErrPrecision with a remedy", err)
	}
	if m.Validate() == nil {
		t.Error("a refused model is valid")
	}
	if rep.Shots != 100 || !strings.Contains(rep.String(), "precision") {
		t.Errorf("no report with the refusal: %+v", rep)
	}
}

// Frames of an episode are alike: a classifier that learns episodes by heart must
// not look good.
func TestEpisodesAreNeverParted(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	var shots []Shot
	for g := range 12 {
		mark := make([]float32, 32)
		for j := range mark {
			mark[j] = float32(rng.NormFloat64())
		}
		for range 8 { // every episode is all one side, and known by its mark
			shots = append(shots, Shot{Group: fmt.Sprint(g), Success: g%2 == 0, Input: mark})
		}
	}
	_, rep, err := Train(t.Context(), shots, Config{Seed: 1})
	if !errors.Is(err, ErrPrecision) {
		t.Fatalf("error %v, want ErrPrecision; %s", err, rep)
	}
	for _, k := range []int{2, 5} {
		fold, folds := deal(shots, Config{Folds: k})
		seen := make([]int, folds)
		for _, s := range shots {
			if s.Success {
				seen[fold[s.Group]]++
			}
		}
		for f, n := range seen {
			if n == 0 {
				t.Errorf("fold %d of %d has no success", f, folds)
			}
		}
	}
}

// All have success marks, and two failures, too: whoever learns without one fold has seen both sides.
func TestNoFoldHoldsAllFailures(t *testing.T) {
	var shots []Shot
	for g := range 10 {
		shots = append(shots, Shot{Group: fmt.Sprint(g), Success: true})
		if g == 3 || g == 8 {
			shots = append(shots, Shot{Group: fmt.Sprint(g)})
		}
	}
	for seed := range uint64(51) {
		if fold, _ := deal(shots, Config{Folds: 5, Seed: seed}); fold["3"] == fold["8"] {
			t.Errorf("seed %d: both episodes with failures are in fold %d", seed, fold["3"])
		}
	}
}

// Copies teach and are not counted.
func TestCopiesAreNotMeasured(t *testing.T) {
	shots := marked(rand.New(rand.NewPCG(1, 2)), 6, 10, 5)
	for _, s := range shots[:60] {
		s.Copy = true
		shots = append(shots, s)
	}
	_, rep, err := Train(t.Context(), shots, Config{Seed: 1, Jitter: 0.1})
	if err != nil || rep.Shots != 60 {
		t.Errorf("%d shots measured, error %v, want 60", rep.Shots, err)
	}
}

func TestGradientAgainstDifferences(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for _, h := range []int{0, 3} {
		n := newNet(4, h, rng)
		for i := range n.p {
			n.p[i] = rng.NormFloat64()
		}
		x := []float64{0.3, -1, 2, 0.5}
		loss := func() float64 {
			sum := n.add(make([]float64, len(n.p)), x, 1, 0.7)
			w, _, v, _ := n.parts()
			for _, a := range append(append([]float64{}, w...), v...) {
				sum += 0.5 * 0.1 * a * a
			}
			return sum
		}
		g := make([]float64, len(n.p))
		n.add(g, x, 1, 0.7)
		n.decay(g, 0.1)
		for i := range n.p {
			const eps = 1e-6
			was := n.p[i]
			n.p[i] = was + eps
			up := loss()
			n.p[i] = was - eps
			down := loss()
			n.p[i] = was
			if want := (up - down) / (2 * eps); math.Abs(g[i]-want) > 1e-7*(1+math.Abs(want)) {
				t.Errorf("hidden %d, parameter %d: gradient %v, want %v", h, i, g[i], want)
			}
		}
	}
}

func TestPlattFindsTheOddsThatDrew(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	var said []answer
	for range 20000 {
		y := 2 * rng.NormFloat64()
		said = append(said, answer{y: y, success: rng.Float64() < sigmoid(1.5*y-0.5)})
	}
	// The slope's standard error is about 0.03 here, the offset's 0.02.
	if a, b := platt(said); math.Abs(a-1.5) > 0.12 || math.Abs(b+0.5) > 0.1 {
		t.Errorf("slope %v, offset %v, want 1.5 and -0.5", a, b)
	}
	for i := range said {
		said[i].success = !said[i].success
	}
	if a, _ := platt(said); a != 1e-6 {
		t.Errorf("slope %v for a network that is always wrong, want about none", a)
	}
}

func TestThresholdByHand(t *testing.T) {
	// In order of y: 1 1 0 1 0; precisions 1, 1, 2/3, 3/4, 3/5.
	said := []answer{{y: 5, success: true}, {y: 4, success: true}, {y: 3}, {y: 2, success: true}, {y: 1}}
	for _, c := range []struct{ precision, cut float64 }{
		{1, 3.5}, {0.9, 3.5}, {0.75, 1.5}, {0.7, 1.5}, {0.6, 1.5},
	} {
		if got := choose(said, 1, 0, c.precision); math.Abs(got-sigmoid(c.cut)) > 1e-12 {
			t.Errorf("precision %v: threshold %v, want %v", c.precision, got, sigmoid(c.cut))
		}
	}
	// Ties cannot be parted; where nothing is precise enough, the best there is.
	said = []answer{{y: 2, success: true}, {y: 2}, {y: 1}}
	if got, want := choose(said, 1, 0, 0.9), sigmoid(1.5); math.Abs(got-want) > 1e-12 {
		t.Errorf("threshold %v, want %v", got, want)
	}
}

func TestMeasureByHand(t *testing.T) {
	m := Measure{TP: 6, FP: 2, TN: 9, FN: 3}
	for _, c := range []struct{ got, want float64 }{
		{m.Precision(), 0.75}, {m.Recall(), 2. / 3}, {m.Accuracy(), 0.75}, {m.F1(), 12. / 17},
	} {
		if math.Abs(c.got-c.want) > 1e-12 {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
	if !math.IsNaN(Measure{}.Precision()) || !math.IsNaN(Measure{}.Recall()) {
		t.Error("shares of nothing are numbers")
	}
	// Wilson's interval for 8 of 10: 0.490 to 0.943.
	if lo, hi := Wilson(8, 10); math.Abs(lo-0.4902) > 1e-3 || math.Abs(hi-0.9433) > 1e-3 {
		t.Errorf("interval %v to %v", lo, hi)
	}
}

func TestTrainIsDeterministic(t *testing.T) {
	shots := marked(rand.New(rand.NewPCG(1, 2)), 6, 10, 5)
	a, _, err := Train(t.Context(), shots, Config{Hidden: 4, Jitter: 0.2, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := Train(t.Context(), shots, Config{Hidden: 4, Jitter: 0.2, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Error("equal seeds gave two classifiers")
	}
}

func TestErrors(t *testing.T) {
	good := marked(rand.New(rand.NewPCG(1, 2)), 6, 10, 5)
	with := func(change func(s []Shot) []Shot) []Shot {
		s := append([]Shot{}, good...)
		return change(s)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	for _, c := range []struct {
		what  string
		ctx   context.Context
		shots []Shot
		cfg   Config
		want  string
	}{
		{"none", t.Context(), nil, Config{}, "0 frames marked as not done"},
		{"one side", t.Context(), with(func(s []Shot) []Shot {
			for i := range s {
				s[i].Success = false
			}
			return s
		}), Config{}, "0 frames marked as done"},
		{"one episode", t.Context(), with(func(s []Shot) []Shot {
			for i := range s {
				if s[i].Success {
					s[i].Group = "0"
				}
			}
			return s
		}), Config{}, "all frames marked as done are of one episode"},
		{"width", t.Context(), with(func(s []Shot) []Shot { s[3].Input = s[3].Input[:7]; return s }), Config{}, "another encoder"},
		{"not finite", t.Context(), with(func(s []Shot) []Shot {
			s[3].Input = append([]float32{float32(math.Inf(1))}, s[3].Input[1:]...)
			return s
		}), Config{}, "input[0] is +Inf"},
		{"canceled", ended, good, Config{}, "canceled"},
		{"precision", t.Context(), good, Config{Precision: 2}, "precision 2"},
		{"folds", t.Context(), good, Config{Folds: 1}, "1 folds"},
		{"rate", t.Context(), good, Config{Rate: -1}, "rate -1"},
	} {
		if _, _, err := Train(c.ctx, c.shots, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.what, err, c.want)
		}
	}
	m, _, err := Train(t.Context(), good, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Succeeded(t.Context(), perception.Features{Embed: []float32{1}}); err == nil || !strings.Contains(err.Error(), "another encoder") {
		t.Errorf("narrow embedding: error %v", err)
	}
	if _, err := m.Succeeded(ended, perception.Features{}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: error %v", err)
	}
	nan := append([]float32{}, good[0].Input...)
	nan[2] = float32(math.NaN())
	if _, err := m.Chance(nan); err == nil {
		t.Error("NaN has a chance")
	}
	for i, bad := range []func(m *Model){
		func(m *Model) { m.W = m.W[1:] }, func(m *Model) { m.C = math.NaN() }, func(m *Model) { m.Slope = 0 },
		func(m *Model) { m.Threshold = 1 }, func(m *Model) { m.Hidden = -1 }, func(m *Model) { m.Hidden = 2 }, func(m *Model) { *m = Model{} },
	} {
		b := m
		if bad(&b); b.Validate() == nil {
			t.Errorf("bad model %d is valid", i)
		}
	}
}

func TestAskingAllocatesNothing(t *testing.T) {
	shots := marked(rand.New(rand.NewPCG(1, 2)), 6, 10, 5)
	for _, h := range []int{0, 4} {
		m, _, err := Train(t.Context(), shots, Config{Hidden: h})
		if err != nil {
			t.Fatal(err)
		}
		f := perception.Features{Embed: shots[0].Input}
		ctx := context.Background()
		if n := testing.AllocsPerRun(100, func() {
			if _, err := m.Succeeded(ctx, f); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("hidden %d: %v allocations a look, want none", h, n)
		}
	}
}
