package wire

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/classifier"
	"github.com/rapport-rl/rapport/reward/label"
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

// Marking says what to mark. Later ones overrule earlier ones, and Frames the others.
type Marking struct {
	Frames  []Marked
	Outcome int  // so many last frames of every online episode whose outcome is known
	Demos   bool // every frame of demonstrations, by what the simulator told of it
	Answers bool // stretches that people marked at the labelling page, good as done, bad as not done
}

// stretches are those of the session's episodes that people marked; steps are its
// episodes'. A stretch of steps shows the frames before them, and one to an episode's end
// the last frame too.
func (s *Session) stretches(ctx context.Context, steps map[string]int) (marks []Marked, err error) {
	ls, err := s.heard(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range label.Standing(ls) {
		if l.Query.Kind != label.Segments {
			continue
		}
		T, ok := steps[l.Query.Clips[0].Episode]
		if !ok { // of a recording beside the session
			continue
		}
		for _, m := range l.Marks {
			to := m.To - 1
			if m.To == T {
				to = T
			}
			marks = append(marks, Marked{Episode: l.Query.Clips[0].Episode, From: m.From, To: to, Success: m.Good})
		}
	}
	if len(marks) == 0 {
		return nil, fmt.Errorf("wire: nobody marked a stretch of %s's episodes; mark what shows the task done as good and what does not as bad: rapport label %s --kind segments", s.Dir(), Quoted(s.Dir()))
	}
	return marks, nil
}

// told are the frames of the session's demonstrations by the success that they tell.
func (s *Session) told(ctx context.Context) (marks []Marked, err error) {
	if !byWaypoints(s.cfg) || s.cfg.Reward.KAGI.Sparse != "truth" {
		return nil, fmt.Errorf("wire: the simulator did not tell the success of %s's demonstrations (reward.kind %s, reward.kagi.sparse %s); mark frames by --success and --failure, or take a session of reward.kind=kagi and reward.kagi.sparse=truth", s.Dir(), s.cfg.Reward.Kind, s.cfg.Reward.KAGI.Sparse)
	}
	rows, err := s.store.Episodes(ctx, policy.Demo)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		ep, err := s.store.Episode(r.ID)
		if err != nil {
			return nil, err
		}
		for t, in := range ep.Inputs {
			done := succeeded(in.Features)
			if n := len(marks) - 1; t > 0 && marks[n].Success == done {
				marks[n].To = t
				continue
			}
			marks = append(marks, Marked{Episode: r.ID, From: t, To: t, Success: done})
		}
	}
	return marks, nil
}

