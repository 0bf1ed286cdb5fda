package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// The marks of a session whose reward was aligned anew: how many answers that
// took into account, and that episodes are stored with the rewards of an older
// one.
const (
	markAnswers   = "aligned answers"
	markRealigned = "realigned"
)

// relabeler is a learner that takes the rewards of a reward that has learnt since.
type relabeler interface {
	Relabel(ctx context.Context, id string, rewards []float64) (bool, error)
}

// opinions are what people said that an alignment can use.
type opinions struct {
	like  []label.Likeness
	order []label.Order
	heard int // comparisons of pairs, with those of the same two once more
	left  int // triplets that tell nothing of what is better
	aside int // about recordings beside the session's episodes, which nothing is learned from
}

// len is how many there are, which no answer makes fewer.
func (a opinions) len() int { return len(a.like) + a.heard }

// opinions are those that a reward learns from: RAPL, which learns what is alike, from
// triplets beside any anchor.
func (s *Session) opinions(ctx context.Context, t taste) (opinions, error) {
	said, err := s.heard(ctx)
	if err != nil {
		return opinions{}, err
	}
	said, aside, err := s.own(ctx, said)
	if err != nil {
		return opinions{}, err
	}
	left := 0
	if t.kind() != "rapl" {
		said, left = s.preferences(said, t.Experts)
	}
	a := s.useful(said)
	a.left, a.aside = left, s.useful(aside).len()
	return a, nil
}

// own are the answers about episodes that the session holds, and aside the others: about recordings
// that were labelled beside it.
func (s *Session) own(ctx context.Context, said []label.Label) (own, aside []label.Label, err error) {
	steps, err := lengths(ctx, s.store, policy.Demo, policy.Online)
	if err != nil {
		return nil, nil, err
	}
	held := map[string]bool{}
	for _, l := range said {
		all := true
		for _, c := range l.Query.Clips {
			has, known := held[c.Episode]
			if _, ok := steps[c.Episode]; ok {
				has = true
			} else if !known {
				_, err := s.store.Kept(c.Episode)
				has = !errors.Is(err, store.ErrNone)
				held[c.Episode] = has
			}
			all = all && has
		}
		if all {
			own = append(own, l)
		} else {
			aside = append(aside, l)
		}
	}
	return own, aside, nil
}

// useful are the answers that decide, and ties where they are asked for; of two clips that somebody
// compared more than once, what was said most often.
func (s *Session) useful(said []label.Label) (a opinions) {
	for _, x := range label.Triplets(said) {
		if !x.Tie || tied(s.cfg.Reward) {
			a.like = append(a.like, x)
		}
	}
	pairs := label.Pairs(said)
	for _, x := range pairs {
		if !x.Tie || tied(s.cfg.Reward) {
			a.heard++
		}
	}
	for _, x := range label.Settle(pairs) {
		if !x.Tie || tied(s.cfg.Reward) {
			a.order = append(a.order, x)
		}
	}
	return a
}

// aligned is how many answers the reward has learned from: of a session that was
// not aligned anew, those to its own questions.
func (s *Session) aligned(ctx context.Context) (int, error) {
	mark, err := s.store.Marked(ctx, markAnswers)
	if err != nil {
		return 0, err
	}
	if mark != "" {
		n, err := strconv.Atoi(mark)
		if err != nil {
			return 0, fmt.Errorf("wire: %s: mark %q: %w", s.Dir(), markAnswers, err)
		}
		return n, nil
	}
	said, err := s.heard(ctx)
	if err != nil {
		return 0, err
	}
	own := said[:0]
	for _, l := range label.Standing(said) {
		if strings.HasPrefix(l.Query.ID, askPrefix) {
			own = append(own, l)
		}
	}
	return s.useful(own).len(), nil
}

// errTooFew says that too little was said to align a reward by.
var errTooFew = errors.New("to align the reward with")

