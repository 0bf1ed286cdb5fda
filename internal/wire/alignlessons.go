package wire

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/diffusion"
	"github.com/rapport-rl/rapport/reward/label"
)

// lessons is what an aligner learns from.
type lessons struct {
	train, held []align.Sample
	all         []align.Sample // train, and chunks at each other's histories
	pairs       []align.Pair   // of all
	good, sound []align.Sample // all chunks of the best rollouts (align.best), and of those held out
	marked      []align.Sample // of train's rollouts, with what somebody marked of their actions
	critic      *align.Critic
	critics     []*align.Critic              // of each client, where there are several people
	fitted      [][2]int                     // train, from and to, that these were fitted to
	value       func([]align.Sample) float64 // of chunks, 0 to 1
	right       float64                      // see tunedBy.Held
}

// lessons reads the chains of the ranked rollouts. Every fifth is held out.
func (a *Alignment) lessons(ctx context.Context, t *align.Tuned, r rankings) (l lessons, err error) {
	rec, err := align.NewRecorder(t, 64)
	if err != nil {
		return l, err
	}
	marks, err := a.marks(ctx)
	if err != nil {
		return l, err
	}
	rollouts := make([]int, len(r.Order))
	for place, x := range r.Order {
		rollouts[place] = x.Rollout
	}
	chains, err := a.chains(rollouts, rec)
	if err != nil {
		return l, err
	}
	at := map[int][]int{} // samples of a rollout, by its number, in train
	for place, x := range r.Order {
		ss := chains[place]
		held := place%5 == 2
		switch {
		case x.Share > 1-a.s.cfg.Align.Best && held:
			l.sound = append(l.sound, ss...)
		case x.Share > 1-a.s.cfg.Align.Best:
			l.good = append(l.good, ss...)
		}
		if !held {
			for _, ms := range marks[x.Rollout] { // of each person
				l.marked = append(l.marked, a.carried(ss, ms, t.Net().Arch)...)
			}
		}
		if n := a.s.cfg.Align.Chunks; n > 0 {
			ss = ss[:min(n, len(ss))]
		}
		for i := range ss {
			ss[i].Reward = x.Share
		}
		if held {
			l.held = append(l.held, ss...)
			continue
		}
		for i := range ss {
			at[x.Rollout] = append(at[x.Rollout], len(l.train)+i)
		}
		l.train = append(l.train, ss...)
	}
	l.all = slices.Clone(l.train)
	for _, p := range r.Better {
		w, x := at[p[0]], at[p[1]]
		for k := range min(len(w), len(x)) {
			l.compare(w[k], x[k], k == 0)
		}
	}
	rec.Replay(l.all[len(l.train):])
	if len(l.pairs) == 0 || len(l.held) == 0 {
		return l, fmt.Errorf("wire: align: %d rollouts and %d comparisons leave nothing to hold out; raise align.rollouts or align.labels", len(r.Order), len(r.Better))
	}
	if l.critic, err = a.fit(ctx, l.train); err != nil {
		return l, err
	}
	l.value = l.critic.Mean
	right, of := 0, 0
	for i := range l.held {
		for k := range i {
			x, y := &l.held[i], &l.held[k]
			if d := x.Reward - y.Reward; d > 0.3 || d < -0.3 { // nearer ones may be alike
				of++
				if d*(l.critic.Of(x)-l.critic.Of(y)) > 0 {
					right++
				}
			}
		}
	}
	l.right = float64(right) / float64(max(1, of))
	return l, nil
}

// fit fits a critic to stored chunks, whose rewards are the shares of other rollouts that
// theirs beats.
func (a *Alignment) fit(ctx context.Context, ss []align.Sample) (*align.Critic, error) {
	k, err := align.FitCritic(ctx, ss, align.CriticConfig{Seed: draw(a.s.cfg.Seed, networks, 21)})
	if err != nil {
		return nil, err
	}
	k.Chunks = cmp.Or(a.s.cfg.Align.Chunks, -1)
	return k, nil
}

// compare takes two chunks of which one is better. Those that began two rollouts are
// compared where either of them began: a policy is asked which of two chunks it would
// rather draw for one history, and of two histories it may have seen but one way each.
// Scenes begin alike, so that what one began with can begin the other; later chunks
// are compared as they were.
func (l *lessons) compare(win, lose int, first bool) {
	if !first {
		l.pairs = append(l.pairs, align.Pair{Win: win, Lose: lose})
		return
	}
	w, x := l.all[win], l.all[lose]
	w.Seen, x.Seen = x.Seen, w.Seen
	for _, s := range []*align.Sample{&w, &x} {
		s.LogP, s.Ref = slices.Clone(s.LogP), slices.Clone(s.Ref) // become those at the other history
	}
	n := len(l.all)
	l.all = append(l.all, w, x)
	l.pairs = append(l.pairs, align.Pair{Win: n, Lose: lose}, align.Pair{Win: win, Lose: n + 1})
}

