package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/classifier"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/watch"
)

// kindSuccess is the checkpoint of a success classifier.
const kindSuccess = "success"

// seriesWatch are the metrics of the watch over the reward, a step an episode.
const seriesWatch = "watch"

// trained is a classifier with the encoder that its frames were embedded by.
type trained struct {
	Encoder string           `json:"encoder"` // SHA-256
	Model   classifier.Model `json:"model"`
}

func decodeTrained(b []byte) (trained, error) {
	var t trained
	if err := json.Unmarshal(b, &t); err != nil {
		return t, fmt.Errorf("wire: success classifier: %w", err)
	}
	if err := t.Model.Validate(); err != nil {
		return t, fmt.Errorf("wire: success classifier: %w", err)
	}
	return t, nil
}

// classifierFile is what is in the file of reward.classifier, or the session's own. It
// wraps store.ErrNone if there is none.
func (s *Session) classifierFile(ctx context.Context) (b []byte, err error) {
	if path := s.cfg.Reward.Classifier; path != "" {
		if b, err = os.ReadFile(path); err != nil {
			err = fmt.Errorf("reward.classifier: %w", err)
		}
	} else {
		_, b, err = s.latest(ctx, kindSuccess)
	}
	if err != nil {
		return nil, fmt.Errorf("wire: success classifier: %w", err)
	}
	return b, nil
}

// classifierModel is that, of whatever encoder.
func (s *Session) classifierModel(ctx context.Context) (trained, error) {
	b, err := s.classifierFile(ctx)
	if err != nil {
		return trained{}, err
	}
	t, err := decodeTrained(b)
	if path := s.cfg.Reward.Classifier; err != nil && path != "" {
		return t, fmt.Errorf("%w; reward.classifier is %s, which is none: name a file that was written by rapport reward classifier train --out FILE", err, path)
	}
	if err != nil {
		return t, fmt.Errorf("%w; that of %s is damaged: train it anew with rapport reward classifier train %s", err, s.Dir(), Quoted(s.Dir()))
	}
	return t, nil
}

// classifier is that, if it is of the session's encoder.
func (s *Session) classifier(ctx context.Context) (m classifier.Model, err error) {
	t, err := s.classifierModel(ctx)
	if err != nil {
		return m, err
	}
	enc, _, err := s.makers(ctx)
	if err != nil {
		return m, err
	}
	if t.Encoder != enc {
		return m, fmt.Errorf("wire: the success classifier was trained on another encoder's embeddings; train one on this session's frames (rapport reward classifier train %s), leave out reward.classifier, or set reward.success to none", Quoted(s.Dir()))
	}
	return t.Model, nil
}

// sentry looks out for a reward that rises while success falls.
type sentry struct {
	model *classifier.Model // nil: by the truth, or by audits alone
	w     *watch.Watch      // nil: there is nothing to check by yet
	names []string          // of the checks that an episode brings along; audits come after it
	also  []string          // of those that it does not
	on    bool
}

// newSentry goes on from the first n episodes, and by what people marked of them since.
func (s *Session) newSentry(ctx context.Context, n int) (*sentry, error) {
	y := &sentry{}
	audited, err := s.audits(ctx)
	if err != nil {
		return nil, err
	}
	if len(audited) > 0 {
		y.also = []string{"audits"}
	}
	switch s.cfg.Reward.Success {
	case "truth":
		y.names = []string{"success"}
	case "classifier":
		m, err := s.classifier(ctx)
		if err == nil {
			y.model, y.names = &m, []string{"success", "margin"}
		} else if !errors.Is(err, store.ErrNone) {
			return nil, err
		} else if len(y.also) > 0 {
			s.log.Warn("reward.success is classifier, but the session has none: audits alone watch the reward", "remedy", "rapport reward classifier train "+Quoted(s.Dir()))
		}
	}
	if len(y.names)+len(y.also) == 0 {
		remedy := "mark frames: rapport reward classifier collect"
		if s.cfg.Reward.Success == "classifier" {
			remedy += ", then train"
		}
		s.log.Warn("nobody tells success yet: the reward is not watched", "remedy", remedy+", then "+GoOn(s.Dir()))
		return y, nil
	}
	if y.w, err = watch.New(watch.Config{Checks: slices.Concat(y.names, y.also)}); err != nil {
		return nil, err
	}
	ids, err := explorations(ctx, s.store)
	if err != nil {
		return nil, err
	}
	known := append([]string{"reward"}, y.names...)
	past := make([][]float64, n)
	for k, name := range known {
		ps, err := s.store.Metric(ctx, seriesWatch, name)
		if err != nil {
			return nil, err
		}
		for _, p := range ps {
			if p.Step >= uint64(n) {
				continue
			}
			if past[p.Step] == nil {
				past[p.Step] = slices.Repeat([]float64{math.NaN()}, len(known)+len(y.also))
				if done, ok := audited[at(ids, p.Step)]; ok {
					past[p.Step][len(known)] = bit(done)
				}
			}
			past[p.Step][k] = p.Value
		}
	}
	for _, p := range past {
		if p == nil {
			continue
		}
		if _, err := y.w.Add(p[0], p[1:]); err != nil {
			return nil, err
		}
	}
	// What was told counts, not what would have been with the marks that came since.
	if n > 0 {
		v, err := s.store.MetricAt(ctx, seriesWatch, "alarm", uint64(n-1))
		y.on = err == nil && v > 0
		return y, err
	}
	return y, nil
}

