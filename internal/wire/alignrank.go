package wire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/label/query"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/sim"
)

// alignPrefix begins the IDs of the questions that an alignment asks a simulated person.
const alignPrefix = "align-"

// Simulate has a simulated person rank, for experiments, where nobody else does.
func (a *Alignment) Simulate() { a.simulated = true }

// answers are what people said of rollouts, as far as it stands: those to pairs and
// rankings that were not left open, or those to segments where such are asked for. Of a simulated person's no more than are wanted:
// its n-th answer is the same however many follow, so fewer can be studied after more.
func (a *Alignment) answers(ctx context.Context) ([]label.Label, error) {
	all, err := a.s.heard(ctx)
	ls := Ranked(all, a.s.cfg.Align)
	if a.simulated {
		ls = ls[:min(len(ls), a.s.cfg.Align.Labels)]
	}
	return ls, err
}

// Ranked are the answers of an alignment that goes by c among a session's labels.
func Ranked(ls []label.Label, c config.Align) []label.Label {
	return slices.DeleteFunc(label.Standing(Asked(ls, c)), func(l label.Label) bool {
		return !slices.Contains(RankedKinds(c), l.Query.Kind) || l.Choice == label.Unsure
	})
}

// RankedKinds are those of the answers that count in an alignment that goes by c.
func RankedKinds(c config.Align) []label.Kind {
	if c.Ask == string(label.Segments) {
		return []label.Kind{label.Segments}
	}
	return []label.Kind{label.Pair, label.Ranking}
}

// Asked are those of a session's labels that are about rollouts of an alignment that goes by c:
// what people said of demonstrations, of stretches of steps, in an earlier session or of rollouts
// beyond align.rollouts has no chains to be learned from. Of marks, a stretch will do.
func Asked(ls []label.Label, c config.Align) []label.Label {
	return slices.DeleteFunc(slices.Clone(ls), func(l label.Label) bool {
		return l.Retracts == "" && slices.ContainsFunc(l.Query.Clips, func(x label.Clip) bool {
			part := x.From != 0 || x.To != 0
			return !isRollout(x.Episode, c.Rollouts) || part && l.Query.Kind != label.Segments
		})
	})
}

// isRollout says whether an episode is one of the first n rollouts.
func isRollout(id string, n int) bool {
	digits, ok := strings.CutPrefix(id, rolloutPrefix)
	i, err := strconv.Atoi(digits)
	return ok && err == nil && i >= 0 && i < n && rolloutID(i) == id
}

// Rollouts are the clips that are among the first N rollouts of an alignment.
type Rollouts struct {
	*Clips
	N int
}

// Episodes lists them.
func (r Rollouts) Episodes(ctx context.Context) ([]string, error) {
	ids, err := r.Clips.Episodes(ctx)
	return slices.DeleteFunc(ids, func(id string) bool { return !isRollout(id, r.N) }), err
}

// Stand is how far the answers of an alignment are.
type Stand struct {
	Answers, Wanted int
	Rollouts        int    // that are asked about
	Awaited         string // whose answers are wanted, however many there are; "": nobody's
	Person          string // whose those are, where no others serve as well
}

// Enough says whether nobody has to be asked more.
func (s Stand) Enough() bool { return s.Answers >= s.Wanted && s.Awaited == "" }

// Stands is how far the answers among a session's labels are, of an alignment that goes by c.
func Stands(ls []label.Label, c config.Align) Stand {
	ls = Ranked(ls, c)
	st := Stand{Answers: len(ls), Wanted: c.Labels, Rollouts: c.Rollouts}
	st.Awaited, st.Person = awaited(ls, c)
	return st
}

// awaited are those who must have decided a comparison before an alignment for several people, or
// for one of them, can learn; and who that is, of one.
func awaited(ls []label.Label, c config.Align) (whose, person string) {
	var who []string
	for _, o := range label.Settle(label.Pairs(ls)) {
		if !o.Tie && !slices.Contains(who, o.Annotator) {
			who = append(who, o.Annotator)
		}
	}
	serves := func(name string) bool { return serves(c.Person, name) }
	switch {
	case (c.Aligner == "ppd" || c.By == "pal") && !slices.ContainsFunc(who, serves):
		return "answers by " + c.Person + " that find something better", c.Person
	case c.Several() && len(who) < 2:
		return "answers by two people at least that find something better", ""
	}
	return "", ""
}

