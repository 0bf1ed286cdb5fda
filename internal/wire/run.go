package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/robot"
)

// keep is how many checkpoints of the learner stay: the newest, and two to fall
// back to.
const keep = 3

// Run goes through the session's stages, from where an earlier run ended:
// demonstrations, encoder, preferences, cloning, evaluation, fine-tuning,
// evaluation, report. When ctx ends, what is done is kept.
func (s *Session) Run(ctx context.Context) (res Result, err error) {
	res.Dir = s.Dir()
	if err := s.paired(); err != nil {
		return res, err
	}
	began := s.now()
	quiet, err := s.shows("run")
	if err != nil {
		return res, err
	}
	if s.practice != nil && leads(s.name, s.cfg) == s.name {
		s.practice.quiet, s.practice.seed = quiet, s.cfg.Seed // the page is of both
		close(s.practice.shown)
	} else {
		defer quiet()
	}
	ctx = withDesk(ctx, s.desk)
	if ctx, err = s.plan(ctx); err != nil {
		return res, err
	}
	ctx, forget, err := s.refereed(ctx)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, forget()) }()
	settle, err := s.mirror(ctx)
	if err != nil {
		return res, err
	}
	defer settle()
	p, err := s.prepare(ctx)
	if err != nil {
		return res, err
	}
	if ctx, err = s.telling(ctx); err != nil {
		return res, err
	}
	if ctx, err = s.searching(ctx); err != nil {
		return res, err
	}
	if err := s.checkClone(ctx, p); err != nil {
		return res, err
	}
	before, err := s.judge(ctx, "before", p, p.clone)
	if err != nil {
		return res, err
	}
	s.show.share("before", share(before))
	tune := s.tune
	if logged(s.cfg) {
		tune = s.study
	}
	tuned, err := tune(ctx, p)
	if err != nil {
		return res, err
	}
	if err := s.judgeAnew(ctx, &p); err != nil {
		return res, err
	}
	after, err := s.judge(ctx, "after", p, tuned)
	if err != nil {
		return res, err
	}
	res.Before, res.After, res.Learner = share(before), share(after), s.cfg.Learner
	s.show.share("after", res.After)
	res.Report, err = s.report(ctx, p, tuned, before, after, s.now().Sub(began))
	return res, err
}

func share(won []bool) report.Share {
	sh := report.Share{Of: len(won)}
	for _, w := range won {
		if w {
			sh.Hits++
		}
	}
	return sh
}

// verdict is how parameters did on the session's fresh seeds.
type verdict struct {
	Params string `json:"params"` // SHA-256 of what was evaluated
	Won    []bool `json:"won"`
	// Worth (episodes, groups) is that of each episode to each of people.groups.
	Worth [][]float64 `json:"worth,omitempty"`
}

// judge says in which of the session's fresh seeds parameters succeed.
func (s *Session) judge(ctx context.Context, when string, p parts, params policy.Params) ([]bool, error) {
	v, err := s.verdict(ctx, when, p, params)
	return v.Won, err
}

// verdict evaluates parameters on the session's fresh seeds, once. A session that
// goes on for more episodes ends with other parameters, which are judged anew.
func (s *Session) verdict(ctx context.Context, when string, p parts, params policy.Params) (v verdict, err error) {
	if !judgeable(s.cfg) {
		return v, nil // nobody knows
	}
	mark := "success " + when
	done, err := s.store.Marked(ctx, mark)
	if err != nil {
		return v, err
	}
	sum, n := fmt.Sprintf("%x", sha256.Sum256(params.Data)), s.cfg.Session.Evaluate
	if done != "" {
		if err := json.Unmarshal([]byte(done), &v); err != nil {
			return v, fmt.Errorf("wire: %s: mark %q: %w", s.Dir(), mark, err)
		}
		// Those of before what episodes are worth to people was kept have none.
		if asked := len(s.cfg.People.Groups) > 0; v.Params == sum && len(v.Won) == n && (!asked || len(v.Worth) == n) {
			return v, nil
		}
	}
	s.tell("evaluate "+when, 0, n, "")
	ends, err := evaluate(ctx, s.cfg, evaluation, p.eyes, nil, p.view, params, n, func(done int, note string) { s.tell("evaluate "+when, done, n, note) })
	if err != nil {
		return v, err
	}
	v = verdictOf(sum, ends)
	if err := s.keepStyles(ctx, when, ends); err != nil {
		return v, err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return v, err
	}
	return v, s.store.Mark(ctx, mark, string(b))
}

