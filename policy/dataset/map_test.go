package dataset

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset/table"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// sheet makes a dataset of one episode of T steps.
func sheet(T int, cols map[string][]float64) (Info, *table.Table) {
	in := Info{Path: "p", Format: "LeRobot", FPS: 10}
	for name, xs := range cols {
		in.Columns = append(in.Columns, table.Column{Name: name, Kind: "float64", Shape: []int{len(xs) / T}})
	}
	slices.SortFunc(in.Columns, func(a, b table.Column) int { return strings.Compare(a.Name, b.Name) })
	return in, &table.Table{Name: "e", File: "rows.parquet", Len: T, Columns: cols}
}

func episode(t *testing.T, m Map, in Info, tab *table.Table, o Options) policy.Episode {
	t.Helper()
	p, err := m.plan(in)
	if err != nil {
		t.Fatal(err)
	}
	if o.FPS == 0 {
		o.FPS = 10
	}
	e, err := p.convert(tab, o)
	if err != nil {
		t.Fatal(err)
	}
	e.ID = "e"
	if err := e.Validate(); err != nil {
		t.Fatal(err)
	}
	return e
}

// posed is a walk of T poses, as positions and quaternions xyzw.
func posed(T int) (ps []robot.Pose, pos, quat []float64) {
	rng := rand.New(rand.NewPCG(5, 6))
	p := robot.Pose{P: [3]float64{0.4, 0, 0.3}, Q: franka.Unit([4]float64{0.1, 0.9, 0.2, -0.1})}
	for range T {
		ps = append(ps, p)
		pos = append(pos, p.P[:]...)
		quat = append(quat, p.Q[1], p.Q[2], p.Q[3], p.Q[0])
		var d [6]float64
		for k := range d {
			d[k] = 0.02 * rng.NormFloat64()
		}
		p = franka.Move(p, &d)
	}
	return ps, pos, quat
}

func near(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) < 1e-9) {
			t.Fatalf("%s: got %v, want %v", what, got, want)
		}
	}
}

// apart is how far two rotations are from each other, rad.
func apart(a, b [4]float64) float64 {
	r := franka.Log(franka.Mul(a, franka.Conj(b)))
	return norm(r[:])
}

func TestStateIsReadInOurUnitsAndOrder(t *testing.T) {
	const s = math.Sqrt2 / 2
	about := map[Turn][]float64{ // a quarter turn about z, then half a turn about x
		XYZW: {s, s, 0, 0}, WXYZ: {0, s, s, 0}, RotVec: {math.Pi * s, math.Pi * s, 0}, Euler: {math.Pi, 0, math.Pi / 2},
	}
	for as, v := range about {
		in, tab := sheet(2, map[string][]float64{
			"pos": {0.4, 0.1, 1.3, 0.41, 0.1, 1.3}, "rot": append(slices.Clone(v), v...), "act": make([]float64, 6),
			"q":     {0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6},
			"force": {1, 2, 3, 4, 5, 6}, "hand": {0.03, -0.03, 0.04, -0.04},
		})
		e := episode(t, Map{Position: "pos", Rotation: "rot", RotationAs: as, Base: [3]float64{0, 0, 1}, Joints: "q", Speeds: "q", Wrench: "force", Grip: "hand",
			Action: Action{Position: "act"}}, in, tab, Options{Last: Repeat})
		st := e.Inputs[0].State
		near(t, "position", st.EE.P[:], []float64{0.4, 0.1, 0.3})
		if d := apart(st.EE.Q, [4]float64{0, s, s, 0}); d > 1e-9 {
			t.Errorf("%s: %v is %v rad from where it should be", as, st.EE.Q, d)
		}
		near(t, "joints", st.Q[:], []float64{0, 1, 2, 3, 4, 5, 6})
		near(t, "speeds", st.DQ[:], []float64{0, 1, 2, 3, 4, 5, 6})
		near(t, "force", st.Wrench[:], []float64{1, 2, 3, 0, 0, 0})
		near(t, "fingers", []float64{st.Grip, e.Inputs[1].State.Grip}, []float64{0.06, 0.08})
		if got := e.Inputs[1].State.Stamp; !got.Equal(time.Unix(0, 1e8)) {
			t.Errorf("the second step is at %v, want 0.1 s", got)
		}
	}
}

