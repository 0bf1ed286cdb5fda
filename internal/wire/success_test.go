package wire

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/classifier"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/robot"
)

// A session is watched by the truth, then goes on and is watched by a classifier that
// was trained on its frames; the report says so.
func TestSessionIsWatched(t *testing.T) {
	ctx := t.Context()
	c := tiny(t)
	c.Name, c.Reward.Kind, c.Reward.Success = "one", "goal", "truth"
	s, err := Create(ctx, c, quietly())
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"reward", "success", "alarm"} {
		ps, err := s.store.Metric(ctx, seriesWatch, name)
		if err != nil || len(ps) != 4 {
			t.Errorf("%d values of %s, error %v, want 4", len(ps), name, err)
		}
		for _, p := range ps {
			if math.IsNaN(p.Value) {
				t.Errorf("episode %d: %s is unknown", p.Step, name)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(res.Report); err != nil || !strings.Contains(string(b), "no sign in 4 episodes, by truth") {
		t.Errorf("the report does not tell of the watch (error %v)", err)
	}

	dir := filepath.Join(c.Out, c.Name)
	// Without a classifier the session goes on, and is not watched.
	c.Reward.Success, c.Session.Episodes = "classifier", 5
	again := func() *Session {
		s, err := Reopen(ctx, c, quietly())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if err := again().Close(); err != nil {
		t.Fatal(err)
	}

	// Marks that cannot be.
	for _, m := range []struct {
		mark Marked
		want string
	}{
		{Marked{Episode: "online-00099"}, "no episode"},
		{Marked{Episode: "demo-00001", From: 3, To: 99}, "has frames 0 to"},
		{Marked{Episode: "demo-00001", From: 3, To: 2}, "not 3 to 2"},
	} {
		if _, err := MarkSuccess(ctx, dir, Marking{Frames: []Marked{m.mark}}, nil, nil, quietly()); err == nil || !strings.Contains(err.Error(), m.want) {
			t.Errorf("error %v, want %q", err, m.want)
		}
	}
	marksOfAnswers(t, dir)
	if _, err := TrainClassifier(ctx, dir, Classifying{}, nil, nil, quietly()); err == nil || !strings.Contains(err.Error(), "collect") {
		t.Errorf("no marks: error %v, want a remedy", err)
	}
	// Frame by frame in turn: nobody can tell those apart.
	var marks []Marked
	demos := []string{"demo-00000", "demo-00001", "demo-00002", "demo-00003", "demo-00004", "demo-00005"}
	for _, id := range demos {
		for f := range 20 {
			marks = append(marks, Marked{Episode: id, From: f, To: f, Success: f%2 == 0})
		}
	}
	if _, err := MarkSuccess(ctx, dir, Marking{Frames: marks}, nil, nil, quietly()); err != nil {
		t.Fatal(err)
	}
	if _, err := TrainClassifier(ctx, dir, Classifying{}, nil, nil, quietly()); !errors.Is(err, classifier.ErrPrecision) {
		t.Errorf("error %v, want ErrPrecision", err)
	}
	// The beginning and the end can be told, with copies; later marks overrule.
	marks = nil
	for _, id := range demos {
		marks = append(marks, Marked{Episode: id, From: 0, To: 9}, Marked{Episode: id, From: 10, To: 19, Success: true})
	}
	if n, err := MarkSuccess(ctx, dir, Marking{Frames: marks, Outcome: 2}, nil, nil, quietly()); err != nil || n != 120+12+5 {
		t.Fatalf("%d marks, error %v, want 137", n, err)
	}
	out := filepath.Join(t.TempDir(), "success.json")
	rep, err := TrainClassifier(ctx, dir, Classifying{Config: classifier.Config{Precision: 0.3}, Copies: 1, Out: out}, nil, nil, quietly())
	if err != nil {
		t.Fatalf("%v\n%s", err, rep)
	}
	if rep.Shots != 120+10 || rep.Groups != 11 {
		t.Errorf("%d frames of %d episodes, want 130 of 11", rep.Shots, rep.Groups)
	}

	c.Session.Episodes = 7
	s = again()
	ps, err := s.store.Metric(ctx, seriesWatch, "margin")
	if err != nil || len(ps) != 2 || ps[0].Step != 5 {
		t.Errorf("margins %v, error %v, want those of episodes 5 and 6", ps, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// Where the file cannot be written, the session has the classifier all the same.
	if _, err := TrainClassifier(ctx, dir, Classifying{Config: classifier.Config{Precision: 0.3}, Out: out}, nil, nil, quietly()); err == nil || !strings.Contains(err.Error(), "is kept in "+dir) {
		t.Errorf("error %v, want that the classifier is kept", err)
	}
	st, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	version, _, err := st.LatestCheckpoint(ctx, kindSuccess)
	if err := errors.Join(err, st.Close()); err != nil || version != 2 {
		t.Errorf("the newest classifier is version %d, error %v, want 2", version, err)
	}

	// One that is damaged says what mends it, and another takes its place.
	damage(t, dir, kindSuccess)
	if s, err = Reopen(ctx, c, quietly()); err != nil {
		t.Fatal(err)
	}
	_, err = s.classifier(ctx)
	wantErr(t, err, "train it anew: rapport reward classifier train "+dir)
	if err := errors.Join(err, s.Close()); strings.Contains(err.Error(), "--drop-checkpoint") {
		t.Errorf("%v; --drop-checkpoint takes no classifier", err)
	}
	if _, err := TrainClassifier(ctx, dir, Classifying{Config: classifier.Config{Precision: 0.3}}, nil, nil, quietly()); err != nil {
		t.Fatalf("in place of one that is damaged: %v", err)
	}
	if s, err = Reopen(ctx, c, quietly()); err != nil {
		t.Fatal(err)
	}
	_, err = s.classifier(ctx)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Errorf("trained anew: %v", err)
	}

	// A classifier of another encoder's embeddings is refused.
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	v, err := decodeTrained(b)
	if err != nil {
		t.Fatal(err)
	}
	v.Encoder = "another"
	if b, err = json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(out, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Reward.Classifier, c.Session.Episodes = out, 8
	if s, err = Reopen(ctx, c, quietly()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(ctx); err == nil || !strings.Contains(err.Error(), "another encoder") {
		t.Errorf("error %v, want that the encoder is another", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// What is no classifier is named, and how one is written.
	for path, want := range map[string]string{
		filepath.Join(dir, "config.yaml"): "config.yaml, which is none: name a file that was written by rapport reward classifier train --out FILE",
		filepath.Join(dir, "nowhere"):     "reward.classifier: open " + filepath.Join(dir, "nowhere"),
	} {
		c.Reward.Classifier = path
		if _, err := (&Session{cfg: c}).classifier(ctx); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	for _, bad := range []string{"{", "{}"} {
		if _, err := decodeTrained([]byte(bad)); err == nil {
			t.Errorf("%s is a classifier", bad)
		}
	}
}

// The critic of an earlier session is copied once, and no command makes it again.
func TestADamagedCriticOfAnEarlierSessionIsBroughtBack(t *testing.T) {
	d := &store.Damage{Path: "critic-00000001.bin", Version: 1, Err: errors.New("changed"), Remedy: "--resume --drop-checkpoint critic"}
	err := remedied(t.TempDir(), kindCritic, d)
	wantErr(t, err, "bring the file back from a copy, as that of the same name in the folder of session.from")
	if !errors.Is(err, store.ErrCorrupt) || strings.Contains(err.Error(), "--drop-checkpoint") {
		t.Errorf("%v; --drop-checkpoint takes no critic", err)
	}
}

// The alarm is raised, kept and told in a session's own terms, and a process that goes
// on raises it from what was kept.
func TestAlarmOfARisingRewardAndFailingEpisodes(t *testing.T) {
	ctx := t.Context()
	c := tiny(t)
	c.Name, c.Reward.Success = "one", "truth"
	s, err := Create(ctx, c, quietly())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var told []string
	s.tell = func(stage string, _, _ int, note string) { told = append(told, stage+": "+note) }
	for i := range 40 {
		if i == 25 {
			s.watch = nil // as in another process
		}
		ep := policy.Episode{ID: episodeID(i), Rewards: []float64{float64(i)}, Applied: make([]robot.Command, 1), Inputs: make([]policy.Input, 2)}
		if err := s.store.AddMetrics(ctx, "episode", uint64(i), []policy.Metric{{Name: "success", Value: bit(i < 12)}}); err != nil {
			t.Fatal(err)
		}
		if err := s.suspect(ctx, i, ep); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) != 1 || !strings.HasPrefix(told[0], "watch: reward hacking? the dense reward rises") {
		t.Errorf("told %q, want one alarm", told)
	}
	ps, err := s.store.Metric(ctx, seriesWatch, "alarm")
	if err != nil || len(ps) != 40 || ps[39].Value != 1 || ps[10].Value != 0 {
		t.Errorf("alarms %v, error %v", ps, err)
	}
}

// A reward that is aligned anew is watched as if it had been so from the first episode on, by
// the process that aligned it and by one that goes on.
func TestTheWatchGoesByTheRewardAsItIsNow(t *testing.T) {
	rising := func(i int) float64 { return float64(i) }
	high := func(int) float64 { return 5 }
	for _, c := range []struct {
		name     string
		was, is  func(i int) float64
		goesOn   bool
		from, to float64 // the alarm, before and after
	}{
		{"an alarm of the old reward ends", rising, high, false, 1, 0},
		{"what the old one hid is told", high, rising, false, 0, 1},
		{"what the old one hid is told by another process", high, rising, true, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := t.Context()
			cfg := tiny(t)
			cfg.Name, cfg.Reward.Success = "one", "truth"
			s, err := Create(ctx, cfg, quietly())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var es []policy.Episode
			add := func(i int, reward float64) float64 {
				ep := policy.Episode{ID: episodeID(i), Origin: policy.Online, Rewards: []float64{reward}, Applied: make([]robot.Command, 1), By: make([]robot.Source, 1), Version: make([]uint64, 1), Inputs: make([]policy.Input, 2)}
				es = append(es, ep)
				_, err := s.store.AddEpisode(ctx, ep)
				if err == nil {
					err = s.store.AddMetrics(ctx, "episode", uint64(i), []policy.Metric{{Name: "success", Value: bit(i < 12)}})
				}
				if err = errors.Join(err, s.suspect(ctx, i, ep)); err != nil {
					t.Fatal(err)
				}
				on, err := s.store.MetricAt(ctx, seriesWatch, "alarm", uint64(i))
				if err != nil {
					t.Fatal(err)
				}
				return on
			}
			const n = 30
			var on float64
			for i := range n {
				on = add(i, c.was(i))
			}
			if on != c.from {
				t.Fatalf("the alarm is %v under the old reward, want %v", on, c.from)
			}
			for i := range es {
				es[i].Rewards = []float64{c.is(i)}
			}
			if c.goesOn {
				s.watch = nil
			}
			if err := errors.Join(s.store.Mark(ctx, markRealigned, "yes"), s.rewatch(ctx, es, n)); err != nil {
				t.Fatal(err)
			}
			if c.goesOn != (s.watch == nil) {
				t.Errorf("whether somebody watches: %v", s.watch != nil)
			}
			if on = add(n, c.is(n)); on != c.to {
				t.Errorf("the alarm is %v under the new reward, want %v", on, c.to)
			}
		})
	}
}

// Of waypoints the watch takes the dense reward alone: success, which it is held against, is no
// part of it, whether it is paid or cuts an episode short.
func TestTheWatchOfWaypointsLeavesSuccessOut(t *testing.T) {
	ctx := t.Context()
	c := waypointed(t, "reach")
	c.Name, c.Reward.Success = "one", "truth"
	s, err := Create(ctx, c, quietly())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, done := range []bool{false, true} {
		ep := policy.Episode{ID: episodeID(i), Rewards: []float64{-1, -1}, Applied: make([]robot.Command, 2), Inputs: make([]policy.Input, 3)}
		for k := range ep.Inputs {
			keys := perception.AddPlace(nil, "hand", [3]float64{0.5, 0, 0.2}, 1)
			ep.Inputs[k].Features.Keys = perception.AddPlace(keys, "ball", [3]float64{0.6, 0, 0.12}, 1)
		}
		if done {
			last := &ep.Inputs[2].Features
			last.Keys, ep.Rewards[1] = append(last.Keys, perception.Keypoint{Name: kagi.Success, Score: 1}), 0
		}
		if err := s.store.AddMetrics(ctx, "episode", uint64(i), []policy.Metric{{Name: "success", Value: bit(done)}}); err != nil {
			t.Fatal(err)
		}
		if err := s.suspect(ctx, i, ep); err != nil {
			t.Fatal(err)
		}
		if got, err := s.store.MetricAt(ctx, seriesWatch, "reward", uint64(i)); err != nil || got != -1 {
			t.Errorf("success %v: the mean dense reward is %v, error %v, want -1 of a hand that did not move", done, got, err)
		}
	}
}

// A person who looks at some episodes afterwards, in a session that nobody else tells
// success, finds out a reward that rises while what it stands for gets worse: the watch
// says so as soon as the session goes on. Marks that agree with the reward say nothing.
func TestAuditsRaiseTheAlarm(t *testing.T) {
	for _, c := range []struct {
		name string
		done func(i int) bool
		on   bool
	}{
		{"what was done gets worse", func(i int) bool { return i < 12 }, true},
		{"what was done gets better", func(i int) bool { return i >= 12 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := t.Context()
			cfg := tiny(t)
			cfg.Name, cfg.Reward.Success = "one", "audits"
			s, err := Create(ctx, cfg, quietly())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var told []string
			s.tell = func(stage string, _, _ int, note string) { told = append(told, stage+": "+note) }
			var marks []Marked
			const n = 36
			for i := range n + 4 {
				if i == n { // another process, after every other episode was looked at
					if len(told) > 0 {
						t.Fatalf("told %q before anybody looked", told)
					}
					b, err := json.Marshal(marks)
					if err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(filepath.Join(s.Dir(), marksFile), b, 0o600); err != nil {
						t.Fatal(err)
					}
					s.watch = nil
				}
				ep := policy.Episode{ID: episodeID(i), Origin: policy.Online, Rewards: []float64{float64(i)}, Applied: make([]robot.Command, 1), By: make([]robot.Source, 1), Version: make([]uint64, 1), Inputs: make([]policy.Input, 2)}
				if _, err := s.store.AddEpisode(ctx, ep); err != nil {
					t.Fatal(err)
				}
				if err := s.suspect(ctx, i, ep); err != nil {
					t.Fatal(err)
				}
				if i%2 == 0 {
					// The first frame is of no account, and a later mark overrules.
					marks = append(marks, Marked{Episode: ep.ID, To: 0, Success: !c.done(i)}, Marked{Episode: ep.ID, From: 1, To: 1, Success: !c.done(i)}, Marked{Episode: ep.ID, From: 1, To: 1, Success: c.done(i)})
				}
			}
			if want := map[bool]int{true: 1}[c.on]; len(told) != want || want == 1 && !strings.Contains(told[0], "while audits falls from 1.00 to 0.00") {
				t.Errorf("told %q, want %d alarms by audits", told, want)
			}
			var r report.Report
			if err := s.suspicions(ctx, &r); err != nil || len(r.Facts) != 1 || strings.Contains(r.Facts[0].Value, "ALARM") != c.on {
				t.Errorf("the report says %v, error %v", r.Facts, err)
			}
		})
	}
}

// marksOfAnswers takes what people marked at the labelling page, and leaves no mark.
func marksOfAnswers(t *testing.T, dir string) {
	t.Helper()
	ctx := t.Context()
	by := Marking{Answers: true}
	if _, err := MarkSuccess(ctx, dir, by, nil, nil, quietly()); err == nil || !strings.Contains(err.Error(), "--kind segments") {
		t.Errorf("nobody answered: error %v, want how to", err)
	}
	st, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := st.Episodes(ctx, policy.Demo)
	if err != nil || len(rows) == 0 {
		t.Fatal(rows, err)
	}
	of, T := rows[0].ID, rows[0].Steps
	ask := func(id, episode string) label.Query {
		return label.Query{ID: id, Kind: label.Segments, Clips: []label.Clip{{Episode: episode}}}
	}
	for _, l := range []label.Label{
		{ID: "a", Annotator: "ann", Query: ask("q", of), Marks: []label.Mark{{From: 0, To: 4}, {From: 6, To: T, Good: true}}},
		{ID: "b", Annotator: "ann", Query: ask("r", of), Marks: []label.Mark{{From: 0, To: T}}},
		{ID: "c", Annotator: "ann", Retracts: "b"},
		{ID: "d", Annotator: "ann", Query: ask("s", "monday.bag"), Marks: []label.Mark{{From: 0, To: 900}}},
	} {
		if _, err := st.Append(ctx, l); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := MarkSuccess(ctx, dir, by, nil, nil, quietly()); err != nil || n != 2 {
		t.Fatalf("%d marks, error %v, want 2", n, err)
	}
	got, err := readMarks(dir)
	if want := []Marked{{Episode: of, To: 3}, {Episode: of, From: 6, To: T, Success: true}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("marks %v, error %v, want %v", got, err, want)
	}
	if err := os.Remove(filepath.Join(dir, marksFile)); err != nil {
		t.Fatal(err)
	}
}
