package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/reward/label"
)

// What a step finds of the one before may be of other answers or settings than it is asked for,
// since steps are done singly, too. This file compares the two.

// wanted is the judgement that c asks for of the answers ls, before it is made.
func wanted(c config.Config, ls []label.Label) judgement {
	var ids []string
	for _, l := range ls {
		ids = append(ids, l.ID)
	}
	j := judgement{By: c.Align.By, Person: ranksFor(c.Align), Answers: sum([]byte(strings.Join(ids, "\n"))), Count: len(ls)}
	if r := c.Reward; j.By != "labels" {
		j.How = fmt.Sprintf("gradient %s, steps %d, enough %g, temperature %g, ties %t", r.Gradient, r.Steps, r.Enough, r.Temperature, r.Ties)
	}
	return j
}

// asked is the judgement that is asked for now, before it is made, of the comparisons said, which
// hold what follows, and of what is alike.
func (a *Alignment) asked(ctx context.Context) (j judgement, said, alike []label.Order, err error) {
	said, alike, ls, err := a.orders(ctx)
	if err != nil {
		return j, nil, nil, err
	}
	j = wanted(a.s.cfg, ls)
	j.Decided = len(said)
	said = a.following(said, alike)
	j.Follow = len(said) - j.Decided
	return j, said, alike, nil
}

// answers says whether j is what is asked for. Whether anything follows from the answers is for
// the aligner to say: by pareto and ppd nothing does.
func (j judgement) answers(asked judgement) bool {
	return j.By == asked.By && j.Person == asked.Person && j.Answers == asked.Answers && j.Follow == asked.Follow && (j.How == "" || j.How == asked.How)
}

// judged is what AlignEncoder left, with its sum, if that is what is asked for now.
func (a *Alignment) judged(ctx context.Context) (j judgement, of string, err error) {
	raw, err := os.ReadFile(a.file(judgementFile))
	if errors.Is(err, os.ErrNotExist) {
		return j, "", a.before(AlignEncoder)
	}
	if err != nil {
		return j, "", fmt.Errorf("wire: align: %w", err)
	}
	if err := a.read(judgementFile, &j); err != nil {
		return j, "", err
	}
	asked, _, _, err := a.asked(ctx)
	if err == nil && !j.answers(asked) {
		if err = a.other(AlignEncoder); !a.simulated {
			// A simulated person's answers count up to align.labels alone.
			a.simulated = true
			if asked, _, _, e := a.asked(ctx); e == nil && j.answers(asked) {
				err = fmt.Errorf("wire: align: what %s has of the step %s is of a simulated person's answers; say here, too: --person simulated", a.s.Dir(), AlignEncoder)
			}
			a.simulated = false
		}
	}
	return j, sum(raw), err
}

// other is the error of a step whose predecessor was done with something else than it is asked
// for.
func (a *Alignment) other(step string) error {
	return fmt.Errorf("wire: align: what %s has of the step %s is of other answers or settings than are asked for now; give the --set that it was done with, or do it again with these: %s", a.s.Dir(), step, a.Again(step))
}

// Again is the command that does a step, "" for all of them, with the settings that this alignment
// goes by now, but for others, as --set takes them.
func (a *Alignment) Again(step string, others ...string) string {
	words := []string{"rapport", "align"}
	if step != "" {
		words = append(words, step)
	}
	words = append(words, Quoted(a.s.Dir()))
	if a.simulated {
		words = append(words, "--person", "simulated")
	}
	var sets []string
	if was, err := asBegun(a.s.Dir()); err == nil { // else whoever opens it says why not
		for _, c := range a.s.cfg.Changes(withClicks(was, a.s.Dir())) {
			sets = append(sets, c.Key+"="+c.Is)
		}
	}
	for _, kv := range others {
		key, _, _ := strings.Cut(kv, "=")
		sets = slices.DeleteFunc(sets, func(s string) bool { return strings.HasPrefix(s, key+"=") })
	}
	for _, kv := range append(sets, others...) {
		words = append(words, "--set", Quoted(kv))
	}
	return strings.Join(words, " ")
}

// More is the command that has more answers given than there are.
func (a *Alignment) More(than int) string {
	c := a.s.cfg.Align
	sets := []string{fmt.Sprintf("align.labels=%d", 2*than)}
	if c.Ask == string(label.Segments) && 2*than > c.Rollouts { // of each one answer
		sets[0] = fmt.Sprintf("align.labels=%d", c.Rollouts)
		if than >= c.Rollouts {
			sets = []string{fmt.Sprintf("align.labels=%d", 2*than), fmt.Sprintf("align.rollouts=%d", 2*than)}
		}
	}
	return a.Again("", sets...)
}

// Quoted is a word as a shell takes it.
func Quoted(word string) string {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_@%+=:,./-", r)
	}
	if word != "" && !strings.ContainsFunc(word, odd) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// ranking is what AlignSynthetic left, and the sum of it and of the settings that a tuning by it
// depends on.
func (a *Alignment) ranking() (r rankings, of string, err error) {
	raw, err := os.ReadFile(a.file(rankingFile))
	if errors.Is(err, os.ErrNotExist) {
		return r, "", a.before(AlignSynthetic)
	}
	if err != nil {
		return r, "", fmt.Errorf("wire: align: %w", err)
	}
	if err := a.read(rankingFile, &r); err != nil {
		return r, "", err
	}
	settings := a.s.cfg.Align
	settings.Rollouts, settings.Labels, settings.Ask, settings.Clips, settings.Query, settings.By, settings.Pairs = 0, 0, "", 0, "", "", 0 // in the rankings
	if settings.Weigh == "none" {
		settings.Weigh = ""
	}
	how, err := json.Marshal(settings)
	if err != nil {
		return r, "", fmt.Errorf("wire: align: %w", err)
	}
	return r, sum(append(raw, how...)), nil
}

// tuned is the policy of a tuning, with the rankings that it is of, if all is what is asked for
// now: the result names answers, rankings and aligner, and must not take them from elsewhere.
func (a *Alignment) tuned(ctx context.Context, t tunedBy) (r rankings, version uint64, data []byte, err error) {
	_, judged, err := a.judged(ctx)
	if err != nil {
		return r, 0, nil, err
	}
	r, of, err := a.ranking()
	if err != nil {
		return r, 0, nil, err
	}
	if !r.answers(judged, a.s.cfg.Align) {
		return r, 0, nil, a.other(AlignSynthetic)
	}
	if t.Of != of {
		return r, 0, nil, a.other(AlignTune)
	}
	version, data, err = a.s.latest(ctx, kindTuned)
	if errors.Is(err, store.ErrNone) {
		return r, 0, nil, a.before(AlignTune)
	}
	if err == nil && !t.tuned(a.s.Dir(), data) {
		err = fmt.Errorf("wire: align: the newest fine-tuned policy of %s is not the one that was aligned; do that step again: rapport align %s %s", a.s.Dir(), AlignTune, Quoted(a.s.Dir()))
	}
	return r, version, data, err
}
