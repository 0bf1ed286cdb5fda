package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/preference/pal"
	"github.com/rapport-rl/rapport/reward/preference/regret"
	"github.com/rapport-rl/rapport/reward/preference/vpl"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// rlhfRival learns from all answers, or from those of one person.
func rlhfRival(ctx context.Context, b *bench, name string, o *choices) (rival, error) {
	person := o.text("person", "")
	if person == "" {
		return learnedRival("rlhf")(ctx, b, name, o)
	}
	pairs, _, who, err := b.askedOf(ctx, o, person)
	if err != nil {
		return rival{}, err
	}
	pairs = by(pairs, who)
	n, rep, err := preference.FitRLHF(ctx, pairs, preference.Config{Seed: draw(b.s.cfg.Seed, networks, 2)})
	if err != nil {
		return rival{}, err
	}
	return scored(name, fmt.Sprintf("RLHF, %s alone, from %d comparisons; %.2f of %d held out foretold", who, rep.Train, rep.After.Accuracy, rep.Held), b.parts.taste.Sight.judged(n)), nil
}

// bttRival learns from all answers and ties, or from those of one person; or one aspect
// after the other from the answers that name it as their reason, weighed.
func bttRival(ctx context.Context, b *bench, name string, o *choices) (rival, error) {
	c := b.s.cfg.Reward.BTT
	c.Model, c.Strength = o.text("model", c.Model), o.number("strength", c.Strength)
	person, of, weights := o.text("person", ""), o.text("axes", ""), o.text("weights", "")
	if err := o.end(); err != nil {
		return rival{}, err
	}
	how, err := bttConfig(c, b.s.cfg.Seed)
	if err != nil {
		return rival{}, err
	}
	var axes []string
	if of != "" {
		axes = strings.Split(of, "+")
	}
	pairs, people, err := b.s.comparisons(ctx, b.parts.taste.Experts, axes...)
	if err != nil {
		return rival{}, err
	}
	who := "of all"
	if person != "" {
		i, err := whose("person", person, people)
		if err != nil {
			return rival{}, err
		}
		who = people[i] + " alone"
		pairs = by(pairs, people[i])
	}
	if axes == nil {
		if weights != "" {
			return rival{}, errors.New("weights are of axes, of which none are named; want axes=smooth+safe, by the reasons of answers")
		}
		n, rep, err := preference.FitRLHF(ctx, pairs, how)
		if err != nil {
			return rival{}, err
		}
		return scored(name, fmt.Sprintf("BTT, %s, %v of strength %.2f, from %d comparisons, %d of the held-out ones ties; %.2f of %d held out foretold",
			who, how.Ties, n.Strength(), rep.Train, rep.After.Ties, rep.After.Accuracy, rep.After.Decided), b.parts.taste.Sight.judged(n)), nil
	}
	for i, axis := range axes {
		if !slices.ContainsFunc(pairs, func(p preference.Pair) bool { return p.Axes[i] != preference.Unknown }) {
			return rival{}, fmt.Errorf("axes names %q, which no answer gives as its reason; rapport label asks for reasons (tags)", axis)
		}
	}
	x, reps, err := preference.FitAxes(ctx, pairs, axes, how)
	if err != nil {
		return rival{}, err
	}
	if weights != "" {
		if x.Weights, err = weighed(weights, len(axes)); err != nil {
			return rival{}, err
		}
	}
	what := "BTT, " + who
	for i, axis := range axes {
		what += fmt.Sprintf(", %g of %s from %d comparisons", x.Weights[i], axis, reps[i].Train)
	}
	return scored(name, what, b.parts.taste.Sight.judged(x)), nil
}

// weighed are the n weights A+B+..., each finite.
func weighed(said string, n int) ([]float64, error) {
	parts := strings.Split(said, "+")
	xs := make([]float64, len(parts))
	bad := len(parts) != n
	for i, p := range parts {
		var err error
		xs[i], err = strconv.ParseFloat(p, 64)
		bad = bad || err != nil || xs[i]-xs[i] != 0
	}
	if bad {
		return nil, fmt.Errorf("weights is %q; want %d numbers, as 1+0.5", said, n)
	}
	return xs, nil
}