// Stands is how far the answers are.
func (a *Alignment) Stands(ctx context.Context) (Stand, error) {
	ls, err := a.answers(ctx)
	return Stands(ls, a.s.cfg.Align), err
}

// Answered is how many answers there are, and how many are wanted.
func (a *Alignment) Answered(ctx context.Context) (n, want int, err error) {
	ls, err := a.answers(ctx)
	return len(ls), a.s.cfg.Align.Labels, err
}

// rank counts what people said, and asks the simulated person for what is missing.
func (a *Alignment) rank(ctx context.Context) (string, error) {
	st, err := a.Stands(ctx)
	if err != nil {
		return "", err
	}
	n, want := st.Answers, st.Wanted
	switch {
	case a.simulated && n < want:
		if err := a.simulate(ctx); err != nil {
			return "", err
		}
	case a.simulated:
	case n < want:
		fewer := ""
		if n >= 2 {
			fewer = ", or want fewer, " + a.Again(AlignRank, fmt.Sprintf("align.labels=%d", n))
		}
		return "", fmt.Errorf("wire: align: %s has %d of %d answers; give the others in a browser, %s%s", a.s.Dir(), n, want, a.Again(AlignRank), fewer)
	case st.Awaited != "":
		return "", fmt.Errorf("wire: align: %s has %d answers, but %s are wanted besides; have them given in a browser, %s", a.s.Dir(), n, st.Awaited, a.Again(AlignRank))
	}
	ls, err := a.answers(ctx)
	if err != nil {
		return "", err
	}
	if n := askedOtherwise(ls, a.s.cfg.Align); a.simulated && n > 0 {
		a.s.log.Warn("wire: align: answers of before count, to other questions than are set now; begin another alignment to have these asked", "answers", n, "of", len(ls), "align.ask", a.s.cfg.Align.Ask, "align.query", a.s.cfg.Align.Query)
	}
	who := annotators(ls)
	return fmt.Sprintf("%d answers by %s", len(ls), strings.Join(who, ", ")), nil
}

// annotators are who answered, by name.
func annotators(ls []label.Label) []string {
	var who []string
	for _, l := range ls {
		name := l.Annotator
		if strings.HasPrefix(name, nobody) {
			name = "a simulated person"
		}
		if !slices.Contains(who, name) {
			who = append(who, name)
		}
	}
	slices.Sort(who)
	return who
}

// simulatedID names the n-th question to a simulated person.
func simulatedID(c config.Align, n int) string {
	prefix := alignPrefix
	switch {
	case c.Ask == string(label.Segments):
		prefix += "segments-"
	case c.Query != "random":
		prefix += c.Query + "-"
	}
	return fmt.Sprintf("%s%06d", prefix, n)
}

// askedOtherwise is how many of the simulated person's answers ls are to questions that align.ask
// and align.query do not ask.
func askedOtherwise(ls []label.Label, c config.Align) (n int) {
	prefix := strings.TrimRight(simulatedID(c, 0), "0")
	for _, l := range ls {
		number, now := strings.CutPrefix(l.Query.ID, prefix)
		if _, err := strconv.Atoi(number); err != nil || string(l.Query.Kind) != c.Ask {
			now = false
		}
		if !now && strings.HasPrefix(l.Annotator, nobody) {
			n++
		}
	}
	return n
}