// MarkSuccess adds marks to those of the session in dir, and returns how many there are
// now.
func MarkSuccess(ctx context.Context, dir string, m Marking, environ, sets []string, o Options) (n int, err error) {
	s, err := visit(dir, judged, "marking frames", environ, sets, o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	steps, err := lengths(ctx, s.store, policy.Demo, policy.Online)
	if err != nil {
		return 0, err
	}
	var marks []Marked
	if m.Demos {
		if marks, err = s.told(ctx); err != nil {
			return 0, err
		}
	}
	if m.Answers {
		said, err := s.stretches(ctx, steps)
		if err != nil {
			return 0, err
		}
		marks = append(marks, said...)
	}
	if m.Outcome > 0 {
		ps, err := s.store.Metric(ctx, "episode", "success")
		if err != nil {
			return 0, err
		}
		ids, err := explorations(ctx, s.store)
		if err != nil {
			return 0, err
		}
		n := len(marks)
		for _, p := range ps {
			id := at(ids, p.Step)
			if T, ok := steps[id]; ok && p.Value == p.Value {
				marks = append(marks, Marked{Episode: id, From: max(1, T-m.Outcome+1), To: T, Success: p.Value > 0})
			}
		}
		if len(marks) == n {
			return 0, fmt.Errorf("wire: %s knows the outcome of no episode; mark frames by --success and --failure", dir)
		}
	}
	marks = append(marks, m.Frames...)
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

// ByWhatItSees as a classifier's hidden units is 16 for one that sees points, whose
// bounds on both sides of a distance are not linear, and none for one of the embedding.
const ByWhatItSees = -1

// Classifying configures TrainClassifier.
type Classifying struct {
	classifier.Config
	Copies int    // augmented copies of every marked frame, where the embedding is seen; 0: none
	Out    string // file to write besides; empty: the session alone
	Sees   string // features, points or both; empty: points, where the frames carry them
}

// seesOf is what a classifier of marked frames sees: of tracked points those that every
// frame has.
func seesOf(what string, shots []shot) (classifier.Sees, error) {
	var s classifier.Sees
	if !slices.Contains([]string{"", "features", "points", "both"}, what) {
		return s, fmt.Errorf("wire: the classifier is to see %q; want features, points or both (--sees)", what)
	}
	if what == "features" || len(shots) == 0 { // Train says what is missing
		return s, nil
	}
	for _, k := range shots[0].features.Keys {
		if !slices.ContainsFunc(shots, func(s shot) bool { _, _, ok := perception.Place(s.features.Keys, k.Name); return !ok }) && !slices.Contains(s.Points, k.Name) {
			s.Points = append(s.Points, k.Name)
		}
	}
	s.Alone = what != "both" && len(s.Points) > 0
	if what != "" && len(s.Points) == 0 {
		return s, fmt.Errorf("wire: the classifier is to see %s, but no point is tracked in all marked frames; points come with reward.kind=kagi or reward.sees=objects; want --sees features", what)
	}
	return s, nil
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
	shots, err := s.shots(ctx, marks, 0)
	if err != nil {
		return rep, err
	}
	sees, err := seesOf(c.Sees, shots)
	if err == nil && c.Copies > 0 && !sees.Alone {
		shots, err = s.shots(ctx, marks, c.Copies)
	}
	if err != nil {
		return rep, err
	}
	if c.Hidden == ByWhatItSees {
		if c.Hidden = 0; len(sees.Points) > 0 {
			c.Hidden, c.Decay = 16, cmp.Or(c.Decay, 0.001)
		}
	}
	inputs := make([]classifier.Shot, len(shots))
	for i, s := range shots {
		inputs[i] = s.Shot
		if inputs[i].Input, err = sees.Input(s.features); err != nil {
			return rep, fmt.Errorf("wire: a marked frame of %s: %w", s.Group, err)
		}
	}
	m, rep, err := classifier.Train(ctx, inputs, c.Config)
	rep.Sees = sees
	if err != nil {
		return rep, err
	}
	if rep.Demos, err = s.shown(ctx, marks); err != nil {
		return rep, err
	}
	m.Sees = sees
	enc, _, err := s.makers(ctx)
	if err != nil {
		return rep, s.unready(err)
	}
	b, err := json.Marshal(trained{Encoder: enc, Model: m})
	if err != nil {
		return rep, fmt.Errorf("wire: success classifier: %w", err)
	}
	v, _, err := s.store.LatestCheckpoint(ctx, kindSuccess)
	if d := (*store.Damage)(nil); errors.As(err, &d) {
		s.log.Warn("wire: the success classifier of before is damaged; this one takes its place", "file", d.Path)
	} else if err != nil && !errors.Is(err, store.ErrNone) {
		return rep, err
	}
	if err := s.store.SaveCheckpoint(ctx, kindSuccess, v+1, b); err != nil || c.Out == "" {
		return rep, err
	}
	if err := WriteNew(c.Out, b); err != nil {
		return rep, fmt.Errorf("%w; the classifier is kept in %s all the same", err, dir)
	}
	return rep, nil
}

// shown is how many of the marked episodes are demonstrations.
func (s *Session) shown(ctx context.Context, marks []Marked) (n int, err error) {
	rows, err := s.store.Episodes(ctx, policy.Demo)
	for _, r := range rows {
		if slices.ContainsFunc(marks, func(m Marked) bool { return m.Episode == r.ID }) {
			n++
		}
	}
	return n, err
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

// shot is a marked frame, or a changed copy of it.
type shot struct {
	classifier.Shot
	features perception.Features
}

// shots are the marked frames, each once, by the last mark that names it. A changed copy
// has its points where they were.
func (s *Session) shots(ctx context.Context, marks []Marked, copies int) ([]shot, error) {
	said, ids := markings(marks)
	var eye eyes
	if copies > 0 {
		var err error
		if eye, err = s.openEyes(ctx, nil); err != nil {
			return nil, s.unready(err)
		}
	}
	rng := rand.New(rand.NewPCG(draw(s.cfg.Seed, networks, 4), 0))
	var out []shot
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
			seen := ep.Inputs[t].Features
			out = append(out, shot{classifier.Shot{Group: id, Success: success}, seen})
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
				f.Keys = seen.Keys
				out = append(out, shot{classifier.Shot{Group: id, Success: success, Copy: true}, f})
			}
		}
	}
	s.tell("marked frames", len(ids), len(ids), fmt.Sprintf("%d frames", len(out)))
	return out, nil
}
