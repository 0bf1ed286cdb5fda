package align

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/seed"
	"github.com/rapport-rl/rapport/policy/checkpoint"
	"github.com/rapport-rl/rapport/policy/diffusion"
)

// RunConfig configures a Run. Zero fields take the defaults named.
type RunConfig struct {
	Rounds       int // of drawing and learning; 50
	Observations int // of a round; 8
	Each         int // chains that are drawn for an observation; 2
	// Train and Held (N, Seen) are histories as the denoiser sees them
	// (diffusion.Looker): those that are learned from, and those at which the policy is
	// looked at.
	Train, Held []float32
	// Budget is the KL from the reference at which a Run ends, nats of a chain: 5;
	// +Inf: none.
	Budget float64
	// Near is the KL at which the score of nearness has fallen to 1/e: Budget; +Inf:
	// nearness does not count.
	Near float64
	// Alike is the number of the reference's chunks for every held-out history that
	// nearness is told by (Likeness); 0: it is told by the KL.
	Alike  int
	Lambda float64 // weight of the value in the score, Harmonic's; 0.5
	Every  int     // rounds between two looks; 1
	// Patience is after how many looks in a row without a better score a Run ends; 0: it
	// does not for that.
	Patience int
	// Value says how good held-out samples are, from 0 to 1; nil: the share of them
	// that the Judge prefers to the reference's, ties counting half.
	Value func(ss []Sample) float64
	// Sound, where there are some, are held-out samples of the reference whose chunks are
	// good: all of an episode, not the first alone. A policy that changes its way is far
	// from the reference where that goes the other way, and is to be; where the reference
	// does well, it is far because it breaks, which the Value of what it draws need not
	// tell. Drift is the KL along their chains at which the score of being sound has fallen
	// to 1/e, nats of a chain: 60, chosen on the cup (docs/align-pipeline.md).
	Sound []Sample
	Drift float64
	// Bring, where there is one, fills a round's batch with samples that were stored in
	// place of drawing them. All its randomness is that of rng.
	Bring func(b *Batch, rng *rand.Rand)
	// Trial, where there is one, says how well the policy as it is does whole episodes,
	// from 0 to 1, at every look. It counts as much as all else, since neither value, nor
	// nearness, nor soundness tells a policy that works from one that breaks, while few
	// episodes tell little of two that work (docs/align-pipeline.md, "Trials").
	Trial func(ctx context.Context) (float64, error)
	// Looked, where there is one, is told of every look; the Run may be saved in it. Its
	// error ends the Run.
	Looked func(l Look) error
	// Tastes are those of the users whom a policy with Config.Taste is tuned for:
	// chains are drawn for them by turns, and each is looked at at its share of Held, or,
	// where there are more users than histories, at one that is others', too.
	Tastes [][]float64
	// Weigh, where there is one, sets Weights before the Judge rules.
	Weigh func(ss []Sample)
}

func (c *RunConfig) complete(seen, taste int) error {
	whole(&c.Rounds, 50)
	whole(&c.Observations, 8)
	whole(&c.Each, 2)
	whole(&c.Every, 1)
	number(&c.Budget, 5)
	number(&c.Near, c.Budget)
	number(&c.Lambda, 0.5)
	number(&c.Drift, 60)
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("align: run: "+format, args...)) }
	if c.Alike < 0 || c.Alike == 1 {
		bad("Alike is %d chunks, want at least 2, or 0 for the KL", c.Alike)
	}
	if c.Patience < 0 {
		bad("Patience is %d looks, want at least 1, or 0 for all rounds", c.Patience)
	}
	if c.Rounds < 1 || c.Observations < 1 || c.Each < 1 || c.Every < 1 {
		bad("Rounds, Observations, Each and Every are %d, %d, %d and %d, want at least 1", c.Rounds, c.Observations, c.Each, c.Every)
	}
	for _, h := range []struct {
		name string
		x    []float32
	}{{"Train", c.Train}, {"Held", c.Held}} {
		if len(h.x) == 0 || len(h.x)%seen != 0 {
			bad("%s has %d numbers, want some histories of %d: make them with a diffusion.Looker", h.name, len(h.x), seen)
		}
	}
	if !(c.Budget > 0) || !(c.Near > 0) || !(c.Drift > 0) {
		bad("Budget, Near and Drift are %v, %v and %v nats, want positive numbers, or +Inf", c.Budget, c.Near, c.Drift)
	}
	// What is brought is of whoever it is of: no draws are shared out among the users.
	if n := len(c.Tastes); (n > 0) != (taste > 0) || n > c.Observations && c.Bring == nil {
		bad("Tastes are of %d users, %d observations of a round, with tastes of %d numbers: want at least as many observations as users, and users where there is Config.Taste", n, c.Observations, taste)
	}
	if len(c.Tastes) > 0 && c.Trial != nil {
		bad("Trial is of one policy, but there are Tastes of %d users; want one of the two", len(c.Tastes))
	}
	for i, u := range c.Tastes {
		if len(u) != taste {
			bad("Tastes has %d numbers of user %d, want the %d of Config.Taste", len(u), i, taste)
		}
	}
	if !(c.Lambda >= 0 && c.Lambda <= 1) {
		bad("Lambda is %v, want 0 to 1", c.Lambda)
	}
	return errors.Join(errs...)
}

