package wire

import (
	"bytes"
	"image"
	"image/jpeg"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/record"
	rosarm "github.com/rapport-rl/rapport/robot/ros/arm"
	arms "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// All would be learned as "keep closed".
func TestAPolicyThatGripsWantsRecordingsOfTheHand(t *testing.T) {
	c := tiny(t)
	path := bagOf(t, filepath.Join(t.TempDir(), "a.bag"), nil, frontLens)
	set(t, &c, "robot.kind=bag", "robot.bag.files=["+path+"]", "robot.bag.preferred=["+path+"]", "robot.horizon=100", "policy.axes=[x, y, z, grip]")
	const want = "policy.axes has grip, but bag: nothing tells how far the hand is open"
	if _, err := sources(c); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "robot.bag.topics=[gripper=") {
		t.Errorf("error %v, want %q", err, want)
	}
	set(t, &c, "policy.axes=[x, y, z]")
	if got, err := tryRecordings(t.Context(), c); err != nil || strings.Contains(got, "hand") {
		t.Errorf("%s, %v", got, err)
	}
	if got, _ := converted(t, path); !strings.Contains(strings.Join(got.Notes, "\n"), "a.bag: nothing tells how far the hand is open") {
		t.Errorf("a dataset of it tells nothing of the grip: %q", got.Notes)
	}
}

// aimed is a copy of a bag with poses on other topics, each sent once, with its frame.
func aimed(t *testing.T, path string, poses map[string]string) string {
	t.Helper()
	return added(t, path, func(b *bagger, n int, at time.Time) {
		if n != 10 {
			return
		}
		for i, topic := range slices.Sorted(maps.Keys(poses)) {
			p := std.PoseStamped{}
			p.Header.FrameId, p.Pose.Orientation.W = poses[topic], 1
			say(b, &bag.Connection{ID: uint32(10 + i), Topic: topic}, at, &p)
		}
	})
}

