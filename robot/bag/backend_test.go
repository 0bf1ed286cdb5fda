package bag_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/robottest"
)

const header = "Header header\n"

var separator = strings.Repeat("=", 80) + "\n"

const headerText = "MSG: std_msgs/Header\nuint32 seq\ntime stamp\nstring frame_id\n"

// definitions of what an arm publishes; FrankaState's is a part of the real one.
var definitions = map[string]string{
	"franka_msgs/FrankaState": header + "float64[7] q\nfloat64[7] dq\nfloat64[7] tau_J\nfloat64[6] O_F_ext_hat_K\nfloat64[16] O_T_EE\nuint8 ROBOT_MODE_IDLE=1\nuint8 robot_mode\n" +
		separator + headerText,
	"sensor_msgs/JointState": header + "string[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n" + separator + headerText,
	"geometry_msgs/PoseStamped": header + "Pose pose\n" + separator + headerText + separator + "MSG: geometry_msgs/Pose\nPoint position\nQuaternion orientation\n" +
		separator + "MSG: geometry_msgs/Point\nfloat64 x\nfloat64 y\nfloat64 z\n" + separator + "MSG: geometry_msgs/Quaternion\nfloat64 x\nfloat64 y\nfloat64 z\nfloat64 w\n",
	"sensor_msgs/Image":           header + "uint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\nuint8[] data\n" + separator + headerText,
	"sensor_msgs/CompressedImage": header + "string format\nuint8[] data\n" + separator + headerText,
}

// wireOf serialises a message of ROS 1 by hand.
type wireOf []byte

func (w wireOf) head(at time.Time) wireOf {
	w = binary.LittleEndian.AppendUint32(w, 0)
	w = binary.LittleEndian.AppendUint32(w, uint32(at.Unix()))
	w = binary.LittleEndian.AppendUint32(w, uint32(at.Nanosecond()))
	return w.text("base")
}

func (w wireOf) u32(n int) wireOf { return binary.LittleEndian.AppendUint32(w, uint32(n)) }

func (w wireOf) text(s string) wireOf { return append(w.u32(len(s)), s...) }

func (w wireOf) floats(xs ...float64) wireOf {
	for _, x := range xs {
		w = binary.LittleEndian.AppendUint64(w, math.Float64bits(x))
	}
	return w
}

func connect(topic, typ string) *bag.Connection {
	return &bag.Connection{Topic: topic, Type: typ, Encoding: bag.ROS1, Schema: "ros1msg", Definition: []byte(definitions[typ])}
}

