package ask

import (
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/reward/label"
)

// Agreement is how a person and another answered the same questions.
type Agreement struct {
	With  string  `json:"with"`
	Both  int     `json:"both"`  // questions that both answered and were sure of
	Share float64 `json:"share"` // of agreement, 0..1
}

// agreement compares a person's standing labels of a kind with everybody else's.
func agreement(who string, kind label.Kind, standing []label.Label) []Agreement {
	mine := map[string]label.Label{}
	for _, l := range standing {
		if l.Annotator == who && l.Query.Kind == kind {
			mine[l.Query.ID] = l
		}
	}
	sums := map[string]*Agreement{}
	for _, l := range standing {
		m, ok := mine[l.Query.ID]
		if !ok || l.Annotator == who {
			continue
		}
		share, ok := alike(m, l)
		if !ok {
			continue
		}
		a := sums[l.Annotator]
		if a == nil {
			a = &Agreement{With: l.Annotator}
			sums[l.Annotator] = a
		}
		a.Both++
		a.Share += share
	}
	var out []Agreement
	for _, a := range sums {
		a.Share /= float64(a.Both)
		out = append(out, *a)
	}
	slices.SortFunc(out, func(a, b Agreement) int { return strings.Compare(a.With, b.With) })
	return out
}

// alike is the share of what two answers to one question say that is the same: of
// choices all or nothing, of rankings the pairs in the same order, of segments the
// steps marked alike. It is false where one of them was unsure.
func alike(a, b label.Label) (share float64, ok bool) {
	switch a.Query.Kind {
	case label.Ranking:
		n, same := 0, 0
		for i := range a.Places {
			for j := range i {
				n++
				if sign(a.Places[i]-a.Places[j]) == sign(b.Places[i]-b.Places[j]) {
					same++
				}
			}
		}
		return float64(same) / float64(n), n > 0
	case label.Segments:
		clip := a.Query.Clips[0]
		end := clip.To
		for _, m := range slices.Concat(a.Marks, b.Marks) {
			end = max(end, m.To)
		}
		if end <= clip.From {
			return 1, true // neither marked anything
		}
		same := 0
		for t := clip.From; t < end; t++ {
			if marked(a.Marks, t) == marked(b.Marks, t) {
				same++
			}
		}
		return float64(same) / float64(end-clip.From), true
	}
	if a.Choice == label.Unsure || b.Choice == label.Unsure {
		return 0, false
	}
	if a.Choice == b.Choice {
		return 1, true
	}
	return 0, true
}

// marked is 1 in a good stretch, -1 in a bad one, else 0.
func marked(ms []label.Mark, t int) int {
	for _, m := range ms {
		if t >= m.From && t < m.To {
			if m.Good {
				return 1
			}
			return -1
		}
	}
	return 0
}

func sign(x int) int { return max(-1, min(1, x)) }
