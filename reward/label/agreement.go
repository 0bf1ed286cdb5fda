package label

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Agreement says how far annotators agree about what several of them were asked.
type Agreement struct {
	// Questions counts what at least two answered: the same two clips, whichever
	// was on the left, and in a triplet the same anchor. A ranking asks about each
	// of its pairs; segments are left out, and unsure is no answer.
	Questions int `json:"questions"`
	// Share is how many of the pairs of answers to one question are the same.
	Share float64 `json:"share"`
	// Alpha is Krippendorff's: 1 all agree, 0 no better than chance. Worse and
	// better are twice as far from each other as a tie is from either. It is 0
	// where nothing varies, since chance then explains all.
	Alpha   float64   `json:"alpha"`
	Between []Between `json:"between"` // every two that share a question, by name
}

// Between says how far two annotators agree.
type Between struct {
	A         string  `json:"a"`
	B         string  `json:"b"`
	Questions int     `json:"questions"`
	Share     float64 `json:"share"` // of their common questions
	Kappa     float64 `json:"kappa"` // Cohen's, of left, right and tie; 0 where nothing varies
}

// Agree compares the labels that stand. Of an annotator's answers to the same
// question the last one counts.
func Agree(ls []Label) Agreement {
	said := answers(ls)
	var a Agreement
	var units [][]float64
	type two struct{ a, b string }
	common := map[two][2][]int{}
	same, of := 0, 0
	for _, q := range slices.Sorted(maps.Keys(said)) {
		who := slices.Sorted(maps.Keys(said[q]))
		if len(who) < 2 {
			continue
		}
		a.Questions++
		// Which clip counts as left is an accident of names: each question is there
		// in both orders, so that chance favours neither side.
		var one, other []float64
		for i, x := range who {
			v := said[q][x]
			one, other = append(one, float64(v)), append(other, float64(-v))
			for _, y := range who[i+1:] {
				w := said[q][y]
				of++
				if v == w {
					same++
				}
				c := common[two{x, y}]
				c[0], c[1] = append(c[0], v, -v), append(c[1], w, -w)
				common[two{x, y}] = c
			}
		}
		units = append(units, one, other)
	}
	if of == 0 {
		return a
	}
	a.Share, a.Alpha = float64(same)/float64(of), Alpha(units, Interval)
	keys := slices.SortedFunc(maps.Keys(common), func(x, y two) int { return cmp.Or(cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b)) })
	for _, k := range keys {
		x, y := common[k][0], common[k][1]
		hit := 0
		for i := range x {
			if x[i] == y[i] {
				hit++
			}
		}
		a.Between = append(a.Between, Between{A: k.a, B: k.b, Questions: len(x) / 2, Share: float64(hit) / float64(len(x)), Kappa: Kappa(x, y)})
	}
	return a
}

// answers are, by question and annotator, +1 where the first clip by name is the
// better, -1 where the second is, 0 for a tie.
func answers(ls []Label) map[string]map[string]int {
	said := map[string]map[string]int{}
	put := func(l Label, anchor string, left, right Clip, v int) {
		a, b := left.Name(), right.Name()
		if a == b {
			return
		}
		if a > b {
			a, b, v = b, a, -v
		}
		q := fmt.Sprintf("%q %s %s", anchor, a, b)
		if said[q] == nil {
			said[q] = map[string]int{}
		}
		said[q][l.Annotator] = v
	}
	worth := map[Choice]int{Left: 1, Tie: 0, Right: -1}
	for _, l := range Standing(ls) {
		q := l.Query
		switch q.Kind {
		case Pair, Triplet:
			v, ok := worth[l.Choice]
			if !ok {
				continue
			}
			anchor := ""
			if q.Kind == Triplet {
				anchor = q.Clips[0].Name()
			}
			left, right := q.Sides()
			put(l, anchor, left, right, v)
		case Ranking:
			for i := range q.Clips {
				for j := i + 1; j < len(q.Clips); j++ {
					put(l, "", q.Clips[i], q.Clips[j], cmp.Compare(l.Places[j], l.Places[i]))
				}
			}
		}
	}
	return said
}

// Nominal is the distance of categories without an order, for Alpha.
func Nominal(a, b float64) float64 {
	if a == b {
		return 0
	}
	return 1
}

// Interval is the distance of numbers, for Alpha.
func Interval(a, b float64) float64 { return (a - b) * (a - b) }

// Alpha is Krippendorff's alpha (Krippendorff 2011, Computing Krippendorff's
// alpha-reliability, section D), of which each unit has the values that it was
// given, in any order; units of fewer than two do not count:
//
//	α = 1 − D_o/D_e,  D_o = 1/n Σ_u 1/(m_u − 1) Σ_{i≠j} δ(v_ui, v_uj),
//	D_e = 1/(n(n − 1)) Σ_{i≠j} δ(v_i, v_j) over all n values of the units that count.
//
// Without any disagreement to expect it is 0.
func Alpha(units [][]float64, distance func(a, b float64) float64) float64 {
	count := map[float64]float64{}
	var n, observed float64
	for _, u := range units {
		if len(u) < 2 {
			continue
		}
		n += float64(len(u))
		for i, a := range u {
			count[a]++
			for j, b := range u {
				if i != j {
					observed += distance(a, b) / float64(len(u)-1)
				}
			}
		}
	}
	values := slices.Sorted(maps.Keys(count)) // a fixed order of sums
	var expected float64
	for _, a := range values {
		for _, b := range values {
			if a != b {
				expected += count[a] * count[b] * distance(a, b)
			}
		}
	}
	if expected == 0 {
		return 0
	}
	return 1 - observed*(n-1)/expected
}

// Kappa is Cohen's kappa of two annotators' categories for the same things
// (Cohen 1960, equation 1): (p_o − p_e)/(1 − p_e). Where both always give the same
// one category it is 0.
func Kappa(a, b []int) float64 {
	if len(a) != len(b) {
		panic("label: Kappa wants as many answers of both")
	}
	ca, cb := map[int]int{}, map[int]int{}
	same := 0
	for i := range a {
		ca[a[i]]++
		cb[b[i]]++
		if a[i] == b[i] {
			same++
		}
	}
	n := float64(len(a))
	chance := 0 // an integer: sums in any order are the same
	for k, c := range ca {
		chance += c * cb[k]
	}
	if chance == len(a)*len(a) {
		return 0
	}
	pe := float64(chance) / (n * n)
	return (float64(same)/n - pe) / (1 - pe)
}