// verdictOf is how parameters of that sum did, whose episodes ended so.
func verdictOf(sum string, ends []outcome) verdict {
	v := verdict{Params: sum}
	for _, e := range ends {
		v.Won = append(v.Won, e.success)
		if e.worth != nil {
			v.Worth = append(v.Worth, e.worth)
		}
	}
	return v
}

// tune fine-tunes the cloned policy on the visual reward and returns the
// parameters.
func (s *Session) tune(ctx context.Context, p parts) (tuned policy.Params, err error) {
	l, next, err := s.learner(ctx, p)
	if err != nil {
		return tuned, err
	}
	defer func() { err = errors.Join(err, closeKeeper(l)) }()
	if err := s.checkLearned(ctx, p, l, next); err != nil {
		return tuned, err
	}
	take := s.ownArm
	if s.practice != nil {
		take = func(ctx context.Context) (*arm, func() error, error) { return s.practice.take(ctx, s) }
	}
	a, done, err := take(ctx)
	if err != nil {
		return tuned, err
	}
	defer func() { err = errors.Join(err, done()) }()
	_, chunks, err := viewOf(p.clone)
	if err != nil {
		return tuned, err
	}
	pi, err := newPlayer(ctx, s.cfg, p.view, chunks, true)
	if err != nil {
		return tuned, err
	}
	pi.Begin(uint64(next))
	t, err := s.newTracks(ctx, a)
	if err != nil {
		return tuned, err
	}
	defer t.close()
	n := s.cfg.Session.Episodes
	won, err := s.explored(ctx, next)
	if err != nil {
		return tuned, err
	}
	t.scorer = p.scorer
	t.actor = &loop.Actor{Backend: a.guard, Extractor: p.eyes, Track: a.track, Tell: tellerOf(ctx), Last: lastOf(ctx), Policy: pi, Scorer: scorerOn(p.scorer, a), Horizon: s.cfg.Robot.Horizon, Pixels: pixels(s.cfg), Watch: t.watch, Override: t.override, Over: overOf(s.cfg, a)}
	var turns *turns
	if s.practice == nil {
		a.next = next
	} else { // whose turn it is says which episode is next
		turns = s.practice.of(s, a, next)
		defer turns.leave()
		t.actor.Backend = turns
	}
	var learner policy.Learner = l
	if pixels(s.cfg) {
		learner = seer{l, s, t}
	}
	rd := &round{Learner: learner}
	if turns != nil {
		learner = rd
	}
	fresh := func(ctx context.Context, i int) error {
		ok, err := s.freshen(ctx, &p, l, i)
		if ok {
			t.scorer, t.actor.Scorer = p.scorer, p.scorer
		}
		return err
	}
	var found searches
	tries := uint64(0) // of the episode, that the policy ended by a fault
	session := loop.Session{
		Actor: t.actor, Learner: learner, First: next, Episodes: n,
		Stopped: func(ctx context.Context, i int, cause error) error {
			if err := errors.Join(t.abort(), s.desk.wait(ctx)); err != nil {
				return err
			}
			if drivenTo(cause) {
				tries++ // another exploration: a simulated arm would do the same again
			}
			a.next = i
			pi.Begin(uint64(i) + tries<<32)
			return nil
		},
		Done: func(ctx context.Context, i int, ep policy.Episode, st policy.Stats) error {
			if tries > 0 {
				pi.Begin(uint64(i) + 1) // explores on as a session that is resumed here
				tries = 0
			}
			told := succeeded(endOf(ep))
			var known []policy.Metric
			if real(s.cfg) {
				s.tell("fine-tune", i+1, n, tellPace(a.ros.Stats()))
				known = a.pace()
			} else {
				success := s.succeeded(a)
				if won.Of++; success {
					won.Hits++
				}
				s.show.share("while exploring", won)
				s.tell("fine-tune", i+1, n, fmt.Sprintf("success %d/%d while exploring", won.Hits, won.Of))
				known = []policy.Metric{{Name: "success", Value: bit(success)}}
				if !witnessed(s.cfg) {
					told = success
				}
			}
			known = append(known, found.metrics(pi, s.log)...)
			if turns != nil {
				known = append(known, turns.judged(s.cfg, ep, told)...)
			}
			if err := s.keepOnline(ctx, t, i, ep, st, l, known); err != nil {
				return err
			}
			if err := fresh(ctx, i); err != nil {
				return err
			}
			if turns != nil {
				turns.pass(i + 1)
				rd.begun = false
				if i+1 < n && turns.p.ended() {
					return errTimeUp
				}
			}
			return nil
		},
	}
	if err := errors.Join(s.earlier(ctx), s.handled(ctx, next)); err != nil {
		return tuned, err
	}
	s.show.share("while exploring", won)
	s.tell("fine-tune", next, n, "")
	if err := session.Run(ctx); rd.timely(err) {
		n = turns.next
		s.tell("fine-tune", n, n, errTimeUp.Error())
		if rd.begun {
			// What it learned goes with the episode that never came: going on learns it again.
			if err := s.saveTuned(ctx, rd.params, n); err != nil {
				return tuned, err
			}
			return rd.params, s.conn.PutParams(ctx, s.name, rd.params)
		}
	} else if err != nil {
		return tuned, errors.Join(err, t.abort())
	}
	if tuned, err = l.Latest(ctx); err != nil {
		return tuned, err
	}
	if err := s.saveLearner(ctx, l, n); err != nil {
		return tuned, err
	}
	return tuned, s.conn.PutParams(ctx, s.name, tuned)
}

