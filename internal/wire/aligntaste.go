package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/preference/vpl"
)

// client is somebody whose own way a policy aligned by PPD goes (align.Taste), or whom one
// aligned by Pareto serves beside others.
type client struct {
	name  string
	said  [][2]int  // rollouts by number that were compared, the better first
	taste []float64 // to length 1, of the encoder's embedding; or at most, of VPL's latent
}

// clients are those who compared rollouts, by name.
func (a *Alignment) clients(ctx context.Context) ([]client, error) {
	said, _, _, err := a.orders(ctx)
	if err != nil {
		return nil, err
	}
	n := a.s.cfg.Align.Rollouts
	phi := make([][]float64, n) // of a rollout, the mean of its embeddings
	clips := make([]preference.Clip, n)
	number := map[string]int{}
	for i := range n {
		number[rolloutID(i)] = i
		e, err := a.s.store.Episode(rolloutID(i))
		if errors.Is(err, store.ErrNone) {
			return nil, a.before(AlignRollouts)
		}
		if err != nil {
			return nil, err
		}
		traj := e.Trajectory()[1:] // the frame after the reset is no doing of anybody's
		if clips[i], err = preference.ClipOf(rolloutID(i), traj); err != nil {
			return nil, fmt.Errorf("wire: align: %w", err)
		}
		phi[i] = make([]float64, len(traj[0].Embed))
		for _, f := range traj {
			for k, v := range f.Embed {
				phi[i][k] += float64(v) / float64(len(traj))
			}
		}
	}
	var out []client
	for _, o := range said {
		w, okW := number[o.Better.Episode]
		l, okL := number[o.Worse.Episode]
		if !okW || !okL {
			continue // no chains
		}
		at := slices.IndexFunc(out, func(c client) bool { return c.name == o.Annotator })
		if at < 0 {
			at = len(out)
			out = append(out, client{name: o.Annotator})
		}
		out[at].said = append(out[at].said, [2]int{w, l})
	}
	if len(out) < 2 {
		return nil, fmt.Errorf("wire: align: the answers of %d people compare rollouts, but %s is for several; have others answer, too, %s, or take another align.aligner", len(out), a.s.cfg.Align.Aligner, a.Again(AlignRank))
	}
	slices.SortFunc(out, func(x, y client) int { return strings.Compare(x.name, y.name) })
	if a.s.cfg.Align.Taste == "vpl" {
		return out, a.infer(ctx, out, clips)
	}
	for i := range out {
		var b align.Batch
		for _, p := range out[i].said {
			b.Pairs = append(b.Pairs, align.Pair{Win: len(b.Samples), Lose: len(b.Samples) + 1})
			b.Samples = append(b.Samples, align.Sample{Group: p[0]}, align.Sample{Group: p[1]})
		}
		out[i].taste = align.Taste(&b, 0, func(s *align.Sample) []float64 { return phi[s.Group] })
	}
	return out, nil
}

// infer makes the taste of each client what VPL infers of them among all: the mean of z
// given their comparisons, of the clips (align.rollouts,), to length 1 at most, so that
// who is not known, and has z 0, is served as nobody.
func (a *Alignment) infer(ctx context.Context, cs []client, clips []preference.Clip) error {
	var pairs []preference.Pair
	for _, c := range cs {
		for _, p := range c.said {
			pairs = append(pairs, preference.Pair{A: clips[p[0]], B: clips[p[1]], Verdict: preference.First, Annotator: c.name})
		}
	}
	// The last step's networks: that z tells these people apart is all that is wanted here,
	// and of few of them that comes long after new answers are foretold best.
	m, _, err := vpl.Fit(ctx, pairs, vpl.Config{People: min(len(cs), usualPeople), Held: -1, Seed: draw(a.s.cfg.Seed, networks, 22)})
	if err != nil {
		return fmt.Errorf("wire: align: align.taste is vpl: %w", err)
	}
	for i := range cs {
		u, err := m.User(cs[i].name)
		if err != nil {
			return fmt.Errorf("wire: align: %w", err)
		}
		mean, _ := u.Latent()
		floats.Scale(1/max(1, floats.Norm(mean, 2)), mean)
		cs[i].taste = mean
	}
	return nil
}

// everybody is who is served by a policy that serves all clients at once.
const everybody = -1

