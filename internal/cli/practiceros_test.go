package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// A practice in simulation is gone on with on an arm that is reached over ROS as a real one
// is, told by a classifier of each way. There the arm gets back to its start by itself after
// a success, and a person is asked for after failures, who acknowledges.
func TestPracticeOnAnArmOverROS(t *testing.T) {
	l := newLab(t)
	there := filepath.Join(l.dir, "runs", "there")
	of := []string{"--set", "robot.task=stack", "--set", "robot.horizon=60", "--set", "reward.kind=kagi", "--set", "policy.axes=[x, y, z, grip]"}
	l.must(append([]string{"practice", "--set", "name=there", "--set", "reward.kagi.sparse=none", "--set", "session.episodes=1", "--set", "session.evaluate=1"}, of...)...)
	for _, dir := range []string{there, there + "-back"} {
		mark := []string{"reward", "classifier", "collect", dir}
		for i := range 4 { // anything that moves is done
			mark = append(mark, "--failure", fmt.Sprintf("demo-%05d:0-2", i), "--success", fmt.Sprintf("demo-%05d:6-60", i))
		}
		l.must(mark...)
		l.must("reward", "classifier", "train", dir, "--precision", "0.3")
	}
	w, err := tabletop.New(tabletop.Config{Task: tabletop.Stack, Cameras: []tabletop.Camera{{Name: "front", W: 64, H: 64}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.ResetSeed(t.Context(), 1)
	cams, err2 := wire.SimCameras(w)
	seen := filepath.Join(l.dir, "cameras.json")
	if err := errors.Join(err, err2, keypoint.Save(seen, cams), w.Close()); err != nil {
		t.Fatal(err)
	}
	master := "http://" + porttest.Address(t)
	// Somebody ran into the camera since it was calibrated, and its markers tell.
	markers := filepath.Join(l.dir, "front.yaml")
	if err := os.WriteFile(markers, []byte(`camera: front
markers:
  - {id: 3, centre: [0.37, 0.15, 0], size: 0.045}
  - {id: 4, centre: [0.37, -0.15, 0], size: 0.045}
  - {id: 5, centre: [0.66, 0.15, 0], size: 0.045}
  - {id: 6, centre: [0.66, -0.15, 0], size: 0.045}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	l.simulate(master, "--set", "robot.task=stack", "--set", "reward.kind=kagi", "--set", "robot.markers=["+markers+"]", "--set", "robot.disturb.turn=0.03", "--set", "robot.cameras=[{name: front, width: 448, height: 448}]")
	of = append(of, "--set", "robot.markers=["+markers+"]", "--set", "robot.kind=ros", "--set", "robot.ros.master="+master, "--set", "reward.kagi.cameras="+seen, "--set", "robot.ros.stale=5", "--set", "robot.ros.start.at=[0.44, 0, 0.12]", "--set", "robot.ros.start.lift=0", "--set", "robot.ros.start.speed=0.25",
		"--set", "guard.gate=off", "--set", "session.from="+there, "--set", "reward.kagi.sparse=classifier")
	if code, out := l.run(t.Context(), &console{}, append([]string{"practice", "--set", "reward.kagi.sparse=none"}, of[:len(of)-2]...)...); code != exitFailed || !strings.Contains(out, "somebody has to tell success") {
		t.Errorf("nobody tells success: %d\n%s", code, out)
	}

	c := &console{}
	practise := func(name string, more ...string) <-chan int {
		return l.running(c, slices.Concat([]string{"practice", "--set", "name=" + name}, more, of)...)
	}
	await := func(ended <-chan int) {
		t.Helper()
		select {
		case code := <-ended:
			if code != exitDone {
				t.Fatalf("the practice ended with %d:\n%s", code, c)
			}
		case <-time.After(3 * time.Minute):
			t.Fatalf("the practice does not end:\n%s", c)
		}
	}
	await(practise("told", "--set", "robot.ros.again=/rapport/reset", "--set", "session.episodes=2"))
	if said := c.String(); !strings.Contains(said, "camera front saw its markers") || !strings.Contains(said, "was moved") {
		t.Errorf("nobody is told that the camera was moved:\n%s", said)
	}
	if n, resets := l.practised("told"); n != 4 || resets != 1 {
		t.Errorf("a person put the scene back %g times in %d episodes, of which all were told done; want once in 4", resets, n)
	}

	// Nothing is believed for so long.
	ended := practise("asks", "--set", "reward.kagi.confirm=100", "--set", "practice.reminder=1", "--set", "session.episodes=1")
	l.fault("1", "by practice: put the scene back")
	l.must("fault", "ack", "1", "--by", "anna", "--session", "asks-back") // which the terminal may name as well
	await(ended)
	if !strings.Contains(c.String(), "a person put the scene back 2 times") {
		t.Errorf("the output does not say how often a person was needed:\n%s", c)
	}
	if n, resets := l.practised("asks"); n != 2 || resets != 2 {
		t.Errorf("a person put the scene back %g times in %d episodes, want twice in 2", resets, n)
	}
	for i := range cams {
		cams[i].W, cams[i].CX = 2*cams[i].W, 2*cams[i].CX
	}
	wide := filepath.Join(l.dir, "wide.json")
	if err := keypoint.Save(wide, cams); err != nil {
		t.Fatal(err)
	}
	l.wants(exitFailed, []string{"has camera front at", "calibrate it as it comes"}, append([]string{"run", "--set", "name=wide"}, append(of, "--set", "reward.kagi.cameras="+wide)...)...)
	l.asksToSee(append(of, "--set", "robot.ros.master=http://"+porttest.Address(t)))
	l.goesOn("there")
	l.wants(exitFailed, []string{"robot.task is spatula, was stack", "an evaluation cannot change it"}, "eval", there, "--set", "robot.task=spatula")
	l.wants(exitFailed, []string{"goes by tracked points", "truth=truth"}, "reward", "plot", there, "-o", filepath.Join(l.dir, "map.png"))
}

// A session whose waypoints hang on what no camera sees holds the arm and asks for it, at
// each reset, until a person gives up.
func (l lab) asksToSee(of []string) {
	l.t.Helper()
	master, _ := strings.CutPrefix(of[len(of)-1], "robot.ros.master=")
	l.simulate(master, "--set", "robot.task=almonds", "--set", "robot.cameras=[{name: front, width: 448, height: 448}]")
	ctx, giveUp := context.WithCancel(l.t.Context())
	defer giveUp()
	c, ended := &console{}, make(chan int, 1)
	go func() {
		code, _ := l.run(ctx, c, append([]string{"run", "--set", "name=unseen", "--set", "session.episodes=1", "--set", "reward.kagi.sparse=none"}, of...)...)
		ended <- code
	}()
	for _, n := range []string{"1", "2"} {
		l.fault(n, "by waypoints: red is not seen at the reset: show it to camera front")
		l.must("fault", "ack", n, "--by", "anna")
	}
	l.fault("3", "; then acknowledge")
	giveUp()
	if code := <-ended; code != exitInterrupted {
		l.t.Errorf("the session that asked ended with %d:\n%s", code, c)
	}
}

// A practice goes on by its name alone, as its folder configures it.
func (l lab) goesOn(name string) {
	l.t.Helper()
	again := func(name string, more ...string) []string {
		return append([]string{"practice", "--resume", "--set", "name=" + name}, more...)
	}
	l.must(again(name, "--set", "session.episodes=2")...)
	if n, _ := l.practised(name); n != 4 {
		l.t.Errorf("a practice of one episode each way that goes on to two has %d in all, want 4", n)
	}
	l.wants(exitFailed, []string{"there is no practice nowhere"}, again("nowhere")...)
	l.wants(exitFailed, []string{"practice --resume --set name=" + name}, again(name+"-back")...)
	l.wants(exitFailed, []string{"session.episodes is 1", "at least 2"}, again(name, "--set", "session.episodes=1")...)
	if b, err := os.ReadFile(filepath.Join(l.dir, "runs", name, "config.yaml")); err != nil || !strings.Contains(string(b), "episodes: 2") {
		l.t.Errorf("a value that was refused is kept (%v)", err)
	}
	l.wants(exitFailed, []string{"holds a session already", "practice --resume --set name=" + name}, "practice", "--set", "name="+name, "--set", "robot.task=stack", "--set", "reward.kind=kagi")
}

// practised are the episodes of a practice, and how often a person put the scene back.
func (l lab) practised(name string) (n int, resets float64) {
	l.t.Helper()
	for _, s := range []string{name, name + "-back"} {
		st, err := store.Open(filepath.Join(l.dir, "runs", s))
		if err != nil {
			l.t.Fatal(err)
		}
		rows, err := st.Episodes(l.t.Context(), policy.Online)
		if err != nil {
			l.t.Fatal(err)
		}
		n += len(rows)
		ms, err := st.Metric(l.t.Context(), "episode", "resets")
		if err != nil {
			l.t.Fatal(err)
		}
		for _, m := range ms {
			resets = max(resets, m.Value)
		}
		if err := st.Close(); err != nil {
			l.t.Fatal(err)
		}
	}
	return n, resets
}
