package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/rapl"
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
