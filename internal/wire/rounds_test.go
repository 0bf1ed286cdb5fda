package wire

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward"
)

// louder is a reward that was aligned anew: on another scale.
type louder struct{ reward.Scorer }

func (r louder) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	err := r.Scorer.Score(ctx, dst, traj)
	for t := range dst {
		dst[t] *= 10
	}
	return err
}

// A session over recordings learns from the rewards of the reward as it is, whatever was stored with
// recordings and demonstrations, and whether the replay is in memory or in a folder.
func TestRecordingsAreLearnedFromByTheNewestReward(t *testing.T) {
	ctx := t.Context()
	for _, dir := range []string{"", "session"} {
		c := tiny(t)
		c.Name, c.Learner.Replay.Dir = "recorded", dir
		s := begun(t, c)
		p, err := s.prepare(withDesk(ctx, s.desk))
		if err != nil {
			t.Fatal(err)
		}
		var logs []policy.Episode
		for i, e := range p.demos[:2] {
			e.ID, e.Seq, e.Origin = fmt.Sprintf("log-%05d", i), uint64(i), policy.Online
			if _, err := s.store.AddEpisode(ctx, e); err != nil {
				t.Fatal(err)
			}
			logs = append(logs, e)
		}
		// learned is what a learner comes to in a round.
		learned := func(l policy.Keeper) []byte {
			t.Helper()
			var b bytes.Buffer
			if _, err := l.Update(ctx); err != nil {
				t.Fatal(err)
			}
			if err := l.Save(&b); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		}
		studied := func(rounds int) []byte {
			t.Helper()
			l, next, err := s.student(ctx, p)
			if err != nil {
				t.Fatal(err)
			}
			defer closeKeeper(l)
			if next != rounds {
				t.Errorf("goes on with round %d, want %d", next, rounds)
			}
			b := learned(l)
			if err := s.saveLearner(ctx, l, next+1); err != nil {
				t.Fatal(err)
			}
			return b
		}
		was := studied(0)
		if err := s.store.Mark(ctx, markRealigned, "yes"); err != nil {
			t.Fatal(err)
		}
		p.scorer = louder{p.scorer}
		if err := s.store.DropCheckpoint(ctx, kindLearner); err != nil {
			t.Fatal(err)
		}
		if err := s.store.SaveCheckpoint(ctx, kindTuned, 9, was); err != nil { // the forgotten learner's
			t.Fatal(err)
		}
		got := studied(0)
		if v, _, err := s.store.LatestCheckpoint(ctx, kindTuned); err != nil || v != 1 {
			t.Errorf("the newest policy is of %d rounds, %v, want that of the learner", v, err)
		}
		// By hand: the demonstrations, what they are worth, and the recordings.
		demos, err := s.logged(ctx, policy.Demo)
		if err != nil {
			t.Fatal(err)
		}
		by, err := newKeeper(c, p.clone, true, "")
		if err != nil {
			t.Fatal(err)
		}
		defer closeKeeper(by)
		add := func(es []policy.Episode) {
			t.Helper()
			for _, e := range es {
				if err := rate(ctx, p.scorer, &e); err != nil {
					t.Fatal(err)
				}
				if err := by.Add(ctx, e); err != nil {
					t.Fatal(err)
				}
			}
		}
		add(demos)
		if err := s.warm(ctx, by); err != nil {
			t.Fatal(err)
		}
		add(logs)
		if want := learned(by); !bytes.Equal(got, want) || bytes.Equal(got, was) {
			t.Errorf("replay %q: not learned from by the newest reward: equal %t to what it pays, and %t to before", dir, bytes.Equal(got, want), bytes.Equal(got, was))
		}

		// Gone on with, after another alignment.
		p.scorer = louder{p.scorer}
		got = studied(1)
		if err := s.store.DropCheckpoint(ctx, kindLearner); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(s.replayDir()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(studied(1), got) {
			t.Errorf("replay %q: gone on with, it is paid by an older reward", dir)
		}
	}
}