// theirs are lessons of what each client said. Every fifth rollout is held out. The critic
// is that of who is served, or, where a policy serves everybody at once (everybody), one
// of what all said.
func (a *Alignment) theirs(ctx context.Context, t *align.Tuned, cs []client, served int) (l lessons, err error) {
	rec, err := align.NewRecorder(t, 64)
	if err != nil {
		return l, err
	}
	c := a.s.cfg.Align
	few := func(ss []align.Sample) []align.Sample {
		if c.Chunks > 0 {
			ss = ss[:min(c.Chunks, len(ss))]
		}
		return ss
	}
	rollouts := make([]int, c.Rollouts)
	for i := range rollouts {
		rollouts[i] = i
	}
	chains, err := a.chains(rollouts, rec)
	if err != nil {
		return l, err
	}
	for i := range chains {
		if i%5 == 2 {
			l.held = append(l.held, few(chains[i])...)
		}
	}
	at := make([]map[int]int, len(cs)) // of each client, the first sample in train of a rollout
	for u, who := range cs {
		at[u] = map[int]int{}
		begin := len(l.train)
		shares, asked := beats(c.Rollouts, who.said)
		for n, share := range shares {
			if n%5 == 2 || asked[n] == 0 {
				continue
			}
			ss := slices.Clone(chains[n])
			for i := range ss {
				ss[i].User, ss[i].Reward = u, share
			}
			if share > 1-c.Best {
				l.good = append(l.good, ss...)
			}
			at[u][n] = len(l.train)
			l.train = append(l.train, few(ss)...)
		}
		if len(l.train) == begin {
			return l, fmt.Errorf("wire: align: %s compared held-out rollouts alone (every fifth is), which leaves nothing to learn from; have %[1]s answer more", who.name)
		}
		critic, err := a.fit(ctx, l.train[begin:])
		if err != nil {
			return l, err
		}
		l.critics, l.fitted = append(l.critics, critic), append(l.fitted, [2]int{begin, len(l.train)})
	}
	l.all = slices.Clone(l.train)
	for u, who := range cs {
		for _, p := range who.said {
			w, okW := at[u][p[0]]
			x, okX := at[u][p[1]]
			if !okW || !okX {
				continue
			}
			for k := range min(len(few(chains[p[0]])), len(few(chains[p[1]]))) {
				l.compare(w+k, x+k, k == 0)
			}
		}
	}
	rec.Replay(l.all[len(l.train):])
	if len(l.pairs) == 0 {
		ls, err := a.answers(ctx)
		if err != nil {
			return l, err
		}
		return l, fmt.Errorf("wire: align: none of what %d people compared is two rollouts that are learned from (every fifth is held out); %s", len(cs), a.more(len(ls)))
	}
	if l.right = -1; served == everybody {
		l.value = func(ss []align.Sample) float64 {
			sum := 0.0
			for _, k := range l.critics {
				sum += k.Mean(ss) / float64(len(l.critics))
			}
			return sum
		}
		l.critic, err = a.fit(ctx, l.train)
		return l, err
	}
	l.critic = l.critics[served]
	l.value = func(ss []align.Sample) float64 {
		sum := 0.0
		for i := range ss {
			sum += l.critics[ss[i].User].Of(&ss[i])
		}
		return sum / float64(max(1, len(ss)))
	}
	return l, nil
}

// regards is what each of people.groups says of two policies on the same starts. Who sees
// less than people.ties between two episodes finds them alike.
func (a *Alignment) regards(before, after verdict) (out []Regard) {
	c := a.s.cfg.Align
	for g, who := range a.s.cfg.People.Groups {
		r := Regard{Person: who.Name, Of: len(before.Worth), Served: (c.Aligner == "ppd" || c.By == "pal") && serves(c.Person, nobody+"-"+who.Name)}
		for i := range before.Worth {
			switch d := after.Worth[i][g] - before.Worth[i][g]; {
			case d == 0 || math.Abs(d) < a.s.cfg.People.Ties:
			case d > 0:
				r.Better++
			default:
				r.Worse++
			}
		}
		out = append(out, r)
	}
	return out
}

func namesOf(cs []client) (out []string) {
	for _, c := range cs {
		out = append(out, c.name)
	}
	return out
}

func tastesOf(cs []client) (out [][]float64) {
	for _, c := range cs {
		out = append(out, c.taste)
	}
	return out
}
