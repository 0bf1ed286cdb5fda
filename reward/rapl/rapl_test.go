package rapl_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/ot"
	"github.com/rapport-rl/rapport/reward/rapl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ reward.Scorer = (*rapl.Scorer)(nil)

// arc is a clip whose embeddings (cos, sin) sweep from 0 to end·π, at T frames.
func arc(T int, end float64) []perception.Features {
	fs := make([]perception.Features, T)
	for t := range fs {
		s, c := math.Sincos(math.Pi * end * float64(t) / float64(T-1))
		fs[t].Embed = []float32{float32(c), float32(s)}
	}
	return fs
}

func video(t testing.TB, name string, fs []perception.Features) rapl.Video {
	t.Helper()
	v, err := rapl.VideoOf(name, fs)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func scorer(t testing.TB, cfg rapl.Config, vs ...rapl.Video) *rapl.Scorer {
	t.Helper()
	s, err := rapl.New(vs, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lead puts a frame for the reset in front, which Score leaves out.
func lead(fs []perception.Features) []perception.Features {
	return append([]perception.Features{{Embed: make([]float32, len(fs[0].Embed))}}, fs...)
}

func score(t testing.TB, s reward.Scorer, fs []perception.Features) []float64 {
	t.Helper()
	dst := make([]float64, len(fs))
	if err := s.Score(context.Background(), dst, lead(fs)); err != nil {
		t.Fatal(err)
	}
	return dst
}

func mean(x []float64) float64 {
	var s float64
	for _, v := range x {
		s += v
	}
	return s / float64(len(x))
}

// The costs of the fact sheet's toy: a half circle in 45 frames, to itself and
// to a run that stops half-way.
func TestGammaTellsHalfRuns(t *testing.T) {
	for _, c := range []struct {
		gamma      float64
		self, half float64
	}{
		{1, 0.362, 0.409},
		{10, 0.046, 0.218},
	} {
		s := scorer(t, rapl.Config{Gamma: c.gamma}, video(t, "whole", arc(45, 1)))
		half := arc(45, 1)
		for i := range half {
			half[i] = half[min(i, 22)]
		}
		if got := -mean(score(t, s, arc(45, 1))); math.Abs(got-c.self) > 2e-3 {
			t.Errorf("gamma %g: distance to itself %.4f, want %.3f", c.gamma, got, c.self)
		}
		if got := -mean(score(t, s, half)); math.Abs(got-c.half) > 2e-3 {
			t.Errorf("gamma %g: distance of half a run %.4f, want %.3f", c.gamma, got, c.half)
		}
	}
	s := scorer(t, rapl.Config{}, video(t, "whole", arc(45, 1)))
	half := arc(45, 1)
	for i := range half {
		half[i] = half[min(i, 22)]
	}
	if gap := mean(score(t, s, arc(45, 1))) - mean(score(t, s, half)); gap < 0.18 {
		t.Errorf("default gamma tells half a run by %.3f, want at least 0.18", gap)
	}
}

func TestScoreDoesNotDependOnTheLength(t *testing.T) {
	s := scorer(t, rapl.Config{}, video(t, "whole", arc(90, 1)))
	want := mean(score(t, s, arc(90, 0.6)))
	for _, T := range []int{30, 45, 180} {
		if got := mean(score(t, s, arc(T, 0.6))); math.Abs(got-want) > 0.02 {
			t.Errorf("mean reward of %d frames %.4f, of 90 frames %.4f", T, got, want)
		}
	}
}

func TestSquaredFormIsTheAuthors(t *testing.T) {
	v := video(t, "whole", arc(45, 1))
	o := score(t, scorer(t, rapl.Config{}, v), arc(45, 0.7))
	r := score(t, scorer(t, rapl.Config{Form: rapl.Squared}, v), arc(45, 0.7))
	for i := range o {
		// o is T times the paper's.
		want := -1e4 * (o[i] / 45) * (o[i] / 45)
		if math.Abs(r[i]-want) > 1e-9*math.Abs(want) {
			t.Fatalf("r[%d] = %v, want %v", i, r[i], want)
		}
	}
}

func TestNearestExpertIsChosen(t *testing.T) {
	rev := arc(45, 1)
	for i := range rev {
		rev[i] = arc(45, -1)[i]
	}
	s := scorer(t, rapl.Config{}, video(t, "down", rev), video(t, "up", arc(60, 1)))
	e, err := s.Explain(context.Background(), lead(arc(45, 0.9)))
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != "up" || e.Expert != 1 || e.T != 45 || e.Frames != 60 {
		t.Errorf("chose %d (%s), %d by %d frames, want 1 (up), 45 by 60", e.Expert, e.Name, e.T, e.Frames)
	}
	if d := cmp.Diff(e.Rewards, score(t, s, arc(45, 0.9))); d != "" {
		t.Errorf("explained rewards differ from Score's: %s", d)
	}
	for i := 1; i < e.T; i++ {
		if e.Match[i] < e.Match[i-1] {
			t.Errorf("frame %d matches %d after %d", i, e.Match[i], e.Match[i-1])
		}
	}
	var sum float64
	for i, p := range e.Plan {
		sum += p * e.Cost[i]
	}
	if math.Abs(sum-e.Distance) > 1e-12 {
		t.Errorf("plan and cost give %v, distance %v", sum, e.Distance)
	}
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var back rapl.Explanation
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e, back); d != "" {
		t.Errorf("came back from JSON changed: %s", d)
	}
}

func TestLiveEqualsScoreOfThePrefix(t *testing.T) {
	rev := arc(40, -1)
	for _, cfg := range []rapl.Config{
		{Tolerance: 1e-9},
		{Tolerance: 1e-9, Cost: ot.Euclidean, Gamma: 20, Form: rapl.Squared},
	} {
		s := scorer(t, cfg, video(t, "down", rev), video(t, "up", arc(45, 1)))
		live, err := s.Live()
		if err != nil {
			t.Fatal(err)
		}
		traj := lead(arc(45, 0.8))
		for i, f := range traj {
			if err := live.Add(f); err != nil {
				t.Fatal(err)
			}
			if live.Len() != i {
				t.Fatalf("%d rewards after %d features", live.Len(), i+1)
			}
			if i == 0 {
				continue
			}
			got, want := make([]float64, i), make([]float64, i)
			k := live.Rewards(got)
			e, err := s.Explain(context.Background(), traj[:i+1])
			if err != nil {
				t.Fatal(err)
			}
			copy(want, e.Rewards)
			if k != e.Expert {
				t.Errorf("prefix of %d: expert %d, want %d", i, k, e.Expert)
			}
			if live.Plan(k).N != i {
				t.Errorf("plan of %d rows for %d frames", live.Plan(k).N, i)
			}
			for j := range got {
				if math.Abs(got[j]-want[j]) > 1e-5*(1+math.Abs(want[j])) {
					t.Errorf("prefix of %d: reward %d is %v, want %v", i, j, got[j], want[j])
				}
			}
		}
	}
}

func TestScoreIsSafeForManyGoroutines(t *testing.T) {
	s := scorer(t, rapl.Config{}, video(t, "a", arc(45, 1)), video(t, "b", arc(30, -1)))
	want := score(t, s, arc(45, 0.8))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				score(t, s, arc(20, 0.3))
				if d := cmp.Diff(score(t, s, arc(45, 0.8)), want); d != "" {
					t.Error(d)
				}
			}
		})
	}
	wg.Wait()
}