// Look is what a look at the policy saw.
type Look struct {
	Round int
	// KL from the reference at the held-out histories, nats of a chain; Value, from 0
	// to 1, and Score, the harmonic mean of it with being near, of both with being
	// sound, and of these with what was tried.
	KL, Value, Score float64
	Alike            float64 `json:",omitzero"` // share of what is like the reference's, if that is told
	Drift            float64 `json:",omitzero"` // KL along the chains of RunConfig.Sound, nats of a chain, if that is told
	// Tried is what RunConfig.Trial said; nil without.
	Tried *float64 `json:",omitempty"`
	Stats Stats    // of the last batch
}

// Report is how a Run went.
type Report struct {
	Looks   []Look
	Best    int  // round of the policy that was kept, 0 for the reference
	Spent   bool // the budget ended the run
	Stalled bool `json:",omitzero"` // RunConfig.Patience did
}

// Run fine-tunes a policy in rounds: it draws chains from the policy as it is, has them
// judged, and lets an Aligner learn from them. It ends when the KL from the frozen
// reference exceeds the budget, or once no look was better for as long as it has patience, and
// keeps the policy whose harmonic score of value and nearness was the best (RPO, Miao et al. 2024, arXiv:2407.12164, lambda-harmonic
// early stopping).
type Run struct {
	a     Aligner
	judge Judge
	cfg   RunConfig

	draws, looks *Recorder
	held, was    []Sample // of the policy and of the reference
	sound        []Sample // copies of RunConfig.Sound
	alike        *Likeness
	batch        Batch
	round        int
	report       Report
	best         []*nn.Param // a copy of what is trained
}

// NewRun returns a Run that has not begun.
func NewRun(a Aligner, judge Judge, c RunConfig) (*Run, error) {
	t := a.Tuned()
	if err := c.complete(t.net.Seen(), t.cfg.Taste); err != nil {
		return nil, err
	}
	if judge == nil {
		return nil, errors.New("align: run: no Judge: Rated makes one of a reward")
	}
	r := &Run{a: a, judge: judge, cfg: c}
	held := len(c.Held) / t.net.Seen()
	held *= (max(1, len(c.Tastes)) + held - 1) / held // samples: a user's at least one
	var err error
	if r.draws, err = NewRecorder(t, c.Observations*c.Each); err != nil {
		return nil, err
	}
	if r.looks, err = NewRecorder(t, min(64, held)); err != nil {
		return nil, err
	}
	if c.Alike > 0 {
		if r.alike, err = NewLikeness(t, c.Held, c.Alike, r.noise(3)); err != nil {
			return nil, err
		}
	}
	if err := t.samples(&Batch{Samples: c.Sound, Tastes: c.Tastes}); len(c.Sound) > 0 && err != nil {
		return nil, fmt.Errorf("align: run: Sound: %w", err)
	}
	for _, s := range c.Sound {
		s.LogP, s.Ref = slices.Clone(s.LogP), slices.Clone(s.Ref) // become those of the look
		r.sound = append(r.sound, s)
	}
	r.held, r.was = r.looks.New(held, c.Held), r.looks.New(held, c.Held)
	r.batch.Tastes = c.Tastes
	for i := range r.held {
		r.held[i].User = i * len(c.Tastes) / held
		r.was[i].User = r.held[i].User
	}
	for _, p := range t.params {
		q := nn.NewParam(p.Name, p.Shape...)
		copy(q.Data, p.Data)
		r.best = append(r.best, q)
	}
	return r, nil
}

