package query

import (
	"slices"

	"github.com/rapport-rl/rapport/reward/label"
)

// Root says what to compare next by root pairwise comparison (Hwang et al. 2023, SeqRank,
// NeurIPS 36): the root, which is what who found best so far, and one of rest, the episodes
// that they were not asked about yet. Whatever is said of the root and a third follows for
// others that were compared with it (label.Follow), so a few answers order many. ok is false
// before a first comparison, after the last episode, and where the root's is not among episodes.
func Root(who string, episodes []string, ls []label.Label) (root label.Clip, rest []string, ok bool) {
	orders := slices.DeleteFunc(label.Pairs(ls), func(o label.Order) bool { return o.Annotator != who })
	root, ok = label.Best(orders)
	if !ok || !slices.Contains(episodes, root.Episode) {
		return label.Clip{}, nil, false
	}
	asked := map[string]bool{}
	for _, l := range label.Standing(ls) {
		for _, c := range l.Query.Clips {
			asked[c.Episode] = asked[c.Episode] || l.Annotator == who
		}
	}
	rest = slices.DeleteFunc(slices.Clone(episodes), func(id string) bool { return asked[id] })
	return root, rest, len(rest) > 0
}