func TestOpeningsAreScaled(t *testing.T) {
	in, tab := sheet(2, map[string][]float64{"pos": make([]float64, 6), "rot": {0, 0, 0, 1, 0, 0, 0, 1}, "act": make([]float64, 6), "hand": {0, 0.25}})
	m := Map{Position: "pos", Rotation: "rot", Grip: "hand", GripScale: -0.08, GripOffset: 0.08, Action: Action{Position: "act"}}
	e := episode(t, m, in, tab, Options{Last: Repeat})
	near(t, "0 open to 1 closed", []float64{e.Inputs[0].State.Grip, e.Inputs[1].State.Grip}, []float64{0.08, 0.06})
}

func TestMovesAreScaledAndTurned(t *testing.T) {
	ps, pos, quat := posed(4)
	act := []float64{1, 0, -0.5, 0, 0.2, 0, -1}
	var acts []float64
	for range 4 {
		acts = append(acts, act...)
	}
	in, tab := sheet(4, map[string][]float64{"pos": pos, "quat": quat, "a": acts})
	m := Map{Position: "pos", Rotation: "quat", Action: Action{Position: "a[0:3]", Rotation: "a[3:6]", Scale: 0.05, TurnScale: 0.5, Grip: "a[6]", Open: -1, Closed: 1}}
	e := episode(t, m, in, tab, Options{})
	if e.Len() != 3 {
		t.Fatalf("%d commands, want 3: what follows the last is not known", e.Len())
	}
	for _, c := range e.Applied {
		near(t, "base frame", c.Delta[:], []float64{0.05, 0, -0.025, 0, 0.1, 0})
		near(t, "opening", []float64{c.Grip}, []float64{1})
	}
	m.Action.ToolFrame = true
	e = episode(t, m, in, tab, Options{})
	for i, c := range e.Applied {
		d, r := franka.Rotate(ps[i].Q, [3]float64{0.05, 0, -0.025}), franka.Rotate(ps[i].Q, [3]float64{0, 0.1, 0})
		near(t, "tool frame", c.Delta[:], append(d[:], r[:]...))
	}
	m.Action.ToolFrame, m.Action.RotationAs = false, Euler
	e = episode(t, m, in, tab, Options{})
	near(t, "angles about one axis", e.Applied[0].Delta[3:], []float64{0, 0.1, 0})
}

func TestAbsolutePosesBecomeMovesThatLeadThere(t *testing.T) {
	ps, pos, quat := posed(9)
	// The action of a step is the pose that is reached at the next one.
	in, tab := sheet(8, map[string][]float64{"pos": pos[:24], "quat": quat[:32], "to": pos[3:], "turn": quat[4:]})
	m := Map{Position: "pos", Rotation: "quat", Action: Action{Absolute: true, Position: "to", Rotation: "turn", RotationAs: XYZW}}
	e := episode(t, m, in, tab, Options{Last: Repeat})
	target := ps[0]
	for i := range e.Applied {
		target = franka.Move(target, &e.Applied[i].Delta)
		near(t, "target", target.P[:], ps[i+1].P[:])
		if d := apart(target.Q, ps[i+1].Q); d > 1e-9 {
			t.Errorf("step %d: the target is turned by %v rad", i, d)
		}
	}
	// A target that lags: from the state, every move starts where the tool is.
	lag := slices.Clone(pos[:24])
	for i := 0; i < len(lag); i += 3 {
		lag[i] -= 0.01
	}
	tab.Columns["pos"] = lag
	m.Action.FromState = true
	e = episode(t, m, in, tab, Options{Last: Repeat})
	for i := range e.Applied {
		got := franka.Move(e.Inputs[i].State.EE, &e.Applied[i].Delta)
		near(t, "target from the state", got.P[:], ps[i+1].P[:])
	}
}

