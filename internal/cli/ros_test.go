package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/sim/rosarm"
)

// simulate runs rapport sim --ros until the test ends.
func (l lab) simulate(master string, args ...string) {
	l.t.Helper()
	ready := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	said := &console{on: "ready", do: func() { close(ready) }}
	ended := make(chan int, 1)
	go func() {
		code, _ := l.run(ctx, said, append([]string{"sim", "--ros", "--set", "robot.ros.master=" + master, "--states", "100", "--jacobian", "100"}, args...)...)
		ended <- code
	}()
	l.t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitDone {
			l.t.Errorf("rapport sim ended with %d:\n%s", code, said)
		}
	})
	select {
	case <-ready:
	case code := <-ended:
		ended <- code
		l.t.Fatalf("rapport sim ended with %d:\n%s", code, said)
	case <-time.After(30 * time.Second):
		l.t.Fatalf("rapport sim is not ready:\n%s", said)
	}
}

// A policy of a simulated session is fine-tuned on an arm that is reached over ROS
// as a real one is.
func TestASessionOnAnArmOverROS(t *testing.T) {
	l := ended(t)
	l.checkNeeds()
	master := "http://" + porttest.Address(t)
	l.simulate(master)
	onROS := []string{"--set", "robot.kind=ros", "--set", "robot.ros.master=" + master, "--set", "session.from=" + l.session(),
		"--set", "robot.ros.start.at=[0.42, 0, 0.12]", "--set", "robot.ros.start.lift=0", "--set", "robot.ros.again=/rapport/reset",
		"--set", "robot.ros.gripper.open=false", "--set", "robot.ros.stale=5", "--set", "name=onros", "--set", "session.episodes=3"}
	code, out := l.run(t.Context(), &console{}, append([]string{"run"}, onROS...)...)
	m := regexp.MustCompile(`rapport guard check --policy (\S+),`).FindStringSubmatch(out)
	if code != exitFailed || m == nil {
		t.Fatalf("an arm and no dry run: %d\n%s", code, out)
	}
	dir := m[1]
	l.must("guard", "check", "--policy", dir, "--allow", "1")
	c := &console{}
	ended := l.running(c, "run", "--resume", "--set", "name="+filepath.Base(dir))
	c.said(t, `fine-tune +1/3`)
	// The first episode is over, so the arm is on its way back or in the second.
	if out := l.must("stop", "--by", "anna"); !strings.Contains(out, ": held") {
		t.Errorf("an arm over ROS is not held:\n%s", out)
	} else {
		t.Log(out)
	}
	// Meanwhile somebody presses the arm's own button: acknowledging the stop does
	// not help then, and neither does acknowledging the arm's before it recovered.
	press := l.button(master)
	press(true)
	l.must("fault", "ack", "1", "--by", "anna")
	l.fault("2", "the arm stopped itself")
	press(false)
	l.must("fault", "ack", "2", "--by", "anna")
	l.fault("3", "user stop")
	l.must(append([]string{"recover"}, onROS...)...)
	l.must("fault", "ack", "3", "--by", "anna")
	l.stopByTopic(master, "smoke")
	l.fault("4", "by /rapport/stop: smoke")
	l.must("fault", "ack", "4", "--by", "anna")
	if code := <-ended; code != exitDone {
		t.Fatalf("the session ended with %d:\n%s", code, c)
	}
	out = c.String()
	for _, want := range []string{"success before  not measured", "success after   not measured", filepath.Base(dir)} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "Success was not measured") {
		t.Error("the report does not say that success was not measured")
	}
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows, err := s.Episodes(t.Context(), policy.Online)
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d episodes, %v; want 3", len(rows), err)
	}
	for _, r := range rows {
		e, err := s.Episode(r.ID)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := record.Read(filepath.Join(dir, "episodes", r.ID+".mcap"))
		if err != nil {
			t.Fatal(err)
		}
		if e.Len() != 20 || len(e.Rewards) != 20 || len(rec.Ticks) != 21 || len(rec.Ticks[0].Frames) != 1 || rec.Ticks[0].Frames[0].W != 64 {
			t.Errorf("%s: %d steps, %d rewards, %d recorded ticks; want 20, 20 and 21 with frames of 64 pixels", r.ID, e.Len(), len(e.Rewards), len(rec.Ticks))
		}
		for i := 1; i < len(rec.Ticks); i++ {
			// A state is told every 10 ms, of a time that is counted in floating point.
			if d := rec.Ticks[i].State.Stamp.Sub(rec.Ticks[i-1].State.Stamp); d.Round(time.Microsecond) < 10*time.Millisecond {
				t.Errorf("%s: state %d is %v after the one before, want about 50 ms", r.ID, i, d)
			}
		}
	}
	for name, least := range map[string]float64{"camera_to_command_p50_ms": 1, "camera_to_command_p99_ms": 1, "frame_age_p99_ms": 1, "ticks": 90, "missed_ticks": 0} {
		ps, err := s.Metric(t.Context(), "episode", name)
		if err != nil || len(ps) != 3 || ps[2].Value < least {
			t.Errorf("metric %s: %v, %v; want three, %g at least", name, ps, err, least)
		}
	}
	if ps, err := s.Metric(t.Context(), "episode", "success"); err != nil || len(ps) > 0 {
		t.Errorf("success was told: %v, %v", ps, err)
	}
	if v, _, err := s.LatestCheckpoint(t.Context(), "learner"); err != nil || v != 3 {
		t.Errorf("the learner has learned from %d episodes, %v", v, err)
	}
	out = l.must(append([]string{"doctor"}, onROS...)...)
	for _, want := range []string{"panda over ROS, tool at 0.4", "ROS master", "/franka_state_controller/franka_states, ", "ms old on arrival", "camera front", "mode move, 100.0 % of commands in time"} {
		if !strings.Contains(out, want) {
			t.Errorf("rapport doctor does not say %q:\n%s", want, out)
		}
	}
	if out := l.must(append([]string{"recover"}, onROS...)...); !strings.Contains(out, "has recovered") {
		t.Errorf("rapport recover says\n%s", out)
	}
}

