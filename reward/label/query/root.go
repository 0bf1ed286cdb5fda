package query

import (
	"slices"

	"github.com/rapport-rl/rapport/reward/label"
)

// Root says what to compare next by root pairwise comparison (Hwang et al. 2023, SeqRank,
// NeurIPS 36): with the root, which is what who found best so far, one of rest, the episodes
// that they were not asked about yet. Whatever is said of the root and a third follows for
// others that were compared with it (label.Follow), so a few answers order many.
//
// What a single wrong answer made the root makes all that follows wrong. So where the root
// beat one that had beaten others, and no answer but that one says so, with holds that one as
// well, both in the other order than they were shown in, to be asked about once more; who
// then contradicts himself has said nothing of the two (label.Settle). This is ours.
//
// ok is false before a first comparison, after the last episode, and where the root's is not
// among episodes.
func Root(who string, episodes []string, ls []label.Label) (with []label.Clip, rest []string, ok bool) {
	theirs := slices.DeleteFunc(label.Standing(ls), func(l label.Label) bool { return l.Annotator != who })
	orders := label.Settle(label.Pairs(theirs))
	root, ok := label.Best(orders)
	if !ok || !slices.Contains(episodes, root.Episode) {
		return nil, nil, false
	}
	asked := map[string]bool{}
	for _, l := range theirs {
		for _, c := range l.Query.Clips {
			asked[c.Episode] = true
		}
	}
	rest = slices.DeleteFunc(slices.Clone(episodes), func(id string) bool { return asked[id] })
	if again := doubtful(root, orders, theirs); again != nil && slices.Contains(episodes, again[0].Episode) && slices.Contains(episodes, again[1].Episode) {
		return again, rest, true
	}
	return []label.Clip{root}, rest, len(rest) > 0
}

// doubtful are the root and the last that it beat in one answer alone, who asked nothing more
// about them, of those that had beaten something in another; the later shown first.
func doubtful(root label.Clip, orders []label.Order, ls []label.Label) (again []label.Clip) {
	beat := map[string][]string{} // by clip, the labels in which it was better
	for _, o := range orders {
		if !o.Tie {
			beat[o.Better.Name()] = append(beat[o.Better.Name()], o.Label)
		}
	}
	for _, o := range orders {
		if o.Tie || o.Better.Name() != root.Name() || !slices.ContainsFunc(beat[o.Worse.Name()], func(l string) bool { return l != o.Label }) {
			continue
		}
		var shown []label.Clip
		times := 0
		for _, l := range ls {
			two := slices.DeleteFunc(slices.Clone(l.Query.Clips), func(c label.Clip) bool {
				return c.Name() != o.Better.Name() && c.Name() != o.Worse.Name()
			})
			if len(two) == 2 && l.Query.Kind != label.Triplet {
				shown = two
				times++
			}
		}
		if times == 1 {
			again = []label.Clip{shown[1], shown[0]}
		}
	}
	return again
}
