package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/filter"
)

// markLeftOut is the mark of a session whose demonstrations were filtered: the ids, as
// JSON, of those that it holds and does not learn from.
const markLeftOut = "left out"

// FilterDemos scores the demonstrations of the session in dir by its newest reward, and
// marks those that a policy had better not be cloned from. Nothing in dir changes. what
// is the reward in words.
func FilterDemos(ctx context.Context, dir string, fc filter.Config, environ, sets []string, o Options) (rows []filter.Row, what string, err error) {
	s, err := visit(dir, judged, "a filter", environ, sets, o)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	p, err := s.judges(ctx)
	if errors.Is(err, errNoTruth) {
		return nil, "", fmt.Errorf("wire: the reward of %s is the simulator's truth, which rates no recordings; want a session with a learned one, as reward.kind rapl or rlhf", dir)
	}
	if err != nil {
		return nil, "", err
	}
	liked, disliked, err := s.opinion(ctx, p)
	if err != nil {
		return nil, "", err
	}
	demos, err := s.store.Episodes(ctx, policy.Demo)
	if err != nil {
		return nil, "", err
	}
	renew, done, err := s.renewingKept(ctx)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, done()) }()
	var items []filter.Item
	for i, r := range demos {
		e, err := s.store.Episode(r.ID)
		if err != nil {
			return nil, "", err
		}
		if renew != nil {
			if err := renew(&e); err != nil {
				return nil, "", err
			}
		}
		it := filter.Item{ID: r.ID, Task: s.cfg.Robot.Task, Rewards: make([]float64, e.Len())}
		if err := p.scorer.Score(ctx, it.Rewards, e.Trajectory()); err != nil {
			return nil, "", fmt.Errorf("wire: filter: %s: %w", r.ID, err)
		}
		switch {
		case liked[r.ID]:
			it.Said = filter.Liked
		case disliked[r.ID]:
			it.Said = filter.Disliked
		}
		items = append(items, it)
		s.tell("score", i+1, len(demos), r.ID)
	}
	if len(items) < 2 {
		return nil, "", fmt.Errorf("wire: %s holds %d demonstrations, and a filter compares them with each other; want a session with more", dir, len(items))
	}
	rows, err = filter.Review(items, fc)
	return rows, p.named(s.cfg.Reward), err
}

// opinion are the demonstrations that people like and those that they do not, as far as
// they said: the preferred videos and what always won, and what always lost beside these.
func (s *Session) opinion(ctx context.Context, p parts) (liked, disliked map[string]bool, err error) {
	said, err := s.said(ctx, p.taste.Experts)
	if err != nil {
		return nil, nil, err
	}
	liked, disliked = map[string]bool{}, map[string]bool{}
	for _, t := range said {
		liked[t.Better.Name], disliked[t.Worse.Name] = true, true
	}
	for id := range liked {
		if disliked[id] {
			delete(liked, id)
			delete(disliked, id)
		}
	}
	for _, v := range p.taste.Experts {
		liked[v.Name] = true
		delete(disliked, v.Name)
	}
	return liked, disliked, nil
}

// reviewed refuses a list that cannot be read, or is of others' demonstrations than those of
// session.from.
func reviewed(ctx context.Context, cfg config.Config) (err error) {
	if cfg.Demos.Filter == "" {
		return nil
	}
	if cfg.Session.From == "" {
		return fmt.Errorf("wire: demos.filter is %s, but session.from is empty: demonstrations that are yet to be given were reviewed by nobody; want --set session.from=RUN, the session that rapport reward filter was asked of", cfg.Demos.Filter)
	}
	if _, err := os.Stat(filepath.Join(cfg.Session.From, database)); err != nil {
		return nil // which alike tells
	}
	st, err := store.Open(cfg.Session.From)
	if err != nil {
		return fmt.Errorf("wire: session.from: %w", err)
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	rows, err := st.Episodes(ctx, policy.Demo)
	if err != nil {
		return err
	}
	_, err = dropped(cfg, rows)
	return err
}

// dropped are the ids of those of the demonstrations in rows that demos.filter says to drop, sorted.
func dropped(cfg config.Config, rows []store.Row) ([]string, error) {
	path := cfg.Demos.Filter
	vs, err := verdicts(path)
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, r := range rows {
		have[r.ID] = true
	}
	out := []string{}
	for _, v := range vs {
		if !have[v.ID] {
			return nil, fmt.Errorf("wire: demos.filter: %s, line %d: %s is no demonstration of %s; want the list of: rapport reward filter %[4]s", path, v.Line, v.ID, cfg.Session.From)
		}
		if v.Drop {
			out = append(out, v.ID)
		}
	}
	if len(rows)-len(out) < 2 {
		return nil, fmt.Errorf("wire: demos.filter: %s leaves %d of %d demonstrations to clone; want 2 at least: change some verdicts to keep", path, len(rows)-len(out), len(rows))
	}
	slices.Sort(out)
	return out, nil
}

// unfiltered refuses a list where nothing is cloned.
func unfiltered(cfg config.Config) error {
	if cfg.Demos.Filter == "" {
		return nil
	}
	return fmt.Errorf("wire: demos.filter is %s, but rapport align clones nothing where it begins from a session; clone anew by rapport run --set %s --set %s, and align that session", cfg.Demos.Filter, Quoted("session.from="+cfg.Session.From), Quoted("demos.filter="+cfg.Demos.Filter))
}

func verdicts(path string) (vs []filter.Verdict, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("wire: demos.filter: %w; write one by rapport reward filter RUN -o FILE", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if vs, err = filter.Read(f); err != nil {
		return nil, fmt.Errorf("wire: demos.filter: %s: %w", path, err)
	}
	return vs, nil
}

// leaveOut marks the demonstrations that demos.filter says to drop, and clones the rest.
func (s *Session) leaveOut(ctx context.Context) error {
	rows, err := s.store.Episodes(ctx, policy.Demo)
	if err != nil {
		return err
	}
	out, err := dropped(s.cfg, rows)
	if err != nil {
		return err
	}
	b, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("wire: demos.filter: %w", err)
	}
	if err := s.store.Mark(ctx, markLeftOut, string(b)); err != nil {
		return err
	}
	s.log.Info("demonstrations left out", "of", len(rows), "left_out", len(out), "list", s.cfg.Demos.Filter)
	x, err := s.openEyes(ctx, nil)
	if err != nil {
		return err
	}
	demos, err := s.stored(ctx, policy.Demo)
	if err != nil {
		return err
	}
	_, err = s.imitate(ctx, viewConfig(s.cfg, x.Dim()), demos)
	return err
}

// leftOut are the ids of the demonstrations that the session does not learn from.
func (s *Session) leftOut(ctx context.Context) (map[string]bool, error) {
	mark, err := s.store.Marked(ctx, markLeftOut)
	if err != nil || mark == "" {
		return nil, err
	}
	var ids []string
	if err := json.Unmarshal([]byte(mark), &ids); err != nil {
		return nil, fmt.Errorf("wire: %s: mark %q: %w", s.Dir(), markLeftOut, err)
	}
	out := map[string]bool{}
	for _, id := range ids {
		out[id] = true
	}
	return out, nil
}
