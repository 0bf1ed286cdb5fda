package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// learnedRival makes a kind of reward anew from what the session holds: its preferred
// videos, its demonstrations, and what people answered in it. labels says how many of
// the comparisons in its answers are taken, the first ones.
func learnedRival(kind string) func(ctx context.Context, b *bench, name string, o *choices) (rival, error) {
	return func(ctx context.Context, b *bench, name string, o *choices) (rival, error) {
		c := b.s.cfg.Reward
		c.Kind, c.Person = kind, ""
		if kind == "tcc" {
			c.Form = o.text("form", "transport")
		}
		t := taste{Version: tasteVersion, Kind: kind, Experts: b.parts.taste.Experts, Gamma: o.number("gamma", b.parts.taste.Gamma), Cost: b.parts.taste.Cost, Sight: b.parts.taste.Sight}
		what := "made anew from the preferred videos"
		n := o.number("labels", math.Inf(1))
		if err := o.end(); err != nil {
			return rival{}, err
		}
		liked, rest := t.Experts, []rapl.Video(nil)
		if config.Comparing(kind) {
			want := least(kind)
			if !(n >= float64(want)) {
				return rival{}, fmt.Errorf("labels is %g, but kind %s learns from some comparisons and is judged by others; want %d at least", n, kind, want)
			}
			known, videos, err := b.s.known(ctx)
			if err != nil {
				return rival{}, err
			}
			left := 0
			if kind != "rapl" { // which learns what is alike
				known, left = b.s.preferences(known, t.Experts)
			}
			said := retold(kind, known, videos, t.Experts, tied(c))
			if len(said) < want {
				return rival{}, fmt.Errorf("kind %s learns from comparisons, of which %s holds %d%s; want %d at least: ask somebody by rapport label", kind, b.s.Dir(), len(said), besides(left), want)
			}
			said = said[:int(min(n, float64(len(said))))]
			what = fmt.Sprintf("made anew from %d comparisons", len(said))
			c.Gamma = t.Gamma
			if _, err := t.compare(ctx, c, b.s.cfg.Seed, said); err != nil {
				return rival{}, err
			}
		} else if !math.IsInf(n, 1) {
			return rival{}, fmt.Errorf("kind %s learns from no comparisons, so labels mean nothing to it", kind)
		} else {
			said, err := b.s.said(ctx, t.Experts)
			if err != nil {
				return rival{}, err
			}
			if liked, rest, err = b.s.sides(ctx, t.Experts, said); err != nil {
				return rival{}, err
			}
		}
		if len(liked) == 0 {
			return rival{}, fmt.Errorf("kind %s learns from preferred videos, of which %s has none; take another kind", kind, b.s.Dir())
		}
		if kind == "gail" && len(rest) == 0 {
			return rival{}, errors.New("kind gail learns to tell the preferred videos from others, and there are none")
		}
		if len(liked) > 0 {
			if err := worded(c, len(b.s.cfg.Robot.Cameras), liked[0].D); err != nil {
				return rival{}, err
			}
		}
		if err := t.learn(ctx, c, draw(b.s.cfg.Seed, networks, 3), liked, rest); err != nil {
			return rival{}, err
		}
		s, err := t.scorer()
		if err != nil {
			return rival{}, err
		}
		return scored(name, named(c)+", "+what, s), nil
	}
}

// retold are the triplets that answers say of videos to a reward of that kind, in the order of
// the answers. What pairs say is beside the preferred videos in turn, as in realign.
func retold(kind string, known []label.Label, videos, experts []rapl.Video, ties bool) (ts []rapl.Triplet) {
	at := map[string]int{}
	for i, l := range known {
		at[l.ID] = i
	}
	said := label.Triplets(known)
	for _, x := range label.Settle(label.Pairs(known)) {
		said = append(said, label.Likeness{Order: x})
	}
	slices.SortStableFunc(said, func(x, y label.Likeness) int { return at[x.Label] - at[y.Label] })
	pairs := 0
	for _, t := range compared(said, videos, ties) {
		if t.Anchor.Len() == 0 {
			e, ok := anchorOf(kind, experts, pairs, t.Better, t.Worse)
			if pairs++; !ok {
				continue
			}
			t.Anchor = e
		}
		ts = append(ts, t)
	}
	return ts
}

// anchorOf is the anchor of what a pair says to a reward of that kind: the next of the preferred
// videos from i on that is neither of the two, since nothing is more like a video than itself. There
// may be none. Rewards but RAPL know no anchors.
func anchorOf(kind string, experts []rapl.Video, i int, better, worse rapl.Video) (anchor rapl.Video, ok bool) {
	if kind != "rapl" {
		return rapl.Video{}, true
	}
	for k := range experts {
		if e := experts[(i+k)%len(experts)]; !among(e, better, worse) {
			return e, true
		}
	}
	return rapl.Video{}, false
}

// among says whether a video is one of two that are compared.
func among(e, better, worse rapl.Video) bool { return e.Name == better.Name || e.Name == worse.Name }

// said are the triplets and then the pairs, without anchors, by which people decided in the
// session which of two whole episodes is better, of those whose features it has. Of stretches,
// what won is no episode that people like.
func (s *Session) said(ctx context.Context, experts []rapl.Video) ([]rapl.Triplet, error) {
	known, videos, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	known, _ = s.preferences(known, experts)
	said := label.Triplets(known)
	for _, x := range label.Settle(label.Pairs(known)) {
		said = append(said, label.Likeness{Order: x})
	}
	said = slices.DeleteFunc(said, func(x label.Likeness) bool { return !whole(x.Better) || !whole(x.Worse) })
	return compared(said, videos, false), nil
}

// video is an episode of the session, or one that is kept of an earlier session, as rewards
// compare it.
func (s *Session) video(by *sight, id string) (rapl.Video, error) {
	return library{s.store, by, map[string]rapl.Video{}, map[string][]perception.Features{}}.video(label.Clip{Episode: id})
}

// sides are the videos that people like and those that they do not, as far as they
// have said: the preferred ones and what always won, and what always lost or, where no other
// demonstration always did one of the two, all of these.
func (s *Session) sides(ctx context.Context, experts []rapl.Video, said []rapl.Triplet) (liked, rest []rapl.Video, err error) {
	liked = slices.Clone(experts)
	in := map[string]bool{}
	for _, v := range experts {
		in[v.Name] = true
	}
	won, lost := map[string]bool{}, map[string]bool{}
	for _, t := range said {
		won[t.Better.Name], lost[t.Worse.Name] = true, true
	}
	by, err := s.sight(ctx)
	if err != nil {
		return nil, nil, err
	}
	rows, err := s.store.Episodes(ctx, policy.Demo)
	if err != nil {
		return nil, nil, err
	}
	decided := func(r store.Row) bool { return !in[r.ID] && won[r.ID] != lost[r.ID] }
	open := !slices.ContainsFunc(rows, decided) // what was said is of the preferred videos and of other episodes
	for _, r := range rows {
		if in[r.ID] || !open && !decided(r) {
			continue
		}
		v, err := s.video(by, r.ID)
		if err != nil {
			return nil, nil, err
		}
		if won[r.ID] && !open {
			liked = append(liked, v)
		} else {
			rest = append(rest, v)
		}
	}
	return liked, rest, nil
}