// errBeyond says that a label is about steps that an episode does not have. Of the session's own
// episodes heard leaves it out.
var errBeyond = errors.New("wire: a label is beyond an episode's end")

// library reads the clips that people were shown, once each.
type library struct {
	in     *store.Session
	by     *sight
	videos map[string]rapl.Video // by name
	trajs  map[string][]perception.Features
}

func (l library) video(x label.Clip) (rapl.Video, error) {
	name := clipName(x)
	if v, ok := l.videos[name]; ok {
		return v, nil
	}
	traj, ok := l.trajs[x.Episode]
	if !ok {
		e, err := l.in.Episode(x.Episode)
		if errors.Is(err, store.ErrNone) {
			e, err = l.in.Kept(x.Episode)
		}
		if err != nil {
			return rapl.Video{}, err
		}
		traj = e.Trajectory()[1:] // the frame after the reset is no doing of anybody's
		l.trajs[x.Episode] = traj
	}
	from, to, ok := portion(x, len(traj))
	if !ok {
		return rapl.Video{}, fmt.Errorf("%w: of steps %d to %d of %s, which has %d", errBeyond, x.From, x.To, x.Episode, len(traj))
	}
	v, err := l.by.video(name, traj[from:to])
	if err == nil {
		l.videos[name] = v
	}
	return v, err
}

// Realigned is how an alignment anew went.
type Realigned struct {
	Kind    string // of the reward
	Version uint64
	Answers int
	rapl.Report
}

// realign aligns the reward with all that was said so far, of kind rapl from the head
// that it has, and stores it as the next version. What pairs say is taken as likeness to
// the preferred videos that they do not compare, in turn. The encoder stays: the policy
// goes by it too.
func (s *Session) realign(ctx context.Context, t taste) (taste, Realigned, error) {
	re := Realigned{Kind: t.kind()}
	if !config.Comparing(re.Kind) {
		return t, re, fmt.Errorf("wire: the reward of %s is of kind %s, which learns from no answers; want a session with reward.kind rapl, rlhf, btt or pal", s.Dir(), re.Kind)
	}
	said, err := s.opinions(ctx, t)
	if err != nil {
		return t, re, err
	}
	lib := library{s.store, t.Sight, map[string]rapl.Video{}, map[string][]perception.Features{}}
	var ts []rapl.Triplet
	skipped, alone := said.aside, 0
	// add adds x beside an anchor, or without one as the i-th pair.
	add := func(anchor *rapl.Video, i int, x label.Order) error {
		var two [2]rapl.Video
		for k, c := range []label.Clip{x.Better, x.Worse} {
			if two[k], err = lib.video(c); errors.Is(err, store.ErrNone) || errors.Is(err, errBeyond) {
				skipped++ // a recording of elsewhere
				return nil
			} else if err != nil {
				return err
			}
		}
		if anchor == nil {
			e, ok := anchorOf(re.Kind, t.Experts, i, two[0], two[1])
			if !ok {
				alone++
				return nil
			}
			anchor = &e
		}
		ts = append(ts, rapl.Triplet{Anchor: *anchor, Better: two[0], Worse: two[1], Tie: x.Tie, Annotator: x.Annotator})
		return nil
	}
	for _, x := range said.like {
		anchor, err := lib.video(x.Anchor)
		if errors.Is(err, store.ErrNone) || errors.Is(err, errBeyond) {
			skipped++
			continue
		}
		if err == nil {
			err = add(&anchor, 0, x.Order)
		}
		if err != nil {
			return t, re, err
		}
	}
	for i, x := range said.order {
		if err := add(nil, i, x); err != nil {
			return t, re, err
		}
	}
	if skipped > 0 {
		s.log.Warn("wire: answers about clips that are no episodes of the session are left out; begin a session over the recordings (robot.kind=bag) to label them as its own", "answers", skipped)
	}
	if alone > 0 {
		s.log.Warn("wire: pairs are left out that have no preferred video to be beside but their own: RAPL learns what is like one, and nothing is more like it than itself", "answers", alone)
	}
	if want := least(re.Kind); len(ts) < want {
		return t, re, fmt.Errorf("wire: %s holds %d answers %w%s; want at least %d: label some episodes first", s.Dir(), len(ts), errTooFew, besides(said.left)+asides(said.aside), want)
	}
	c := s.cfg.Reward
	c.Kind, c.Person = re.Kind, t.Person // of rapport align, it may be of another kind
	if re.Report, err = t.compare(ctx, c, s.cfg.Seed, ts); err != nil {
		return t, re, fmt.Errorf("wire: reward.kind %s: %w", re.Kind, err)
	}
	v, _, err := s.store.LatestCheckpoint(ctx, kindReward)
	if err != nil {
		return t, re, err
	}
	re.Version, re.Answers = v+1, len(ts)
	b, err := json.Marshal(t)
	if err != nil {
		return t, re, fmt.Errorf("wire: reward: %w", err)
	}
	// The mark first: should the process die before the checkpoint, episodes are
	// scored again by the reward that they had.
	err = s.store.Mark(ctx, markRealigned, "yes")
	if err == nil {
		err = s.store.SaveCheckpoint(ctx, kindReward, re.Version, b)
	}
	if err == nil {
		err = s.store.Mark(ctx, markAnswers, strconv.Itoa(said.len())) // with those left out, which are not waited for
	}
	if err != nil {
		return t, re, err
	}
	s.log.Info("reward aligned anew", "version", re.Version, "answers", re.Answers, "held_out_before", re.Before.Accuracy, "held_out", re.After.Accuracy)
	return t, re, nil
}