// askedOf are all comparisons, who made them, and which of these the person is, once o
// holds nothing else.
func (b *bench) askedOf(ctx context.Context, o *choices, person string) (pairs []preference.Pair, people []string, who string, err error) {
	if err = o.end(); err != nil {
		return nil, nil, "", err
	}
	if pairs, people, err = b.s.comparisons(ctx, b.parts.taste.Experts); err != nil {
		return nil, nil, "", err
	}
	i, err := whose("person", person, people)
	if err != nil {
		return nil, nil, "", err
	}
	return pairs, people, people[i], nil
}

// palRival is one person's view of PAL, fitted to the answers of all; what they have in
// common where nobody is named.
func palRival(ctx context.Context, b *bench, name string, o *choices) (rival, error) {
	c := palConfig(o.count("prototypes", b.s.cfg.Reward.PAL.Prototypes), b.s.cfg.Seed)
	switch m := o.text("model", "a"); m {
	case "a":
	case "b":
		c.Context = true
	default:
		return rival{}, fmt.Errorf("model is %q; want a, or b, whose prototypes follow how an episode begins", m)
	}
	person := o.text("person", "")
	if err := o.end(); err != nil {
		return rival{}, err
	}
	pairs, people, err := b.s.comparisons(ctx, b.parts.taste.Experts)
	if err != nil {
		return rival{}, err
	}
	who := "what is common to all"
	if person != "" {
		i, err := whose("person", person, people)
		if err != nil {
			return rival{}, err
		}
		person, who = people[i], people[i]
	}
	m, rep, err := pal.Fit(ctx, pairs, c)
	if err != nil {
		return rival{}, err
	}
	u, err := viewed(m, person)
	if err != nil {
		return rival{}, err
	}
	return scored(name, fmt.Sprintf("PAL, %s of %d people, %.2f of the prototypes, from %d comparisons; %.2f of %d held out foretold",
		who, len(people), u.Shares, rep.Train, rep.After.Accuracy, rep.Held), b.parts.taste.Sight.judged(u)), nil
}

// usualPeople is vpl's default of people a step; more than there are only repeat them.
const usualPeople = 16

// vplRival is what VPL infers of one person from their answers, or of a stranger.
func vplRival(ctx context.Context, b *bench, name string, o *choices) (rival, error) {
	c := vpl.Config{Steps: o.count("steps", 0), Seed: draw(b.s.cfg.Seed, networks, 5)}
	person := o.text("person", "")
	if err := o.end(); err != nil {
		return rival{}, err
	}
	pairs, people, err := b.s.comparisons(ctx, b.parts.taste.Experts)
	if err != nil {
		return rival{}, err
	}
	c.People = min(len(people), usualPeople)
	who := "a stranger"
	if person != "" {
		i, err := whose("person", person, people)
		if err != nil {
			return rival{}, err
		}
		who = people[i]
	}
	m, _, err := vpl.Fit(ctx, pairs, c)
	if err != nil {
		return rival{}, err
	}
	u := m.Stranger()
	if person != "" {
		if u, err = m.User(who); err != nil {
			return rival{}, err
		}
	}
	mean, dev := u.Latent()
	return scored(name, fmt.Sprintf("VPL, %s among %d people, z %.2f ± %.2f, from %d comparisons", who, len(people), mean, dev, len(pairs)), b.parts.taste.Sight.judged(u)), nil
}

