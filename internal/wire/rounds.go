package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/reward/rapl"
)

var errUnlearnable = errors.New("wire: no episode of the recordings can be learned from; rapport doctor tells what is wrong with each")

// recordings are the demonstrations of a session without an earlier one: all that
// was recorded.
func (s *Session) recordings(ctx context.Context) ([]demo, error) {
	all, err := sources(s.cfg)
	if err != nil {
		return nil, err
	}
	var demos []demo
	for i := range all {
		err := s.read(ctx, &all[i], func(e policy.Episode) error {
			d := demo{liked: all[i].preferred}
			e.ID, e.Seq, e.Origin = logID(len(demos), e.ID), uint64(len(demos)), policy.Demo
			for t := range e.Inputs {
				d.frames = append(d.frames, e.Inputs[t].Frames)
				e.Inputs[t].Frames = nil
			}
			d.episode = e
			demos = append(demos, d)
			return nil
		})
		if err != nil {
			return nil, err
		}
		s.tell("recordings", i+1, len(all), fmt.Sprintf("%d episodes", len(demos)))
	}
	if len(demos) == 0 {
		return nil, errUnlearnable
	}
	if !slices.ContainsFunc(demos, func(d demo) bool { return d.liked }) {
		return nil, errors.New("wire: no episode is left of the recordings that robot.bag.preferred names; name others, as rapport doctor tells what is wrong with these")
	}
	return demos, nil
}

// read hands over the episodes of a recording and says what should be known of it.
func (s *Session) read(ctx context.Context, of *source, add func(policy.Episode) error) error {
	notes, err := of.episodes(ctx, s.cfg, add)
	for i, n := range notes {
		if i < len(of.notes) { // what was guessed
			s.log.Info(n)
		} else {
			s.log.Warn(n)
		}
	}
	return err
}

// prefer makes a reward of the recordings that a person prefers: they are the videos
// that show what is wanted, and better than all others.
func (s *Session) prefer(ctx context.Context, demos []demo) (taste, error) {
	c := s.cfg.Reward
	if c.Kind != "rapl" {
		return taste{}, fmt.Errorf("wire: reward.kind is %s, but of preferred recordings only rapl is made; set reward.kind to rapl, or name a session with a reward as session.from", c.Kind)
	}
	t := taste{Gamma: c.Gamma}
	if err := t.Cost.UnmarshalText([]byte(c.Cost)); err != nil {
		return t, fmt.Errorf("wire: reward.cost: %w", err)
	}
	var others []rapl.Video
	for _, d := range demos {
		v, err := rapl.VideoOf(d.episode.ID, d.episode.Trajectory()[1:])
		if err != nil {
			return t, err
		}
		if d.liked {
			t.Experts = append(t.Experts, v)
		} else {
			others = append(others, v)
		}
	}
	if c.Triplets > 0 {
		triplets := paired(t.Experts, others, c.Triplets, rand.New(rand.NewPCG(draw(s.cfg.Seed, people, -1), 0)))
		if len(triplets) < 2 {
			return t, fmt.Errorf("wire: %d recordings are preferred to %d others, too few to align the encoder by; name two and two at least, or set reward.triplets to 0", len(t.Experts), len(others))
		}
		s.tell("preferences", 0, 1, fmt.Sprintf("%d comparisons", len(triplets)))
		if _, err := t.compare(ctx, c, s.cfg.Seed, triplets); err != nil {
			return t, err
		}
	}
	// The reward goes by the first of them; the comparisons went by all.
	t.Experts = t.Experts[:min(len(t.Experts), c.Experts)]
	b, err := json.Marshal(t)
	if err != nil {
		return t, fmt.Errorf("wire: reward: %w", err)
	}
	return t, s.store.SaveCheckpoint(ctx, kindReward, 1, b)
}