func TestBadInput(t *testing.T) {
	good := video(t, "good", arc(5, 1))
	nan := arc(5, 1)
	nan[3].Embed[1] = float32(math.NaN())
	h := rapl.NewHead(2, 3, rand.New(rand.NewPCG(1, 1)))
	for _, c := range []struct {
		name    string
		experts []rapl.Video
		cfg     rapl.Config
		want    string
	}{
		{"no experts", nil, rapl.Config{}, "no preferred videos"},
		{"empty expert", []rapl.Video{good, {Name: "void", D: 2}}, rapl.Config{}, `expert 1: video "void"`},
		{"other width", []rapl.Video{good, {Name: "wide", D: 3, Embed: make([]float32, 6)}}, rapl.Config{}, "embeddings of 3 numbers, want 2"},
		{"NaN", []rapl.Video{{Name: "bad", D: 1, Embed: []float32{0, float32(math.NaN())}}}, rapl.Config{}, "frame 1: embedding[0] is NaN"},
		{"negative gamma", []rapl.Video{good}, rapl.Config{Gamma: -1}, "gamma is -1"},
		{"no such cost", []rapl.Video{good}, rapl.Config{Cost: 7}, "no such cost"},
		{"no such form", []rapl.Video{good}, rapl.Config{Form: 7}, "no such form"},
		{"head of another width", []rapl.Video{{Name: "wide", D: 3, Embed: make([]float32, 6)}}, rapl.Config{Head: &h}, "3 numbers, want 2"},
		{"broken head", []rapl.Video{good}, rapl.Config{Head: &rapl.Head{In: 2, Out: 1}}, "0 weights"},
	} {
		if _, err := rapl.New(c.experts, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	s := scorer(t, rapl.Config{}, good)
	ctx := context.Background()
	for _, c := range []struct {
		name string
		n    int
		traj []perception.Features
		want string
	}{
		{"NaN", 5, lead(nan), "frame 4: embedding[1] is NaN"},
		{"wrong width", 1, []perception.Features{{}, {Embed: make([]float32, 3)}}, "frame 1: embedding of 3 numbers, want 2"},
		{"wrong length", 3, lead(arc(5, 1)), "6 features for 3 rewards"},
		{"nothing", 0, arc(1, 1)[:0], "0 features"},
	} {
		if err := s.Score(ctx, make([]float64, c.n), c.traj); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := s.Explain(ctx, nil); err == nil {
		t.Error("explained an empty trajectory")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Score(gone, make([]float64, 5), lead(arc(5, 1))); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	var ce *ot.ConvergenceError
	tight := scorer(t, rapl.Config{MaxIter: 1, Tolerance: 1e-12}, good)
	if err := tight.Score(ctx, make([]float64, 9), lead(arc(9, 0.3))); !errors.As(err, &ce) || !strings.Contains(err.Error(), "lower gamma (reward.gamma)") {
		t.Errorf("got %v, want a ConvergenceError and the key", err)
	}
}

func TestHeadComesBack(t *testing.T) {
	h := rapl.NewHead(7, 3, rand.New(rand.NewPCG(2, 2)))
	var b bytes.Buffer
	if err := h.Save(&b); err != nil {
		t.Fatal(err)
	}
	got, err := rapl.LoadHead(&b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(h, got); d != "" {
		t.Error(d)
	}
}

func FuzzLoadHead(f *testing.F) {
	f.Add([]byte(`{"in":1,"out":1,"w":[1],"b":[0]}`))
	f.Add([]byte(`{"in":-1,"out":-1,"w":[1]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := rapl.LoadHead(bytes.NewReader(b))
		if err == nil && h.Validate() != nil {
			t.Errorf("loaded an invalid head: %+v", h)
		}
	})
}

func TestForms(t *testing.T) {
	for _, f := range []rapl.Form{rapl.Mean, rapl.Squared} {
		b, err := f.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got rapl.Form
		if err := got.UnmarshalText(b); err != nil || got != f {
			t.Errorf("%v came back as %v, %v", f, got, err)
		}
	}
	var f rapl.Form
	if err := f.UnmarshalText([]byte("cube")); err == nil {
		t.Error("took an unknown form")
	}
}

func noise(seed uint64, T, d int) []perception.Features {
	r := rand.New(rand.NewPCG(seed, 9))
	fs := make([]perception.Features, T)
	for t := range fs {
		fs[t].Embed = make([]float32, d)
		for j := range d {
			fs[t].Embed[j] = float32(math.Sin(float64(j)+3*float64(t)/float64(T)) + 0.2*r.NormFloat64())
		}
	}
	return fs
}

func BenchmarkScore(b *testing.B) {
	var vs []rapl.Video
	for k := range uint64(6) {
		vs = append(vs, video(b, "", noise(k, 45, 64)))
	}
	traj := noise(9, 46, 64)
	dst := make([]float64, 45)
	h := rapl.NewHead(64, 32, rand.New(rand.NewPCG(1, 1)))
	for _, c := range []struct {
		name string
		head *rapl.Head
	}{{"raw", nil}, {"head", &h}} {
		s := scorer(b, rapl.Config{Head: c.head}, vs...)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Score(b.Context(), dst, traj); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
