package wire

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/record"
	rosarm "github.com/rapport-rl/rapport/robot/ros/arm"
	arms "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/robot/ros/tcpros"
)

// bagger writes messages as a node's recorder would.
type bagger struct {
	t *testing.T
	w *bag.Writer
}

func say[T any](b *bagger, conn *bag.Connection, at time.Time, m *T) {
	b.t.Helper()
	if conn.Type == "" {
		k, err := tcpros.KindOf[T]()
		if err != nil {
			b.t.Fatal(err)
		}
		conn.Type, conn.MD5, conn.Encoding, conn.Schema, conn.Definition = k.Type, k.MD5, bag.ROS1, "ros1msg", []byte(k.Definition)
	}
	data, err := tcpros.Append(nil, m)
	if err == nil {
		err = b.w.Write(&bag.Message{Topic: conn.Topic, Type: conn.Type, Time: at, Conn: conn, Data: data})
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// rotation is the matrix of a unit quaternion wxyz.
func rotation(q [4]float64) [3][3]float64 {
	w, x, y, z := q[0], q[1], q[2], q[3]
	return [3][3]float64{
		{1 - 2*(y*y+z*z), 2 * (x*y - w*z), 2 * (x*z + w*y)},
		{2 * (x*y + w*z), 1 - 2*(x*x+z*z), 2 * (y*z - w*x)},
		{2 * (x*z - w*y), 2 * (y*z + w*x), 1 - 2*(x*x+y*y)},
	}
}

// asBag writes an episode as a bag of an arm over ROS.
func asBag(t *testing.T, rec record.Recording, path string) {
	t.Helper()
	w, err := bag.Create(path, bag.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bagger{t, w}
	states, images, poses := &bag.Connection{ID: 0, Topic: rosarm.StateTopic}, &bag.Connection{ID: 1, Topic: "/front/color/image_raw"}, &bag.Connection{ID: 2, Topic: rosarm.PoseTopic}
	target := rec.Ticks[0].State.EE
	// Once more after the end: a tick is over when something comes after it.
	for i := range len(rec.Ticks) + 1 {
		tick := &rec.Ticks[min(i, len(rec.Ticks)-1)]
		at := time.Unix(1000, 0).UTC().Add(time.Duration(i) * 50 * time.Millisecond)
		if i > 0 && i < len(rec.Ticks) {
			target = franka.Move(target, &tick.Applied.Delta)
		}
		s := arms.FrankaState{Q: tick.State.Q, Dq: tick.State.DQ, RobotMode: arms.Move}
		r := rotation(tick.State.EE.Q)
		for c := range 3 {
			for k := range 3 {
				s.OTEE[4*c+k] = r[k][c]
			}
			s.OTEE[12+c] = tick.State.EE.P[c]
		}
		s.OTEE[15] = 1
		s.Header.Stamp = at
		p := std.PoseStamped{}
		p.Header.Stamp = at
		p.Pose.Position = std.Point{X: target.P[0], Y: target.P[1], Z: target.P[2]}
		p.Pose.Orientation = std.Quaternion{X: target.Q[1], Y: target.Q[2], Z: target.Q[3], W: target.Q[0]}
		f := tick.Frames[0]
		m := std.Image{Width: uint32(f.W), Height: uint32(f.H), Encoding: "bgr8", Step: uint32(3 * f.W), Data: f.Pix}
		m.Header.Stamp = at
		say(b, states, at, &s)
		say(b, poses, at, &p)
		say(b, images, at, &m)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// An episode judged as our recording and as the bag of an arm is the same.
func TestDryRunOverABag(t *testing.T) {
	c := tiny(t)
	set(t, &c, "session.episodes=2", "session.evaluate=1")
	s, err := Create(t.Context(), c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Run(t.Context())
	dir := s.Dir()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(dir, "episodes", episodeID(1)+".mcap")
	rec, err := record.Read(mine)
	if err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(t.TempDir(), "arm.bag")
	asBag(t, rec, theirs)
	foreign := filepath.Join(t.TempDir(), "arm.mcap")
	asBag(t, rec, foreign)
	check := func(file string) Dry {
		t.Helper()
		var files []string
		if file != "" {
			files = []string{file}
		}
		d, err := CheckPolicy(t.Context(), Check{Policy: dir, Recordings: files, Allow: 1}, nil, []string{"guard.speed=0.005"}, byTheClock())
		if err != nil {
			t.Fatal(err)
		}
		for i := range d.Violations {
			d.Violations[i].Recording = ""
			// Rotations go through matrices in a bag, and targets through sums.
			d.Violations[i].Got, d.Violations[i].Max, d.Violations[i].Wish, d.Violations[i].Applied = 0, 0, [7]number{}, [7]float64{}
		}
		return d
	}
	want := check(mine)
	if want.Steps != 20 || want.Altered == 0 {
		t.Fatalf("%d steps, %d altered; want 20 and some", want.Steps, want.Altered)
	}
	for _, file := range []string{theirs, foreign} {
		if d := cmp.Diff(want, check(file)); d != "" {
			t.Errorf("%s is judged otherwise:\n%s", filepath.Base(file), d)
		}
	}
	// A session's folder is all its episodes.
	if all, own := check(dir), check(""); all.Recordings < 3 || cmp.Diff(own, all) != "" {
		t.Errorf("%d recordings of the session's folder, %d of none named", all.Recordings, own.Recordings)
	}
	// What is whole of a damaged one is judged, and the damage told.
	for _, file := range []string{mine, theirs} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cut := filepath.Join(t.TempDir(), "cut"+filepath.Ext(file))
		if err := os.WriteFile(cut, b[:len(b)*3/4], 0o600); err != nil {
			t.Fatal(err)
		}
		if d := check(cut); d.Steps == 0 || d.Steps > want.Steps || len(d.Torn) != 1 || !strings.Contains(d.Torn[0], cut) {
			t.Errorf("cut off, %s is judged in %d steps; damage %q", filepath.Base(file), d.Steps, d.Torn)
		}
	}
	bad := filepath.Join(t.TempDir(), "bad.bag")
	if err := os.WriteFile(bad, []byte("no bag"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := CheckPolicy(t.Context(), Check{Policy: dir, Recordings: []string{bad}}, nil, nil, byTheClock()); err == nil || !strings.Contains(err.Error(), "bad.bag") {
		t.Errorf("a file that is no recording: %v", err)
	}
}