// arm writes a bag of an arm that moves along x for a number of seconds, with
// two cameras, as franka_ros and serl_franka_controllers name things.
func arm(t testing.TB, path string, seconds float64, states bool) {
	t.Helper()
	w, err := bag.Create(path, bag.WriteOptions{Compression: "lz4"})
	if err != nil {
		t.Fatal(err)
	}
	state := connect("/franka_state_controller/franka_states", "franka_msgs/FrankaState")
	joints := connect("/joint_states", "sensor_msgs/JointState")
	gripper := connect("/franka_gripper/joint_states", "sensor_msgs/JointState")
	target := connect("/cartesian_impedance_controller/equilibrium_pose", "geometry_msgs/PoseStamped")
	color := connect("/camera/color/image_raw", "sensor_msgs/Image")
	depth := connect("/camera/depth/image_raw", "sensor_msgs/Image")
	wrist := connect("/wrist/image/compressed", "sensor_msgs/CompressedImage")
	put := func(c *bag.Connection, at time.Time, data []byte) {
		if err := w.Write(&bag.Message{Topic: c.Topic, Type: c.Type, Time: at, Conn: c, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	q := franka.Ready()
	for i := range int(seconds * 100) {
		at := began.Add(time.Duration(i) * 10 * time.Millisecond)
		x := 0.3 + 0.001*float64(i)
		if states {
			m := wireOf{}.head(at).floats(q[:]...).floats(make([]float64, 14)...).floats(1, 2, 3, 4, 5, 6)
			m = m.floats(1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, x, 0.1, 0.2, 1)
			put(state, at, append(m, 1))
		}
		m := wireOf{}.head(at).u32(7)
		for k := range 7 {
			m = m.text("panda_joint" + string(rune('1'+k)))
		}
		put(joints, at, m.u32(7).floats(q[:]...).u32(7).floats(make([]float64, 7)...).u32(0))
		put(gripper, at, wireOf{}.head(at).u32(2).text("panda_finger_joint1").text("panda_finger_joint2").u32(2).floats(0.02, 0.02).u32(0).u32(0))
		put(target, at, wireOf{}.head(at).floats(x+0.01, 0.1, 0.2, 0, 1, 0, 0))
		if i%3 == 0 {
			pix := make([]byte, 2*3*3)
			pix[0] = byte(i)
			put(color, at, append(wireOf{}.head(at).u32(2).u32(3).text("rgb8").append(0).u32(9).u32(len(pix)), pix...))
			put(depth, at, append(wireOf{}.head(at).u32(2).u32(3).text("16UC1").append(0).u32(6).u32(12), make([]byte, 12)...))
		}
		if i%7 == 0 {
			data := grey(t, byte(i))
			put(wrist, at, append(wireOf{}.head(at).text("jpeg").u32(len(data)), data...))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func (w wireOf) append(b byte) wireOf { return append(w, b) }

func grey(t testing.TB, v byte) []byte {
	img := image.NewGray(image.Rect(0, 0, 8, 8))
	for i := range img.Pix {
		img.Pix[i] = v
	}
	img.SetGray(0, 0, color.Gray{v})
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBackend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arm.bag")
	arm(t, path, 2, true)
	robottest.TestBackend(t, func(t *testing.T) robot.Backend {
		b, err := bag.NewBackend(path, bag.BackendConfig{})
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}

func TestBackendWithoutFrankaStatesUsesKinematics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arm.bag")
	arm(t, path, 1, false)
	b, err := bag.NewBackend(path, bag.BackendConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	o, err := b.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q := franka.Ready()
	if want := franka.Forward(&q); o.State.EE != want || o.State.Q != q {
		t.Errorf("pose %v of %v, want %v of %v", o.State.EE, o.State.Q, want, q)
	}
}

func TestBackendGivesWhatWasRecorded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arm.bag")
	arm(t, path, 2, true)
	b, err := bag.NewBackend(path, bag.BackendConfig{Period: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	o, err := b.Reset(t.Context())
	n := 0
	for ; err == nil; n++ {
		at := began.Add(time.Duration(n) * 100 * time.Millisecond)
		if !o.State.Stamp.Equal(at) {
			t.Fatalf("step %d: stamp %v, want %v", n, o.State.Stamp, at)
		}
		if want := 0.3 + 0.01*float64(n); math.Abs(o.State.EE.P[0]-want) > 1e-9 || o.State.EE.Q != [4]float64{0, 1, 0, 0} {
			t.Errorf("step %d: pose %v, want x %g", n, o.State.EE, want)
		}
		if o.State.Wrench != [6]float64{1, 2, 3, 4, 5, 6} || math.Abs(o.State.Grip-0.04) > 1e-12 {
			t.Errorf("step %d: wrench %v, grip %g", n, o.State.Wrench, o.State.Grip)
		}
		if n > 0 && (math.Abs(o.Applied.Delta[0]-0.01) > 1e-9 || math.Abs(o.Applied.Grip-0.5) > 1e-12 || o.By != robot.ByLog) {
			t.Errorf("step %d: applied %v by %v", n, o.Applied, o.By)
		}
		if len(o.Frames) != 2 || o.Frames[0].Camera != "camera" || o.Frames[1].Camera != "wrist" {
			t.Fatalf("step %d: frames %v", n, o.Frames)
		}
		// The newest of every third, of every seventh hundredth.
		if got, want := o.Frames[0].Pix[2], byte(10*n/3*3); got != want {
			t.Errorf("step %d: red of the first pixel is %d, want %d", n, got, want)
		}
		if got, want := int(o.Frames[1].Pix[0]), 10*n/7*7; got < want-1 || got > want+1 || o.Frames[1].Seq != uint64(10*n/7) {
			t.Errorf("step %d: grey is %d in image %d, want %d", n, got, o.Frames[1].Seq, want)
		}
		o, err = b.Step(t.Context(), robot.Command{})
	}
	if !errors.Is(err, io.EOF) || n != 20 {
		t.Errorf("%d observations, then %v", n, err)
	}
}

// Of a long recording only some pictures are wanted.
func TestBackendDecodesWhatIsWanted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arm.bag")
	arm(t, path, 1, true)
	b, err := bag.NewBackend(path, bag.BackendConfig{Decode: func(camera string, seq uint64) bool { return camera == "camera" && seq%2 == 1 }})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	o, err := b.Reset(t.Context())
	for ; err == nil; o, err = b.Step(t.Context(), robot.Command{}) {
		for _, f := range o.Frames {
			if want := f.Camera == "camera" && f.Seq%2 == 1; (len(f.Pix) > 0) != want || (f.W > 0) != want || f.Stamp.IsZero() {
				t.Errorf("picture %d of %s: %d bytes, %dx%d, at %v; want pixels: %v", f.Seq, f.Camera, len(f.Pix), f.W, f.H, f.Stamp, want)
			}
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func TestBackendTellsWhatIsStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gap.bag")
	arm(t, path, 2, true)
	// All between 0.5 s and 1.5 s is missing.
	from := open(t, path, bag.Options{})
	cut := filepath.Join(t.TempDir(), "cut.bag")
	w, err := bag.Create(cut, bag.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var m bag.Message
	for from.Next(&m) == nil {
		if at := m.Time.Sub(began); at > time.Second/2 && at < 3*time.Second/2 && m.Type == "franka_msgs/FrankaState" {
			continue
		}
		if err := w.Write(&m); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := bag.NewBackend(cut, bag.BackendConfig{Stale: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var stale, fresh int
	_, err = b.Reset(t.Context())
	for ; !errors.Is(err, io.EOF); _, err = b.Step(t.Context(), robot.Command{}) {
		switch {
		case errors.Is(err, robot.ErrStale):
			stale++
		case err != nil:
			t.Fatal(err)
		default:
			fresh++
		}
	}
	if stale != 13 || fresh != 27 {
		t.Errorf("%d stale and %d fresh observations, want 13 and 27", stale, fresh)
	}
}

// A clock that was set while it was recorded, from 1970 to 2023, and a long break, are
// one silence as any other: two stretches, and no tick for each instant between.
func TestBackendPassesOverALongSilence(t *testing.T) {
	old := time.Unix(1, 0).UTC()
	for _, tt := range []struct {
		name         string
		back         time.Time // when the second stretch of a second begins
		stale        time.Duration
		fresh, quiet int
	}{
		{"the clock was set", began.Add(7 * time.Millisecond), 0, 20 + 20 + 19, 1},
		{"the clock was set, and no age is too old", began.Add(7 * time.Millisecond), -1, 20 + 72001 + 19, 0},
		{"ten seconds", old.Add(10*time.Second + 7*time.Millisecond), 0, 20 + 20 + 19, 1},
		{"under a second", old.Add(1907 * time.Millisecond), 0, 20 + 19 + 19, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ms := make([]jointed, 200)
			for i := range ms {
				ms[i] = jointed{numbers("panda_joint%d", 1, 7), make([]float64, 7), nil}
			}
			path := jointBagAt(t, ms, func(i int) time.Time {
				if i < 100 {
					return old.Add(time.Duration(i) * 10 * time.Millisecond)
				}
				return tt.back.Add(time.Duration(i-100) * 10 * time.Millisecond)
			})
			b, err := bag.NewBackend(path, bag.BackendConfig{Stale: tt.stale})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			fresh, quiet := 0, 0
			o, err := b.Reset(t.Context())
			for ; !errors.Is(err, io.EOF) && fresh+quiet < 100_000; o, err = b.Step(t.Context(), robot.Command{}) {
				if errors.Is(err, robot.ErrStale) {
					quiet++
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				// Ticks stay 50 ms apart, so that messages every 10 ms that begin 7 ms
				// after one are 3 ms old at each.
				if fresh++; o.State.Stamp.After(old.Add(time.Second)) && o.State.Stamp.Sub(old)%(50*time.Millisecond) != 47*time.Millisecond {
					t.Fatalf("observation %d is of %v", fresh, o.State.Stamp)
				}
			}
			if fresh != tt.fresh || quiet != tt.quiet {
				t.Errorf("%d fresh and %d stale observations, want %d and %d", fresh, quiet, tt.fresh, tt.quiet)
			}
		})
	}
}

func TestBackendRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arm.bag")
	arm(t, path, 0.5, true)
	for _, tt := range []struct {
		name string
		cfg  bag.BackendConfig
		want string
	}{
		{"a topic that is not there", bag.BackendConfig{Map: bag.Mapping{States: "/nothing"}}, "has no topic /nothing; there are /camera"},
		{"no state", bag.BackendConfig{Map: bag.Mapping{Target: "/joint_states"}}, "states=TOPIC"},
		{"a period below 0", bag.BackendConfig{Period: -1}, "period of -1ns"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := bag.NewBackend(path, tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
	t.Run("messages of another type", func(t *testing.T) {
		b, err := bag.NewBackend(path, bag.BackendConfig{Map: bag.Mapping{States: "/joint_states"}})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if _, err := b.Reset(t.Context()); err == nil || !strings.Contains(err.Error(), "not laid out as franka_msgs/FrankaState") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("nothing of a camera", func(t *testing.T) {
		m := bag.Mapping{States: "/franka_state_controller/franka_states", Cameras: []bag.Camera{{Name: "wrist", Topic: "/wrist/image/compressed"}}}
		b, err := bag.NewBackend(path, bag.BackendConfig{Map: m, From: began.Add(430 * time.Millisecond), To: began.Add(480 * time.Millisecond)})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if _, err := b.Reset(t.Context()); err == nil || !strings.Contains(err.Error(), "never a message of each of /wrist/image/compressed") {
			t.Errorf("error %v", err)
		}
	})
}

func TestGuess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arm.bag")
	arm(t, path, 0.5, true)
	m, why := bag.Guess(open(t, path, bag.Options{}).Info())
	want := bag.Mapping{
		Cameras: []bag.Camera{{Name: "camera", Topic: "/camera/color/image_raw"}, {Name: "wrist", Topic: "/wrist/image/compressed"}},
		States:  "/franka_state_controller/franka_states", Joints: "/joint_states", Gripper: "/franka_gripper/joint_states",
		Target: "/cartesian_impedance_controller/equilibrium_pose",
	}
	if !slices.Equal(m.Cameras, want.Cameras) || m.States != want.States || m.Joints != want.Joints || m.Gripper != want.Gripper || m.Target != want.Target || m.Pose != "" {
		t.Errorf("got %+v\nwant %+v", m, want)
	}
	if len(why) != 7 || !slices.ContainsFunc(why, func(s string) bool { return strings.Contains(s, "depth") }) {
		t.Errorf("reasons %q", why)
	}
	for _, word := range []string{"wrist=", "top=/camera/color/image_raw", "pose=/p"} {
		if err := m.Set(word); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(m.Cameras, []bag.Camera{{Name: "top", Topic: "/camera/color/image_raw"}}) || m.Pose != "/p" {
		t.Errorf("after Set: %+v", m)
	}
	if err := m.Set("nonsense"); err == nil {
		t.Error("a word without = is taken")
	}
}
