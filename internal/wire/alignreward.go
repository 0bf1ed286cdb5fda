package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/sim/person"
)

// judgement is what AlignEncoder left: the reward that ranks.
type judgement struct {
	By       string
	Person   string   `json:",omitempty"` // of pal: for whom it ranks
	Answers  string   // what was said, so that a change is seen
	Count    int      // of answers
	Decided  int      // comparisons of two rollouts in them
	Follow   int      `json:",omitempty"` // comparisons that follow from these
	Experts  []string `json:",omitempty"` // the rollouts that nobody found worse than another
	Version  uint64   // of the reward's checkpoint; 0 for none
	Accuracy float64  // on held-out comparisons
	How      string   `json:",omitempty"` // it was learned, of what may change; "" of before this was kept
}

const judgementFile, rankingFile = "reward.json", "rankings.json"

// orders are what people said of pairs of rollouts, all told: those that they decided, and those
// that are alike to them.
func (a *Alignment) orders(ctx context.Context) (said, alike []label.Order, ls []label.Label, err error) {
	if ls, err = a.answers(ctx); err != nil {
		return nil, nil, nil, err
	}
	if ranksByMarks(a.s.cfg.Align) {
		return byMarks(ls), nil, ls, nil
	}
	for _, o := range label.Settle(label.Pairs(ls)) {
		if o.Tie {
			alike = append(alike, o)
		} else {
			said = append(said, o)
		}
	}
	return said, alike, ls, nil
}

// ranksByMarks says whether rollouts are ranked by the marks of each, and by nothing that compares two
// stretches of one.
func ranksByMarks(c config.Align) bool { return c.Ask == string(label.Segments) && c.By == "labels" }

// following adds what follows from what was said, but for PAL, PPD and Pareto, to which each of
// several people would count by how much that is, and for marks, by which all is compared.
func (a *Alignment) following(said, alike []label.Order) []label.Order {
	if c := a.s.cfg.Align; c.By == "pal" || c.Several() || ranksByMarks(c) {
		return said
	}
	return label.Follow(slices.Concat(said, alike))
}

// encoder aligns the representation, or whatever ranks, with the answers.
func (a *Alignment) encoder(ctx context.Context) (string, error) {
	c := a.s.cfg
	j, said, alike, err := a.asked(ctx)
	if err != nil {
		return "", err
	}
	if j.Count < c.Align.Labels {
		return "", a.before(AlignRank)
	}
	again := ""
	var was judgement
	if err := a.read(judgementFile, &was); err == nil && was.answers(j) {
		why, err := a.unlearned(ctx, was)
		if err != nil {
			return "", err
		}
		if why == "" {
			return was.note() + ", made before", nil
		}
		again = ", " + why
	}
	if ranksByMarks(c.Align) && j.Decided == 0 {
		return "", fmt.Errorf("wire: align: the marks of %d answers tell no two rollouts apart, whose shares of good steps are all alike; %s", j.Count, a.more(j.Count))
	}
	if !ranksByMarks(c.Align) && j.Decided < 2 {
		want := 2
		if c.Align.By != "labels" {
			want = least(c.Align.By)
		}
		return "", fmt.Errorf("wire: align: of %d answers %d compare two rollouts, or parts of one; want %d at least; %s, or make more rollouts", j.Count, j.Decided, want, a.more(j.Count))
	}
	if c.Align.By != "labels" {
		if err := a.learn(ctx, &j, said, alike); err != nil {
			return "", err
		}
	}
	return j.note() + again, a.write(judgementFile, j)
}

func (j judgement) note() string {
	s := j.By
	if j.Person != "" {
		s += " for " + j.Person
	}
	s += fmt.Sprintf(" of %d answers, which decide %d comparisons", j.Count, j.Decided)
	if j.Follow > 0 {
		s += fmt.Sprintf(", from which %d follow", j.Follow)
	}
	if j.Version > 0 {
		s += fmt.Sprintf("; reward %d tells %.0f %% of the held-out ones right", j.Version, 100*j.Accuracy)
	}
	return s
}

// ranksFor is the person for whom all rollouts are ranked; "" for all alike.
func ranksFor(c config.Align) string {
	if c.By == "pal" {
		return c.Person
	}
	return ""
}

// enough are the triplets from which a reward learns, of all that follow from a few answers,
// where people said no more (ours).
const enough = 128

