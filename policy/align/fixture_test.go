package align_test

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
)

// trained is the policy of one seed, which all tests begin with; flowing is a flow.
var (
	trained = sync.OnceValues(func() (*aligntest.Ways, error) { return aligntest.New(1) })
	flowing = sync.OnceValues(func() (*aligntest.Ways, error) { return aligntest.NewFlow(1) })
)

func ways(t testing.TB) *aligntest.Ways { return once(t, trained) }

func flows(t testing.TB) *aligntest.Ways { return once(t, flowing) }

func once(t testing.TB, train func() (*aligntest.Ways, error)) *aligntest.Ways {
	t.Helper()
	w, err := train()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// tune begins from ways.
func tune(t testing.TB, w *aligntest.Ways, c align.Config) *align.Tuned {
	t.Helper()
	c.Draw = w.Draw
	p, err := align.Tune(w.Net, c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// draw gives each samples of n histories of w, drawn by p.
func draw(t testing.TB, w *aligntest.Ways, p *align.Tuned, n, each int, seed uint64) []align.Sample {
	t.Helper()
	r, err := align.NewRecorder(p, n*each)
	if err != nil {
		t.Fatal(err)
	}
	ss := r.New(n*each, w.Train[:n])
	r.Draw(ss, rand.New(rand.NewPCG(seed, 2)))
	return ss
}

// TestBothWaysAreDrawn: what is aligned below starts from about one half.
func TestBothWaysAreDrawn(t *testing.T) {
	w := ways(t)
	share, on, kl, err := w.Measure(tune(t, w, align.Config{Rank: 4}), 1024, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("share %.3f, on a way %.3f", share, on)
	if math.Abs(share-0.5) > 0.1 || on < 0.8 || kl != 0 {
		t.Errorf("share %.3f, on a way %.3f and KL %v before alignment, want one half, nearly 1 and 0", share, on, kl)
	}
}

// TestReplayIsIdentical: of a policy that has moved from the reference, Replay finds the
// densities that Draw recorded, from the chains alone.
func TestReplayIsIdentical(t *testing.T) {
	w := ways(t)
	for _, rank := range []int{0, 4} {
		p := tune(t, w, align.Config{Rank: rank})
		for _, q := range p.Params() {
			for i := range q.Data {
				q.Data[i] += 0.02
			}
		}
		r, err := align.NewRecorder(p, 32)
		if err != nil {
			t.Fatal(err)
		}
		ss := r.New(64, w.Train)
		r.Draw(ss, rand.New(rand.NewPCG(4, 2)))
		logp, ref, kl := append([]float64(nil), ss[40].LogP...), append([]float64(nil), ss[40].Ref...), ss[40].KL
		x := append([]float32(nil), ss[40].X...)
		for i := range ss { // or a Replay that does nothing would pass
			clear(ss[i].LogP)
			clear(ss[i].Ref)
			ss[i].KL = 0
		}
		r.Replay(ss)
		for k, l := range ss[40].LogP {
			if l != logp[k] || ss[40].Ref[k] != ref[k] || l == ref[k] {
				t.Errorf("rank %d, step %d: log-density %v and the reference's %v, were %v and %v; want those, and the two apart", rank, k, l, ss[40].Ref[k], logp[k], ref[k])
			}
		}
		if ss[40].KL != kl || kl <= 0 {
			t.Errorf("rank %d: KL %v, was %v, want it above 0", rank, ss[40].KL, kl)
		}
		for i, v := range ss[40].X {
			if v != x[i] {
				t.Fatalf("Replay changed the chain")
			}
		}
	}
}
