package arm

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	frankamsg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
)

// matrix is the transform of a pose, by rows: what O_T_EE is not.
func matrix(p robot.Pose) (m [4][4]float64) {
	for c := range 3 {
		var e [3]float64
		e[c] = 1
		for r, v := range franka.Rotate(p.Q, e) {
			m[r][c] = v
		}
		m[c][3] = p.P[c]
	}
	m[3][3] = 1
	return m
}

func columns(p robot.Pose) (c [16]float64) {
	m := matrix(p)
	for i := range c {
		c[i] = m[i%4][i/4]
	}
	return c
}

func rows(p robot.Pose) (c [16]float64) {
	m := matrix(p)
	for i := range c {
		c[i] = m[i/4][i%4]
	}
	return c
}

func stateOf(ee, k robot.Pose) *frankamsg.FrankaState {
	m := &frankamsg.FrankaState{OTEE: columns(ee), EETK: columns(k), RobotMode: frankamsg.Move}
	m.Header.Stamp = time.Unix(100, 0)
	return m
}

var (
	tool = robot.Pose{P: [3]float64{0.5, -0.1, 0.3}, Q: franka.Mul(franka.Exp([3]float64{0, 0, 0.7}), [4]float64{0, 1, 0, 0})}
	none = robot.Pose{Q: [4]float64{1, 0, 0, 0}}
)

func TestSenseReadsPoseAndJoints(t *testing.T) {
	m := stateOf(tool, none)
	m.Q, m.Dq = [7]float64{1, 2, 3, 4, 5, 6, 7}, [7]float64{7, 6, 5, 4, 3, 2, 1}
	s, err := sense(m)
	if err != nil {
		t.Fatal(err)
	}
	d := franka.Diff(s.EE, tool)
	if norm(d[0], d[1], d[2]) > 1e-12 || norm(d[3], d[4], d[5]) > 1e-7 || s.Q != m.Q || s.DQ != m.Dq || !s.Stamp.Equal(time.Unix(100, 0)) {
		t.Errorf("got %+v, want the pose %v", s, tool)
	}
}

// The power of a wrench does not depend on where it is told.
func TestSenseMovesTheWrenchToTheTool(t *testing.T) {
	for _, k := range []robot.Pose{none, {P: [3]float64{0.02, -0.01, 0.1}, Q: franka.Exp([3]float64{0.3, -0.2, 1})}} {
		m := stateOf(tool, k)
		m.KFExtHatK = [6]float64{3, -2, 5, 0.4, 0.1, -0.7}
		s, err := sense(m)
		if err != nil {
			t.Fatal(err)
		}
		// A motion of the tool, base frame, and the same as K's own, in K.
		v, w := [3]float64{0.1, -0.3, 0.2}, [3]float64{-0.5, 0.4, 0.9}
		kInBase := compose(tool, k)
		r := [3]float64{kInBase.P[0] - tool.P[0], kInBase.P[1] - tool.P[1], kInBase.P[2] - tool.P[2]}
		vk := [3]float64{v[0] + w[1]*r[2] - w[2]*r[1], v[1] + w[2]*r[0] - w[0]*r[2], v[2] + w[0]*r[1] - w[1]*r[0]}
		back := franka.Conj(kInBase.Q)
		vk, wk := franka.Rotate(back, vk), franka.Rotate(back, w)
		var want, got float64
		for i := range 3 {
			want += m.KFExtHatK[i]*vk[i] + m.KFExtHatK[3+i]*wk[i]
			got += s.Wrench[i]*v[i] + s.Wrench[3+i]*w[i]
		}
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("K at %v: power %g W, want %g", k, got, want)
		}
	}
}

