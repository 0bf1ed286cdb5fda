package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// A session learns from recordings where nothing moves.
func testBagSessions(t *testing.T, l lab) {
	in := func(t *testing.T) lab { return lab{t, l.dir, l.file, l.env} }
	dir := filepath.Join(l.dir, "bags")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var bags []string
	for i, of := range []string{"demo-00000", "demo-00004", "online-00001"} {
		path := filepath.Join(dir, []string{"a.bag", "b odd name.mcap", "c.bag"}[i])
		bagged(t, filepath.Join(l.session(), "episodes", of+".mcap"), path, func(at time.Duration) (time.Duration, bool) {
			if i == 2 && at >= 700*time.Millisecond { // the third is two episodes
				at += 5 * time.Second
			}
			return at, true
		})
		bags = append(bags, path)
	}
	over := func(more ...string) []string {
		return append([]string{"run", "--set", "robot.kind=bag", "--set", "robot.bag.files=[" + dir + "/*]", "--set", "session.episodes=4"}, more...)
	}
	from := []string{"--set", "session.from=" + l.session()}
	past := func(name string) string { return filepath.Join(l.dir, "runs", name) }
	learner := func(t *testing.T, name string) []byte {
		s, err := store.Open(past(name))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		v, b, err := s.LatestCheckpoint(t.Context(), "learner")
		if err != nil || v != 4 {
			t.Fatalf("%s: the learner has learned for %d rounds, %v; want 4", name, v, err)
		}
		return b
	}

	t.Run("by the reward of an earlier session", func(t *testing.T) {
		l := in(t)
		l.wants(exitDone, []string{"recordings       3/3", "fine-tune        4/4", "success before  not measured", "4 episodes", "it is 2 episodes"}, append(over(from...), "--set", "name=logged")...)
		s, err := store.Open(past("logged"))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		rows, err := s.Episodes(t.Context(), policy.Online)
		if err != nil || len(rows) != 4 || rows[0].ID != "log-00000-a" || rows[1].ID != "log-00001-b_odd_name" || rows[3].ID != "log-00003-c-2" {
			t.Fatalf("%v, %v; want the four episodes of the three recordings", rows, err)
		}
		for _, r := range rows[:2] {
			e, err := s.Episode(r.ID)
			if err != nil {
				t.Fatal(err)
			}
			// Of the 31 messages each, the last only says that the tick before it is whole.
			if e.Len() != 29 || slices.ContainsFunc(e.By, func(b robot.Source) bool { return b != robot.ByLog }) {
				t.Errorf("%s: %d steps, decided by %v; want 29 by the log", r.ID, e.Len(), e.By)
			}
			if len(e.Rewards) != 29 || e.Return() >= 0 || e.Return() != r.Return {
				t.Errorf("%s: %d rewards, the return is %g and %g in the database", r.ID, len(e.Rewards), e.Return(), r.Return)
			}
			rec, err := record.Read(filepath.Join(past("logged"), "episodes", r.ID+".mcap"))
			if err != nil || len(rec.Ticks[0].Frames) != 1 || rec.Ticks[0].Frames[0].W != 64 {
				t.Errorf("%s: its frames are not kept, %v", r.ID, err)
			}
		}
		if ps, err := s.Metric(t.Context(), "learner", "critic_loss"); err != nil || len(ps) != 4 {
			t.Errorf("%d rounds are told of, %v; want 4", len(ps), err)
		}
		page, err := os.ReadFile(filepath.Join(past("logged"), "report.html"))
		if err != nil || !strings.Contains(string(page), "without moving anything") || !strings.Contains(string(page), "Best return") {
			t.Errorf("the report does not tell that it is of recordings, %v", err)
		}
	})
	t.Run("is gone on with to the same bits, without its recordings", func(t *testing.T) {
		l := in(t)
		args := append(over(from...), "--set", "name=cutoff", "--set", "session.checkpoint=1")
		away := filepath.Join(t.TempDir(), "away")
		l.interrupted("recordings       2/3", args...)
		l.interrupted("fine-tune        2/4", "run", "--resume", "--set", "name=cutoff")
		if err := os.Rename(dir, away); err != nil {
			t.Fatal(err)
		}
		l.must("run", "--resume", "--set", "name=cutoff")
		if err := os.Rename(away, dir); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(learner(t, "logged"), learner(t, "cutoff")) {
			t.Error("the session that was stopped has learned something else")
		}
		l.wants(exitFailed, []string{"want at least 4"}, "run", "--resume", "--set", "name=cutoff", "--set", "session.episodes=3")
	})
	t.Run("is replayed, run dry, trained on and evaluated elsewhere", func(t *testing.T) {
		l := in(t)
		l.wants(exitDone, []string{"the logged rewards come out again"}, "replay", past("logged"), "--check")
		l.wants(exitDone, []string{"passed"}, "guard", "check", "--policy", past("logged"), bags[0], "--allow", "1")
		l.wants(exitFailed, []string{"nothing moves in a recording", "robot.kind=sim"}, "eval", past("logged"), "--seeds", "2")
		l.wants(exitDone, []string{"fine-tuned for 4"}, "eval", past("logged"), "--seeds", "2", "--set", "robot.kind=sim")
		l.wants(exitDone, nil, "train", "policy", "--offline", past("logged"), "--steps", "2", "--out", filepath.Join(t.TempDir(), "policy"), "--set", "learner.kind=iql")
	})
	t.Run("by what a person prefers of them", func(t *testing.T) {
		l := in(t)
		own := over("--set", "name=own", "--set", "robot.bag.preferred=["+bags[0]+", "+bags[2]+"]", "--set", "robot.horizon=25", "--set", "learner.kind=iql")
		l.wants(exitDone, []string{"4 steps lie beyond robot.horizon, 25 steps", "encoder", "preferences", "clone", "fine-tune        4/4"}, own...)
		l.wants(exitDone, nil, "replay", past("own"), "--check")
		l.wants(exitFailed, []string{"too few to align"}, over("--set", "name=few", "--set", "robot.bag.preferred=["+bags[0]+"]", "--set", "encoder.steps=1")...)
	})
	t.Run("is refused what it cannot do", func(t *testing.T) {
		l := in(t)
		bag := func(more ...string) []string { return append(over(from...), more...) }
		for _, tt := range []struct {
			name string
			args []string
			code int
			want []string
		}{
			{"nothing to read", bag("--set", "robot.bag.files=[]"), exitUsage, []string{"robot.bag.files is empty"}},
			{"a file that is not there", bag("--set", "robot.bag.files=["+dir+"/none.bag, "+bags[0]+"]"), exitFailed, []string{"none.bag: there is no such recording"}},
			{"a file that is no recording", bag("--set", "robot.bag.files=["+l.file+"]"), exitFailed, []string{"session.yaml"}},
			{"no reward", over(), exitUsage, []string{"session.from is empty", "robot.bag.preferred"}},
			{"two rewards", bag("--set", "robot.bag.preferred=["+bags[0]+"]"), exitUsage, []string{"robot.bag.preferred is set together with session.from"}},
			{"a favourite that is not among them", over("--set", "robot.bag.preferred=["+l.file+"]"), exitFailed, []string{"not among robot.bag.files"}},
			{"a camera of another name", over("--set", "robot.bag.preferred=["+bags[0]+"]", "--set", "robot.cameras=[{name: side, width: 64, height: 64}]"), exitFailed, []string{`robot.cameras[0].name is "side"`, "robot.bag.topics=[side=", "/front/image_raw/compressed (sensor_msgs/CompressedImage)"}},
			{"a topic that is not there", bag("--set", "robot.bag.topics=[front=/none]"), exitFailed, []string{"/none"}},
			{"a topic for nothing", bag("--set", "robot.bag.topics=[frnt=/front/image_raw/compressed]"), exitUsage, []string{"robot.bag.topics[0]", "nothing is called frnt", "front"}},
			{"half a topic", bag("--set", "robot.bag.topics=[front]"), exitUsage, []string{"robot.bag.topics[0]", "NAME=TOPIC"}},
			{"ppo", bag("--set", "learner.kind=ppo"), exitUsage, []string{"learner.kind is ppo", "iql, calql, rlpd"}},
			{"a hand", bag("--set", "teleop.input=bus"), exitUsage, []string{"teleop.input"}},
			{"the clock", bag("--set", "robot.pace=real"), exitUsage, []string{"robot.pace"}},
			{"several processes", append([]string{"learner", "--nats", "nats://127.0.0.1:1"}, bag()[1:]...), exitFailed, []string{"use rapport run"}},
		} {
			code, said := l.say(append(tt.args, "--set", "name=refused")...)
			if code != tt.code {
				t.Errorf("%s: exit code %d, want %d:\n%s", tt.name, code, tt.code, said)
			}
			for _, w := range tt.want {
				if !strings.Contains(said, w) {
					t.Errorf("%s: it does not say %q:\n%s", tt.name, w, said)
				}
			}
		}
		if _, err := os.Stat(past("refused")); err == nil {
			t.Error("a session that could not begin left a folder")
		}
		l.wants(exitDone, []string{"recordings", "a.bag 29 steps"}, append([]string{"doctor"}, bag("--set", "robot.bag.files=["+bags[0]+"]")[1:]...)...)
	})
}
