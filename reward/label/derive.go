package label

// Order says how two clips compare, as trainers want it.
type Order struct {
	// Better is at least as good as Worse. In a tie neither is better: Better is
	// the one that was shown first.
	Better, Worse Clip
	Tie           bool
	Annotator     string
	Label         string // whose ID it was derived from
}

// Likeness says that Better is more like Anchor than Worse is.
type Likeness struct {
	Anchor Clip
	Order
}

// Pairs derives what the labels that stand say about pairs of clips, in the
// labels' order: a pair as it was decided; of a ranking all its pairs, the first
// clip with the others first; of segments each good stretch over each bad one,
// as clips of their own. Unsure teaches nothing and is left out. Triplets are
// no pairs: they say what is alike, not what is good.
func Pairs(ls []Label) []Order {
	var out []Order
	for _, l := range Standing(ls) {
		q := l.Query
		add := func(better, worse Clip, tie bool) {
			out = append(out, Order{better, worse, tie, l.Annotator, l.ID})
		}
		switch q.Kind {
		case Pair:
			if l.Choice != Unsure {
				add(compared(l))
			}
		case Ranking:
			for i := range q.Clips {
				for j := i + 1; j < len(q.Clips); j++ {
					if l.Places[i] <= l.Places[j] {
						add(q.Clips[i], q.Clips[j], l.Places[i] == l.Places[j])
					} else {
						add(q.Clips[j], q.Clips[i], false)
					}
				}
			}
		case Segments:
			for _, good := range l.Marks {
				for _, bad := range l.Marks {
					if good.Good && !bad.Good {
						add(stretch(q.Clips[0], good), stretch(q.Clips[0], bad), false)
					}
				}
			}
		}
	}
	return out
}

// Triplets derives what the labels that stand say about likeness, in their order.
// Unsure is left out.
func Triplets(ls []Label) []Likeness {
	var out []Likeness
	for _, l := range Standing(ls) {
		if l.Query.Kind != Triplet || l.Choice == Unsure {
			continue
		}
		better, worse, tie := compared(l)
		out = append(out, Likeness{l.Query.Clips[0], Order{better, worse, tie, l.Annotator, l.ID}})
	}
	return out
}

// Sides are the two clips that a Pair or a Triplet compares, as they were shown.
func (q Query) Sides() (left, right Clip) {
	n := len(q.Clips)
	return q.Clips[n-2], q.Clips[n-1]
}

func compared(l Label) (better, worse Clip, tie bool) {
	left, right := l.Query.Sides()
	if l.Choice == Right {
		return right, left, false
	}
	return left, right, l.Choice == Tie
}

func stretch(c Clip, m Mark) Clip {
	c.From, c.To = m.From, m.To
	return c
}