// bring fills a batch with stored chunks.
func (l *lessons) bring(b *align.Batch, rng *rand.Rand) {
	b.Samples, b.Pairs = l.all, b.Pairs[:0]
	for range 64 {
		b.Pairs = append(b.Pairs, l.pairs[rng.IntN(len(l.pairs))])
	}
}

// marks are what people marked of rollouts, by the rollouts' numbers.
func (a *Alignment) marks(ctx context.Context) (map[int][][]label.Mark, error) {
	ls, err := a.answers(ctx)
	if err != nil {
		return nil, err
	}
	number := map[string]int{}
	for n := range a.s.cfg.Align.Rollouts {
		number[rolloutID(n)] = n
	}
	out := map[int][][]label.Mark{}
	for _, l := range ls {
		if n, ok := number[l.Query.Clips[0].Episode]; ok && l.Query.Kind == label.Segments {
			out[n] = append(out[n], l.Marks)
		}
	}
	return out, nil
}

// carried copies those of the chunks of a rollout of which somebody marked actions, with
// these marks. The first actions of a chunk are of its history, and the last ones were
// not carried out: nobody saw them.
func (a *Alignment) carried(ss []align.Sample, ms []label.Mark, arch diffusion.Arch) (out []align.Sample) {
	exec := a.s.cfg.Policy.Diffusion.Exec
	for i, s := range ss {
		s.Marks = make([]align.Mark, arch.Horizon)
		said := s.Marks[arch.History-1:][:exec] // of the steps from i exec on
		for _, m := range ms {
			mark := align.Bad
			if m.Good {
				mark = align.Good
			}
			for step := max(m.From-i*exec, 0); step < min(m.To-i*exec, exec); step++ {
				said[step] = mark
			}
		}
		if slices.Max(said) != align.Unmarked {
			out = append(out, s)
		}
	}
	return out
}

// better are the chunks whose rollouts are of the share best.
func better(ss []align.Sample, best float64) []align.Sample {
	return slices.DeleteFunc(slices.Clone(ss), func(s align.Sample) bool { return s.Reward <= 1-best })
}

// unbeaten is why no rollout is one of the best. That several share the first place is enough, as
// where two people contradict each other.
func (a *Alignment) unbeaten() string {
	return fmt.Sprintf("no rollout that is learned from beats more than %.0f %% of the others (align.best)", 100*(1-a.s.cfg.Align.Best))
}

// exemplary refuses an aligner that learns from the best rollouts of r, or from what was marked of
// them, where there is nothing of the kind in so many answers.
func (a *Alignment) exemplary(l lessons, r rankings, answers int) error {
	c := a.s.cfg.Align
	var from []align.Sample
	switch c.Aligner {
	case "rm-filter":
		from = l.good
	case "seppo", "partial", "dragon":
		from = better(l.train, c.Best)
	case "fdpo":
		if len(l.marked) == 0 {
			return fmt.Errorf("wire: align: nobody marked a part of one of the %d rollouts that are learned from (every fifth is held out); mark more of them: %s", len(r.Order)-(len(r.Order)+2)/5, a.More(answers))
		}
		return nil
	default:
		return nil
	}
	if len(from) > 0 {
		return nil
	}
	return fmt.Errorf("wire: align: align.aligner %s learns from the best rollouts, but %s; raise it: %s, or give more answers: %s", c.Aligner, a.unbeaten(), a.Again("", fmt.Sprintf("align.best=%.2g", (1+c.Best)/2)), a.More(answers))
}

// stored fills each batch with all of some stored chunks, whose rewards are the shares
// of other rollouts that theirs beats. They are a batch's own: align.weigh weighs them, and not
// what else is learned from ss.
func stored(ss []align.Sample) func(*align.Batch, *rand.Rand) {
	ss = slices.Clone(ss)
	return func(b *align.Batch, _ *rand.Rand) { b.Samples, b.Pairs = ss, b.Pairs[:0] }
}

func histories(ss []align.Sample) (seen []float32) {
	for i := range ss {
		seen = append(seen, ss[i].Seen...)
	}
	return seen
}
