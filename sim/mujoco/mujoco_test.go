package mujoco

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// load compiles a model of testdata, or the XML itself if s holds a tag.
func load(t testing.TB, s string) *Model {
	t.Helper()
	xml := []byte(s)
	if !strings.Contains(s, "<") {
		var err error
		if xml, err = os.ReadFile(filepath.Join("testdata", s)); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Load(xml)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func world(t testing.TB, m *Model) *Data {
	t.Helper()
	d, err := m.NewData()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// drive takes n steps under torques that depend on the seed alone.
func drive(d *Data, seed uint64, n int) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		if i%25 == 0 {
			for j := range d.Ctrl() {
				d.Ctrl()[j] = rng.NormFloat64()
			}
		}
		if err := d.Step(); err != nil {
			return err
		}
	}
	return nil
}

// state is everything that a rollout ends in, bit for bit.
func state(d *Data) []uint64 {
	var s []uint64
	for _, x := range append(slices.Concat(d.QPos(), d.QVel(), d.QAcc(), d.QaccWarmstart()), d.Time()) {
		s = append(s, math.Float64bits(x))
	}
	return s
}

func TestLoadRefuses(t *testing.T) {
	for _, tt := range []struct{ name, xml, want string }{
		{"nothing", "", "empty"},
		{"no XML", "hello", "XML"},
		{"an unknown element", "<mujoco><nonsense/></mujoco>", "nonsense"},
		{"an open tag", "<mujoco><worldbody>", "XML"},
		{"a massless moving body", "<mujoco><worldbody><body><freejoint/></body></worldbody></mujoco>", "mass"},
		{"a missing mesh", `<mujoco><asset><mesh name="m" file="absent.stl"/></asset></mujoco>`, "absent.stl"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Load([]byte(tt.xml))
			if err == nil {
				m.Close()
				t.Fatal("got no error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want it to name %q", err, tt.want)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	m := load(t, "push.xml")
	box, err := m.Joint("box")
	if err != nil {
		t.Fatal(err)
	}
	if got := [2]int{m.JointQPos(box), m.JointDof(box)}; got != [2]int{3, 3} {
		t.Errorf("got addresses %v, want 3 and 3: after three one-dof joints", got)
	}
	_, err = m.Camera("wirst")
	if err == nil || !strings.Contains(err.Error(), "top, front, wrist") {
		t.Errorf("got %v, want an error that lists the cameras", err)
	}
	if got := m.Timestep(); got != 0.002 {
		t.Errorf("got timestep %v, want 0.002", got)
	}
}

func TestFreeFall(t *testing.T) {
	m := load(t, `<mujoco><option timestep="0.001"/><worldbody>
		<body><freejoint/><geom size="0.1" mass="1"/></body></worldbody></mujoco>`)
	d := world(t, m)
	if err := d.StepN(100); err != nil {
		t.Fatal(err)
	}
	// Semi-implicit Euler: z_n = -g h² n(n+1)/2.
	want := -9.81 * 1e-6 * 100 * 101 / 2
	if got := d.QPos()[2]; math.Abs(got-want) > 1e-12 {
		t.Errorf("got z %v, want %v", got, want)
	}
	if got := d.Time(); math.Abs(got-0.1) > 1e-12 {
		t.Errorf("got time %v, want 0.1", got)
	}
}

func TestJacSiteIsTheDerivativeOfThePose(t *testing.T) {
	m := load(t, "push.xml")
	d := world(t, m)
	site, err := m.Site("tcp")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.ResetKey(0); err != nil {
		t.Fatal(err)
	}
	nv := m.Sizes().V
	jac := make([]float64, 3*nv)
	if err := d.Kinematics(); err != nil {
		t.Fatal(err)
	}
	d.JacSite(jac, nil, site)
	const h = 1e-6
	for j := range 3 {
		var p [2][3]float64
		for k, sign := range []float64{-1, 1} {
			d.QPos()[j] += sign * h
			if err := d.Kinematics(); err != nil {
				t.Fatal(err)
			}
			copy(p[k][:], d.SiteXPos(site))
			d.QPos()[j] -= sign * h
		}
		for i := range 3 {
			got, want := jac[i*nv+j], (p[1][i]-p[0][i])/(2*h)
			if math.Abs(got-want) > 1e-8 { // central differences: h² and 1e-16/h
				t.Errorf("d p[%d]/d q[%d]: got %v, want %v", i, j, got, want)
			}
		}
	}
}

func TestContactsCarryTheWeight(t *testing.T) {
	m := load(t, `<mujoco><option timestep="0.002" cone="elliptic"/><worldbody><geom name="floor" type="plane" size="1 1 .1"/>
		<body pos="0 0 .05"><freejoint/><geom name="box" type="box" size=".05 .05 .05" mass="0.4"/></body></worldbody></mujoco>`)
	d := world(t, m)
	if err := d.StepN(1000); err != nil {
		t.Fatal(err)
	}
	cs := d.Contacts(nil)
	if len(cs) != 4 {
		t.Fatalf("got %d contacts, want 4: the corners of a box on a plane", len(cs))
	}
	var z, normal float64
	for _, c := range cs {
		if c.Geom != [2]int32{0, 1} || c.Normal[2] < 0.999 {
			t.Errorf("got geoms %v, normal %v, want floor to box, upwards", c.Geom, c.Normal)
		}
		z += c.Force[2]
		normal += c.NormalForce
	}
	if want := 0.4 * 9.81; math.Abs(z-want) > 1e-3 || math.Abs(normal-want) > 1e-3 {
		t.Errorf("got %v N up, %v N normal, want %v: the weight", z, normal, want)
	}
	cs = cs[:0]
	if got := testing.AllocsPerRun(20, func() { cs = d.Contacts(cs[:0]) }); got != 0 {
		t.Errorf("got %v allocations, want 0 once the slice has grown", got)
	}
}

func TestErrorsOfMuJoCoBecomeGoErrors(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	// The stack suffices for a box in the air, which is what compiling tries, but
	// not for the solver once it lies on the ground.
	m := load(t, `<mujoco><size nstack="250"/><worldbody><geom type="plane" size="1 1 .1"/>
		<body pos="0 0 1"><freejoint/><geom type="box" size=".05 .05 .05"/></body></worldbody></mujoco>`)
	d := world(t, m)
	if err := d.Step(); err != nil {
		t.Fatal(err)
	}
	d.QPos()[2] = 0.04
	for range 1000 {
		err := d.Step()
		if err == nil || !strings.Contains(err.Error(), "raise <size nstack>") {
			t.Fatalf("got %v, want an error of the stack", err)
		}
	}
	if got := d.c.pstack; got != 0 {
		t.Errorf("got stack pointer %d, want 0", got)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("got files %v in the working directory, want none", left)
	}
}

func TestBadNumbersFail(t *testing.T) {
	m := load(t, "push.xml")
	for _, tt := range []struct {
		name string
		put  func(d *Data)
		want Warning
	}{
		{"NaN in qpos", func(d *Data) { d.QPos()[1] = math.NaN() }, BadQPos},
		{"NaN in qvel", func(d *Data) { d.QVel()[1] = math.NaN() }, BadQVel},
		{"infinite qvel", func(d *Data) { d.QVel()[0] = math.Inf(1) }, BadQVel},
		{"NaN in ctrl", func(d *Data) { d.Ctrl()[1] = math.NaN() }, BadCtrl},
		{"NaN force", func(d *Data) { d.QfrcApplied()[1] = math.NaN() }, BadQAcc},
	} {
		for _, act := range []struct {
			name string
			do   func(d *Data) error
		}{{"step", (*Data).Step}, {"forward", (*Data).Forward}} {
			t.Run(act.name+" with "+tt.name, func(t *testing.T) {
				d := world(t, m)
				if err := drive(d, 1, 50); err != nil {
					t.Fatal(err)
				}
				tt.put(d)
				var got *WarningError
				if err := act.do(d); !errors.As(err, &got) || got.Warning != tt.want {
					t.Fatalf("got %v, want %v", err, tt.want)
				}
				if err := d.Reset(); err != nil {
					t.Fatal(err)
				}
				if err := drive(d, 1, 50); err != nil {
					t.Errorf("after Reset: got %v, want a clean start", err)
				}
			})
		}
	}
}

func TestStepNStopsAtTheFirstWarning(t *testing.T) {
	d := world(t, load(t, "push.xml"))
	d.Ctrl()[0] = math.NaN()
	if err := d.StepN(100); err == nil {
		t.Fatal("got no error")
	}
	if got := d.Time(); got != 0.002 {
		t.Errorf("got time %v, want 0.002: one step", got)
	}
}

func TestFullBuffersFail(t *testing.T) {
	m := load(t, `<mujoco><size nconmax="2" njmax="100"/><worldbody><geom type="plane" size="1 1 .1"/>
		<body pos="0 0 .04"><freejoint/><geom type="box" size=".05 .05 .05"/></body></worldbody></mujoco>`)
	d := world(t, m)
	var got *WarningError
	if err := d.Step(); !errors.As(err, &got) || got.Warning != ContactFull {
		t.Errorf("got %v, want %v", err, ContactFull)
	}
}

func TestRolloutsAreBitEqual(t *testing.T) {
	m := load(t, "push.xml")
	other := load(t, "push.xml")
	first := world(t, m)
	if err := drive(first, 7, 1500); err != nil {
		t.Fatal(err)
	}
	want := state(first)

	var wg sync.WaitGroup
	for i := range 8 {
		model := m
		if i%2 == 1 {
			model = other
		}
		d := world(t, model)
		wg.Go(func() {
			if err := drive(d, 7, 1500); err != nil {
				t.Error(err)
			}
			if !slices.Equal(state(d), want) {
				t.Error("a rollout on another goroutine differs")
			}
		})
	}
	wg.Wait()
	if err := first.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := drive(first, 7, 1500); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(state(first), want) {
		t.Error("the rollout after Reset differs")
	}
	if err := first.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := drive(first, 8, 1500); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(state(first), want) {
		t.Error("another seed gives the same rollout")
	}
}

func TestSnapshotIsExact(t *testing.T) {
	m := load(t, "push.xml")
	d, other := world(t, m), world(t, m)
	if err := drive(d, 3, 700); err != nil {
		t.Fatal(err)
	}
	var s Snapshot
	d.Save(&s)
	if err := drive(d, 4, 700); err != nil {
		t.Fatal(err)
	}
	want := state(d)
	for name, d := range map[string]*Data{"the same data": d, "another data": other} {
		if err := d.Restore(&s); err != nil {
			t.Fatal(err)
		}
		if err := drive(d, 4, 700); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(state(d), want) {
			t.Errorf("%s: the rollout after Restore differs", name)
		}
	}
	d.Save(&s)
	if got := testing.AllocsPerRun(10, func() { d.Save(&s) }); got != 0 {
		t.Errorf("got %v allocations in Save, want 0", got)
	}
}

func TestKinematicsLeavesTheNextStepUnchanged(t *testing.T) {
	m := load(t, "push.xml")
	a, b := world(t, m), world(t, m)
	for i := range 500 {
		if err := b.Kinematics(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(a.Step(), b.Step()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(state(a), state(b)) {
			t.Fatalf("step %d differs", i)
		}
	}
}

func TestCopyIsIndependent(t *testing.T) {
	m := load(t, "push.xml")
	c, err := m.Copy()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.BodyMass()[1] *= 2
	c.SetTimestep(0.001)
	if err := c.SetConst(); err != nil {
		t.Fatal(err)
	}
	if m.BodyMass()[1]*2 != c.BodyMass()[1] || m.Timestep() != 0.002 || c.Timestep() != 0.001 {
		t.Error("a change of the copy shows in the original")
	}
}

func TestClose(t *testing.T) {
	m := load(t, "push.xml")
	d := world(t, m)
	for range 2 {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := drive(d, 1, 100); err != nil {
		t.Errorf("got %v, want a model that lives as long as its data", err)
	}
	if _, err := m.NewData(); !errors.Is(err, ErrClosed) {
		t.Errorf("NewData: got %v, want ErrClosed", err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, err := range map[string]error{
		"Step": d.Step(), "Forward": d.Forward(), "Kinematics": d.Kinematics(), "Reset": d.Reset(),
		"PostConstraint": d.PostConstraint(), "Restore": d.Restore(new(Snapshot)),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", name, err)
		}
	}
}

func TestSteppingDoesNotAllocate(t *testing.T) {
	m := load(t, "push.xml")
	d := world(t, m)
	jp, jr := make([]float64, 3*m.Sizes().V), make([]float64, 3*m.Sizes().V)
	got := testing.AllocsPerRun(100, func() {
		if err := d.Step(); err != nil {
			t.Fatal(err)
		}
		d.JacSite(jp, jr, 0)
	})
	if got != 0 {
		t.Errorf("got %v allocations per step, want 0", got)
	}
	runtime.KeepAlive(d)
}
