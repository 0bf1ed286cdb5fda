package wire

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
)

func TestMain(m *testing.M) {
	if args := os.Getenv(childEnv); args != "" {
		if err := childMain(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// tiny is a session of seconds.
func tiny(t *testing.T) config.Config {
	t.Helper()
	c, err := config.Load("", nil, []string{
		"out=" + t.TempDir(), "seed=7", "robot.task=reach", "robot.horizon=20",
		"robot.cameras=[{name: front, width: 64, height: 64}]",
		"demos.good=3", "demos.bad=3", "encoder.keypoints=4", "encoder.steps=5",
		"reward.experts=2", "reward.triplets=8", "reward.dim=4", "reward.steps=0",
		"policy.hidden=[16]", "policy.clone.steps=30",
		"learner.critics=2", "learner.hidden=[16]", "learner.batch=16", "learner.warmup=4", "learner.updates=2",
		"session.episodes=4", "session.evaluate=2", "session.checkpoint=2",
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// learn runs a session, during which online episodes are told to have ended as
// truth says, and returns the learner and what the report was told.
func learn(t *testing.T, c config.Config, truth func(*arm) bool) (learner []byte, told []bool) {
	t.Helper()
	ctx := t.Context()
	s, err := Create(ctx, c, Options{Tell: func(string, int, int, string) {}, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Time{} }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	s.truth = truth
	if _, err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	_, b, err := s.store.LatestCheckpoint(ctx, kindLearner)
	if err != nil {
		t.Fatal(err)
	}
	points, err := s.store.Metric(ctx, "episode", "success")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range points {
		told = append(told, p.Value > 0)
	}
	return b, told
}

func TestScrambledTruthChangesNothingThatIsLearned(t *testing.T) {
	real, _ := learn(t, tiny(t), nil)
	for _, lie := range []bool{true, false} {
		got, told := learn(t, tiny(t), func(*arm) bool { return lie })
		if !bytes.Equal(got, real) {
			t.Errorf("told that every episode ended in %v, the learner learned something else", lie)
		}
		for i, v := range told {
			if v != lie {
				t.Errorf("the report was told %v of episode %d, so the lie did not arrive", v, i)
			}
		}
	}
}

func TestSeedsOfDifferentUsesDiffer(t *testing.T) {
	seen := map[uint64]bool{}
	for of := demonstrations; of <= exploration; of++ {
		for n := range 1000 {
			s := draw(1, of, n)
			if seen[s] {
				t.Fatalf("stream %d, number %d: seed %d is used twice", of, n, s)
			}
			seen[s] = true
		}
	}
	if draw(1, online, 3) == draw(2, online, 3) {
		t.Error("two runs' seeds draw the same")
	}
}