// button is the user stop of the simulated arm.
func (l lab) button(master string) (press func(bool)) {
	l.t.Helper()
	n, err := ros.Open(l.t.Context(), ros.Config{Master: master, Name: "button", Host: "127.0.0.1"})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = n.Close() })
	return func(on bool) {
		l.t.Helper()
		if _, err := ros.Call[std.SetBoolReq, std.SetBoolRes](l.t.Context(), n, rosarm.StopService, &std.SetBoolReq{Data: on}); err != nil {
			l.t.Fatal(err)
		}
	}
}

// stopByTopic stops as rostopic pub does.
func (l lab) stopByTopic(master, why string) {
	l.t.Helper()
	n, err := ros.Open(l.t.Context(), ros.Config{Master: master, Name: "stopper", Host: "127.0.0.1"})
	if err != nil {
		l.t.Fatal(err)
	}
	defer n.Close()
	p, err := ros.Advertise[std.String](n, wire.StopTopic, false)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := p.WaitSubscriber(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	p.Publish(&std.String{Data: why})
	// Whoever hangs up at once may take the message with him.
	time.Sleep(time.Second)
}

// fault waits until the session tells of a fault with that number and cause.
func (l lab) fault(number, cause string) {
	l.t.Helper()
	var out string
	for range 600 {
		var code int
		if code, out = l.run(l.t.Context(), &console{}, "fault"); code == exitDone {
			for line := range strings.Lines(out) {
				if strings.HasPrefix(strings.TrimSpace(line), number) && strings.Contains(line, cause) {
					return
				}
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	l.t.Fatalf("no fault %s of %q:\n%s", number, cause, out)
}

// checkNeeds tries what a session on ROS cannot begin with.
func (l lab) checkNeeds() {
	t := l.t
	t.Helper()
	nowhere := "robot.ros.master=http://" + porttest.Address(t)
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"an earlier session", []string{"run", "--set", "robot.kind=ros"}, exitUsage, "session.from is empty"},
		{"a folder that is one", []string{"run", "--set", "session.from=" + l.dir}, exitFailed, "session.from"},
		{"the same encoder", []string{"run", "--set", "session.from=" + l.session(), "--set", "encoder.keypoints=5"}, exitFailed, "want --set 'encoder.keypoints=4'"},
		{"the limits of its own arm", []string{"run", "--set", "robot.kind=ros", "--set", "session.from=" + l.session(), "--set", "robot.ros.arm_id=fr3"}, exitUsage, "guard.arm is panda, but robot.ros.arm_id is fr3"},
		{"topics", []string{"run", "--set", "robot.kind=ros", "--set", "session.from=" + l.session(), "--set", "robot.ros.cameras=[]"}, exitUsage, "names no topic for it"},
		{"a start where it was demonstrated", []string{"run", "--set", "robot.kind=ros", "--set", "session.from=" + l.session()}, exitFailed, "never moves the hand along z"},
		{"how the arm is reached", []string{"sim"}, exitUsage, "want --ros"},
	} {
		code, out := l.run(t.Context(), &console{}, tt.args...)
		if code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit code %d, want %d and %q in\n%s", tt.name, code, tt.code, tt.want, out)
		}
	}
	if code, out := l.run(t.Context(), &console{}, "doctor", "--set", "robot.kind=ros", "--set", "session.from="+l.session(), "--set", nowhere, "--set", "robot.ros.wait=1"); code == exitDone || !strings.Contains(out, "start roscore") {
		t.Errorf("rapport doctor without a master ended with %d:\n%s", code, out)
	}
	if code, out := l.run(t.Context(), &console{}, "run", "--set", "guard.gate=off", "--set", "robot.kind=ros", "--set", "session.from="+l.session(), "--set", "robot.ros.start.at=[0.42, 0, 0.12]", "--set", nowhere, "--set", "robot.ros.wait=1"); code != exitFailed || !strings.Contains(out, "start roscore") {
		t.Errorf("a session without a master ended with %d:\n%s", code, out)
	}
	if _, err := os.Stat(filepath.Join(l.dir, "runs", "reach-003")); err == nil {
		t.Error("a session that could not begin left a folder")
	}
	// Simulated sessions may begin from an earlier one too.
	out := l.must("run", "--set", "name=again", "--set", "session.from="+l.session(), "--set", "session.episodes=1", "--set", "learner.updates=1")
	if !strings.Contains(out, fmt.Sprintf("of %d (", 2)) {
		t.Errorf("success was not measured in simulation:\n%s", out)
	}
}
