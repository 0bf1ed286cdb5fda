package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/classifier"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/robot"
)

// classified says whether a classifier tells the success that KAGI's reward pays.
func classified(c config.Config) bool { return byWaypoints(c) && c.Reward.KAGI.Sparse == "classifier" }

// successTeller is loop.Actor's Tell, of one actor.
type successTeller func(ctx context.Context, step int, f perception.Features) ([]perception.Keypoint, error)

// confirmer tells success once who believed it for so many ticks in a row. A classifier is
// least sure where the task is nearly done, and sees many frames there: one that errs in
// a hundredth of them would end most episodes too early.
type confirmer struct {
	who     reward.Success
	confirm int // ticks, from 1 on
}

// begin tells success to one actor. What is told is the least of what was believed in
// these ticks, and 0 before there were as many.
func (k confirmer) begin() successTeller {
	last := make([]float64, k.confirm) // by step modulo their number
	return func(ctx context.Context, step int, f perception.Features) ([]perception.Keypoint, error) {
		if step == 0 {
			clear(last)
		}
		p, err := k.who.Succeeded(ctx, f)
		if errors.Is(err, reward.ErrUnknown) {
			last[step%k.confirm] = 0
			return nil, nil
		}
		last[step%k.confirm] = p
		return []perception.Keypoint{{Name: kagi.Success, Score: slices.Min(last)}}, err
	}
}

// firstClassifier is how to come by one.
const firstClassifier = "run one with reward.kagi.sparse=none, mark frames and train (rapport reward classifier collect, then train), and begin from that session: --set session.from=runs/NAME --set reward.kagi.sparse=classifier"

type tellerKey struct{}

// tellerOf is a new one, nil where features do not tell success.
func tellerOf(ctx context.Context) successTeller {
	if k, ok := ctx.Value(tellerKey{}).(confirmer); ok {
		return k.begin()
	}
	return nil
}

// telling returns the context under which actors have the session's classifier tell
// success, where reward.kagi.sparse says so. The encoder must be there already.
func (s *Session) telling(ctx context.Context) (context.Context, error) {
	if !classified(s.cfg) {
		return ctx, nil
	}
	m, err := s.classifier(ctx)
	if errors.Is(err, store.ErrNone) {
		return ctx, errors.New("wire: reward.kagi.sparse is classifier, but the session has none: " + firstClassifier)
	}
	if err != nil {
		return ctx, err
	}
	if m.Measured == (classifier.Measure{}) {
		return ctx, errors.New("wire: reward.kagi.sparse is classifier, but this one does not say how it was measured; train it anew: rapport reward classifier train")
	}
	s.tell("success", 1, 1, "told by a classifier: "+m.Measured.String())
	return context.WithValue(ctx, tellerKey{}, confirmer{m, s.cfg.Reward.KAGI.Confirm}), nil
}

// untell has an episode say nothing of success.
func untell(e *policy.Episode) {
	for t := range e.Inputs {
		f := &e.Inputs[t].Features
		f.Keys = slices.DeleteFunc(slices.Clone(f.Keys), func(k perception.Keypoint) bool { return k.Name == kagi.Success })
	}
}

// retell has demonstrations tell success as the context does, whoever told it when they
// were recorded.
func retell(ctx context.Context, e *policy.Episode) error {
	tell := tellerOf(ctx)
	if tell == nil {
		return nil
	}
	untell(e)
	for t := range e.Inputs {
		f := &e.Inputs[t].Features
		ks, err := tell(ctx, t, *f)
		if err != nil {
			return fmt.Errorf("wire: %s: frame %d: %w", e.ID, t, err)
		}
		f.Keys = append(f.Keys, ks...)
	}
	return nil
}

// succeeded says whether a tick's features tell success.
func succeeded(f perception.Features) bool {
	return slices.ContainsFunc(f.Keys, func(k perception.Keypoint) bool { return k.Name == kagi.Success && k.Score >= 0.5 })
}

// overOf ends episodes of an arm on success, where session.end says so: by what their
// features tell, or by the simulator's truth.
func overOf(c config.Config, a *arm) func(context.Context, int, robot.Observation, policy.Input) (bool, error) {
	if c.Session.End != "success" {
		return nil
	}
	return func(_ context.Context, _ int, _ robot.Observation, in policy.Input) (bool, error) {
		if classified(c) {
			return succeeded(in.Features), nil
		}
		return a.world.Truth().Success, nil
	}
}

// metricSaid is what a classifier or a judge said at an episode's end.
const metricSaid = "success_said"

// witnessed says whether a classifier or a judge tells success in place of the simulator.
func witnessed(c config.Config) bool { return classified(c) || byJudge(c) }

// endOf are the features of an episode's last frame.
func endOf(ep policy.Episode) perception.Features { return ep.Inputs[len(ep.Inputs)-1].Features }

// classedAs is that, where one is asked and answered.
func (s *Session) classedAs(ep policy.Episode) []policy.Metric {
	if !witnessed(s.cfg) || !slices.ContainsFunc(endOf(ep).Keys, func(k perception.Keypoint) bool { return k.Name == kagi.Success }) {
		return nil
	}
	return []policy.Metric{{Name: metricSaid, Value: bit(succeeded(endOf(ep)))}}
}

// sayings tells the report what the classifier or the judge said, and how often it was so.
func (s *Session) sayings(ctx context.Context, r *report.Report) error {
	if !witnessed(s.cfg) {
		return nil
	}
	all, err := s.store.Episodes(ctx, policy.Online)
	if err != nil {
		return err
	}
	said, err := s.store.Metric(ctx, "episode", metricSaid)
	if err != nil {
		return err
	}
	won, err := s.store.Metric(ctx, "episode", "success")
	if err != nil {
		return err
	}
	truth := map[uint64]float64{}
	for _, p := range won {
		truth[p.Step] = p.Value
	}
	who, measured := "classifier", ""
	if byJudge(s.cfg) {
		m, err := readJudge(s.Dir())
		if err != nil {
			return err
		}
		who, measured = "judge", m.Rep.String()
	} else {
		m, err := s.classifier(ctx)
		if err != nil {
			return err
		}
		measured = m.Measured.String()
	}
	yes, known, right := 0, 0, 0
	for _, p := range said {
		if p.Value > 0 {
			yes++
		}
		if v, ok := truth[p.Step]; ok {
			known++
			if v == p.Value {
				right++
			}
		}
	}
	f := report.Fact{Name: "success, by the " + who, Value: fmt.Sprintf("at the end of %d of %d episodes", yes, len(said))}
	if n := len(all) - len(said); n > 0 {
		f.Value += fmt.Sprintf("; no answer at the end of %d more, which were paid no success", n)
	}
	if known > 0 {
		f.Value += fmt.Sprintf("; the truth agrees with it in %d of %d", right, known)
	}
	if byJudge(s.cfg) {
		f.Value += refereeOf(ctx).said()
		who += s.whose()
	}
	r.Facts = append(r.Facts, f, report.Fact{Name: "the " + who + ", measured on marked frames", Value: measured})
	return nil
}