func TestSenseRefusesWhatIsNoState(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(m *frankamsg.FrankaState)
		want  string
	}{
		"no stamp":     {func(m *frankamsg.FrankaState) { m.Header.Stamp = time.Time{} }, "no stamp"},
		"a zero stamp": {func(m *frankamsg.FrankaState) { m.Header.Stamp = time.Unix(0, 0) }, "no stamp"},
		"row-major":    {func(m *frankamsg.FrankaState) { m.OTEE = rows(tool) }, "column-major"},
		"zeros":        {func(m *frankamsg.FrankaState) { m.OTEE = [16]float64{15: 1} }, "no rotation"},
		"a mirror":     {func(m *frankamsg.FrankaState) { m.OTEE[0], m.OTEE[1], m.OTEE[2] = -m.OTEE[0], -m.OTEE[1], -m.OTEE[2] }, "mirrors"},
		"a skewed K":   {func(m *frankamsg.FrankaState) { m.EETK[1] = 0.5 }, "EE_T_K is no rotation"},
		"NaN pose":     {func(m *frankamsg.FrankaState) { m.OTEE[12] = math.NaN() }, "O_T_EE holds NaN"},
		"NaN joint":    {func(m *frankamsg.FrankaState) { m.Q[3] = math.NaN() }, "is NaN"},
		"endless force": {func(m *frankamsg.FrankaState) { m.KFExtHatK[0] = math.Inf(1) },
			"force is"},
	} {
		m := stateOf(tool, none)
		tt.spoil(m)
		if _, err := sense(m); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, tt.want)
		}
	}
}

func FuzzRigid(f *testing.F) {
	c := columns(tool)
	f.Add(c[0], c[1], c[2], c[5], c[15])
	f.Add(math.NaN(), 0.0, math.Inf(1), -1.0, 1.0)
	f.Fuzz(func(t *testing.T, a, b, c, d, e float64) {
		m := columns(tool)
		m[0], m[1], m[2], m[5], m[15] = a, b, c, d, e
		if rigid("m", &m) != nil {
			return
		}
		q := franka.Matrix(&m).Q
		if n := q[0]*q[0] + q[1]*q[1] + q[2]*q[2] + q[3]*q[3]; math.Abs(n-1) > 1e-9 {
			t.Errorf("%v has the quaternion %v", m, q)
		}
	})
}

func TestTrip(t *testing.T) {
	for _, tt := range []struct {
		name      string
		mode      uint8
		now, last frankamsg.Errors
		want      string // empty: none
	}{
		{"moving", frankamsg.Move, frankamsg.Errors{}, frankamsg.Errors{CartesianReflex: true}, ""},
		{"idle", frankamsg.Idle, frankamsg.Errors{}, frankamsg.Errors{}, ""},
		{"reflex", frankamsg.Reflex, frankamsg.Errors{CartesianReflex: true, JointReflex: true}, frankamsg.Errors{}, "joint reflex, cartesian reflex"},
		{"reflex that is told as the last motion's", frankamsg.Reflex, frankamsg.Errors{}, frankamsg.Errors{CommunicationConstraintsViolation: true}, "communication constraints violation"},
		{"reflex without a cause", frankamsg.Reflex, frankamsg.Errors{}, frankamsg.Errors{}, "no cause given"},
		{"user stop", frankamsg.UserStopped, frankamsg.Errors{}, frankamsg.Errors{}, "user stop"},
	} {
		err := trip(&frankamsg.FrankaState{RobotMode: tt.mode, CurrentErrors: tt.now, LastMotionErrors: tt.last})
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v, want nothing", tt.name, err)
		case tt.want != "" && (!errors.Is(err, robot.ErrStopped) || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want robot.ErrStopped with %q", tt.name, err, tt.want)
		}
	}
}

func TestFollowKeepsTheSign(t *testing.T) {
	a := franka.Exp([3]float64{0.1, 0.2, 3.1})
	b := [4]float64{-a[0], -a[1], -a[2], -a[3]}
	if got := follow(b, a); got != a {
		t.Errorf("got %v, want %v", got, a)
	}
	if got := follow(a, a); got != a {
		t.Errorf("got %v, want %v", got, a)
	}
}

func TestAPublisherThatIsHeldUpIsNotSlow(t *testing.T) {
	const due = time.Second / 30
	for name, tt := range map[string]struct {
		gaps []time.Duration
		want float64 // a second
	}{
		"in step":             {[]time.Duration{due, due, due, due, due}, 30},
		"held up twice":       {[]time.Duration{due, 300 * time.Millisecond, due, 250 * time.Millisecond, due}, 30},
		"slow":                {[]time.Duration{6 * due, 6 * due, 6 * due, 6 * due, 6 * due}, 5},
		"slow but for bursts": {[]time.Duration{6 * due, due / 10, 6 * due, due / 10, 6 * due}, 5},
	} {
		if got := usual(tt.gaps); math.Abs(got-tt.want) > 0.01*tt.want {
			t.Errorf("%s: %g a second, want %g", name, got, tt.want)
		}
	}
}