func TestJointsGiveThePoseOfAPanda(t *testing.T) {
	q := franka.Ready()
	var qs, to []float64
	for i := range 3 {
		row := q
		row[0] += 0.05 * float64(i)
		qs = append(qs, row[:]...)
		row[0] += 0.05
		to = append(to, row[:]...)
	}
	in, tab := sheet(3, map[string][]float64{"q": qs, "to": to})
	e := episode(t, Map{Joints: "q", Action: Action{Absolute: true, Joints: "to"}}, in, tab, Options{Terminal: Always})
	if want := franka.Forward(&q); e.Inputs[0].State.EE != want {
		t.Errorf("pose %v, want %v", e.Inputs[0].State.EE, want)
	}
	for i, c := range e.Applied {
		near(t, "turn about the first joint", c.Delta[3:], []float64{0, 0, 0.05})
		if i < 2 {
			got := franka.Move(e.Inputs[i].State.EE, &c.Delta)
			near(t, "target", got.P[:], e.Inputs[i+1].State.EE.P[:])
		}
	}
}

func TestHandHoldsUnlessItIsTold(t *testing.T) {
	a := Action{Open: 1, Closed: -1, Hold: true}
	was := 1.0
	for i, tt := range []struct{ x, want float64 }{{0, 1}, {-0.4, 1}, {-0.5, 0}, {0.4, 0}, {0.5, 1}, {2, 1}, {-2, 0}} {
		if was = a.opening(tt.x, was); was != tt.want {
			t.Errorf("step %d: %v gives %v, want %v", i, tt.x, was, tt.want)
		}
	}
	a.Hold = false
	for _, tt := range []struct{ x, want float64 }{{0, 0.5}, {-1, 0}, {1, 1}, {3, 1}} {
		if got := a.opening(tt.x, 0.3); got != tt.want {
			t.Errorf("%v gives %v, want %v", tt.x, got, tt.want)
		}
	}
}

