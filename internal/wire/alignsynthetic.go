package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/sim/person"
)

// rankings is what AlignSynthetic left.
type rankings struct {
	By     string
	Reward string   // the judgement that they are of
	Pairs  int      // that were asked for
	Order  []ranked // the best first
	Better [][2]int // rollouts by number, the better first
	Right  float64  // share of them that the simulated person whom they are of sees so; -1 where nobody knows
}

type ranked struct {
	Rollout int
	Return  float64
	Share   float64 // of the others that it is better than
}

// synthetic ranks all rollouts by the reward, and compares pairs of them by it.
func (a *Alignment) synthetic(ctx context.Context) (string, error) {
	c := a.s.cfg
	j, of, err := a.judged(ctx)
	if err != nil {
		return "", err
	}
	r := rankings{By: j.By, Reward: of, Pairs: c.Align.Pairs, Right: -1}
	var was rankings
	if err := a.read(rankingFile, &was); err == nil && was.answers(of, c.Align) {
		return was.note() + ", made before", nil
	}
	if j.By == "labels" {
		err = a.ofLabels(ctx, &r)
	} else {
		err = a.ofReward(ctx, j, &r)
	}
	if err != nil {
		return "", err
	}
	if a.simulated {
		if err := a.check(ctx, j.Person, &r); err != nil {
			return "", err
		}
	}
	return r.note(), a.write(rankingFile, r)
}

// answers says whether r is what c asks for, of the judgement of that sum.
func (r rankings) answers(of string, c config.Align) bool {
	return r.Reward == of && r.Pairs == c.Pairs && len(r.Order) == c.Rollouts
}

func (r rankings) note() string {
	s := fmt.Sprintf("%d rollouts ranked by %s, %d comparisons", len(r.Order), r.By, len(r.Better))
	if r.Right >= 0 {
		s += fmt.Sprintf("; %.0f %% of those that the simulated person decides are as it sees them", 100*r.Right)
	}
	return s
}

// scorer is the reward of a judgement that has one.
func (a *Alignment) scorer(ctx context.Context, j judgement) (reward.Scorer, error) {
	v, b, err := a.s.latest(ctx, kindReward)
	if err != nil {
		return nil, err
	}
	if v != j.Version {
		return nil, fmt.Errorf("wire: align: the reward of %s is version %d, the alignment's %d; learn it again: rapport align %s %s", a.s.Dir(), v, j.Version, AlignEncoder, Quoted(a.s.Dir()))
	}
	t, err := decodeTaste(b)
	if err != nil {
		return nil, err
	}
	return t.scorer()
}

// ofReward ranks by the reward's sums.
func (a *Alignment) ofReward(ctx context.Context, j judgement, r *rankings) error {
	by, err := a.scorer(ctx, j)
	if err != nil {
		return err
	}
	n := a.s.cfg.Align.Rollouts
	for i := range n {
		e, err := a.s.store.Episode(rolloutID(i))
		if errors.Is(err, store.ErrNone) {
			return a.before(AlignRollouts)
		}
		if err == nil {
			err = rate(ctx, by, &e)
		}
		if err != nil {
			return err
		}
		r.Order = append(r.Order, ranked{Rollout: i, Return: e.Return()})
		a.s.tell("synthetic rankings", i+1, n, "")
	}
	slices.SortStableFunc(r.Order, func(x, y ranked) int { return cmp.Compare(y.Return, x.Return) })
	for i := range r.Order {
		r.Order[i].Share = float64(n-1-i) / float64(n-1)
	}
	rng := rand.New(rand.NewPCG(draw(a.s.cfg.Seed, people, -4), 0))
	for len(r.Better) < r.Pairs {
		if i, k := rng.IntN(n), rng.IntN(n); i < k {
			r.Better = append(r.Better, [2]int{r.Order[i].Rollout, r.Order[k].Rollout})
		}
	}
	return nil
}