// simulate has the simulated person answer until there are enough. What it is asked
// depends on the seed and the question's number alone.
func (a *Alignment) simulate(ctx context.Context) error {
	c := a.s.cfg
	truths, err := a.truths(ctx)
	if err != nil {
		return err
	}
	videos := make([]rapl.Video, len(truths))
	var episodes []string
	for i := range videos {
		videos[i].Name = rolloutID(i)
		episodes = append(episodes, videos[i].Name)
	}
	crowd, err := a.s.crowd(truths, videos)
	if err != nil {
		return err
	}
	kind, clips := label.Pair, 2
	switch c.Align.Ask {
	case "ranking":
		kind, clips = label.Ranking, min(c.Align.Clips, len(truths))
	case "segments":
		kind, clips = label.Segments, 1
	}
	all, err := a.s.store.Labels(ctx)
	if err != nil {
		return err
	}
	said, other := map[string]label.Label{}, 0 // by question; of these, how many were of an earlier session
	for _, l := range all {
		said[l.Query.ID] = l
	}
	all = Asked(all, c.Align)
	for n := 0; ; n++ {
		if k := c.People.Sitting; k > 0 && n > 0 && n%k == 0 { // of questions that were answered before, too
			crowd.Rest(breather)
		}
		had, want, err := a.Answered(ctx)
		if err != nil || had >= want {
			return err
		}
		if n-other > 20*want {
			return fmt.Errorf("wire: align: the person could not tell in %d of %d questions; lower people.unsure", n-other-had, n-other)
		}
		q := label.Query{ID: simulatedID(c.Align, n), Kind: kind, Why: "random"}
		if l, ok := said[q.ID]; ok {
			crowd.Recall(l)
			if len(Asked([]label.Label{l}, c.Align)) == 0 {
				other++
			}
			continue
		}
		shuffle, first := uint64(n), 0
		if kind == label.Segments { // of each rollout once
			shuffle, first = 0, n%len(truths)
		}
		rng := rand.New(rand.NewPCG(draw(c.Seed, people, -3), shuffle))
		var with []label.Clip
		var rest []string
		rooted := c.Align.Query == "root" && kind != label.Segments
		if rooted {
			with, rest, rooted = query.Root(crowd.Who(q.ID).Name, episodes, all)
		}
		if rooted {
			var fresh []label.Clip
			for _, i := range rng.Perm(len(rest))[:min(clips-len(with), len(rest))] { // of a ranking there may be too few
				fresh = append(fresh, label.Clip{Episode: rest[i]})
			}
			q.Clips, q.Why = label.Beside(rng, with, fresh)
		} else {
			for _, i := range rng.Perm(len(truths))[first:][:clips] {
				q.Clips = append(q.Clips, label.Clip{Episode: episodes[i]})
			}
		}
		l, err := crowd.Answer(ctx, q)
		if err == nil {
			_, err = a.s.store.Append(ctx, l)
		}
		if err != nil {
			return err
		}
		all = append(all, l)
		a.s.tell("rank", min(had+1, want), want, "by a simulated person")
	}
}

// Recall takes over what o, which may be closed, has seen of the same rollouts, for
// studies that open one alignment many times.
func (a *Alignment) Recall(o *Alignment) {
	if o != nil && o.s.Dir() == a.s.Dir() && len(o.seen) == a.s.cfg.Align.Rollouts {
		a.seen = o.seen
	}
}

// truths are what truly happened in the rollouts, for simulated people and the
// report: no file holds it, so the simulator goes through them again.
func (a *Alignment) truths(ctx context.Context) (out [][]sim.Truth, err error) {
	if a.seen != nil {
		return a.seen, nil
	}
	r := &reliver{}
	defer func() { err = errors.Join(err, r.close()) }()
	n := a.s.cfg.Align.Rollouts
	for i := range n {
		file := a.s.episodeFile(rolloutID(i))
		rec, err := record.ReadNumbers(file)
		if err != nil {
			return nil, fmt.Errorf("wire: align: %s: %w", file, err)
		}
		ts, err := r.truths(ctx, file, rec.Info, rec.Ticks)
		if err != nil {
			return nil, fmt.Errorf("wire: align: %s: %w", file, err)
		}
		out = append(out, ts)
		a.s.tell("truth", i+1, n, "for the simulated person")
	}
	a.seen = out
	return out, nil
}
