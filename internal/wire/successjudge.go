package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/rapport-rl/rapport/reward/judge"
	"github.com/rapport-rl/rapport/reward/vlm"
)

// MeasureJudge asks j of the marked frames of the session in dir, and refuses it where
// its precision is below the one asked for; the report comes with that error too. name
// is the model's, under which its answers are kept beside the session's database, with how it did unless it was refused:
// sessions that begin from this one may be paid by it (reward.kagi.sparse). Calls
// are those that had to be made.
func MeasureJudge(ctx context.Context, dir string, j judge.Judge, name string, precision float64, environ, sets []string, o Options) (rep judge.Report, calls int, err error) {
	s, err := visit(dir, judged, "a judge", environ, sets, o)
	if err != nil {
		return rep, 0, err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	marks, err := readMarks(dir)
	if err != nil {
		return rep, 0, err
	}
	if len(marks) == 0 {
		return rep, 0, fmt.Errorf("wire: %s has no marked frames to measure a judge by; mark some with rapport reward classifier collect", dir)
	}
	said, ids := markings(marks)
	var shots []judge.Shot
	for k, id := range ids {
		s.tell("marked frames", k, len(ids), id)
		ep, err := s.store.Episode(id)
		if err != nil {
			return rep, 0, err
		}
		var steps []int
		for t := range said[id] {
			steps = append(steps, t)
		}
		slices.Sort(steps)
		fs, err := s.frames(ep, steps)
		if err != nil {
			return rep, 0, err
		}
		for i, t := range steps {
			shots = append(shots, judge.Shot{Frames: fs[i], Success: said[id][t]})
		}
	}
	s.tell("marked frames", len(ids), len(ids), fmt.Sprintf("%d frames: %d calls at most", len(shots), j.Calls(len(shots))))
	m, err := judge.Remember(j.Model, name, filepath.Join(dir, answersFile))
	if err != nil {
		return rep, 0, err
	}
	j.Model = m
	j.Tell = func(done, total int) {
		n, _ := m.Count()
		s.tell("judge", done, total, fmt.Sprintf("moments: %d calls", n))
	}
	rep, err = j.Measure(ctx, shots, precision)
	calls, _ = m.Count()
	file := filepath.Join(dir, judgeFile)
	switch {
	case err == nil:
		err = keepJudge(s.store, measuredJudge{Model: name, Task: j.Task, Times: j.Times, Rep: rep})
	case errors.Is(err, judge.ErrPrecision): // what was kept of an earlier asking holds no more
		if e := os.Remove(file); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	case errors.Is(err, vlm.ErrBusy) || errors.Is(err, vlm.ErrRefused): // nothing was measured
		err = fmt.Errorf("wire: %w; answers so far are kept: measure again once the endpoint answers", err)
	}
	return rep, calls, errors.Join(err, m.Close())
}