// ofLabels takes what people said and nothing else. Of a rollout that nobody was
// asked about, the share is one half.
func (a *Alignment) ofLabels(ctx context.Context, r *rankings) error {
	_, said, _, err := a.asked(ctx)
	if err != nil {
		return err
	}
	n := a.s.cfg.Align.Rollouts
	number := map[string]int{}
	for i := range n {
		number[rolloutID(i)] = i
	}
	for _, o := range said {
		w, okW := number[o.Better.Episode]
		l, okL := number[o.Worse.Episode]
		if !okW || !okL {
			continue // no chains
		}
		r.Better = append(r.Better, [2]int{w, l})
	}
	if len(r.Better) == 0 {
		return errors.New("wire: align: no answer compares two rollouts, whose chains alone can be learned from; answer about those, or rank by a reward: --set align.by=rapl")
	}
	shares, _ := beats(n, r.Better)
	for i, share := range shares {
		r.Order = append(r.Order, ranked{Rollout: i, Share: share})
	}
	slices.SortStableFunc(r.Order, func(x, y ranked) int { return cmp.Compare(y.Share, x.Share) })
	return nil
}

// beats is for each of n rollouts the share of the others that it was compared with and
// is better than, one half where it was not compared, and with how many it was.
func beats(n int, better [][2]int) (shares []float64, asked []int) {
	wins := make([]int, n)
	asked = make([]int, n)
	for _, p := range better {
		wins[p[0]]++
		asked[p[0]]++
		asked[p[1]]++
	}
	for i := range n {
		share := 0.5
		if asked[i] > 0 {
			share = float64(wins[i]) / float64(asked[i])
		}
		shares = append(shares, share)
	}
	return shares, asked
}

// byMarks compares each two episodes of which steps were marked: better is that of whose
// marked steps a larger share is good.
func byMarks(ls []label.Label) (said []label.Order) {
	var ids []string // in the labels' order
	good, all := map[string]int{}, map[string]int{}
	for _, l := range ls {
		id := l.Query.Clips[0].Episode
		for _, m := range l.Marks {
			if all[id] == 0 {
				ids = append(ids, id)
			}
			all[id] += m.To - m.From
			if m.Good {
				good[id] += m.To - m.From
			}
		}
	}
	for i, x := range ids {
		for _, y := range ids[i+1:] {
			d := good[x]*all[y] - good[y]*all[x]
			switch better, worse := (label.Clip{Episode: x}), (label.Clip{Episode: y}); {
			case d > 0:
				said = append(said, label.Order{Better: better, Worse: worse})
			case d < 0:
				said = append(said, label.Order{Better: worse, Worse: better})
			}
		}
	}
	return said
}

// check tells how many of the comparisons a simulated person sees so, for the report: the only one
// there is, or of several whom they are for.
func (a *Alignment) check(ctx context.Context, serving string, r *rankings) error {
	groups := tastes(a.s.cfg.People)
	if serving != "" {
		groups = slices.DeleteFunc(groups, func(g person.Group) bool { return !serves(serving, g.Name) })
	}
	if len(groups) != 1 {
		return nil // nobody's rankings
	}
	truths, err := a.truths(ctx)
	if err != nil {
		return err
	}
	film := person.Footage{}
	for i, ts := range truths {
		film[rolloutID(i)] = ts
	}
	// Who never errs is asked, and what is alike is so to whoever answered.
	who, err := person.NewCrowd(0, person.Habits{Ties: a.s.cfg.People.Ties}, groups, film, time.Time{})
	if err != nil {
		return err
	}
	right, of := 0, 0
	for i, p := range r.Better {
		l, err := who.Answer(ctx, label.Query{ID: strconv.Itoa(i), Kind: label.Pair, Clips: []label.Clip{{Episode: rolloutID(p[0])}, {Episode: rolloutID(p[1])}}})
		if err != nil {
			return err
		}
		switch l.Choice {
		case label.Left:
			right++
			of++
		case label.Right:
			of++
		}
	}
	if of > 0 {
		r.Right = float64(right) / float64(of)
	}
	return nil
}
