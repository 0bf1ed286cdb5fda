package preference

import (
	"fmt"
	"slices"

	"github.com/rapport-rl/rapport/reward/label"
)

// Options say how labels are read as pairs.
type Options struct {
	// Anchored takes the anchors of triplets for preferred clips, so that the clip
	// that is more like the anchor is the better one, and the anchor better than the
	// other. Without it triplets, which compare likeness, say nothing of what is
	// better and are left out.
	Anchored bool
	// Axes name reasons (label.Label.Tags) that are aspects: an answer with the reason is
	// the verdict on that aspect, Pair.Axes[i], and one without says nothing of it.
	Axes []string
}

// FromLabels turns standing labels into pairs, in their order. clip embeds what was
// shown; it is asked once for each clip. Pairs give one pair each, triplets as Options
// say, rankings one for every two clips, segments one for each good and bad stretch.
// Unsure answers are left out. Of two clips that somebody compared more than once counts
// what was said most often (label.Settle), of each aspect apart.
func FromLabels(ls []label.Label, clip func(label.Clip) (Clip, error), o Options) ([]Pair, error) {
	var out []Pair
	type stretch struct {
		episode  string
		from, to int
	}
	seen := map[stretch]Clip{}
	get := func(l label.Label, c label.Clip) (Clip, error) {
		k := stretch{c.Episode, c.From, c.To}
		if got, ok := seen[k]; ok {
			return got, nil
		}
		got, err := clip(c)
		if err != nil {
			return Clip{}, fmt.Errorf("preference: label %s: %w", l.ID, err)
		}
		seen[k] = got
		return got, nil
	}
	ls = label.Standing(ls)
	for _, l := range ls {
		if err := l.Validate(); err != nil {
			return nil, fmt.Errorf("preference: %w", err)
		}
	}
	overall, axes := settled(ls), make([]map[comparison]bool, len(o.Axes))
	for i, axis := range o.Axes {
		axes[i] = settled(slices.DeleteFunc(slices.Clone(ls), func(l label.Label) bool { return !slices.Contains(l.Tags, axis) }))
	}
	add := func(l label.Label, a, b label.Clip, v Verdict) error {
		p := Pair{Verdict: v, Annotator: l.Annotator}
		counts := func(in map[comparison]bool) bool {
			return l.Query.Kind == label.Triplet || in[comparison{l.ID, a.Name(), b.Name()}]
		}
		if !counts(overall) {
			p.Verdict = Unknown
		}
		says := p.Verdict != Unknown
		for i, axis := range o.Axes {
			said := Unknown
			if slices.Contains(l.Tags, axis) && counts(axes[i]) {
				said, says = v, true
			}
			p.Axes = append(p.Axes, said)
		}
		if !says {
			return nil
		}
		var err error
		if p.A, err = get(l, a); err != nil {
			return err
		}
		if p.B, err = get(l, b); err != nil {
			return err
		}
		out = append(out, p)
		return nil
	}
	for _, l := range ls {
		cs := l.Query.Clips
		var err error
		switch l.Query.Kind {
		case label.Triplet:
			if o.Anchored {
				if v := verdict(l.Choice); v != Unknown {
					err = add(l, cs[1], cs[2], v)
					other := map[Verdict]int{First: 2, Second: 1}[v]
					if err == nil && other > 0 {
						err = add(l, cs[0], cs[other], First)
					}
				}
			}
		case label.Pair:
			if v := verdict(l.Choice); v != Unknown {
				err = add(l, cs[0], cs[1], v)
			}
		case label.Ranking:
			for i := range cs {
				for j := i + 1; j < len(cs) && err == nil; j++ {
					v := Tie
					if l.Places[i] < l.Places[j] {
						v = First
					} else if l.Places[i] > l.Places[j] {
						v = Second
					}
					err = add(l, cs[i], cs[j], v)
				}
			}
		case label.Segments:
			part := func(m label.Mark) label.Clip {
				c := cs[0]
				c.From, c.To = m.From, m.To
				return c
			}
			for _, good := range l.Marks {
				for _, bad := range l.Marks {
					if good.Good && !bad.Good && err == nil {
						err = add(l, part(good), part(bad), First)
					}
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// comparison is what a label says of two clips, by their names in either order.
type comparison struct{ id, a, b string }

// settled are the comparisons of clips in ls that count, where somebody made some of them again.
func settled(ls []label.Label) map[comparison]bool {
	counts := map[comparison]bool{}
	for _, x := range label.Settle(label.Pairs(ls)) {
		a, b := x.Better.Name(), x.Worse.Name()
		counts[comparison{x.Label, a, b}], counts[comparison{x.Label, b, a}] = true, true
	}
	return counts
}

func verdict(c label.Choice) Verdict {
	switch c {
	case label.Left:
		return First
	case label.Right:
		return Second
	case label.Tie:
		return Tie
	}
	return Unknown
}
