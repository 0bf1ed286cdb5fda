package wire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// sources tells recordings from datasets of others, and finds the session that judges.
func (cc *CompareConfig) sources() (session string, rs []reel, others []string, err error) {
	m, err := columnsOf(cc.Columns)
	if err != nil {
		return "", nil, nil, err
	}
	films := cc.ReplayConfig
	films.Files = nil
	for _, path := range cc.Files {
		if !SessionAt(path) {
			if _, err := InspectDataset(path, dataset.Options{Map: m}); err == nil {
				others = append(others, path)
				continue
			}
		}
		films.Files = append(films.Files, path)
	}
	if len(films.Files) > 0 || len(others) == 0 {
		session, rs, err = films.reels()
		return session, rs, others, err
	}
	if cc.Session == "" {
		return "", nil, nil, fmt.Errorf("wire: %s belongs to no session; say whose encoder and rewards are to see it, as --session runs/group-001", others[0])
	}
	return cc.Session, nil, others, nil
}

// dataset rates the episodes of a LeRobot folder or a robomimic file.
func (c *comparer) dataset(ctx context.Context, path string) (err error) {
	m, err := columnsOf(c.cc.Columns)
	if err != nil {
		return err
	}
	r, err := OpenDataset(ctx, path, dataset.Options{Map: m, SkipBad: true, Progress: func(done, total int) { c.s.tell("rate", done, total, path) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	names, _ := c.cc.called(r.Map())
	first := len(c.out.Episodes)
	err = r.Each(ctx, func(e policy.Episode) error {
		rated := Rated{ID: e.ID, File: path}
		if err := c.rate(ctx, spool(e, names), &rated); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			rated.Rewards = nil // what some rewards gave is none to compare
			rated.Err = fmt.Errorf("wire: compare %s: episode %s: %w", path, e.ID, err)
		}
		c.out.Episodes = append(c.out.Episodes, rated)
		return nil
	})
	for _, l := range r.Left() {
		c.out.Episodes = append(c.out.Episodes, Rated{ID: fmt.Sprint(l.Episode), File: path, Err: fmt.Errorf("wire: compare %s: %v", path, l)})
	}
	if err == nil && len(c.out.Episodes) == first {
		err = fmt.Errorf("wire: compare: %s holds no episodes", path)
	}
	return err
}

// called is what the cameras of a dataset are called here, by their names in its episodes. others
// are what its cameras are not called, by their keys or by these names.
func (cc *CompareConfig) called(m dataset.Map) (names map[string]string, others []string) {
	names = map[string]string{}
	for name, key := range cc.Map {
		found := false
		for _, c := range m.Cameras {
			if c.Key == key || c.Name == key {
				names[c.Name], found = name, true
			}
		}
		if !found {
			others = append(others, key)
		}
	}
	slices.Sort(others)
	return names, others
}

// fits refuses names of cameras that no dataset has. Beside bags they may be topics.
func (cc *CompareConfig) fits(ctx context.Context, rs []reel, paths []string) error {
	if len(paths) == 0 || slices.ContainsFunc(rs, func(r reel) bool { return r.bag != nil }) {
		return nil
	}
	m, err := columnsOf(cc.Columns)
	if err != nil {
		return err
	}
	var has []string
	wrong := map[string]int{}
	for _, path := range paths {
		r, err := OpenDataset(ctx, path, dataset.Options{Map: m, SkipBad: true})
		if err != nil {
			return err
		}
		for _, c := range r.Map().Cameras {
			has = append(has, c.Key)
		}
		_, others := cc.called(r.Map())
		if err := r.Close(); err != nil {
			return err
		}
		for _, key := range others {
			wrong[key]++
		}
	}
	for _, key := range slices.Sorted(maps.Keys(wrong)) {
		if wrong[key] == len(paths) {
			return fmt.Errorf("wire: compare: --map names %q, which is no camera of %s; want one of %s", key, strings.Join(paths, ", "), strings.Join(has, ", "))
		}
	}
	return nil
}

// spool makes an episode of a dataset a film. Its cameras are called as names say.
func spool(e policy.Episode, names map[string]string) footage {
	rec := record.Recording{Info: record.Info{ID: e.ID, Seq: e.Seq, Terminal: e.Terminal}, Rewards: e.Rewards}
	for t, in := range e.Inputs {
		tick := record.Tick{State: in.State}
		for _, f := range in.Frames {
			if n, ok := names[f.Camera]; ok {
				f.Camera = n
			}
			tick.Frames = append(tick.Frames, f)
		}
		if t > 0 {
			tick.Applied, tick.By = e.Applied[t-1], robot.ByPolicy
		}
		rec.Ticks = append(rec.Ticks, tick)
	}
	return &tape{rec}
}
