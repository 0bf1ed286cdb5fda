package cli

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset"
	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/record"
)

const header = "std_msgs/Header header\n"
const headerDefinition = "================================================================================\nMSG: std_msgs/Header\nuint32 seq\ntime stamp\nstring frame_id\n"

// wired is a message as ROS 1 serialises it.
type wired struct{ b []byte }

func (w *wired) u32(x uint32)  { w.b = binary.LittleEndian.AppendUint32(w.b, x) }
func (w *wired) text(s string) { w.u32(uint32(len(s))); w.b = append(w.b, s...) }
func (w *wired) num(xs ...float64) {
	for _, x := range xs {
		w.b = binary.LittleEndian.AppendUint64(w.b, math.Float64bits(x))
	}
}
func (w *wired) nums(xs ...float64) { w.u32(uint32(len(xs))); w.num(xs...) }
func (w *wired) header(at time.Time) {
	w.u32(0)
	w.u32(uint32(at.Unix()))
	w.u32(uint32(at.Nanosecond()))
	w.text("")
}

// bagged writes an episode of a session as its arm's topics would have recorded it,
// a thousand seconds later; when moves what happened at a time of the episode to
// another, or leaves it out.
func bagged(t *testing.T, episode, path string, when func(time.Duration) (time.Duration, bool)) record.Recording {
	t.Helper()
	rec, frames, err := record.ReadEncoded(episode)
	if err != nil {
		t.Fatal(err)
	}
	w, err := bag.Create(path, bag.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cam := &bag.Connection{Topic: "/front/image_raw/compressed", Type: "sensor_msgs/CompressedImage", MD5: "8f7a12909da2c9d3332d540a0977563f", Encoding: bag.ROS1, Schema: "ros1msg",
		Definition: []byte(header + "string format\nuint8[] data\n" + headerDefinition)}
	arm := &bag.Connection{Topic: "/joint_states", Type: "sensor_msgs/JointState", MD5: "3066dcd76a6cfaef579bd0f34173e9fd", Encoding: bag.ROS1, Schema: "ros1msg",
		Definition: []byte(header + "string[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n" + headerDefinition)}
	for i, tick := range rec.Ticks {
		since, ok := tick.State.Stamp.Sub(rec.Ticks[0].State.Stamp), true
		if when != nil {
			since, ok = when(since)
		}
		if !ok {
			continue
		}
		at := rec.Ticks[0].State.Stamp.Add(1000*time.Second + since)
		var j wired
		j.header(at)
		j.u32(7)
		for k := range 7 {
			j.text("panda_joint" + string(rune('1'+k)))
		}
		j.nums(tick.State.Q[:]...)
		j.nums(tick.State.DQ[:]...)
		j.nums()
		err = errors.Join(err, w.Write(&bag.Message{Topic: arm.Topic, Type: arm.Type, Time: at, Conn: arm, Data: j.b}))
		var c wired
		c.header(at)
		c.text("jpeg")
		c.text(string(frames[i][0].Data))
		err = errors.Join(err, w.Write(&bag.Message{Topic: cam.Topic, Type: cam.Type, Time: at, Conn: cam, Data: c.b}))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return rec
}

// A bag of the frames of an episode is worth what the episode is worth.
func testBags(t *testing.T, l lab) {
	in := func(t *testing.T) lab { return lab{t, l.dir, l.file, l.env} }
	episode := filepath.Join(l.session(), "episodes", "demo-00004.mcap")
	want := filepath.Join(l.dir, "want")
	l.must("replay", episode, "--out", want)
	rewards := func(t *testing.T, out string) (rs []string) {
		for _, r := range readCSV(t, filepath.Join(out, "steps.csv"))[1:] {
			rs = append(rs, strings.Join([]string{r[1], r[3], r[7], r[8]}, " "))
		}
		return rs
	}
	for _, name := range []string{"x.bag", "x.mcap"} {
		path := filepath.Join(l.dir, name)
		rec := bagged(t, episode, path, nil)
		t.Run("replay of "+name, func(t *testing.T) {
			l, out := in(t), filepath.Join(t.TempDir(), "out")
			l.wants(exitDone, []string{"recordings 1 of 1 whole, 30 steps", "camera front is taken to be /front/image_raw/compressed"}, "replay", path, "--session", l.session(), "--out", out, "--film")
			a, b := rewards(t, want), rewards(t, out)
			if len(a) != 30 || strings.Join(a, "\n") != strings.Join(b, "\n") {
				t.Errorf("the episode is worth\n%v, its bag\n%v", a, b)
			}
			if _, err := os.Stat(filepath.Join(out, "films", "x.mp4")); err != nil {
				t.Error(err)
			}
			l.wants(exitFailed, []string{"x.", "no features and rewards"}, "replay", path, "--session", l.session(), "--check")
			l.wants(exitDone, []string{"31"}, "replay", path, "--session", l.session(), "--map", "front=/front/image_raw/compressed")
			l.wants(exitDone, []string{"1 of 1 whole, 9 steps"}, "replay", path, "--session", l.session(), "--from", "500ms", "--to", "1s")
			l.wants(exitUsage, []string{"--from"}, "replay", path, "--session", l.session(), "--from", "2s", "--to", "1s")
			l.wants(exitFailed, []string{`no topic "/none"`, "/joint_states (sensor_msgs/JointState)"}, "replay", path, "--session", l.session(), "--map", "front=/none")
			l.wants(exitFailed, []string{"--session"}, "replay", path)
			l.wants(exitFailed, []string{`no frame of "front"`, "--map NAME=TOPIC"}, "replay", path, "--session", l.session(), "--map", "wrist=/front/image_raw/compressed")
		})
		t.Run("convert of "+name, func(t *testing.T) {
			l, out := in(t), filepath.Join(t.TempDir(), "out")
			l.wants(exitDone, []string{"1 episodes, 29 steps", "/joint_states"}, "data", "convert", path, out)
			r, err := dataset.Open(t.Context(), out, dataset.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			err = r.Each(t.Context(), func(e policy.Episode) error {
				for i, in := range e.Inputs[:e.Len()] {
					if in.State.Q != rec.Ticks[i].State.Q || len(in.Frames) != 1 || in.Frames[0].Camera != "front" {
						t.Fatalf("step %d is at %v with %d frames, want %v", i, in.State.Q, len(in.Frames), rec.Ticks[i].State.Q)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			l.wants(exitDone, []string{"learned from  1 episodes"}, "train", "policy", "--offline", out, "--set", "learner.kind=bc", "--set", "policy.sees=pixels", "--set", "policy.axes=[x, y, z, grip]", "--steps", "2", "-o", filepath.Join(t.TempDir(), "p.safetensors"))
		})
	}
	t.Run("a bag that cannot be used is told and the rest goes on", func(t *testing.T) {
		l, dir := in(t), t.TempDir()
		blind := filepath.Join(dir, "blind.mcap")
		bagged(t, episode, blind, func(time.Duration) (time.Duration, bool) { return 0, false })
		out := l.wants(exitFailed, []string{"1 episodes, 29 steps", "blind.mcap"}, "data", "convert", blind, filepath.Join(l.dir, "x.bag"), filepath.Join(dir, "out"))
		if !strings.Contains(out, "states=TOPIC or joints=TOPIC") {
			t.Errorf("no remedy:\n%s", out)
		}
	})
	t.Run("a silence of the arm ends an episode", func(t *testing.T) {
		l, dir := in(t), t.TempDir()
		path := filepath.Join(dir, "pause.bag")
		bagged(t, episode, path, func(at time.Duration) (time.Duration, bool) {
			if at >= 700*time.Millisecond {
				at += 5 * time.Second
			}
			return at, true
		})
		l.wants(exitDone, []string{": 2 episodes", "was silent"}, "data", "convert", path, filepath.Join(dir, "out"))
		l.wants(exitDone, []string{"silent for more than 2s, 1 times", "1 gaps", "5.05s at most"}, "replay", path, "--session", l.session())
	})
	t.Run("a damaged bag says so", func(t *testing.T) {
		l := in(t)
		b, err := os.ReadFile(filepath.Join(l.dir, "x.bag"))
		if err != nil {
			t.Fatal(err)
		}
		cut := filepath.Join(t.TempDir(), "cut.bag.active")
		if err := os.WriteFile(cut, bytes.Clone(b[:len(b)/2]), 0o600); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out")
		l.wants(exitFailed, []string{"damage: ", "recordings 0 of 1 whole", "rapport bag repair"}, "replay", cut, "--session", l.session(), "--out", out, "--film")
		// What is whole of it counts.
		if rows := readCSV(t, filepath.Join(out, "steps.csv")); len(rows) < 5 || len(rows) > 30 {
			t.Errorf("%d rows of half a bag", len(rows)-1)
		}
		if _, err := os.Stat(filepath.Join(out, "films", "cut.bag.mp4")); err != nil {
			t.Error(err)
		}
		text := filepath.Join(t.TempDir(), "a.txt")
		if err := os.WriteFile(text, []byte("no recording at all"), 0o600); err != nil {
			t.Fatal(err)
		}
		l.wants(exitFailed, []string{"a.txt"}, "replay", text, "--session", l.session())
		l.wants(exitFailed, []string{"a.txt", "recordings 1 of 2 whole, 30 steps"}, "replay", text, filepath.Join(l.dir, "x.bag"), "--session", l.session())
		l.wants(exitFailed, []string{"damage: ", ": 1 episodes"}, "data", "convert", cut, filepath.Join(t.TempDir(), "out"))
	})
}

// Who converts or calibrates takes out by an empty topic what would be guessed.
func TestTopicsOfAMap(t *testing.T) {
	for _, tt := range []struct {
		pair     string
		none, ok bool
	}{
		{"front=/a", false, true}, {"front=/a", true, true}, {"target=", true, true}, {"wrist=", true, true},
		{"target=", false, false}, {"target", true, false}, {"=/a", true, false},
	} {
		m, err := topicMap([]string{tt.pair}, tt.none)
		if (err == nil) != tt.ok || err == nil && len(m) != 1 {
			t.Errorf("%s, none %v: %v, %v", tt.pair, tt.none, m, err)
		}
	}
}
