package align

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
)

// Recorder draws chains of a Tuned and keeps every state of them, with the log-density
// of every step
//
//	log p(x'|x) = -|x' - A x0(x) - B x|^2 / (2 sigma^2) - L log sigma - L/2 log 2 pi
//
// under the policy as it is at that moment and under the reference. Those of a flow,
// whose steps have no noise, are 0, and its KL is what it were if they had the noise
// Config.Floor. It is used by one goroutine.
type Recorder struct {
	t    *Tuned
	rows int
	g    *nn.Graph

	x, emb, seen, now, ref *nn.Node
	calls                  uint64
}

// NewRecorder returns a Recorder of rows chains at a time.
func NewRecorder(t *Tuned, rows int) (*Recorder, error) {
	if rows < 1 {
		return nil, fmt.Errorf("align: recorder of %d rows, want at least 1", rows)
	}
	a := t.net.Arch
	r := &Recorder{t: t, rows: rows, g: nn.NewGraph()}
	r.x, r.emb, r.seen = r.g.Input(rows, a.Horizon, a.View.Action.Dim()), r.g.Input(rows, a.Embed), r.g.Input(rows, t.net.Seen())
	r.now = t.Denoise(r.g, r.x, r.emb, r.seen)
	if r.ref = r.now; t.ref != t.net {
		r.ref = t.Refer(r.g, r.x, r.emb, r.seen)
	}
	return r, nil
}

// New makes n samples with room for a chain, of Weight 1, n/groups for each of the
// histories seen (groups, Seen).
func (r *Recorder) New(n int, seen []float32) []Sample {
	C, L, S := r.t.net.Seen(), r.t.len(), len(r.t.hops)
	groups := len(seen) / C
	if groups == 0 || len(seen)%C != 0 || n%groups != 0 {
		panic("align: samples do not fit the histories")
	}
	ss := make([]Sample, n)
	for i := range ss {
		g := i / (n / groups)
		ss[i] = Sample{
			Seen: append([]float32(nil), seen[g*C:(g+1)*C]...),
			X:    make([]float32, (S+1)*L), Actions: make([]float32, L),
			LogP: make([]float64, S), Ref: make([]float64, S),
			Group: g, Weight: 1,
		}
	}
	return ss
}

// Draw draws a chain for each sample's Seen and fills in X, Actions, LogP, Ref and KL.
// It does not allocate.
func (r *Recorder) Draw(ss []Sample, rng *rand.Rand) {
	for i := range ss {
		x := ss[i].X[:r.t.len()]
		for j := range x {
			x[j] = float32(rng.NormFloat64())
		}
	}
	r.pass(ss, 0, r.now, rng)
}

// DrawReference is Draw by the frozen reference.
func (r *Recorder) DrawReference(ss []Sample, rng *rand.Rand) {
	for i := range ss {
		x := ss[i].X[:r.t.len()]
		for j := range x {
			x[j] = float32(rng.NormFloat64())
		}
	}
	r.pass(ss, 0, r.ref, rng)
}

// DrawFrom is Draw from the state that each X holds before the step first. Earlier
// steps are as they were, with log-densities 0.
func (r *Recorder) DrawFrom(ss []Sample, first int, rng *rand.Rand) { r.pass(ss, first, r.now, rng) }

// Replay computes LogP, Ref and KL anew, of the chains as they are and the policy as
// it is now.
func (r *Recorder) Replay(ss []Sample) { r.pass(ss, 0, nil, nil) }

// Calls counts the rows that the policy's denoiser predicted for, which a chain needs
// one of for every step.
func (r *Recorder) Calls() uint64 { return r.calls }

// pass goes along the chains from the step first on. by is the denoiser that draws
// them; nil: they are drawn already.
func (r *Recorder) pass(ss []Sample, first int, by *nn.Node, rng *rand.Rand) {
	for len(ss) > 0 {
		n := min(len(ss), r.rows)
		r.some(ss[:n], first, by, rng)
		ss = ss[n:]
	}
}

func (r *Recorder) some(ss []Sample, first int, by *nn.Node, rng *rand.Rand) {
	L, C, E := r.t.len(), r.t.net.Seen(), r.t.net.Arch.Embed
	for i := range ss {
		s := &ss[i]
		copy(r.seen.Value[i*C:(i+1)*C], s.Seen)
		s.KL = 0
		clear(s.LogP[:first])
		clear(s.Ref[:first])
	}
	for k := first; k < len(r.t.hops); k++ {
		h := r.t.hops[k]
		nn.Sinusoid(r.emb.Value[:E], h.Time)
		for i := range r.rows {
			copy(r.emb.Value[i*E:(i+1)*E], r.emb.Value[:E])
		}
		for i := range ss {
			copy(r.x.Value[i*L:(i+1)*L], ss[i].X[k*L:(k+1)*L])
		}
		r.g.ForwardTo(r.now)
		if r.ref != r.now {
			r.g.ForwardTo(r.ref)
		}
		r.calls += uint64(len(ss))
		wide := h.Sigma
		if r.t.flows() {
			wide = r.t.cfg.Floor
		}
		norm := -float64(L) * (math.Log(wide) + math.Log(2*math.Pi)/2)
		half := 1 / (2 * wide * wide)
		for i := range ss {
			s := &ss[i]
			var now, ref, kl float64
			for j := range L {
				x := float64(s.X[k*L+j])
				mean := func(out float32) float64 {
					return h.A*min(h.Bound, max(-h.Bound, h.OfX*x+h.OfOut*float64(out))) + h.B*x
				}
				a, b := mean(r.now.Value[i*L+j]), mean(r.ref.Value[i*L+j])
				at := (k+1)*L + j
				switch by {
				case nil:
				case r.now:
					s.X[at] = float32(a + h.Sigma*rng.NormFloat64())
				default:
					s.X[at] = float32(b + h.Sigma*rng.NormFloat64())
				}
				y := float64(s.X[at])
				now += (y - a) * (y - a)
				ref += (y - b) * (y - b)
				kl += (a - b) * (a - b)
			}
			s.KL += half * kl
			if r.t.flows() {
				s.LogP[k], s.Ref[k] = 0, 0
			} else {
				s.LogP[k], s.Ref[k] = norm-half*now, norm-half*ref
			}
		}
	}
	for i := range ss {
		r.t.net.Actions(ss[i].Actions, ss[i].Chunk())
	}
}