// added is a copy of a bag to which more adds, before the n-th message.
func added(t *testing.T, path string, more func(b *bagger, n int, at time.Time)) string {
	t.Helper()
	from, err := bag.Open(path, bag.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to := filepath.Join(t.TempDir(), "more.bag")
	w, err := bag.Create(to, bag.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bagger{t, w}
	var m bag.Message
	for n := 0; from.Next(&m) == nil; n++ {
		more(b, n, m.Time)
		c := *m.Conn
		m.Conn = &c
		if err := w.Write(&m); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return to
}

// A goal of a mobile base, sent once, makes all actions zero.
func TestATargetThatStandsStillIsNone(t *testing.T) {
	const goal = "/move_base_simple/goal"
	path := aimed(t, bagOf(t, filepath.Join(t.TempDir(), "a.bag"), nil, frontLens), map[string]string{goal: "map"})
	const want = "an episode of 58 steps is left out: the target of /move_base_simple/goal stands still while the tool goes 2"
	play := func(topics map[string]string) (way float64, notes []string, err error) {
		notes, err = bagEpisodes(t.Context(), path, topics, 0, func(e policy.Episode) error {
			for _, a := range e.Applied[10:] {
				way += a.Delta[0]
			}
			return nil
		})
		return way, notes, err
	}
	if _, _, err := play(nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "robot.bag.topics=[target=]") {
		t.Errorf("error %v, want %q", err, want)
	}
	way, notes, err := play(map[string]string{"target": ""})
	if err != nil || math.Abs(way-0.024) > 0.001 || strings.Contains(strings.Join(notes, "\n"), "target") {
		t.Errorf("without it the tool goes %g m, want 0.024: %v, %q", way, err, notes)
	}
	c := tiny(t)
	set(t, &c, "robot.kind=bag", "robot.bag.files=["+path+"]", "robot.bag.preferred=["+path+"]", "robot.horizon=100")
	if _, err := tryRecordings(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("doctor: %v", err)
	}
	set(t, &c, "robot.bag.topics=[target=]")
	if got, err := tryRecordings(t.Context(), c); err != nil || !strings.Contains(got, "58 steps") {
		t.Errorf("doctor, without it: %s, %v", got, err)
	}
}

// The pose of an arm without a hand is the flange's.
func TestAPoseIsHeldAgainstTheJoints(t *testing.T) {
	alter := func(off, turn float64, late int) func(int, *arms.FrankaState) {
		return func(i int, s *arms.FrankaState) {
			s.Q = franka.Ready()
			s.Q[0] += float64(i) / 100
			was := s.Q
			was[0] -= float64(late) / 100
			p := franka.Forward(&was)
			p.P[2] += off
			p = franka.Move(p, &[6]float64{5: turn})
			r := rotation(p.Q)
			for c := range 3 {
				for k := range 3 {
					s.OTEE[4*c+k] = r[k][c]
				}
				s.OTEE[12+c] = p.P[c]
			}
		}
	}
	dir := t.TempDir()
	for _, tt := range []struct {
		name      string
		off, turn float64
		late      int // ticks
		want      string
	}{
		{"hand", 0, 0, 0, ""},
		{"finger", 0.004, 0.02, 0, ""},
		{"late", 0, 0, 3, ""}, // by 9 mm
		{"flange", 0.1034, 0, 0, "the pose of " + rosarm.StateTopic + " is 103.4 mm and 0.000 rad"},
		{"turned", 0, 0.785, 0, "is 0.0 mm and 0.785 rad"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := bagOf(t, filepath.Join(dir, tt.name+".bag"), alter(tt.off, tt.turn, tt.late), frontLens)
			c := tiny(t)
			set(t, &c, "robot.kind=bag", "robot.bag.files=["+path+"]", "robot.bag.preferred=["+path+"]", "robot.horizon=100")
			got, err := tryRecordings(t.Context(), c)
			if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("doctor: %s, %v; want %q", got, err, tt.want)
			}
			set(t, &c, "robot.bag.topics=[states=, joints="+rosarm.StateTopic+", pose=]")
			if got, err := tryRecordings(t.Context(), c); err != nil || !strings.Contains(got, "58 steps") {
				t.Errorf("doctor, by the joints: %s, %v", got, err)
			}
			var z float64
			notes, err := bagEpisodes(t.Context(), path, nil, 0, func(e policy.Episode) error { z = e.Inputs[0].State.EE.P[2]; return nil })
			if s := strings.Join(notes, "\n"); err != nil || strings.Contains(s, "tool centre point") != (tt.want != "") || !strings.Contains(s, tt.want) {
				t.Errorf("converted: %v, %q; want %q", err, notes, tt.want)
			}
			_, err = bagEpisodes(t.Context(), path, map[string]string{"states": "", "joints": rosarm.StateTopic}, 0, func(e policy.Episode) error { z -= e.Inputs[0].State.EE.P[2]; return nil })
			if err != nil || math.Abs(z-tt.off) > 1e-9 {
				t.Errorf("by the joints it is %g m lower, want %g: %v", z, tt.off, err)
			}
		})
	}
}

// What a bag says was applied is how far the fingers are open, which a held thing decides.
func TestAHeldThingIsTold(t *testing.T) {
	for _, tt := range []struct {
		name  string
		grips func(i int) float64
		want  float64
	}{
		{"held", func(i int) float64 { return max(0.04, 0.08-0.01*float64(i)) }, 0.04},
		{"closed", func(i int) float64 { return max(0, 0.08-0.01*float64(i)) }, 0},
		{"always so wide", func(int) float64 { return 0.04 }, 0},
		{"only passed", func(i int) float64 { return max(0, 0.08-0.001*float64(i)) }, 0},
		{"opened", func(i int) float64 { return min(0.08, 0.01*float64(i)) }, 0},
	} {
		var h hold
		for i := range 60 {
			h.see(tt.grips(i))
		}
		if h.width != tt.want {
			t.Errorf("%s: something of %g m is held, want %g", tt.name, h.width, tt.want)
		}
	}
	path := added(t, bagOf(t, filepath.Join(t.TempDir(), "a.bag"), nil, frontLens), func(b *bagger, n int, at time.Time) {
		x := max(0.02, 0.04-0.001*float64(n))
		say(b, &bag.Connection{ID: 9, Topic: "/franka_gripper/joint_states"}, at, &std.JointState{Position: []float64{x, x}})
	})
	c := tiny(t)
	set(t, &c, "robot.kind=bag", "robot.bag.files=["+path+"]", "robot.bag.preferred=["+path+"]", "robot.horizon=100", "policy.axes=[x, y, z, grip]")
	if got, err := tryRecordings(t.Context(), c); err != nil || !strings.Contains(got, "the fingers rest on something of 40 mm") {
		t.Errorf("doctor: %s, %v", got, err)
	}
}

// Poses in two frames are told, and what was guessed beside what a person named.
func TestConvertTellsOfFramesAndOfGuesses(t *testing.T) {
	path := jointed(t, map[string]string{"/tcp": "panda_link0", "/target": "camera"})
	m, notes, err := bagMapping(path, map[string]string{"joints": "/joint_states", "pose": "/tcp"}, true)
	if s := strings.Join(notes, "\n"); err != nil || m.Target != "/target" || !strings.Contains(s, "taken for target: /target") || strings.Contains(s, "/tcp") || strings.Contains(s, "joints") {
		t.Errorf("%+v, %v, %q", m, err, notes)
	}
	notes, err = bagEpisodes(t.Context(), path, nil, 0, func(policy.Episode) error { return nil })
	if err != nil || !strings.Contains(strings.Join(notes, "\n"), "the target of /target is in the frame camera, the pose of /tcp in panda_link0") {
		t.Errorf("%v, %q", err, notes)
	}
}

// jointed is a bag of joints that stand still, with poses each sent once.
func jointed(t *testing.T, poses map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "joints.bag")
	w, err := bag.Create(path, bag.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, c := &bagger{t, w}, &bag.Connection{Topic: "/joint_states"}
	for i := range 20 {
		q := franka.Ready()
		say(b, c, time.Unix(1000, 0).UTC().Add(time.Duration(i)*50*time.Millisecond), &std.JointState{Position: q[:]})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return aimed(t, path, poses)
}

// pictured is a bag of three seconds of an arm and of JPEG, of which those that are bad are cut
// in the middle.
func pictured(t *testing.T, bad func(i int) bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.bag")
	w, err := bag.Create(path, bag.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bagger{t, w}
	arm, front := &bag.Connection{Topic: rosarm.StateTopic}, &bag.Connection{ID: 1, Topic: "/front/image_raw/compressed"}
	var whole bytes.Buffer
	if err := jpeg.Encode(&whole, image.NewRGBA(image.Rect(0, 0, 16, 16)), nil); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		at := time.Unix(1000, 0).UTC().Add(time.Duration(i) * 50 * time.Millisecond)
		s := arms.FrankaState{RobotMode: arms.Move, OTEE: [16]float64{0: 1, 5: 1, 10: 1, 15: 1}}
		say(b, arm, at, &s)
		m := std.CompressedImage{Format: "jpeg", Data: whole.Bytes()}
		if bad(i) {
			m.Data = m.Data[:len(m.Data)/2]
		}
		say(b, front, at, &m)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// A picture that cannot be read counts as one that did not come.
func TestABrokenPictureCostsNoRecording(t *testing.T) {
	const what = " of /front/image_raw/compressed cannot be read, as if not sent, first at 1970-01-01T00:16:4"
	for _, tt := range []struct {
		name                            string
		bad                             func(i int) bool
		note                            string
		episodes, steps, longest, shown int
	}{
		{"one", func(i int) bool { return i == 20 }, "1 picture" + what + "1.000Z", 1, 58, 58, 59},
		{"the first", func(i int) bool { return i == 0 }, "1 picture" + what + "0.000Z", 1, 57, 57, 58},
		{"the last", func(i int) bool { return i >= 58 }, "1 picture" + what + "2.900Z", 1, 58, 58, 59},
		{"for longer than a second", func(i int) bool { return i >= 20 && i < 45 }, "25 pictures" + what + "1.000Z", 2, 39 + 13, 39, 59},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := pictured(t, tt.bad)
			longest := 0
			notes, err := bagEpisodes(t.Context(), path, nil, 0, func(e policy.Episode) error {
				longest = max(longest, e.Len())
				return e.Validate()
			})
			if err != nil || longest != tt.longest || !strings.Contains(strings.Join(notes, "\n"), "a.bag: "+tt.note) {
				t.Errorf("the longest episode has %d steps, want %d, and the note %q: %v, %q", longest, tt.longest, tt.note, err, notes)
			}
			if got, _ := converted(t, path); got.Episodes != tt.episodes || got.Steps != tt.steps || len(got.Left) > 0 {
				t.Errorf("converted: %d episodes of %d steps, left %v; want %d of %d", got.Episodes, got.Steps, got.Left, tt.episodes, tt.steps)
			}
			got := shownTo(t, oneCamera, path)[0]
			if got.Err != nil || len(got.Steps) != tt.shown || !strings.Contains(strings.Join(got.Notes, "\n"), what) {
				t.Errorf("replayed: %d steps, want %d: %v, %q", len(got.Steps), tt.shown, got.Err, got.Notes)
			}
		})
	}
	none := pictured(t, func(int) bool { return true })
	if _, err := bagEpisodes(t.Context(), none, nil, 0, nil); err == nil || !strings.Contains(err.Error(), "/front/image_raw/compressed: none of its pictures can be read") {
		t.Errorf("no picture can be read: %v", err)
	}
	if got := shownTo(t, oneCamera, none)[0]; got.Err == nil || !strings.Contains(got.Err.Error(), "60 pictures"+what) {
		t.Errorf("no picture can be shown: %v", got.Err)
	}
}

// No tick behind a pause has a frame of before it, unless a camera stays away for as long.
func TestReplayWaitsForAllCamerasBehindAPause(t *testing.T) {
	for _, tt := range []struct {
		name         string
		back         time.Duration // when the second camera is, after the first
		ticks, mixed int
		skipped      string
	}{
		{"20 ms later", 20 * time.Millisecond, 20 + 60, 0, "and 60 ticks are left out"},
		{"never", time.Hour, 20 + 19, 19, "and 101 ticks are left out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.bag")
			w, err := bag.Create(path, bag.WriteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			b := &bagger{t, w}
			send := func(i int, topic string, at time.Duration, side byte) {
				m := std.Image{Width: 2, Height: 1, Encoding: "mono8", Step: 2, Data: []byte{side, side}}
				say(b, &bag.Connection{ID: uint32(i), Topic: topic}, time.Unix(1000, 0).UTC().Add(at), &m)
			}
			for i := range 80 {
				at, side := time.Duration(i)*50*time.Millisecond, byte(0)
				if i >= 20 {
					at, side = at+3*time.Second, 1
				}
				send(0, "/front/image_raw", at, side)
				if side == 0 || tt.back < time.Second {
					send(1, "/wrist/image_raw", at+time.Duration(side)*tt.back, side)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			r, err := bagReel(path, ReplayConfig{})
			if err != nil {
				t.Fatal(err)
			}
			film, err := r.open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer film.Close()
			ticks, mixed := 0, 0
			if err := film.Each(t.Context(), func(o record.Tick) error {
				if ticks++; o.Frames[0].Pix[0] != o.Frames[1].Pix[0] {
					mixed++
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if notes := strings.Join(film.Notes(), "\n"); ticks != tt.ticks || mixed != tt.mixed || !strings.Contains(notes, tt.skipped) {
				t.Errorf("%d ticks, %d of them with frames of both sides, want %d and %d: %s", ticks, mixed, tt.ticks, tt.mixed, notes)
			}
		})
	}
}