func TestEndsOfEpisodes(t *testing.T) {
	const T = 3
	cols := map[string][]float64{"pos": {0, 0, 0, 1e-2, 0, 0, 2e-2, 0, 0}, "rot": {0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}, "act": make([]float64, 9),
		"won": {0, 0, 1}, "lost": {0, 0, 0}, "over": {0, 0, 1}, "cut": {0, 0, 1}, "pay": {0, 0, 1}, "debt": {-1, -1, -1}}
	for _, tt := range []struct {
		name     string
		m        Map
		o        Options
		terminal bool
		steps    int
	}{
		{"nothing is known", Map{}, Options{}, false, T - 1},
		{"done", Map{Done: "over"}, Options{}, true, T},
		{"done by the clock", Map{Done: "over", Truncated: "cut"}, Options{}, false, T - 1},
		{"success goes before done", Map{Done: "over", Success: "lost"}, Options{}, false, T - 1},
		{"success without done", Map{Success: "won"}, Options{}, true, T},
		{"by done", Map{Done: "over", Success: "lost"}, Options{Terminal: ByDone}, true, T},
		{"by a reward", Map{Done: "over", Reward: "pay"}, Options{Terminal: BySuccess}, true, T},
		{"by a debt", Map{Done: "over", Reward: "debt"}, Options{Terminal: BySuccess}, false, T - 1},
		{"always", Map{}, Options{Terminal: Always}, true, T},
		{"never", Map{Success: "won"}, Options{Terminal: Never}, false, T - 1},
		{"drop", Map{Success: "won"}, Options{Last: Drop}, true, T - 1},
		{"repeat", Map{}, Options{Last: Repeat}, false, T},
	} {
		tt.m.Position, tt.m.Rotation, tt.m.Action.Position = "pos", "rot", "act"
		in, tab := sheet(T, cols)
		e := episode(t, tt.m, in, tab, tt.o)
		if e.Terminal != tt.terminal || e.Len() != tt.steps {
			t.Errorf("%s: terminal %t with %d steps, want %t with %d", tt.name, e.Terminal, e.Len(), tt.terminal, tt.steps)
		}
		if tt.m.Reward != "" && (len(e.Rewards) != e.Len() || e.Rewards[0] != cols[string(tt.m.Reward)][0]) || tt.m.Reward == "" && e.Rewards != nil {
			t.Errorf("%s: rewards %v", tt.name, e.Rewards)
		}
		last := e.Inputs[e.Len()]
		if last.Step != e.Len() || last.State.EE.P[0] != 2e-2 {
			t.Errorf("%s: the last observation is %d at %v", tt.name, last.Step, last.State.EE.P)
		}
	}
	// An observation after the last action makes both rules needless.
	in, tab := sheet(T, cols)
	tab.Last = map[string][]float64{"pos": {3e-2, 0, 0}, "rot": {0, 0, 0, 1}}
	e := episode(t, Map{Position: "pos", Rotation: "rot", Action: Action{Position: "act"}, Human: "won"}, in, tab, Options{Last: Drop})
	if e.Len() != T || e.Inputs[T].State.EE.P[0] != 3e-2 {
		t.Errorf("%d steps that end at %v", e.Len(), e.Inputs[e.Len()].State.EE.P)
	}
	if e.By[0] != robot.ByLog || e.By[2] != robot.ByHuman {
		t.Errorf("decided by %v", e.By)
	}
	in, tab = sheet(1, map[string][]float64{"pos": {0, 0, 0}, "rot": {0, 0, 0, 1}, "act": {0, 0, 0}})
	p, err := Map{Position: "pos", Rotation: "rot", Action: Action{Position: "act"}}.plan(in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.convert(tab, Options{FPS: 10}); err == nil || !strings.Contains(err.Error(), "one step alone") {
		t.Errorf("a single step: %v", err)
	}
}

func TestNumbersThatCannotBeAreNamed(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(c map[string][]float64, m *Map)
		want []string
	}{
		{"NaN", func(c map[string][]float64, _ *Map) { c["pos"][4] = math.NaN() }, []string{"rows.parquet", `column "pos"`, "step 1", "NaN", "position"}},
		{"infinite action", func(c map[string][]float64, _ *Map) { c["act"][3] = math.Inf(1) }, []string{`column "act"`, "step 1", "+Inf", "action.position"}},
		{"no quaternion", func(c map[string][]float64, _ *Map) { c["rot"][5] = 7 }, []string{"rows.parquet", "step 1", "length 7.07", "rotation_as"}},
		{"positions as moves", func(c map[string][]float64, _ *Map) { c["act"][3] = 0.6 }, []string{"step 1", "0.6 m in 0.1 s", "action.absolute to true if these are positions"}},
		{"moves as positions", func(c map[string][]float64, m *Map) { m.Action.Absolute, c["pos"][0] = true, 0.9 }, []string{"step 0", "action.absolute to false if these are moves"}},
		{"turn", func(c map[string][]float64, m *Map) {
			m.Action.Rotation, c["act"][3] = "act", 0.1
			m.Action.TurnScale = 99
		}, []string{"step 1", "9.9 rad", "action.turn_scale"}},
		{"another width", func(c map[string][]float64, _ *Map) { c["act"] = make([]float64, 6) }, []string{`column "act"`, "6 numbers in 3 steps, want 3 a step"}},
		{"hand", func(c map[string][]float64, m *Map) { m.Grip = "hand" }, []string{"1 m apart", "grip_scale"}},
	} {
		cols := map[string][]float64{"pos": make([]float64, 9), "rot": {0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}, "act": make([]float64, 9), "hand": {1, 1, 1}}
		m := Map{Position: "pos", Rotation: "rot", Action: Action{Position: "act"}}
		in, tab := sheet(3, cols)
		tt.do(cols, &m)
		p, err := m.plan(in)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.convert(tab, Options{FPS: 10})
		for _, w := range tt.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v does not say %q", tt.name, err, w)
			}
		}
	}
}

