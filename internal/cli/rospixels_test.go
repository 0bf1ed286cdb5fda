package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
)

// A policy that sees frames is fine-tuned where its earlier session was not: over ROS,
// and over recordings. It learns from the very frames that it was cloned from.
func TestAPolicyFromPixelsBeginsFromAnEarlierSession(t *testing.T) {
	l := ended(t, seesPixels...)
	from := append([]string{"run", "--set", "session.from=" + l.session()}, seesPixels...)
	past := func(name string) string { return filepath.Join(l.dir, "runs", name) }
	whole := func(name string, episodes, steps int) {
		t.Helper()
		s, err := store.Open(past(name))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		rows, err := s.Episodes(t.Context(), policy.Online)
		if err != nil || len(rows) != episodes {
			t.Fatalf("%s: %d episodes, %v; want %d", name, len(rows), err, episodes)
		}
		for _, r := range rows {
			e, err := s.Episode(r.ID)
			if err == nil {
				err = s.Frames(&e)
			}
			if err != nil || e.Len() != steps || len(e.Inputs[steps].Frames) != 1 || e.Inputs[steps].Frames[0].W != 64 {
				t.Errorf("%s: %s holds %d steps, %v; want %d with a frame each", name, r.ID, e.Len(), err, steps)
			}
		}
		demo := filepath.Join("episodes", "demo-00003.mcap")
		a, err := os.ReadFile(filepath.Join(l.session(), demo))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(past(name), demo)); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: a demonstration is another one than it was, %v", name, err)
		}
	}
	if code, out := l.say("run", "--set", "name=blind", "--set", "session.from="+l.session()); code != exitFailed || !strings.Contains(out, "want --set 'policy.sees=pixels'") {
		t.Errorf("features from a session of pixels: exit code %d:\n%s", code, out)
	}

	path := filepath.Join(l.dir, "x.bag")
	bagged(t, filepath.Join(l.session(), "episodes", "online-00000.mcap"), path, nil)
	l.must(append(from, "--set", "name=onbag", "--set", "robot.kind=bag", "--set", "robot.bag.files=["+path+"]", "--set", "session.episodes=1")...)
	whole("onbag", 1, 19)

	master := "http://" + porttest.Address(t)
	l.simulate(master)
	l.interrupted("fine-tune        1/2", append(from, "--set", "name=onros", "--set", "robot.kind=ros", "--set", "robot.ros.master="+master, "--set", "guard.gate=off",
		"--set", "robot.ros.start.at=[0.42, 0, 0.12]", "--set", "robot.ros.start.lift=0", "--set", "robot.ros.again=/rapport/reset",
		"--set", "robot.ros.gripper.open=false", "--set", "robot.ros.stale=5", "--set", "session.episodes=2")...)
	l.must("run", "--resume", "--set", "name=onros", "--set", "robot.ros.master="+master)
	whole("onros", 2, 20)
}