// learn learns the reward of the comparisons said, with what follows from them, and of what
// is alike.
func (a *Alignment) learn(ctx context.Context, j *judgement, said, alike []label.Order) error {
	c := a.s.cfg
	by, err := a.s.sight(ctx)
	if err != nil {
		return err
	}
	lib := library{in: a.s.store, by: by, videos: map[string]rapl.Video{}, trajs: map[string][]perception.Features{}}
	t := taste{Version: tasteVersion, Kind: c.Align.By, Gamma: c.Reward.Gamma, Sight: by}
	if err := t.Cost.UnmarshalText([]byte(c.Reward.Cost)); err != nil {
		return fmt.Errorf("wire: reward.cost: %w", err)
	}
	video := func(x label.Clip) (rapl.Video, error) {
		v, err := lib.video(x)
		if errors.Is(err, store.ErrNone) {
			err = fmt.Errorf("wire: align: %s was ranked, and is no episode of %s; align by its own, without --bag", x.Episode, a.s.Dir())
		}
		return v, err
	}
	theirs, same := said, alike
	if who := ranksFor(c.Align); who != "" { // what one person likes best
		others := func(o label.Order) bool { return !serves(who, o.Annotator) }
		theirs, same = slices.DeleteFunc(slices.Clone(said), others), slices.DeleteFunc(slices.Clone(alike), others)
		if len(theirs) == 0 {
			return fmt.Errorf("wire: align: align.person is %q, who decided no comparison of two rollouts; have them answer, or name another", who)
		}
	}
	for _, x := range favourites(theirs, same, c.Reward.Experts) {
		v, err := video(x)
		if err != nil {
			return err
		}
		t.Experts, j.Experts = append(t.Experts, v), append(j.Experts, v.Name)
	}
	if len(t.Experts) == 0 {
		return fmt.Errorf("wire: align: of %d answers every rollout that was liked better than one was liked less than another, so there is nothing to be like; %s", j.Count, a.more(j.Count))
	}
	ts, err := likened(c.Align.By, said, t.Experts, video)
	if err != nil {
		return err
	}
	few := func(ts []rapl.Triplet) []rapl.Triplet { // an epoch takes as long as there are
		if n := max(c.Align.Labels*c.Reward.Experts, enough); len(ts) > n {
			rng := rand.New(rand.NewPCG(draw(c.Seed, people, -5), 0))
			rng.Shuffle(len(ts), func(i, j int) { ts[i], ts[j] = ts[j], ts[i] })
			ts = ts[:n]
		}
		return ts
	}
	ts = few(ts)
	decided := len(ts)
	how := c.Reward
	how.Kind, how.Person = c.Align.By, ranksFor(c.Align)
	if tied(how) {
		ties, err := likened(c.Align.By, alike, t.Experts, video)
		if err != nil {
			return err
		}
		ts = append(ts, few(ties)...)
	}
	if want := least(c.Align.By); decided < 2 || len(ts) < want {
		return fmt.Errorf("wire: align: %d answers decide %d comparisons, of which %d can be learned from: too few to learn from some and be judged on others, want %d at least; %s", j.Count, j.Decided, len(ts), want, a.more(j.Count))
	}
	if how.Person != "" { // of many comparisons none of theirs may be drawn
		var answered []string
		for _, x := range ts {
			answered = append(answered, x.Annotator)
		}
		slices.Sort(answered)
		if _, err := whose("align.person", how.Person, slices.Compact(answered)); err != nil {
			return fmt.Errorf("wire: align: %w", err)
		}
	}
	rep, err := t.compare(ctx, how, c.Seed, ts)
	if err != nil {
		return fmt.Errorf("wire: align: %s: %w", c.Align.By, err)
	}
	j.Accuracy = rep.After.Accuracy
	v, _, err := a.s.latest(ctx, kindReward)
	if err != nil {
		return err
	}
	b, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("wire: reward: %w", err)
	}
	j.Version = v + 1
	// As in Session.realign: the mark first.
	err = a.s.store.Mark(ctx, markRealigned, "yes")
	if err == nil {
		err = a.s.store.SaveCheckpoint(ctx, kindReward, j.Version, b)
	}
	return err
}

// likened are the triplets of orders: whatever is better is more like each of the experts, the
// favourites, than what is worse, and what is alike is as like.
func likened(by string, orders []label.Order, experts []rapl.Video, video func(label.Clip) (rapl.Video, error)) (ts []rapl.Triplet, err error) {
	for _, o := range orders {
		better, err := video(o.Better)
		if err != nil {
			return nil, err
		}
		worse, err := video(o.Worse)
		if err != nil {
			return nil, err
		}
		for _, e := range experts {
			if by != "rapl" || !among(e, better, worse) {
				ts = append(ts, rapl.Triplet{Anchor: e, Better: better, Worse: worse, Tie: o.Tie, Annotator: o.Annotator})
			}
			if by != "rapl" {
				break // it knows no anchor
			}
		}
	}
	return ts, nil
}

// more is how to give more answers than there are.
func (a *Alignment) more(than int) string { return "give more: " + a.More(than) }

// favourites are at most n clips that were better than some and worse than none, nor
// alike to one that was worse than another, those that were better most often first.
func favourites(said, alike []label.Order, n int) []label.Clip {
	of := label.Clip.Name
	wins, worse := map[string]int{}, map[string]bool{}
	var better []label.Clip // once each
	for _, o := range said {
		if wins[of(o.Better)]++; wins[of(o.Better)] == 1 {
			better = append(better, o.Better)
		}
		worse[of(o.Worse)] = true
	}
	for grew := true; grew; {
		grew = false
		for _, o := range alike {
			if x, y := worse[of(o.Better)], worse[of(o.Worse)]; x != y {
				worse[of(o.Better)], worse[of(o.Worse)] = true, true
				grew = true
			}
		}
	}
	better = slices.DeleteFunc(better, func(c label.Clip) bool { return worse[of(c)] })
	slices.SortStableFunc(better, func(x, y label.Clip) int { return wins[of(y)] - wins[of(x)] })
	return better[:min(n, len(better))]
}

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
	slices.SortStableFunc(r.Order, func(x, y ranked) int {
		switch {
		case x.Return > y.Return:
			return -1
		case x.Return < y.Return:
			return 1
		}
		return 0
	})
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
	slices.SortStableFunc(r.Order, func(x, y ranked) int {
		switch {
		case x.Share > y.Share:
			return -1
		case x.Share < y.Share:
			return 1
		}
		return 0
	})
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