func TestColumnsArePicked(t *testing.T) {
	in := Info{Columns: []table.Column{{Name: "observation.state", Shape: []int{5}, Names: []string{"x", "y", "z", "a.pos", "b"}}, {Name: "one"}}}
	for _, tt := range []struct {
		c    Columns
		want []int
		err  string
	}{
		{"observation.state[0:3]", []int{0, 1, 2}, ""},
		{"observation.state[2:]", []int{2, 3, 4}, ""},
		{"observation.state[:3]", []int{0, 1, 2}, ""},
		{"observation.state[z, a.pos, x]", []int{2, 3, 0}, ""},
		{"observation.state[1:3] + one", []int{1, 2, 0}, ""},
		{"observation.state", nil, "has 5 numbers, want 3"},
		{"observation.state[0:2]", nil, "has 2 numbers, want 3"},
		{"observation.state[3:6]", nil, "within its 5 numbers"},
		{"observation.state[2:2]", nil, "within its 5 numbers"},
		{"observation.state[q]", nil, `no number "q"`},
		{"observation.state[-1]", nil, "0 to 4"},
		{"observation.state[0:3", nil, "no closing bracket"},
		{"none", nil, `no column "none"`},
		{"observation.state[]", nil, "no number"},
	} {
		r, err := resolve("position", tt.c, in, 3)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), "position") {
				t.Errorf("%s: %v, want %s", tt.c, err, tt.err)
			}
			continue
		}
		var got []int
		for _, p := range r.parts {
			got = append(got, p.at...)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v; want %v", tt.c, got, err, tt.want)
		}
	}
}

func TestMapsThatContradictThemselvesAreRefused(t *testing.T) {
	in, _ := sheet(1, map[string][]float64{"pos": make([]float64, 3), "rot": make([]float64, 4), "act": make([]float64, 3), "q": make([]float64, 7), "g": {0}})
	in.Cameras = []table.Camera{{Name: "c"}}
	good := Map{Position: "pos", Rotation: "rot", Action: Action{Position: "act"}}
	if _, err := good.plan(in); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		do   func(m *Map)
		want string
	}{
		{"no pose", func(m *Map) { m.Position, m.Rotation = "", "" }, "position and rotation say where the tool is"},
		{"half a pose", func(m *Map) { m.Joints, m.Position = "q", "" }, "position and rotation go together"},
		{"no action", func(m *Map) { m.Action.Position = "" }, "action.position says where the tool was sent"},
		{"unknown rotation", func(m *Map) { m.RotationAs = "zyx" }, "rotation_as is \"zyx\""},
		{"quaternion as a move", func(m *Map) { m.Action.Rotation, m.Action.RotationAs = "rot", XYZW }, "action.rotation_as"},
		{"joints as moves", func(m *Map) { m.Action = Action{Joints: "q"} }, "action.joints are absolute"},
		{"absolute in the tool's frame", func(m *Map) { m.Action.Absolute, m.Action.ToolFrame = true, true }, "action.tool_frame"},
		{"moves from the state", func(m *Map) { m.Action.FromState = true }, "action.from_state"},
		{"hand without its numbers", func(m *Map) { m.Action.Grip = "g" }, "action.open and action.closed"},
		{"scale", func(m *Map) { m.Action.Scale = math.NaN() }, "NaN"},
		{"camera", func(m *Map) { m.Cameras = []Camera{{Key: "d", Name: "d"}} }, `no camera "d"`},
		{"camera without a name", func(m *Map) { m.Cameras = []Camera{{Key: "c"}} }, "want a name"},
		{"camera twice", func(m *Map) { m.Cameras = []Camera{{Key: "c", Name: "a"}, {Key: "c", Name: "b"}} }, "each camera once"},
		{"size", func(m *Map) { m.Cameras = []Camera{{Key: "c", Name: "a", W: 3}} }, "3x0"},
	} {
		m := good
		tt.do(&m)
		if _, err := m.plan(in); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}
