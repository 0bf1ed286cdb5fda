package wire

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/rank"
	"github.com/rapport-rl/rapport/reward/rapl"
)

func quietly() Options {
	return Options{Tell: func(string, int, int, string) {}, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Time{} }}
}

// Every kind of reward runs a session, is read by a scorer's process and comes out
// again in a replay. Going on and being inherited read it as those do; the truth,
// which is none of them, and one other kind show it.
func TestEveryKindOfRewardCarriesASession(t *testing.T) {
	for _, kind := range config.RewardKinds() {
		t.Run(kind, func(t *testing.T) {
			ctx := t.Context()
			c := tiny(t)
			c.Name, c.Reward.Kind = "one", kind
			c.Session.Episodes, c.Session.Evaluate = 1, 1
			c.Robot.Horizon, c.Demos.Good, c.Demos.Bad, c.Learner.Gamma = 20, 2, 2, 0.9
			switch kind {
			case "vlm-rm":
				prompted(t, &c)
			case "pal":
				c.Reward.Sees = "points" // and of what is tracked
				set(t, &c, "people.groups=[{name: ann, share: 1, distance: 1}, {name: ben, share: 1, distance: -1}]", "reward.person=ann")
			}
			s, err := Create(ctx, c, quietly())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Run(ctx); err != nil {
				t.Fatal(err)
			}
			demos, err := s.stored(ctx, policy.Demo)
			if err != nil {
				t.Fatal(err)
			}
			_, b, err := s.store.LatestCheckpoint(ctx, kindReward)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}

			// What a scorer's process makes of what it is given.
			v, err := decodeTaste(b)
			if err != nil {
				t.Fatal(err)
			}
			if v.kind() != kind {
				t.Errorf("the checkpoint is of kind %q", v.kind())
			}
			scorer, err := v.scorer()
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range demos {
				got := make([]float64, e.Len())
				err := scorer.Score(ctx, got, e.Trajectory())
				if kind == "truth" {
					if !errors.Is(err, errNoTruth) {
						t.Fatalf("error %v, want that there is no truth", err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				for i, r := range got {
					if r != e.Rewards[i] {
						t.Fatalf("%s, step %d: %v from the checkpoint, %v in the session", e.ID, i, r, e.Rewards[i])
					}
				}
			}

			// Replaying, as rapport replay --check does.
			dir := filepath.Join(c.Out, c.Name)
			re, err := ReplayFiles(ctx, ReplayConfig{Files: []string{dir}, Live: true}, nil, nil, quietly())
			if kind == "truth" {
				if !errors.Is(err, errNoTruth) {
					t.Errorf("replay: error %v, want that there is no truth", err)
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				if verdict := re.Check(); verdict.Err() != nil || verdict.Episodes != 5 {
					t.Errorf("replay of %d episodes: %v", verdict.Episodes, verdict.Err())
				}
				matchesOf(t, &re)
			}
			comparesAgain(t, dir, kind, c.Learner.Gamma)
			if kind == "kagi" || kind == "pal" {
				pointsAtFilms(t, dir, kind)
			}
			if kind != "truth" && kind != "pal" {
				return
			}

			// Going on.
			c.Session.Episodes = 2
			if s, err = Reopen(ctx, c, quietly()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Run(ctx); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}

			// Beginning from it.
			next := c
			next.Name, next.Session.From, next.Session.Episodes = "two", dir, 1
			if kind == "pal" {
				next.Reward.Person = "ben"
			}
			if s, err = Create(ctx, next, quietly()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Run(ctx); err != nil {
				t.Fatal(err)
			}
			_, again, err := s.store.LatestCheckpoint(ctx, kindReward)
			if err := errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			if kind == "pal" {
				servesBen(t, next, demos, v, again)
			} else if !bytes.Equal(again, b) {
				t.Error("the session that began from it has another reward")
			}
		})
	}
}

// pointsAtFilms fails unless a reward of tracked points, which no probe can climb, names a
// command that shows what it goes by; that of waypoints, which has no plan of transport,
// does so where it is to be explained, too.
func pointsAtFilms(t *testing.T, dir, kind string) {
	t.Helper()
	want := "rapport replay " + dir + " --out DIR --film"
	_, err := ProbeReward(t.Context(), dir, ProbeConfig{}, nil, nil, quietly())
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("probe: error %v, want %q", err, want)
	}
	_, err = Explain(t.Context(), dir, Last, nil, nil, quietly())
	if err == nil || !strings.Contains(err.Error(), "reward.kind "+kind) || (kind == "kagi") != strings.Contains(err.Error(), want) {
		t.Errorf("explain: error %v, want the kind, and of kagi %q", err, want)
	}
}

// servesBen fails unless the session that began from one for ann goes by what ben answered
// in that, who likes the opposite.
func servesBen(t *testing.T, c config.Config, demos []policy.Episode, ann taste, reward []byte) {
	t.Helper()
	ben, err := decodeTaste(reward)
	if err != nil {
		t.Fatal(err)
	}
	if ann.Person != "ann" || ben.Person != "ben" {
		t.Errorf("the rewards are those of %q and %q", ann.Person, ben.Person)
	}
	hers, err := ann.scorer()
	if err != nil {
		t.Fatal(err)
	}
	his, err := ben.scorer()
	if err != nil {
		t.Fatal(err)
	}
	var x, y []float64
	for _, e := range demos {
		if err := rate(t.Context(), hers, &e); err != nil {
			t.Fatal(err)
		}
		x = append(x, e.Rewards...)
		if err := rate(t.Context(), his, &e); err != nil {
			t.Fatal(err)
		}
		y = append(y, e.Rewards...)
	}
	if rho := rank.Spearman(x, y); !(rho < 0) {
		t.Errorf("the rewards of who likes the opposite correlate by %.2f", rho)
	}
	// The files of the demonstrations hold the rewards that they were recorded with.
	dir := filepath.Join(c.Out, c.Name)
	re, err := ReplayFiles(t.Context(), ReplayConfig{Session: dir, Files: []string{filepath.Join(dir, "episodes", "online-00000.mcap")}, Live: true}, nil, nil, quietly())
	if err != nil {
		t.Fatal(err)
	}
	if verdict := re.Check(); verdict.Err() != nil || verdict.Episodes != 1 {
		t.Errorf("replay of %d episodes for ben: %v", verdict.Episodes, verdict.Err())
	}
}

// A reward of truth pays what the simulator says, and nothing else tells it.
func TestTruthPaysTheSimulatorsReward(t *testing.T) {
	ctx := t.Context()
	c := tiny(t)
	c.Reward.Kind = "truth"
	demos, err := collect(ctx, c, quietly().Tell)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newArm(c, demonstrations)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	s := scorerOn(truth{}, a)
	for n, d := range demos {
		a.next = n
		if _, err := a.guard.Reset(ctx); err != nil {
			t.Fatal(err)
		}
		ep := d.episode
		for i, cmd := range ep.Applied {
			obs, err := a.guard.Step(ctx, cmd)
			if err != nil {
				t.Fatal(err)
			}
			ep.Inputs[i+1].Features.Stamp = obs.State.Stamp
		}
		got := make([]float64, ep.Len())
		if err := s.Score(ctx, got, ep.Trajectory()); err != nil {
			t.Fatal(err)
		}
		for i, want := range trueRewards(d) {
			if math.Abs(got[i]-want) > 1e-9 {
				t.Fatalf("demonstration %d, step %d: %v, want %v", n, i, got[i], want)
			}
		}
	}
	// Features of another episode's length, or of no tick of it.
	ep := demos[0].episode
	if err := s.Score(ctx, make([]float64, 1), ep.Trajectory()); err == nil {
		t.Error("one reward for a whole episode")
	}
	traj := ep.Trajectory()
	traj[1].Stamp = traj[1].Stamp.Add(time.Millisecond)
	if err := s.Score(ctx, make([]float64, ep.Len()), traj); !errors.Is(err, errNoTruth) {
		t.Errorf("error %v, want that there is no truth", err)
	}
}

func TestNoTellerWithoutRewardTruth(t *testing.T) {
	for _, kind := range config.RewardKinds() {
		c := tiny(t)
		c.Reward.Kind = kind
		a, err := newArm(c, online)
		if err != nil {
			t.Fatal(err)
		}
		if (a.teller != nil) != (kind == "truth") {
			t.Errorf("reward.kind %s: the arm has a teller: %v", kind, a.teller != nil)
		}
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}
}

// A clock stamps anew what the truth was told of.
func TestTruthPaysBySomebodysClock(t *testing.T) {
	c := tiny(t)
	set(t, &c, "reward.kind=truth", "robot.pace=real", "robot.horizon=6", "session.episodes=1", "session.evaluate=1")
	s := begun(t, c)
	if _, err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ep, err := s.store.Episode(episodeID(0)); err != nil || len(ep.Rewards) != 6 || ep.Return() == 0 {
		t.Errorf("rewards %v, %v; want six by the truth", ep.Rewards, err)
	}
}

func TestTruthIsRefusedBetweenProcesses(t *testing.T) {
	c := tiny(t)
	c.Reward.Kind, c.Bus.URL = "truth", "nats://127.0.0.1:1"
	for name, run := range map[string]func() error{
		"scorer":  func() error { return ServeScorer(t.Context(), c, quietly()) },
		"actor":   func() error { return Act(t.Context(), c, quietly()) },
		"learner": func() error { _, err := Learn(t.Context(), c, quietly()); return err },
	} {
		if err := run(); !errors.Is(err, errNoTruth) {
			t.Errorf("%s: error %v, want that there is no truth", name, err)
		}
	}
}

// Checkpoints of sessions before there were kinds.
func TestTasteOfOldSessionsIsRAPL(t *testing.T) {
	head := rapl.Head{In: 2, Out: 1, W: []float64{1, 2}, B: []float64{3}}
	hb, err := json.Marshal(head)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{"null", string(hb)} {
		old := fmt.Sprintf(`{"experts":[{"Name":"demo-00001","D":2,"Embed":[1,0,0,1]}],"head":%s,"gamma":50,"cost":"cosine"}`, h)
		v, err := decodeTaste([]byte(old))
		if err != nil {
			t.Fatal(err)
		}
		s, err := v.scorer()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := s.(*rapl.Scorer); !ok || v.kind() != "rapl" {
			t.Errorf("it became a %T of kind %s", s, v.kind())
		}
	}
	if _, err := decodeTaste([]byte(`{"version":99}`)); err == nil || !strings.Contains(err.Error(), "newer rapport") {
		t.Errorf("version 99: error %v", err)
	}
	for _, bad := range []string{`{"version":2,"kind":"goal"}`, `{"version":2,"kind":"tcc"}`, `{"version":2,"kind":"taste"}`} {
		v, err := decodeTaste([]byte(bad))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.scorer(); err == nil {
			t.Errorf("%s made a scorer", bad)
		}
	}
	if _, err := decodeTaste([]byte("{")); err == nil {
		t.Error("half an object was read")
	}
}

// matchesOf fails unless a table of steps says which frame each was matched with, and nothing
// where none was.
func matchesOf(t *testing.T, r *Replay) {
	t.Helper()
	var b bytes.Buffer
	if err := r.csv(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows = rows[1:]
	for _, take := range r.Takes {
		for _, s := range take.Steps {
			want := ""
			if s.Matched >= 0 {
				want = strconv.Itoa(s.Matched)
			}
			if got := rows[0][8]; got != want {
				t.Fatalf("%s, step %d: matched %q, want %q", take.ID, s.T, got, want)
			}
			rows = rows[1:]
		}
	}
}
