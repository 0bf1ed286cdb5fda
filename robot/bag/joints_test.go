package bag_test

import (
	"errors"
	"fmt"
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
)

// jointed is a message of joints; v has a velocity for each, or is empty.
type jointed struct {
	names []string
	q, v  []float64
}

func numbers(format string, from, to int) (names []string) {
	step := 1
	if to < from {
		step = -1
	}
	for i := from; ; i += step {
		if names = append(names, fmt.Sprintf(format, i)); i == to {
			return names
		}
	}
}

// jointBag writes messages of joints, one each 10 ms.
func jointBag(t testing.TB, ms []jointed) string {
	t.Helper()
	return jointBagAt(t, ms, func(i int) time.Time { return began.Add(time.Duration(i) * 10 * time.Millisecond) })
}

func jointBagAt(t testing.TB, ms []jointed, when func(int) time.Time) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "joints.bag")
	w, err := bag.Create(path, bag.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := connect("/joint_states", "sensor_msgs/JointState")
	for i, m := range ms {
		at := when(i)
		data := wireOf{}.head(at).u32(len(m.names))
		for _, n := range m.names {
			data = data.text(n)
		}
		data = data.u32(len(m.q)).floats(m.q...).u32(len(m.v)).floats(m.v...).u32(0)
		if err := w.Write(&bag.Message{Topic: c.Topic, Type: c.Type, Time: at, Conn: c, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Joints go by their names: in another order, between others, and a gripper's
// message on the same topic moves no joint of the arm.
func TestBackendTakesJointsByTheirNames(t *testing.T) {
	q, v := []float64{.1, .2, .3, .4, .5, .6, .7}, []float64{1, 2, 3, 4, 5, 6, 7}
	back, vback := []float64{.7, .6, .5, .4, .3, .2, .1}, []float64{7, 6, 5, 4, 3, 2, 1}
	arm := jointed{numbers("panda_joint%d", 1, 7), q, v}
	for _, tt := range []struct {
		name string
		ms   []jointed
		grip float64
	}{
		{"in order", []jointed{arm}, 0},
		{"backwards", []jointed{{numbers("fr3_joint%d", 7, 1), back, vback}}, 0},
		{"from 0", []jointed{{numbers("joint_%d", 6, 0), back, vback}}, 0},
		{"with fingers first", []jointed{{append(numbers("panda_finger_joint%d", 1, 2), arm.names...), append([]float64{.01, .02}, q...), append([]float64{0, 0}, v...)}}, .03},
		{"beside another joint", []jointed{{append([]string{"knuckle_joint"}, arm.names...), append([]float64{.8}, q...), append([]float64{9}, v...)}}, 0},
		{"beside a base of three wheels", []jointed{{append(numbers("wheel%d", 1, 3), arm.names...), append([]float64{7, 8, 9}, q...), append([]float64{7, 8, 9}, v...)}}, 0},
		{"a gripper's message between", []jointed{arm, {[]string{"knuckle_joint"}, []float64{.8}, []float64{9}}}, 0},
		{"a part of the arm between", []jointed{arm, {numbers("panda_joint%d", 1, 3), []float64{7, 8, 9}, []float64{7, 8, 9}}}, 0},
		{"a message without positions between", []jointed{arm, {arm.names, nil, nil}}, 0},
		{"fingers alone between", []jointed{arm, {numbers("panda_finger_joint%d", 1, 2), []float64{.01, .02}, nil}}, .03},
		{"seven names without numbers", []jointed{{strings.Split("a b c d e f g", " "), q, v}}, 0},
		{"without names", []jointed{{nil, q, v}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ms := append(slices.Clone(tt.ms), arm) // after the tick that is looked at
			b, err := bag.NewBackend(jointBag(t, ms), bag.BackendConfig{Period: time.Duration(len(tt.ms)-1)*10*time.Millisecond + 1})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if _, err := b.Reset(t.Context()); err != nil {
				t.Fatal(err)
			}
			o, err := b.Step(t.Context(), robot.Command{})
			if err != nil {
				t.Fatal(err)
			}
			want := [7]float64(q)
			if o.State.Q != want || o.State.DQ != [7]float64(v) || o.State.EE != franka.Forward(&want) {
				t.Errorf("joints %v, velocities %v; want %v and %v", o.State.Q, o.State.DQ, q, v)
			}
			if d := o.State.Grip - tt.grip; d < -1e-12 || d > 1e-12 {
				t.Errorf("the grip is %g, want %g", o.State.Grip, tt.grip)
			}
		})
	}
}

// The hand is where it is mapped, among the arm's joints too, and is not closed before
// anything was said of it.
func TestBackendTakesTheMappedGripper(t *testing.T) {
	const topic = "/joint_states"
	q := []float64{.1, .2, .3, .4, .5, .6, .7}
	arm := jointed{numbers("panda_joint%d", 1, 7), q, nil}
	merged := jointed{append(slices.Clone(arm.names), "panda_finger_joint1", "panda_finger_joint2"), append(slices.Clone(q), .01, .02), nil}
	fingers := jointed{merged.names[7:], merged.q[7:], nil}
	knuckles := jointed{[]string{"left_knuckle", "right_knuckle"}, []float64{.01, .02}, nil}
	both := bag.Mapping{Joints: topic, Gripper: topic}
	for _, tt := range []struct {
		name    string
		ms      []jointed
		gripper string // of the messages on, 5 ms after those of the joints; empty: the joints'
		on      []jointed
		grip    float64
	}{
		{"on the joints' topic", []jointed{merged}, "", nil, .03},
		{"on the joints' topic, by turns", []jointed{arm, arm, fingers, arm}, "", nil, .03},
		{"on a topic that has the arm as well", []jointed{arm}, "/all", []jointed{merged}, .03},
		{"on a topic of its own", []jointed{arm}, "/hand", []jointed{knuckles}, .03},
		{"on a topic of its own, later", []jointed{arm, arm, arm, arm}, "/hand", []jointed{{}, {}, knuckles}, .03},
		{"never", []jointed{arm, arm}, "/hand", []jointed{{}, {}}, -1},
		{"never among the joints", []jointed{arm, arm}, "", nil, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := both
			path := jointBag(t, append(slices.Clone(tt.ms), arm))
			if tt.gripper != "" {
				m.Gripper = tt.gripper
				path = beside(t, path, tt.gripper, tt.on)
			}
			b, err := bag.NewBackend(path, bag.BackendConfig{Map: m, Period: 10 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			o, err := b.Reset(t.Context())
			if tt.grip < 0 {
				if want := "none on " + m.Gripper + " tells how far fingers are open"; err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q in it", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := o.State.Grip - tt.grip; d < -1e-12 || d > 1e-12 {
				t.Errorf("the grip is %g, want %g", o.State.Grip, tt.grip)
			}
		})
	}
}

// A Robotiq's joint is an angle, 0 where it is open and 0.8 where it is closed: taken for metres
// it would be the other way round.
func TestBackendRefusesFingersThatAreAngles(t *testing.T) {
	arm := jointed{numbers("panda_joint%d", 1, 7), make([]float64, 7), nil}
	hand := func(x ...float64) (ms []jointed) {
		for _, x := range x {
			ms = append(ms, jointed{[]string{"finger_joint"}, []float64{x}, nil})
		}
		return ms
	}
	merged := jointed{append(slices.Clone(arm.names), "finger_joint"), append(make([]float64, 7), 0.8), nil}
	opposed := jointed{append(slices.Clone(arm.names), "left_finger_joint", "right_finger_joint"), append(make([]float64, 7), 0.8, -0.8), nil}
	const topic = "/robotiq/joint_states"
	for _, tt := range []struct {
		name string
		m    bag.Mapping
		ms   []jointed
		hand []jointed
		want string // in the error; empty: none
	}{
		{"a hand that closes", bag.Mapping{Joints: "/joint_states", Gripper: topic}, []jointed{arm, arm, arm, arm}, hand(0, 0.04, 0.8), topic + " at "},
		{"a hand that is not calibrated", bag.Mapping{Joints: "/joint_states", Gripper: topic}, []jointed{arm, arm, arm, arm}, hand(-0.004, 0.09, 0.081), ""},
		{"no number", bag.Mapping{Joints: "/joint_states", Gripper: topic}, []jointed{arm, arm, arm, arm}, hand(math.NaN(), math.Inf(1), 0), ""},
		{"among the joints", bag.Mapping{Joints: "/joint_states"}, []jointed{arm, merged, arm}, nil, "/joint_states at "},
		{"against each other", bag.Mapping{Joints: "/joint_states"}, []jointed{arm, opposed, arm}, nil, "/joint_states at "},
		{"among the joints, taken out", bag.Mapping{Joints: "/joint_states", Handless: true}, []jointed{merged, merged, merged}, nil, ""},
		{"by the guess", bag.Mapping{}, []jointed{arm, arm, arm, arm}, hand(0, 0.04, 0.8), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := jointBag(t, tt.ms)
			if tt.hand != nil {
				path = beside(t, path, topic, tt.hand)
			}
			b, err := bag.NewBackend(path, bag.BackendConfig{Map: tt.m, Period: 10 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			for _, err = b.Reset(t.Context()); err == nil; _, err = b.Step(t.Context(), robot.Command{}) {
			}
			if tt.want == "" && !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), tt.want) || tt.want != "" && !strings.Contains(err.Error(), "fingers at 0.8 are not") {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
			if m := b.Map(); tt.m.Joints == "" && (m.Gripper != "" || b.Handed()) {
				t.Errorf("the guess takes %s for a hand", m.Gripper)
			}
		})
	}
	var m bag.Mapping
	if err := m.Set("gripper="); err != nil || !m.Handless {
		t.Errorf("%+v, %v; want no fingers", m, err)
	}
	if err := m.Set("gripper=/hand"); err != nil || m.Handless {
		t.Errorf("%+v, %v; want those of /hand", m, err)
	}
}

// Where the grip counts, a hand of which nothing is said is not a closed one.
func TestBackendWantsAHandWhereTheGripCounts(t *testing.T) {
	arm := jointed{numbers("panda_joint%d", 1, 7), make([]float64, 7), nil}
	fingers := jointed{numbers("panda_finger_joint%d", 1, 2), []float64{.01, .02}, nil}
	for _, tt := range []struct {
		name string
		m    bag.Mapping
		ms   []jointed
		want string
	}{
		{"no fingers", bag.Mapping{Joints: "/joint_states"}, []jointed{arm, arm}, "/joint_states has no fingers"},
		{"no topic that could have any", bag.Mapping{States: "/joint_states"}, []jointed{arm, arm}, "no topic is taken for gripper; there are /joint_states"},
		{"fingers later", bag.Mapping{Joints: "/joint_states"}, []jointed{arm, arm, fingers, arm}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := jointBag(t, tt.ms)
			b, err := bag.NewBackend(path, bag.BackendConfig{Map: tt.m, Hand: true})
			var o robot.Observation
			if err == nil {
				defer b.Close()
				o, err = b.Reset(t.Context())
			}
			if tt.want == "" {
				if err != nil || o.State.Grip < 0.029 || !b.Handed() {
					t.Errorf("the grip is %g, %v; want 0.03 from the first observation on", o.State.Grip, err)
				}
				return
			}
			if !errors.Is(err, bag.ErrHandless) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

// beside is the recording at path with messages of joints on another topic.
func beside(t testing.TB, path, topic string, ms []jointed) string {
	t.Helper()
	hand := jointBagAt(t, ms, func(i int) time.Time { return began.Add(time.Duration(i)*10*time.Millisecond + 5*time.Millisecond) })
	merged := filepath.Join(t.TempDir(), "both.bag")
	w, err := bag.Create(merged, bag.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, from := range []string{path, hand} {
		b, err := bag.Open(from, bag.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var m bag.Message
		for b.Next(&m) == nil {
			c := *m.Conn
			if m.Conn = &c; i == 1 {
				m.Topic, c.Topic = topic, topic
			}
			if err := w.Write(&m); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return merged
}

// Who has no arm in a recording is told what is there instead.
func TestBackendSaysWhatJointsThereAre(t *testing.T) {
	six := jointed{numbers("panda_joint%d", 1, 6), make([]float64, 6), nil}
	grip := jointed{[]string{"knuckle_joint"}, []float64{.8}, nil}
	for _, tt := range []struct {
		name string
		ms   []jointed
		want string
	}{
		{"six", []jointed{grip, six, grip}, "/joint_states has 6 joints, want 7 of one arm, named as panda_joint1 to panda_joint7; they are panda_joint1, panda_joint2"},
		{"six and a gripper", []jointed{{append(numbers("panda_joint%d", 1, 6), "knuckle_joint"), make([]float64, 7), nil}}, "has 7 joints, want 7 of one arm"},
		{"one twice", []jointed{{append(numbers("panda_joint%d", 1, 7), "panda_joint7"), make([]float64, 8), nil}}, "has 8 joints, want 7 of one arm"},
		{"two arms", []jointed{{append(numbers("left_joint%d", 1, 7), numbers("right_joint%d", 1, 7)...), make([]float64, 14), nil}}, "has the joints of 2 arms, want 7 of one arm"},
		{"six without names", []jointed{{nil, make([]float64, 6), nil}}, "has 6 joints, want 7 of one arm, named as panda_joint1 to panda_joint7; they have no names"},
		{"no positions", []jointed{{numbers("panda_joint%d", 1, 7), nil, nil}}, "has 0 positions for 7 names"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := jointBag(t, tt.ms)
			b, err := bag.NewBackend(path, bag.BackendConfig{})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			for range 2 {
				if _, err := b.Reset(t.Context()); err == nil || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("error %v, want %q in it", err, tt.want)
				}
			}
		})
	}
}
