package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/classifier"
	"github.com/rapport-rl/rapport/robot"
)

// Marked says which frames of an episode show success or its lack.
type Marked struct {
	Episode string `json:"episode"`
	From    int    `json:"from"` // frame, 0 is the one after the reset
	To      int    `json:"to"`   // the last one
	Success bool   `json:"success"`
}

// marksFile is beside a session's database.
const marksFile = "success-marks.json"

func readMarks(dir string) ([]Marked, error) {
	b, err := os.ReadFile(filepath.Join(dir, marksFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	var ms []Marked
	if err := json.Unmarshal(b, &ms); err != nil {
		return nil, fmt.Errorf("wire: %s: %w; mend or remove it", filepath.Join(dir, marksFile), err)
	}
	return ms, nil
}

// MarkSuccess adds marks to those of the session in dir; later marks overrule earlier
// ones. With outcome above 0 it also marks so many last frames of every online
// episode whose outcome the session knows. It returns how many marks there are now.
func MarkSuccess(ctx context.Context, dir string, marks []Marked, outcome int, environ, sets []string, o Options) (n int, err error) {
	s, err := visit(dir, judged, "marking frames", environ, sets, o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	steps := map[string]int{}
	for _, origin := range []policy.Origin{policy.Demo, policy.Online} {
		rows, err := s.store.Episodes(ctx, origin)
		if err != nil {
			return 0, err
		}
		for _, r := range rows {
			steps[r.ID] = r.Steps
		}
	}
	if outcome > 0 {
		ps, err := s.store.Metric(ctx, "episode", "success")
		if err != nil {
			return 0, err
		}
		var known []Marked
		for _, p := range ps {
			id := episodeID(int(p.Step))
			if T, ok := steps[id]; ok && p.Value == p.Value {
				known = append(known, Marked{Episode: id, From: max(1, T-outcome+1), To: T, Success: p.Value > 0})
			}
		}
		if len(known) == 0 {
			return 0, fmt.Errorf("wire: %s knows the outcome of no episode; mark frames by --success and --failure", dir)
		}
		marks = append(known, marks...)
	}
	for _, m := range marks {
		T, ok := steps[m.Episode]
		if !ok {
			return 0, fmt.Errorf("wire: %w: no episode %q in %s", store.ErrNone, m.Episode, dir)
		}
		if m.From < 0 || m.To < m.From || m.To > T {
			return 0, fmt.Errorf("wire: episode %s has frames 0 to %d, not %d to %d", m.Episode, T, m.From, m.To)
		}
	}
	was, err := readMarks(dir)
	if err != nil {
		return 0, err
	}
	was = append(was, marks...)
	b, err := json.MarshalIndent(was, "", " ")
	if err != nil {
		return 0, fmt.Errorf("wire: marks: %w", err)
	}
	return len(was), s.store.Put(marksFile, b)
}

// Classifying configures TrainClassifier.
type Classifying struct {
	classifier.Config
	Copies int    // augmented copies of every marked frame; 0: none
	Out    string // file to write besides; empty: the session alone
}

// lights are what a frame is changed by for its copies: what a lamp, a cloud and a
// knocked camera do.
var lights = vision.Augmentation{Shift: 3, Brightness: 0.2, Contrast: 0.2, Saturation: 0.2, Blur: 0.7}

// TrainClassifier trains a success classifier on the marked frames of the session in
// dir, and keeps it there, unless its measured precision is too low. The report comes
// with that error too.
func TrainClassifier(ctx context.Context, dir string, c Classifying, environ, sets []string, o Options) (rep classifier.Report, err error) {
	s, err := visit(dir, judged, "a classifier", environ, sets, o)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	marks, err := readMarks(dir)
	if err != nil {
		return rep, err
	}
	shots, err := s.shots(ctx, marks, c.Copies)
	if err != nil {
		return rep, err
	}
	m, rep, err := classifier.Train(ctx, shots, c.Config)
	if err != nil {
		return rep, err
	}
	enc, _, err := s.makers(ctx)
	if err != nil {
		return rep, s.unready(err)
	}
	b, err := json.Marshal(trained{Encoder: enc, Model: m})
	if err != nil {
		return rep, fmt.Errorf("wire: success classifier: %w", err)
	}
	if c.Out != "" {
		if err := WriteNew(c.Out, b); err != nil {
			return rep, err
		}
	}
	v, _, err := s.store.LatestCheckpoint(ctx, kindSuccess)
	if err != nil && !errors.Is(err, store.ErrNone) {
		return rep, err
	}
	return rep, s.store.SaveCheckpoint(ctx, kindSuccess, v+1, b)
}

// markings are the frames of each episode that were marked, as the last mark has it, and
// the episodes in order.
func markings(marks []Marked) (said map[string]map[int]bool, ids []string) {
	said = map[string]map[int]bool{}
	for _, m := range marks {
		if said[m.Episode] == nil {
			said[m.Episode] = map[int]bool{}
			ids = append(ids, m.Episode)
		}
		for t := m.From; t <= m.To; t++ {
			said[m.Episode][t] = m.Success
		}
	}
	slices.Sort(ids)
	return said, ids
}

// shots are the marked frames, each once, by the last mark that names it.
func (s *Session) shots(ctx context.Context, marks []Marked, copies int) ([]classifier.Shot, error) {
	said, ids := markings(marks)
	var eye eyes
	if copies > 0 {
		var err error
		if eye, err = s.openEyes(ctx, nil); err != nil {
			return nil, s.unready(err)
		}
	}
	rng := rand.New(rand.NewPCG(draw(s.cfg.Seed, networks, 4), 0))
	var out []classifier.Shot
	for k, id := range ids {
		s.tell("marked frames", k, len(ids), id)
		ep, err := s.store.Episode(id)
		if err == nil && copies > 0 {
			err = s.store.Frames(&ep)
		}
		if err != nil {
			return nil, err
		}
		for t := range ep.Inputs {
			success, ok := said[id][t]
			if !ok {
				continue
			}
			out = append(out, classifier.Shot{Group: id, Embed: ep.Inputs[t].Features.Embed, Success: success})
			for range copies {
				changed := make([]robot.Frame, len(ep.Inputs[t].Frames))
				for i, f := range ep.Inputs[t].Frames {
					if changed[i], err = vision.Augment(f, lights, rng); err != nil {
						return nil, err
					}
				}
				f, err := eye.Extract(ctx, changed)
				if err != nil {
					return nil, err
				}
				out = append(out, classifier.Shot{Group: id, Embed: f.Embed, Success: success, Copy: true})
			}
		}
	}
	s.tell("marked frames", len(ids), len(ids), fmt.Sprintf("%d frames", len(out)))
	return out, nil
}
