package rlpd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/rlpd"
)

var _ policy.Learner = (*rlpd.Learner)(nil)
var _ policy.Policy = (*bc.Policy)(nil)

// small is a quick Config with everything switched on.
func small() rlpd.Config {
	return rlpd.Config{
		Arch: bc.Arch{View: plane(), Hidden: []int{16, 16}}, Batch: 16, UTD: 2, Round: 3,
		Critics: 3, CriticHidden: []int{16, 16}, Clone: 0.5, QFilter: true, Stay: 0.1, Noise: 0.01,
		EntropyBackup: true, Seed: 7,
	}
}

func learner(t testing.TB, c rlpd.Config, es ...policy.Episode) *rlpd.Learner {
	t.Helper()
	l, err := rlpd.New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// mixed is demonstrations and online episodes.
func mixed(t testing.TB) []policy.Episode {
	es := demos(t, 3, 1)
	for i, e := range demos(t, 3, 2) {
		e.ID, e.Origin = fmt.Sprint("online", i), policy.Online
		es = append(es, e)
	}
	return es
}

func update(t testing.TB, l *rlpd.Learner) policy.Stats {
	t.Helper()
	s, err := l.Update(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func saved(t testing.TB, l *rlpd.Learner) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := l.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func metric(t testing.TB, s policy.Stats, name string) float64 {
	t.Helper()
	for _, m := range s.Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	t.Fatalf("no metric %q in %v", name, s.Metrics)
	return 0
}

func has(s policy.Stats, name string) bool {
	return slices.ContainsFunc(s.Metrics, func(m policy.Metric) bool { return m.Name == name })
}

func TestResumedRunIsBitEqual(t *testing.T) {
	es := mixed(t)
	a := learner(t, small(), es...)
	for range 3 {
		update(t, a)
	}
	middle := saved(t, a)
	b := learner(t, small(), es...)
	if err := b.Restore(bytes.NewReader(middle)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(saved(t, b), middle) {
		t.Error("what was restored saves to other bytes")
	}
	for range 3 {
		sa, sb := update(t, a), update(t, b)
		if fmt.Sprint(sa) != fmt.Sprint(sb) {
			t.Fatalf("the resumed run tells %v, the other %v", sb, sa)
		}
	}
	if !bytes.Equal(saved(t, a), saved(t, b)) {
		t.Error("the resumed run ended elsewhere")
	}
	if bytes.Equal(saved(t, a), middle) {
		t.Error("three updates changed nothing")
	}
}

func TestSeedReproduces(t *testing.T) {
	es := mixed(t)
	run := func(seed uint64) []byte {
		c := small()
		c.Seed = seed
		l := learner(t, c, es...)
		update(t, l)
		return saved(t, l)
	}
	if !bytes.Equal(run(1), run(1)) {
		t.Error("one seed gave two results")
	}
	if bytes.Equal(run(1), run(2)) {
		t.Error("two seeds gave one result")
	}
}

func TestRestoreRefusesAndChangesNothing(t *testing.T) {
	es := mixed(t)
	l := learner(t, small(), es...)
	update(t, l)
	whole := saved(t, l)
	of := func(spoil func(c *rlpd.Config)) []byte {
		c := small()
		spoil(&c)
		return saved(t, learner(t, c, es...))
	}
	flip := func(at int) []byte {
		d := bytes.Clone(whole)
		d[at] ^= 1
		return d
	}
	params, err := l.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, want string
		data       []byte
	}{
		{"nothing", "shorter", nil},
		{"cut short", "cut short", whole[:len(whole)-100]},
		{"a flipped bit in a weight", "checksum", flip(len(whole) - 8000)},
		{"a flipped bit in the header", "restore:", flip(20)},
		{"a policy's parameters", `format is "rapport-actor-1"`, params.Data},
		{"more critics", "Critics is 3 and 4", of(func(c *rlpd.Config) { c.Critics = 4 })},
		{"wider critics", "CriticHidden is [16 16] and [16 32]", of(func(c *rlpd.Config) { c.CriticHidden = []int{16, 32} })},
		{"a wider actor", "Arch.Hidden is [16 16] and [32]", of(func(c *rlpd.Config) { c.Arch.Hidden = []int{32} })},
		{"another action scale", "Action.Scale is 0.05 and 0.1", of(func(c *rlpd.Config) { c.Arch.View.Action.Scale = 0.1 })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := l.Restore(bytes.NewReader(tt.data))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
			if !bytes.Equal(saved(t, l), whole) {
				t.Error("the learner changed")
			}
		})
	}
}

func FuzzRestore(f *testing.F) {
	c := small()
	c.Arch.Hidden, c.CriticHidden, c.Critics = []int{2}, []int{2}, 2
	l := learner(f, c, mixed(f)...)
	whole := saved(f, l)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		if l.Restore(bytes.NewReader(data)) == nil {
			if _, err := l.Update(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestActorStaysWhileTheCriticsWarmUp(t *testing.T) {
	c := small()
	c.Warmup = 12 // two rounds
	l := learner(t, c, demos(t, 3, 1)...)
	latest := func() policy.Params {
		p, err := l.Latest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var first policy.Params
	for i := range 4 {
		s := update(t, l)
		if want := uint64(6 * (i + 1)); s.Updates != want {
			t.Errorf("round %d: %d critic steps, want %d", i, s.Updates, want)
		}
		p := latest()
		if i == 0 {
			first = p // its normalisation is fitted, which makes a version of its own
		}
		// The last actor step of the second round comes after 12 critic steps.
		if moved := i > 0; has(s, "actor_loss") != moved || bytes.Equal(p.Data, first.Data) == moved || p.Version != uint64(2+i) {
			t.Errorf("round %d: metrics %v, version %d; actor moved should be %v", i, s.Metrics, p.Version, moved)
		}
	}
}

func TestStartsFromTheClone(t *testing.T) {
	net, _, err := bc.Train(t.Context(), bc.Config{Arch: bc.Arch{View: plane(), Hidden: []int{8}}, Steps: 20}, demos(t, 2, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := net.Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := rlpd.New(rlpd.Config{Batch: 8, CriticHidden: []int{8}}, net)
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Version != 1 || !bytes.Equal(got.Data, want.Data) {
		t.Error("the first parameters are not the clone's")
	}
	for _, e := range demos(t, 2, 1) {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	update(t, l)
	if after, err := net.Encode(1); err != nil || !bytes.Equal(after.Data, want.Data) {
		t.Errorf("learning changed the caller's clone (%v)", err)
	}
}

func TestSharesOfABatch(t *testing.T) {
	online := mixed(t)[3:]
	prior := demos(t, 3, 1)
	for _, tt := range []struct {
		name  string
		demos float64
		es    []policy.Episode
		want  float64
	}{
		{"symmetric by default", 0, append(slices.Clone(prior), online...), 0.5},
		{"a quarter", 0.25, append(slices.Clone(prior), online...), 0.25},
		{"none wanted", -1, append(slices.Clone(prior), online...), 0},
		{"demonstrations alone", 0, prior, 1},
		{"online alone", 0, online, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := small()
			c.Demos = tt.demos
			if got := metric(t, update(t, learner(t, c, tt.es...)), "demo_share"); got != tt.want {
				t.Errorf("share of demonstrations = %v, want %v", got, tt.want)
			}
		})
	}
	if _, err := learner(t, small()).Update(t.Context()); !errors.Is(err, buffer.ErrEmpty) {
		t.Errorf("of nothing: error = %v, want ErrEmpty", err)
	}
}

// TestRegularisersHold: without a reward to tell actions apart, cloning pulls to
// the demonstrations, and staying keeps the actor from drifting.
func TestRegularisersHold(t *testing.T) {
	run := func(change func(c *rlpd.Config)) policy.Stats {
		c := small()
		c.Clone, c.QFilter, c.Stay, c.Noise, c.Round, c.ActorLR = 0, false, 0, 0, 10, 3e-3
		c.Alpha, c.FixedAlpha = 1, true // entropy pulls the actor away
		c.Shift = 1
		change(&c)
		l := learner(t, c, mixed(t)...)
		var s policy.Stats
		for range 8 {
			s = update(t, l)
		}
		return s
	}
	weak := run(func(c *rlpd.Config) { c.Clone, c.Stay = 1e-9, 1e-9 })
	clone := run(func(c *rlpd.Config) { c.Clone, c.Stay = 50, 1e-9 })
	stay := run(func(c *rlpd.Config) { c.Clone, c.Stay = 1e-9, 50 })
	if got, base := metric(t, clone, "clone_loss"), metric(t, weak, "clone_loss"); got > base/2 {
		t.Errorf("clone_loss = %v with cloning, %v without; want half", got, base)
	}
	if got, base := metric(t, stay, "kl"), metric(t, weak, "kl"); got > base/4 {
		t.Errorf("kl = %v with staying, %v without; want a quarter", got, base)
	}
	if got := metric(t, clone, "clone_share"); got != 1 {
		t.Errorf("clone_share = %v without a filter, want 1", got)
	}
	filtered := run(func(c *rlpd.Config) { c.Clone, c.QFilter = 1, true })
	if got := metric(t, filtered, "clone_share"); got <= 0 || got >= 1 {
		t.Errorf("clone_share = %v with a filter, want some but not all", got)
	}
}

func TestTemperatureSteersEntropy(t *testing.T) {
	run := func(target float64) (entropy, alpha float64) {
		c := small()
		c.Clone, c.QFilter, c.Stay = 0, false, 0
		c.TargetEntropy, c.Round, c.UTD, c.ActorLR, c.AlphaLR = target, 100, 1, 3e-3, 2e-2
		c.Alpha = 0.1
		l := learner(t, c, mixed(t)...)
		var s policy.Stats
		for range 6 {
			s = update(t, l)
		}
		return metric(t, s, "entropy"), metric(t, s, "alpha")
	}
	wide, _ := run(1)
	narrow, _ := run(-1.5)
	if math.Abs(wide-1) > 0.4 || math.Abs(narrow+1.5) > 0.4 {
		t.Errorf("entropy = %v and %v nats, want about 1 and -1.5", wide, narrow)
	}
	c := small()
	c.Alpha, c.FixedAlpha = 0.3, true
	if got := metric(t, update(t, learner(t, c, mixed(t)...)), "alpha"); math.Abs(got-0.3) > 1e-6 {
		t.Errorf("fixed temperature = %v, want 0.3", got)
	}
}

func TestRelabelReachesTheCritics(t *testing.T) {
	es := demos(t, 1, 1)
	l := learner(t, small(), es...)
	rewards := slices.Repeat([]float64{42}, es[0].Len())
	if ok, err := l.Relabel(t.Context(), es[0].ID, rewards); !ok || err != nil {
		t.Fatalf("Relabel = %v, %v", ok, err)
	}
	if got := metric(t, update(t, l), "reward_mean"); math.Abs(got-42) > 1e-3 {
		t.Errorf("reward_mean = %v, want the new label 42", got)
	}
}

func TestNewNamesTheField(t *testing.T) {
	for _, tt := range []struct {
		want  string
		spoil func(c *rlpd.Config)
	}{
		{"sees nothing", func(c *rlpd.Config) { c.Arch = bc.Arch{} }},
		{"Gamma", func(c *rlpd.Config) { c.Gamma = 2 }},
		{"Batch", func(c *rlpd.Config) { c.Batch = -1 }},
		{"Subset is 4 of 3", func(c *rlpd.Config) { c.Subset = 4 }},
		{"Warmup", func(c *rlpd.Config) { c.Warmup = -1 }},
		{"Demos", func(c *rlpd.Config) { c.Demos = 1.5 }},
		{"Tau", func(c *rlpd.Config) { c.Tau = 2 }},
		{"ActorLR", func(c *rlpd.Config) { c.ActorLR = math.NaN() }},
		{"ClipNorm", func(c *rlpd.Config) { c.ClipNorm = -1 }},
		{"Stay", func(c *rlpd.Config) { c.Stay = -1 }},
		{"CriticHidden[0]", func(c *rlpd.Config) { c.CriticHidden = []int{0} }},
		{"TargetEntropy", func(c *rlpd.Config) { c.TargetEntropy = math.Inf(1) }},
		{"QFilter", func(c *rlpd.Config) { c.Clone = 0 }},
	} {
		t.Run(tt.want, func(t *testing.T) {
			c := small()
			tt.spoil(&c)
			if _, err := rlpd.New(c, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestUpdateStopsWithItsContext(t *testing.T) {
	l := learner(t, small(), mixed(t)...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Update(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want the context's", err)
	}
}

func TestDivergenceIsAnError(t *testing.T) {
	es := demos(t, 1, 1)
	for i := range es[0].Rewards {
		es[0].Rewards[i] = 1e30
	}
	l := learner(t, small(), es...)
	for range 5 {
		if _, err := l.Update(t.Context()); err != nil {
			if !strings.Contains(err.Error(), "scale the rewards") {
				t.Errorf("error = %v, want the remedy", err)
			}
			return
		}
	}
	t.Error("rewards of 1e30 were learned from without a word")
}

// TestUpdateAllocatesItsReportAlone: one slice of metrics and what append adds.
func TestUpdateAllocatesItsReportAlone(t *testing.T) {
	c := small()
	c.Round = 10
	l := learner(t, c, mixed(t)...)
	update(t, l)
	if n := testing.AllocsPerRun(5, func() { update(t, l) }); n > 5 {
		t.Errorf("a round of 30 steps allocates %v times, want at most 5 for its report", n)
	}
}

// benchLearner has the shapes of a session: 68 inputs, two actions.
func benchLearner(b *testing.B, width, batch, critics int) *rlpd.Learner {
	v := plane()
	v.Embed = 64
	l, err := rlpd.New(rlpd.Config{
		Arch: bc.Arch{View: v, Hidden: []int{width, width}}, Batch: batch, UTD: 1,
		Critics: critics, CriticHidden: []int{width, width},
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, e := range mixed(b) {
		for t := range e.Inputs {
			e.Inputs[t].Features.Embed = make([]float32, 64)
			for i := range e.Inputs[t].Features.Embed {
				e.Inputs[t].Features.Embed[i] = float32(rng.NormFloat64())
			}
		}
		if err := l.Add(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	return l
}

func BenchmarkUpdate(b *testing.B) {
	for _, tt := range []struct{ width, batch, critics int }{{128, 128, 5}, {128, 256, 5}, {256, 128, 5}, {256, 256, 5}, {256, 256, 10}} {
		b.Run(fmt.Sprintf("%dx2/batch%d/critics%d", tt.width, tt.batch, tt.critics), func(b *testing.B) {
			l := benchLearner(b, tt.width, tt.batch, tt.critics)
			b.ReportAllocs()
			for b.Loop() {
				update(b, l)
			}
		})
	}
}

func TestLayoutIsSharedWithTheClone(t *testing.T) {
	l := learner(t, small(), demos(t, 1, 1)...)
	update(t, l)
	p, err := l.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	net, err := bc.Decode(p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := rlpd.New(small(), net) // tuning goes on from tuned parameters
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range net.Tensors() {
		got := again.Actor().Tensors()[i]
		if !slices.EqualFunc([]nn.Tensor{got}, []nn.Tensor{want}, func(a, b nn.Tensor) bool {
			return a.Name == b.Name && slices.Equal(a.Data, b.Data)
		}) {
			t.Errorf("tensor %q differs after the way through parameters", want.Name)
		}
	}
}