// Go runs to the end, after which the policy is the best one and serves nobody, or until
// ctx is done. A run that stopped between two rounds, or one that Restore was called on,
// goes on to the same bits; within a round, what was drawn for it is lost.
func (r *Run) Go(ctx context.Context) (Report, error) {
	t := r.a.Tuned()
	if r.round == 0 && len(r.report.Looks) == 0 {
		if err := r.look(ctx, Stats{}); err != nil {
			return r.report, err
		}
	}
	for r.round < r.cfg.Rounds && !r.report.Spent && !r.report.Stalled {
		if err := ctx.Err(); err != nil {
			return r.report, err
		}
		r.fill()
		if r.cfg.Weigh != nil {
			r.cfg.Weigh(r.batch.Samples)
		}
		if err := r.judge(ctx, &r.batch); err != nil {
			return r.report, fmt.Errorf("align: run: round %d: %w", r.round+1, err)
		}
		st, err := r.a.Step(ctx, &r.batch)
		if err != nil {
			return r.report, fmt.Errorf("align: run: round %d: %w", r.round+1, err)
		}
		r.round++
		if r.round%r.cfg.Every == 0 || r.round == r.cfg.Rounds {
			if err := r.look(ctx, st); err != nil {
				return r.report, err
			}
		}
	}
	nn.Copy(t.params, r.best)
	return r.report, t.Serve(nil)
}

// fill draws a batch.
func (r *Run) fill() {
	t := r.a.Tuned()
	if r.cfg.Bring != nil {
		r.cfg.Bring(&r.batch, t.rng)
		return
	}
	C := t.net.Seen()
	seen := make([]float32, 0, r.cfg.Observations*C)
	for range r.cfg.Observations {
		i := t.rng.IntN(len(r.cfg.Train) / C)
		seen = append(seen, r.cfg.Train[i*C:(i+1)*C]...)
	}
	r.batch.Samples = r.draws.New(r.cfg.Observations*r.cfg.Each, seen)
	r.batch.Pairs = nil
	if n := len(r.cfg.Tastes); n > 0 {
		first := t.rng.IntN(n)
		for i := range r.batch.Samples {
			s := &r.batch.Samples[i]
			s.User = (first + s.Group*n/r.cfg.Observations) % n
		}
	}
	r.serve(r.batch.Samples, func(ss []Sample) { r.draws.Draw(ss, t.rng) })
}

// serve does some samples after the other, those of each user with the policy that
// serves them.
func (r *Run) serve(ss []Sample, do func([]Sample)) {
	for len(ss) > 0 {
		n := len(ss)
		if len(r.cfg.Tastes) > 0 {
			for n = 1; n < len(ss) && ss[n].User == ss[0].User; n++ {
			}
			r.a.Tuned().lora.Serve(r.cfg.Tastes[ss[0].User])
		}
		do(ss[:n])
		ss = ss[n:]
	}
}

// look measures the policy. Its noise is the same at every look, so that looks differ
// by the policy alone; that of the reference is another, or the slightest change to the
// better would win everywhere.
func (r *Run) look(ctx context.Context, st Stats) error {
	noise := r.noise(1)
	r.serve(r.held, func(ss []Sample) { r.looks.Draw(ss, noise) })
	l := Look{Round: r.round, Stats: st}
	for i := range r.held {
		l.KL += r.held[i].KL / float64(len(r.held))
	}
	if r.cfg.Value != nil {
		l.Value = r.cfg.Value(r.held)
	} else {
		r.looks.DrawReference(r.was, r.noise(2))
		v, err := r.wins(ctx)
		if err != nil {
			return fmt.Errorf("align: run: look after round %d: %w", r.round, err)
		}
		l.Value = v
	}
	near := Near(l.KL, r.cfg.Near)
	if r.alike != nil {
		near = r.alike.Of(r.held)
		l.Alike = near
	}
	l.Score = Harmonic(r.cfg.Lambda, l.Value, near)
	if len(r.sound) > 0 {
		r.serve(r.sound, r.looks.Replay)
		for i := range r.sound {
			l.Drift += r.sound[i].KL / float64(len(r.sound))
		}
		l.Score = Harmonic(0.5, l.Score, Near(l.Drift, r.cfg.Drift))
	}
	if r.cfg.Trial != nil {
		v, err := r.cfg.Trial(ctx)
		if err == nil && !(v >= 0 && v <= 1) {
			err = fmt.Errorf("it said %v, want 0 to 1", v)
		}
		if err != nil {
			return fmt.Errorf("align: run: trial after round %d: %w", r.round, err)
		}
		l.Tried, l.Score = &v, Harmonic(0.5, l.Score, v)
	}
	if math.IsNaN(l.Score) {
		return fmt.Errorf("align: run: look after round %d: value %v and KL %v have no score: want a Value from 0 to 1", r.round, l.Value, l.KL)
	}
	r.report.Spent = l.KL > r.cfg.Budget
	best := !slices.ContainsFunc(r.report.Looks, func(o Look) bool { return o.Score >= l.Score })
	if r.report.Looks = append(r.report.Looks, l); best && !r.report.Spent {
		r.report.Best = r.round
		nn.Copy(r.best, r.a.Tuned().params)
	}
	since := len(r.report.Looks) - 1 - slices.IndexFunc(r.report.Looks, func(o Look) bool { return o.Round == r.report.Best })
	r.report.Stalled = r.cfg.Patience > 0 && since >= r.cfg.Patience
	if r.cfg.Looked != nil {
		return r.cfg.Looked(l)
	}
	return nil
}