func (s *Session) succeeded(a *arm) bool {
	if s.truth != nil {
		return s.truth(a)
	}
	return a.world.Truth().Success
}

// keepOnline stores an online episode, what is known of it besides and what the
// learner said of its round.
func (s *Session) keepOnline(ctx context.Context, t *tracks, i int, ep policy.Episode, st policy.Stats, l policy.Keeper, known []policy.Metric) error {
	ep.Seed = s.seedOf(i)
	if err := t.finish(ep.Rewards, ep.Terminal); err != nil {
		return err
	}
	// The truth goes first, since it is gone with this process; an episode that
	// is not stored is run again, and ends the same.
	if err := s.store.AddMetrics(ctx, "episode", uint64(i), known); err != nil {
		return err
	}
	if _, err := s.store.AddEpisode(ctx, ep); err != nil {
		return err
	}
	if err := s.tally(ctx, i, ep, st); err != nil {
		return err
	}
	if err := s.countHuman(ctx, i, l); err != nil {
		return err
	}
	t.learner.Publish(st)
	if (i+1)%s.cfg.Session.Checkpoint != 0 {
		return nil
	}
	return s.saveLearner(ctx, l, i+1)
}

// seedOf is the seed of the i-th online episode: in practice that of the arm of both, by which
// its scene is put back.
func (s *Session) seedOf(i int) uint64 {
	if s.practice != nil {
		return draw(s.practice.seed, online, i)
	}
	return draw(s.cfg.Seed, online, i)
}

// tally stores the numbers of the i-th online episode and of its round.
func (s *Session) tally(ctx context.Context, i int, ep policy.Episode, st policy.Stats) error {
	s.show.returned(i, ep.Return())
	ms := append([]policy.Metric{{Name: "return", Value: ep.Return()}}, s.classedAs(ep)...)
	if n := countBy(ep, robot.ByHuman); n > 0 {
		ms = append(ms, policy.Metric{Name: "human", Value: float64(n)})
	}
	if err := s.store.AddMetrics(ctx, "episode", uint64(i), ms); err != nil {
		return err
	}
	if err := s.store.AddMetrics(ctx, "learner", uint64(i), st.Metrics); err != nil {
		return err
	}
	return s.suspect(ctx, i, ep)
}

// counting is a learner that counts what it learns from.
type counting interface{ Count() buffer.Count }

// countHuman stores how many transitions by a person a learner has after the i-th online episode.
func (s *Session) countHuman(ctx context.Context, i int, l policy.Learner) error {
	c, ok := l.(counting)
	if !ok {
		return nil
	}
	n := c.Count().Human
	if n == 0 {
		return nil
	}
	return s.store.AddMetrics(ctx, "learner", uint64(i), []policy.Metric{{Name: "human_rows", Value: float64(n)}})
}

// saveLearner checkpoints a learner that has taken n online episodes.
func (s *Session) saveLearner(ctx context.Context, l policy.Keeper, n int) error {
	var b bytes.Buffer
	if err := l.Save(&b); err != nil {
		return err
	}
	if err := s.store.SaveCheckpoint(ctx, kindLearner, uint64(n), b.Bytes()); err != nil {
		return err
	}
	tuned, err := l.Latest(ctx)
	if err != nil {
		return err
	}
	return errors.Join(s.saveTuned(ctx, tuned, n), s.store.PruneCheckpoints(ctx, kindLearner, keep))
}

// saveTuned checkpoints what a learner has made of n online episodes, without its state.
func (s *Session) saveTuned(ctx context.Context, tuned policy.Params, n int) error {
	if err := s.store.SaveCheckpoint(ctx, kindTuned, uint64(n), tuned.Data); err != nil {
		return err
	}
	// What comes later is of a learner that was forgotten, and would count for the newest.
	if err := s.store.ForgetCheckpoints(ctx, kindTuned, uint64(n)); err != nil {
		return err
	}
	return s.store.PruneCheckpoints(ctx, kindTuned, keep)
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
