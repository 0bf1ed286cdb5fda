package policytest

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
)

// Replaying is a learner with a replay of its own.
type Replaying interface {
	policy.Keeper
	Count() buffer.Count
	Close() error
}

// Replay is how such a learner keeps its episodes.
type Replay struct {
	Dir         string
	Capacity    int
	Prioritised buffer.Prioritised
}

// ByPriority draws by priorities; their exponent grows within a test.
func ByPriority() buffer.Prioritised {
	return buffer.Prioritised{Alpha: 0.6, Beta: 0.4, BetaSteps: 30}
}

// Replayed is a kind of learner with a replay of its own under test.
type Replayed struct {
	New    func(seed uint64, r Replay) (Replaying, error) // as Subject.New
	Others map[string]func() (policy.Keeper, error)       // as Subject.Others
}

// closing makes a learner that is closed after the test, twice.
func (s Replayed) closing(t *testing.T, seed uint64, r Replay) (Replaying, error) {
	l, err := s.New(seed, r)
	if err == nil {
		t.Cleanup(func() {
			for range 2 {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	return l, err
}

// TestReplay runs the suite for every way to keep episodes, and what a folder and
// priorities ask for besides.
func TestReplay(t *testing.T, s Replayed) {
	t.Helper()
	for name, way := range map[string]func(t *testing.T) Replay{
		"by priority":           func(*testing.T) Replay { return Replay{Prioritised: ByPriority()} },
		"in a folder":           func(t *testing.T) Replay { return Replay{Dir: t.TempDir()} },
		"a folder by priority":  func(t *testing.T) Replay { return Replay{Dir: t.TempDir(), Prioritised: ByPriority()} },
		"few kept, by priority": func(*testing.T) Replay { return Replay{Capacity: 40, Prioritised: ByPriority()} },
	} {
		t.Run(name, func(t *testing.T) {
			TestKeeper(t, Subject{
				New:    func(seed uint64) (policy.Keeper, error) { return s.closing(t, seed, way(t)) },
				Others: s.Others,
			})
		})
	}
	t.Run("a folder goes back with the checkpoint", s.goesBack)
	t.Run("Restore refuses another replay", s.refuses)
}

// goesBack: a learner of a folder that holds more than the checkpoint knew goes on
// as the one that was not interrupted.
func (s Replayed) goesBack(t *testing.T) {
	r := Replay{Dir: t.TempDir(), Prioritised: ByPriority()}
	es := Demos(5, 1, [2]float64{})
	run := func(l Replaying, es []policy.Episode) []byte {
		t.Helper()
		Give(t, l, es...)
		Learn(t, l, 1)
		return saved(t, l)
	}
	l, err := s.New(1, r)
	if err != nil {
		t.Fatal(err)
	}
	middle := run(l, es[:3])
	want := run(l, es[3:])
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = s.closing(t, 1, r); err != nil {
		t.Fatal(err)
	}
	if n := l.Count().Episodes; n != 5 {
		t.Fatalf("the folder holds %d episodes, want 5", n)
	}
	if err := l.Restore(bytes.NewReader(middle)); err != nil {
		t.Fatal(err)
	}
	if n := l.Count().Episodes; n != 3 {
		t.Fatalf("%d episodes after Restore, want 3", n)
	}
	if !bytes.Equal(run(l, es), want) {
		t.Error("it went on otherwise than the one that was not interrupted")
	}
}

func (s Replayed) refuses(t *testing.T) {
	es := Demos(4, 1, [2]float64{})
	plain, pri := Replay{}, Replay{Prioritised: ByPriority()}
	build := func(t *testing.T, n int, r Replay) Replaying {
		l, err := s.closing(t, 1, r)
		if err != nil {
			t.Fatal(err)
		}
		Give(t, l, es[:n]...)
		return l
	}
	for _, c := range []struct {
		from, to Replay
		n        int
		want     string
	}{
		{pri, plain, 3, "want both or none"},
		{plain, pri, 3, "want both or none"},
		{pri, pri, 2, "add those of the session first"},
		{pri, pri, 4, "restore before adding the later ones"},
		{pri, Replay{Dir: t.TempDir(), Prioritised: ByPriority()}, 2, "add those of the session first"},
	} {
		kept := saved(t, build(t, 3, c.from))
		l := build(t, c.n, c.to)
		before := saved(t, l)
		if err := l.Restore(bytes.NewReader(kept)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("refused with %v, want %q", err, c.want)
		}
		if !bytes.Equal(before, saved(t, l)) {
			t.Errorf("what it refused (%s) changed it", c.want)
		}
	}
}

func saved(t *testing.T, l policy.Keeper) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := l.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Weighed is a graph of the weighed loss of critics over six rows of three numbers
// and actions of two.
type Weighed struct {
	Graph  *nn.Graph
	Loss   *nn.Node
	Params []*nn.Param              // with LayerNorm
	W, Y   []float32                // (6,) weights and targets, to be written
	Put    func(obs, act []float32) // writes rows and actions
}

// TestWeighedLoss compares loss and gradient with the mean over members and rows of
// w (q - y)^2 by the book.
func TestWeighedLoss(t *testing.T, f Weighed) {
	t.Helper()
	const B, D, k = 6, 3, 2
	obs, act := make([]float32, B*D), make([]float32, B*k)
	rng := rand.New(rand.NewPCG(3, 4))
	for _, x := range [][]float32{obs, act, f.Y} {
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
	}
	copy(f.W, []float32{1, 0.5, 0.25, 0.9, 0, 0.1})
	f.Put(obs, act)
	members := f.Params[0].Shape[0]
	book := func() float64 {
		loss := 0.0
		for e := range members {
			for i := range B {
				d := Network(f.Params, e, append(Row(obs, i, D), Row(act, i, k)...), true)[0] - float64(f.Y[i])
				loss += float64(f.W[i]) * d * d / float64(members*B)
			}
		}
		return loss
	}
	f.Graph.Forward()
	if got, want := float64(f.Loss.Value[0]), book(); math.Abs(got-want) > 1e-5*want {
		t.Errorf("loss = %v, want %v", got, want)
	}
	nn.ZeroGrad(f.Params)
	f.Graph.Backward(f.Loss)
	for _, p := range f.Params {
		for i := 0; i < len(p.Data); i += 3 {
			want := Slope(p, i, book)
			// Kinks of the ReLUs and float32 parameters: 1 %.
			if got := float64(p.Grad[i]); math.Abs(got-want) > 1e-2*(0.1+math.Abs(want)) {
				t.Errorf("gradient of %s[%d] = %v, want %v", p.Name, i, got, want)
			}
		}
	}
}

// Prioritised is a learner by priority and what its steps leave.
type Prioritised struct {
	policy.Keeper
	Replay        *buffer.Buffer
	Step          func() error // one on demonstrations alone
	Batch         *buffer.Batch
	W             []float32 // (B,) those in the loss
	Mean, Y, Told []float32 // (B,) values, targets, and what priorities are of
}

// TestPrioritised: a step hands the weights of the draw to the loss, leaves the TD
// errors of before it as priorities, and allocates nothing.
func TestPrioritised(t *testing.T, l Prioritised) {
	t.Helper()
	Give(t, l, Demos(2, 1, [2]float64{})...)
	mark := func() string {
		t.Helper()
		m, err := l.Replay.Mark()
		if err != nil {
			t.Fatal(err)
		}
		return string(m.Priorities)
	}
	before := mark()
	Learn(t, l, 1)
	if mark() == before {
		t.Error("a step left the priorities as they were")
	}
	if n := testing.AllocsPerRun(10, func() {
		if err := l.Step(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a step allocates %v times, want 0", n)
	}
	uneven := false
	for i, w := range l.W {
		uneven = uneven || w < 1
		if w != l.Batch.Weight[i] {
			t.Errorf("row %d has weight %v in the loss, drawn with %v", i, w, l.Batch.Weight[i])
		}
		if want := l.Mean[i] - l.Y[i]; l.Told[i] != want {
			t.Errorf("row %d has priority by %v, want %v", i, l.Told[i], want)
		}
	}
	if !uneven {
		t.Error("all weights are 1: the test tells nothing")
	}
}