// rewatch has the watch over the first n episodes go by the rewards that they have under a
// reward that was aligned anew: between two rewards there is a step that no policy made.
func (s *Session) rewatch(ctx context.Context, es []policy.Episode, n int) error {
	done, err := s.store.Marked(ctx, markRealigned)
	if err != nil || done == "" {
		return err
	}
	ids, err := explorations(ctx, s.store)
	if err != nil {
		return err
	}
	ps, err := s.store.Metric(ctx, seriesWatch, "reward")
	if err != nil {
		return err
	}
	was := map[string]store.Point{}
	for _, p := range ps {
		was[at(ids, p.Step)] = p
	}
	for _, e := range es {
		p, ok := was[e.ID]
		if !ok {
			continue
		}
		mean, err := s.meanDense(e)
		if err == nil && mean != p.Value {
			err = s.store.AddMetrics(ctx, seriesWatch, p.Step, []policy.Metric{{Name: "reward", Value: mean}})
		}
		if err != nil {
			return err
		}
	}
	if s.watch != nil && s.watch.w != nil {
		s.watch, err = s.newSentry(ctx, n)
	}
	return err
}

// audits are the online episodes of whose last frame people marked whether it shows the
// task done.
func (s *Session) audits(ctx context.Context) (map[string]bool, error) {
	ms, err := readMarks(s.Dir())
	if err != nil || len(ms) == 0 {
		return nil, err
	}
	end, err := lengths(ctx, s.store, policy.Online)
	if err != nil {
		return nil, err
	}
	said := map[string]bool{}
	for _, m := range ms { // a later mark overrules an earlier one
		if T, ok := end[m.Episode]; ok && m.From <= T && T <= m.To {
			said[m.Episode] = m.Success
		}
	}
	return said, nil
}

// suspect watches the reward over the i-th episode.
func (s *Session) suspect(ctx context.Context, i int, ep policy.Episode) error {
	if s.cfg.Reward.Success == "none" || ep.Len() == 0 {
		return nil
	}
	if s.watch == nil {
		y, err := s.newSentry(ctx, i)
		if err != nil {
			return err
		}
		s.watch = y
	}
	y := s.watch
	mean, err := s.meanDense(ep)
	if err != nil {
		return err
	}
	ms := []policy.Metric{{Name: "reward", Value: mean}}
	if y.w == nil { // what people mark later is held against it
		return s.store.AddMetrics(ctx, seriesWatch, uint64(i), ms)
	}
	said, err := y.ask(ctx, s, i, ep)
	if err != nil {
		return err
	}
	for k, name := range y.names {
		ms = append(ms, policy.Metric{Name: name, Value: said[k]})
	}
	for range y.also {
		said = append(said, math.NaN()) // nobody looked yet
	}
	a, err := y.w.Add(mean, said)
	if err != nil {
		return fmt.Errorf("wire: episode %s: %w", ep.ID, err)
	}
	ms = append(ms, policy.Metric{Name: "alarm", Value: bit(a.On)})
	if a.On && !y.on {
		s.log.Warn(a.String(), "episode", ep.ID, "check", a.Check)
		s.tell("watch", i+1, s.cfg.Session.Episodes, a.String())
	}
	y.on = a.On
	return s.store.AddMetrics(ctx, seriesWatch, uint64(i), ms)
}

// meanDense is an episode's mean dense reward. By waypoints that is what its steps are worth
// without success, which is paid in place of it: a reward that holds success would rise and
// fall with what it is checked by.
func (s *Session) meanDense(ep policy.Episode) (float64, error) {
	if !byWaypoints(s.cfg) {
		return ep.Return() / float64(ep.Len()), nil
	}
	c, err := s.kagi()
	if err != nil {
		return 0, err
	}
	k, err := kagi.New(*c)
	if err != nil {
		return 0, err
	}
	steps, _, err := k.Explain(ep.Trajectory())
	if err != nil {
		return 0, fmt.Errorf("wire: episode %s: %w", ep.ID, err)
	}
	sum := 0.0
	for _, e := range steps {
		sum += e.Dense
	}
	return sum / float64(len(steps)), nil
}

// ask is what the checks say of an episode, in their order.
func (y *sentry) ask(ctx context.Context, s *Session, i int, ep policy.Episode) ([]float64, error) {
	if y.model != nil {
		margin, err := y.model.Margin(endOf(ep))
		return []float64{bit(margin >= 0), margin}, err
	}
	if len(y.names) == 0 {
		return nil, nil
	}
	// A process that is not the arm's does not know it.
	said, err := s.store.MetricAt(ctx, "episode", "success", uint64(i))
	return []float64{said}, err
}

// suspicions tells the report what the watch saw.
func (s *Session) suspicions(ctx context.Context, r *report.Report) error {
	ps, err := s.store.Metric(ctx, seriesWatch, "alarm")
	if err != nil || len(ps) == 0 {
		return err
	}
	by := "nobody any more"
	if s.watch != nil {
		if who := slices.Clone(s.watch.also); len(s.watch.names)+len(who) > 0 {
			if len(s.watch.names) > 0 {
				who = slices.Insert(who, 0, s.cfg.Reward.Success)
			}
			by = strings.Join(who, " and ")
		}
	}
	ids, err := explorations(ctx, s.store)
	if err != nil {
		return err
	}
	n, first := 0, ""
	for _, p := range ps {
		if p.Value > 0 {
			if n++; n == 1 {
				first = at(ids, p.Step)
			}
		}
	}
	f := report.Fact{Name: "reward hacking", Value: fmt.Sprintf("no sign in %d episodes, by %s", len(ps), by)}
	if n > 0 {
		f.Value = fmt.Sprintf("ALARM in %d of %d episodes, first at %s: the reward rose while success (%s) fell", n, len(ps), first, by)
	}
	r.Facts = append(r.Facts, f)
	return nil
}