// Align aligns the reward of the session in dir with all its labels, as a new
// checkpoint: the session goes on with it, and so do those that begin from it.
func Align(ctx context.Context, dir string, environ, sets []string, o Options) (re Realigned, err error) {
	s, err := visit(dir, append([]string{"reward.gradient", "reward.temperature", "reward.ties", "reward.btt.", "reward.pal."}, judged...), "an alignment", environ, sets, o)
	if err != nil {
		return re, err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	done, err := s.store.Marked(ctx, "prepared")
	if err != nil {
		return re, err
	}
	if done == "" {
		return re, fmt.Errorf("wire: %s is not prepared yet; go on with it first: %s", dir, GoOn(dir))
	}
	p, err := s.judges(ctx)
	if err != nil {
		return re, err
	}
	_, re, err = s.realign(ctx, p.taste)
	return re, err
}

// rescore gives episodes the rewards of the reward as it is now, where they were
// stored with those of an older one.
func (s *Session) rescore(ctx context.Context, by reward.Scorer, es []policy.Episode) error {
	done, err := s.store.Marked(ctx, markRealigned)
	if err != nil || done == "" {
		return err
	}
	for i := range es {
		if err := rate(ctx, by, &es[i]); err != nil {
			return err
		}
	}
	return nil
}

// rate gives an episode the rewards of a reward.
func rate(ctx context.Context, by reward.Scorer, e *policy.Episode) error {
	r := make([]float64, e.Len())
	if err := by.Score(ctx, r, e.Trajectory()); err != nil {
		return fmt.Errorf("wire: score %s: %w", e.ID, err)
	}
	e.Rewards = r
	return nil
}

// relabel tells a learner the rewards of all that it has learned from. One that
// keeps no rewards has nothing to change.
func (s *Session) relabel(ctx context.Context, l policy.Learner, es []policy.Episode) (n int, err error) {
	r, ok := l.(relabeler)
	if !ok {
		return 0, nil
	}
	for _, e := range es {
		known, err := r.Relabel(ctx, e.ID, e.Rewards)
		if err != nil {
			return n, fmt.Errorf("wire: relabel %s: %w", e.ID, err)
		}
		if known {
			n++
		}
	}
	return n, nil
}

// relabelFolder is relabel for a replay in a folder, which holds the rewards that
// its episodes were added with.
func (s *Session) relabelFolder(ctx context.Context, l policy.Learner, es ...[]policy.Episode) error {
	done, err := s.store.Marked(ctx, markRealigned)
	if err != nil || done == "" || s.replayDir() == "" {
		return err
	}
	for _, some := range es {
		if _, err := s.relabel(ctx, l, some); err != nil {
			return err
		}
	}
	return nil
}

// freshen aligns the reward anew after the n-th online episode, once enough was
// said since the last time: the next episodes are scored by it, and what was
// learned from is rewarded again. It says whether it did.
func (s *Session) freshen(ctx context.Context, p *parts, l policy.Keeper, n int) (bool, error) {
	every := s.cfg.Session.Realign
	if every == 0 {
		return false, nil
	}
	said, err := s.opinions(ctx, p.taste)
	if err != nil {
		return false, err
	}
	had, err := s.aligned(ctx)
	if err == nil && said.aside > 0 && had > said.len() { // it counted those aside once
		had = said.len()
		err = s.store.Mark(ctx, markAnswers, strconv.Itoa(had))
	}
	if err != nil || said.len()-had < every {
		return false, err
	}
	s.tell("preferences", 0, 1, fmt.Sprintf("%d new answers", said.len()-had))
	t, re, err := s.realign(ctx, p.taste)
	if errors.Is(err, errTooFew) {
		s.log.Warn("the reward stays as it is", "err", err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	p.taste = t
	if p.scorer, err = t.scorer(); err != nil {
		return false, err
	}
	if err := s.keepMakers(ctx); err != nil {
		return false, err
	}
	told := 0
	for _, origin := range []policy.Origin{policy.Demo, policy.Online} {
		es, err := s.logged(ctx, origin)
		if err == nil {
			err = s.rescore(ctx, p.scorer, es)
		}
		if err == nil && origin == policy.Online {
			err = s.rewatch(ctx, es, n+1)
		}
		if err != nil {
			return false, err
		}
		k, err := s.relabel(ctx, l, es)
		if told += k; err != nil {
			return false, err
		}
	}
	s.tell("preferences", 1, 1, fmt.Sprintf("reward %d: %.0f %% of the held-out answers told right, %d episodes rewarded again", re.Version, 100*re.After.Accuracy, told))
	err = s.store.AddMetrics(ctx, "reward", uint64(n), []policy.Metric{
		{Name: "version", Value: float64(re.Version)}, {Name: "answers", Value: float64(re.Answers)},
		{Name: "held_out_accuracy", Value: re.After.Accuracy}, {Name: "held_out_ece", Value: re.After.ECE}, {Name: "relabelled", Value: float64(told)},
	})
	if err != nil {
		return false, err
	}
	// No round straddles two rewards: the session is gone on with from here.
	return true, s.saveLearner(ctx, l, n+1)
}

// since says whether the newest checkpoint of a kind is a reward that was aligned anew after the
// preparation, whose own one is before it. What a session with session.from has is for
// DropCheckpoint to see: its first reward has whatever version it had there.
func (s *Session) since(ctx context.Context, kind string) (bool, error) {
	if kind != kindReward || s.cfg.Session.From != "" {
		return false, nil
	}
	var newest [2]uint64
	for i, of := range []string{kindEncoder, kindReward} {
		v, _, err := s.store.LatestCheckpoint(ctx, of)
		if err != nil && !errors.Is(err, store.ErrNone) && !errors.Is(err, store.ErrCorrupt) {
			return false, err
		}
		newest[i] = v
	}
	return newest[1] > max(1, newest[0]), nil // tuneEyes makes both of one version
}

// judgeAnew takes the newest reward, where it was aligned anew.
func (s *Session) judgeAnew(ctx context.Context, p *parts) error {
	done, err := s.store.Marked(ctx, markRealigned)
	if err != nil || done == "" {
		return err
	}
	q, err := s.judges(ctx)
	if err == nil {
		p.taste, p.scorer = q.taste, q.scorer
	}
	return err
}
