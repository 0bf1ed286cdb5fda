package wire

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/preference/pal"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// compare learns from comparisons, of kind rapl from the head that t has. The report of
// the other kinds has no Brier score and no bins, and that of pal nothing of before.
func (t *taste) compare(ctx context.Context, c config.Reward, run uint64, said []rapl.Triplet) (rapl.Report, error) {
	if c.Kind != "rapl" {
		return t.prefer(ctx, c, run, said)
	}
	how, err := aligning(c, run, t.Cost)
	if err != nil {
		return rapl.Report{}, err
	}
	how.Sides = t.Sides
	if how.Init = t.Head; t.Head == nil { // one that learned before is near
		how.Steps = c.Steps
	}
	head, rep, err := rapl.Align(ctx, said, how)
	if err == nil {
		t.Head, t.Sides = &head, rep.Sides
	}
	return rep, err
}

// least is how many comparisons a reward of that kind learns from at least, one of which is held out.
func least(kind string) int {
	switch kind {
	case "rapl":
		return 2
	case "pal":
		return preference.Fewest(pal.HeldShare)
	}
	return preference.Fewest(preference.HeldShare)
}

// tied says whether a reward learns from answers that two are alike, too.
func tied(c config.Reward) bool { return c.Ties || c.Kind == "btt" }

// prefer learns a reward from which of two was better, whatever the anchor: that of
// reward.person, or of all.
func (t *taste) prefer(ctx context.Context, c config.Reward, run uint64, said []rapl.Triplet) (rep rapl.Report, err error) {
	var pairs []preference.Pair
	for _, p := range said {
		pair := preference.Pair{A: clip(p.Better), B: clip(p.Worse), Verdict: preference.First, Annotator: p.Annotator}
		if p.Tie {
			pair.Verdict = preference.Tie
		}
		pairs = append(pairs, pair)
	}
	who := ""
	if t.Person = c.Person; c.Person != "" {
		people := peopleOf(pairs)
		i, err := whose("reward.person", c.Person, people)
		if err != nil {
			return rep, err
		}
		who = people[i]
	}
	if who != "" && c.Kind != "pal" {
		pairs = by(pairs, who)
	}
	if len(pairs) < least(c.Kind) {
		of := "there are"
		if c.Person != "" && c.Kind != "pal" {
			of = who + " made"
		}
		return rep, fmt.Errorf("%s %d comparisons %w, want %d at least", of, len(pairs), errTooFew, least(c.Kind))
	}
	if c.Kind == "pal" {
		var b bytes.Buffer
		m, told, err := pal.Fit(ctx, pairs, palConfig(c.PAL.Prototypes, run))
		if err != nil {
			return rep, err
		}
		u, err := viewed(m, who)
		if err != nil {
			return rep, err
		}
		err = u.Save(&b)
		t.PAL = b.Bytes()
		return rapl.Report{Train: told.Train, Held: told.Held, After: measured(told.After)}, err
	}
	how := preference.Config{Seed: draw(run, networks, 2)}
	if c.Kind == "btt" {
		if how, err = bttConfig(c.BTT, run); err != nil {
			return rep, err
		}
	}
	n, told, err := preference.FitRLHF(ctx, pairs, how)
	if err != nil {
		return rep, err
	}
	return rapl.Report{Train: told.Train, Held: told.Held, Before: measured(told.Before), After: measured(told.After)}, t.keep(n)
}

// keep keeps the reward of kind rlhf, btt or heron.
func (t *taste) keep(n *preference.Net) error {
	var b bytes.Buffer
	err := n.Save(&b)
	t.RLHF = b.Bytes()
	return err
}

// palConfig is PAL of the few answers that a session has: its network has no hidden layer.
func palConfig(prototypes int, run uint64) pal.Config {
	return pal.Config{Prototypes: prototypes, Linear: true, Seed: draw(run, networks, 4)}
}

// viewed is a person's view of PAL, or what all have in common where nobody is named.
func viewed(m *pal.Model, person string) (*pal.User, error) {
	if person == "" {
		return m.Common(), nil
	}
	return m.User(person)
}

// bttConfig is RLHF that explains ties, by as much as the answers say where
// reward.btt.strength is 0.
func bttConfig(c config.BTT, run uint64) (preference.Config, error) {
	how := preference.Config{Strength: c.Strength, LearnStrength: c.Strength == 0, Seed: draw(run, networks, 2)}
	if err := how.Ties.UnmarshalText([]byte(c.Model)); err != nil {
		return how, err
	}
	if c.Strength == 0 {
		return how, nil
	}
	return how, how.Ties.Valid(c.Strength)
}

func measured(m preference.Measure) rapl.Measure {
	return rapl.Measure{Loss: m.Loss, Accuracy: m.Accuracy, ECE: m.Calibration}
}

// whose is the place among people of the one whom what, a setting, names; of the only one
// where it names nobody.
func whose(what, person string, people []string) (int, error) {
	if person == "" && len(people) == 1 {
		return 0, nil
	}
	i := slices.IndexFunc(people, func(who string) bool { return serves(person, who) })
	if i < 0 {
		return 0, fmt.Errorf("%s is %q; want one of those who answered: %s", what, person, strings.Join(people, ", "))
	}
	return i, nil
}

// serves says whether a setting names the annotator who, who may be a simulated one.
func serves(person, who string) bool { return who == person || who == nobody+"-"+person }

// by are the answers of one person.
func by(pairs []preference.Pair, who string) []preference.Pair {
	return slices.DeleteFunc(pairs, func(p preference.Pair) bool { return p.Annotator != who })
}

// peopleOf are those who compared, sorted.
func peopleOf(pairs []preference.Pair) (people []string) {
	for _, p := range pairs {
		people = append(people, p.Annotator)
	}
	slices.Sort(people)
	return slices.Compact(people)
}
