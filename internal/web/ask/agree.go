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

// agreement compares a person with everybody else who answered the same questions
// of a kind.
func agreement(who string, kind label.Kind, standing []label.Label) []Agreement {
	var ls []label.Label
	for _, l := range standing {
		if l.Query.Kind == kind {
			ls = append(ls, l)
		}
	}
	if kind == label.Segments {
		return alongside(who, ls)
	}
	var out []Agreement
	for _, b := range label.Agree(ls).Between {
		switch who {
		case b.A:
			out = append(out, Agreement{b.B, b.Questions, b.Share})
		case b.B:
			out = append(out, Agreement{b.A, b.Questions, b.Share})
		}
	}
	return out
}

// alongside is agreement about segments: the mean share of steps that both marked
// alike, up to the last that one of them marked.
func alongside(who string, ls []label.Label) []Agreement {
	mine := map[string]label.Label{}
	for _, l := range ls {
		if l.Annotator == who {
			mine[l.Query.ID] = l
		}
	}
	var out []Agreement
	for _, l := range ls {
		m, ok := mine[l.Query.ID]
		if !ok || l.Annotator == who {
			continue
		}
		i := slices.IndexFunc(out, func(a Agreement) bool { return a.With == l.Annotator })
		if i < 0 {
			i = len(out)
			out = append(out, Agreement{With: l.Annotator})
		}
		out[i].Both++
		out[i].Share += alike(m, l)
	}
	for i := range out {
		out[i].Share /= float64(out[i].Both)
	}
	slices.SortFunc(out, func(a, b Agreement) int { return strings.Compare(a.With, b.With) })
	return out
}

// alike is the share of steps that two people marked alike.
func alike(a, b label.Label) float64 {
	clip := a.Query.Clips[0]
	end := clip.To
	for _, m := range slices.Concat(a.Marks, b.Marks) {
		end = max(end, m.To)
	}
	if end <= clip.From {
		return 1 // neither marked anything
	}
	same := 0
	for t := clip.From; t < end; t++ {
		if marked(a.Marks, t) == marked(b.Marks, t) {
			same++
		}
	}
	return float64(same) / float64(end-clip.From)
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