// noise is that of the looks.
func (r *Run) noise(who uint64) *rand.Rand {
	return rand.New(rand.NewPCG(who, seed.Mix(r.a.Tuned().cfg.Seed^0x6c6f6f6b))) // "look"
}

// wins is the share of the held-out samples that are preferred to the reference's.
func (r *Run) wins(ctx context.Context) (float64, error) {
	b := Batch{Tastes: r.cfg.Tastes}
	for i := range r.held {
		// First the one and then the other, for a Judge who prefers the first.
		x, y := r.held[i], r.was[i]
		if i%2 == 1 {
			x, y = y, x
		}
		x.Group, y.Group = i, i
		b.Samples = append(b.Samples, x, y)
	}
	if err := r.judge(ctx, &b); err != nil {
		return 0, err
	}
	sum := 0.0
	for _, p := range b.Pairs {
		switch ours := p.Win%2 == p.Win/2%2; {
		case p.Tie:
			sum += 0.5
		case ours:
			sum++
		}
	}
	if len(b.Pairs) == 0 {
		return 0, errors.New("the Judge compared nothing: set RunConfig.Value")
	}
	return sum / float64(len(b.Pairs)), nil
}

// runFormat marks a Run's checkpoint; its number changes with the layout.
const runFormat = "rapport-align-run-2"

// stage is what a Run keeps beside its tensors.
type stage struct {
	Tuned  checkpoint.Stage[diffusion.Arch]
	Round  int
	Report Report
}

// Save writes all that the run goes on from.
func (r *Run) Save(w io.Writer) error {
	t := r.a.Tuned()
	s := stage{Round: r.round, Report: r.report, Tuned: t.stage()}
	var err error
	if s.Tuned.Rand, err = t.pcg.MarshalBinary(); err == nil {
		err = checkpoint.Save(w, runFormat, s, r.parts()...)
	}
	if err != nil {
		return fmt.Errorf("align: run: save: %w", err)
	}
	return nil
}

// Restore takes back what Save wrote. What is corrupt or of another shape is an error,
// and changes nothing.
func (r *Run) Restore(f io.Reader) error {
	t := r.a.Tuned()
	var was rand.PCG
	s, err := checkpoint.Restore(f, runFormat, func(s stage) error {
		if err := checkpoint.Diff(t.net.Arch.Diff(s.Tuned.Arch)).Err(); err != nil {
			return err
		}
		if s.Round < 0 || s.Round > r.cfg.Rounds {
			return fmt.Errorf("round %d of %d", s.Round, r.cfg.Rounds)
		}
		return was.UnmarshalBinary(s.Tuned.Rand)
	}, r.parts()...)
	if err != nil {
		return fmt.Errorf("align: run: restore: %w", err)
	}
	*t.pcg = was
	r.round, r.report = s.Round, s.Report
	return nil
}

func (r *Run) parts() []checkpoint.Part {
	ps := append(r.a.Tuned().parts(), checkpoint.Part{Name: "best", Tensors: nn.Tensors(r.best)})
	return append(ps, remembered(r.a)...)
}

// remembered is what an aligner keeps beside the policy, if anything.
func remembered(a Aligner) []checkpoint.Part {
	if a, ok := a.(interface{ parts() []checkpoint.Part }); ok {
		return a.parts()
	}
	return nil
}