// regretRival is a reward that explains one person's answers by regret. The ways of acting
// that it knows are two: of the episodes that mostly won with that person, and of the rest.
func regretRival(ctx context.Context, b *bench, name string, o *choices) (rival, error) {
	r := regret.Recordings{Components: o.count("components", 8)}
	pairs, _, who, err := b.askedOf(ctx, o, o.text("person", ""))
	if err != nil {
		return rival{}, err
	}
	pairs = by(pairs, who)
	won := map[string]int{} // less what was lost
	for _, p := range pairs {
		for _, x := range []struct {
			clip    preference.Clip
			verdict preference.Verdict
		}{{p.A, p.Verdict}, {p.B, p.Verdict.Flip()}} {
			switch x.verdict {
			case preference.First:
				won[x.clip.Name]++
			case preference.Second:
				won[x.clip.Name]--
			}
		}
	}
	_, videos, err := b.s.known(ctx)
	if err != nil {
		return rival{}, err
	}
	better, worse := 0, 0
	for _, v := range videos {
		r.Episodes = append(r.Episodes, clip(v))
		if won[v.Name] > 0 {
			r.Shows, better = append(r.Shows, 0), better+1
		} else {
			r.Shows, worse = append(r.Shows, 1), worse+1
		}
	}
	if better == 0 || worse == 0 {
		r.Shows = nil // one way
	}
	c, err := regret.CompareRecorded(ctx, r, pairs, regret.Config{})
	if err != nil {
		return rival{}, err
	}
	m, err := regret.FitRecorded(ctx, r, pairs, regret.Config{Explain: regret.Regret})
	if err != nil {
		return rival{}, err
	}
	return scored(name, fmt.Sprintf("regret, %s, from %d comparisons against the better of %d and %d episodes; an answer is likelier by %.3f nats than by partial return",
		who, len(pairs), better, worse, c.Margin), b.parts.taste.Sight.judged(m)), nil
}

// comparisons are those of clips that people made in the session, and who they
// are, sorted. Anchors are preferred clips, which count as better than what lost beside
// them; triplets beside others are left out. axes are reasons that become aspects.
func (s *Session) comparisons(ctx context.Context, experts []rapl.Video, axes ...string) ([]preference.Pair, []string, error) {
	known, videos, err := s.known(ctx)
	if err != nil {
		return nil, nil, err
	}
	known, left := s.preferences(known, experts)
	pairs, err := preference.FromLabels(known, func(c label.Clip) (preference.Clip, error) {
		i := slices.IndexFunc(videos, func(v rapl.Video) bool { return v.Name == c.Episode })
		got := clip(videos[i])
		to := c.To
		if to == 0 {
			to = got.Len()
		}
		if c.From < 0 || c.From >= to || to > got.Len() {
			return preference.Clip{}, fmt.Errorf("it shows steps %d to %d of %s, which has %d", c.From, to, c.Episode, got.Len())
		}
		got.Rest = got.Len() - to
		got.Embed = got.Embed[c.From*got.D : to*got.D]
		return got, nil
	}, preference.Options{Anchored: true, Axes: axes})
	if err != nil {
		return nil, nil, err
	}
	people := peopleOf(pairs)
	if len(people) == 0 {
		return nil, nil, fmt.Errorf("%s holds no comparisons%s; ask somebody by rapport label", s.Dir(), besides(left))
	}
	return pairs, people, nil
}

// known are the standing labels of episodes that the session has, or that are kept of an earlier
// one, and these.
func (s *Session) known(ctx context.Context) (known []label.Label, videos []rapl.Video, err error) {
	all, err := s.heard(ctx)
	if err != nil {
		return nil, nil, err
	}
	by, err := s.sight(ctx)
	if err != nil {
		return nil, nil, err
	}
	frames := map[string]int{}
	for _, l := range label.Standing(all) {
		whole := true
		for _, c := range l.Query.Clips {
			if _, ok := frames[c.Episode]; !ok {
				v, err := s.video(by, c.Episode)
				if errors.Is(err, store.ErrNone) {
					whole = false // of another session, or a bag
					continue
				}
				if err != nil {
					return nil, nil, err
				}
				frames[c.Episode] = v.Len()
				videos = append(videos, v)
			}
			// heard looks at the session's own alone.
			parts := []label.Clip{c}
			for _, m := range l.Marks {
				parts = append(parts, label.Clip{From: m.From, To: m.To})
			}
			for _, part := range parts {
				_, _, ok := portion(part, frames[c.Episode])
				whole = whole && ok
			}
		}
		if whole {
			known = append(known, l)
		}
	}
	return known, videos, nil
}

// count is a number that counts something, at least 1 where it is said.
func (o *choices) count(key string, otherwise int) int {
	_, said := o.kv[key]
	x := o.number(key, float64(otherwise))
	if said && len(o.errs) == 0 && (x < 1 || x > 1e6 || x != math.Trunc(x)) {
		o.errs = append(o.errs, fmt.Errorf("%s is %g, want a whole number of 1 or more", key, x))
	}
	return int(x)
}