// paired draws at most n triplets: of two preferred videos each is nearer to the
// other than a third that is not.
func paired(liked, others []rapl.Video, n int, rng *rand.Rand) []rapl.Triplet {
	var all []rapl.Triplet
	for i, a := range liked {
		for j, b := range liked {
			for _, c := range others {
				if i != j {
					all = append(all, rapl.Triplet{Anchor: a, Better: b, Worse: c})
				}
			}
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(len(all), n)]
}

// ingest stores what was recorded as the session's episodes, by the log, with the
// features of its encoder and rewarded by its reward.
func (s *Session) ingest(ctx context.Context, p parts) error {
	done, err := s.store.Marked(ctx, "recorded")
	if err != nil || done != "" {
		return err
	}
	all, err := sources(s.cfg)
	if err != nil {
		return err
	}
	n := 0
	for i := range all {
		err := s.read(ctx, &all[i], func(e policy.Episode) error {
			e.ID, e.Seq, e.Origin = logID(n, e.ID), uint64(n), policy.Online
			n++
			return s.keepLog(ctx, p, e)
		})
		if err != nil {
			return err
		}
		s.tell("recordings", i+1, len(all), fmt.Sprintf("%d episodes", n))
	}
	if n == 0 {
		return errUnlearnable
	}
	return s.store.Mark(ctx, "recorded", "yes")
}

// keepLog labels a recorded episode and stores it.
func (s *Session) keepLog(ctx context.Context, p parts, e policy.Episode) error {
	d := demo{}
	for t := range e.Inputs {
		d.frames = append(d.frames, e.Inputs[t].Frames)
		e.Inputs[t].Frames = nil
	}
	fs, err := encoder.Batch(ctx, p.eyes, d.frames, runtime.GOMAXPROCS(0))
	if err != nil {
		return err
	}
	for t := range fs {
		e.Inputs[t].Features = fs[t]
	}
	if err := rate(ctx, p.scorer, &e); err != nil {
		return err
	}
	if err := s.store.AddMetrics(ctx, "episode", e.Seq, []policy.Metric{{Name: "return", Value: e.Return()}}); err != nil {
		return err
	}
	s.show.returned(int(e.Seq), e.Return())
	d.episode = e
	return s.keepDemo(ctx, d)
}

// study fine-tunes the cloned policy on recorded episodes alone, all of which are
// there from the first round on; session.episodes counts the rounds.
func (s *Session) study(ctx context.Context, p parts) (tuned policy.Params, err error) {
	if s.cfg.Session.From != "" {
		if err := s.ingest(ctx, p); err != nil {
			return tuned, err
		}
	}
	l, next, err := s.student(ctx, p)
	if err != nil {
		return tuned, err
	}
	defer func() { err = errors.Join(err, closeKeeper(l)) }()
	metrics, err := bus.NewFeed(s.conn, s.name, bus.MetricTopic("learner"), depth)
	if err != nil {
		return tuned, err
	}
	defer metrics.Close()
	n := s.cfg.Session.Episodes
	s.tell("fine-tune", next, n, "")
	for i := next; i < n; i++ {
		st, err := l.Update(ctx)
		if err != nil {
			return tuned, err
		}
		if err := s.store.AddMetrics(ctx, "learner", uint64(i), st.Metrics); err != nil {
			return tuned, err
		}
		metrics.Publish(st)
		if c := s.cfg.Session.Checkpoint; (i+1)%c == 0 || i+1 == n {
			if err := s.saveLearner(ctx, l, i+1); err != nil {
				return tuned, err
			}
		}
		s.tell("fine-tune", i+1, n, brief(st.Metrics))
		if err := ctx.Err(); err != nil {
			return tuned, err
		}
	}
	if tuned, err = l.Latest(ctx); err != nil {
		return tuned, err
	}
	return tuned, s.conn.PutParams(ctx, s.name, tuned)
}

// student is the learner as the session left it, with all that was recorded, and the
// round to go on with.
func (s *Session) student(ctx context.Context, p parts) (_ policy.Keeper, next int, err error) {
	pu, err := s.pupil(ctx, p)
	if err != nil {
		return nil, 0, err
	}
	l := pu.l
	defer func() {
		if err != nil {
			err = errors.Join(err, closeKeeper(l))
		}
	}()
	if n := s.cfg.Session.Episodes; int(pu.version) > n {
		return nil, 0, fmt.Errorf("wire: %s has learned for %d rounds, but session.episodes is %d; want at least %d", s.Dir(), pu.version, n, pu.version)
	}
	if pu.fresh {
		if err := s.warm(ctx, l); err != nil {
			return nil, 0, err
		}
	}
	for _, e := range pu.episodes {
		if k := s.cfg.Learner.Kind; k == "bc" || k == "diffusion" {
			e.Origin = policy.Demo // which is what they imitate
		}
		if err := s.give(ctx, l, e); err != nil {
			return nil, 0, err
		}
	}
	if c, ok := l.(interface{ Count() buffer.Count }); ok {
		s.log.Info("learning from recordings", "count", c.Count())
	}
	if !pu.fresh {
		// In this order, as recall.
		if err := s.relabelFolder(ctx, l, p.demos, pu.episodes); err != nil {
			return nil, 0, err
		}
		if err := s.restore(pu); err != nil {
			return nil, 0, err
		}
	}
	return l, int(pu.version), nil
}

// reportRecorded fills in what a session over recordings has to show: nothing of
// success, but the recording with the best and that with the least return.
func (s *Session) reportRecorded(ctx context.Context, p parts, r *report.Report) error {
	c := s.cfg
	rewarded, origin := "by the reward of "+c.Session.From, policy.Online
	if c.Session.From == "" {
		rewarded, origin = "by those of them that a person prefers ("+strings.Join(c.Robot.Bag.Preferred, ", ")+")", policy.Demo
	}
	rows, err := s.store.Episodes(ctx, origin)
	if err != nil {
		return err
	}
	r.Summary = fmt.Sprintf("Over recordings (%s), %d episodes of them, rewarded %s: fine-tuned for %d rounds of %d steps without moving anything. "+
		"Success was not measured: what the policy would have done, no recording can tell. The curve below is the return of each recorded episode.",
		strings.Join(c.Robot.Bag.Files, ", "), len(rows), rewarded, c.Session.Episodes, c.Learner.Updates)
	if len(rows) == 0 || !c.Session.Record {
		return nil
	}
	best, least := rows[0], rows[0]
	for _, row := range rows {
		if row.Return > best.Return {
			best = row
		}
		if row.Return < least.Return {
			least = row
		}
	}
	for _, at := range []struct {
		what string
		row  store.Row
	}{{"Least return", least}, {"Best return", best}} {
		t, err := s.seen(at.row.ID)
		if err != nil {
			return err
		}
		sh, err := t.sheet("")
		if err != nil {
			return err
		}
		sh.Caption = fmt.Sprintf("%s, %.3f: %s", at.what, at.row.Return, at.row.ID)
		r.Sheets = append(r.Sheets, sh)
		if r.Reward, err = s.explain(ctx, p, t); err != nil {
			return err
		}
	}
	return nil
}

// tryRecordings reads each recording as a session would.
func tryRecordings(ctx context.Context, c config.Config) (string, error) {
	all, err := sources(c)
	if err != nil {
		return "", err
	}
	var said []string
	total := 0
	for i := range all {
		n := 0
		notes, err := all[i].episodes(ctx, c, func(e policy.Episode) error { n += e.Len(); return nil })
		if err != nil {
			return "", err
		}
		total += n
		line := fmt.Sprintf("%s %d steps", all[i].path, n)
		var why []string
		for _, n := range notes[len(all[i].notes):] { // before are guesses
			why = append(why, strings.TrimPrefix(n, all[i].path+": "))
		}
		if len(why) > 0 {
			line += " (" + strings.Join(why, "; ") + ")"
		}
		said = append(said, line)
	}
	text := strings.Join(said, ", ")
	if total == 0 {
		return "", fmt.Errorf("wire: no episode of the recordings can be learned from: %s", text)
	}
	return text, nil
}
