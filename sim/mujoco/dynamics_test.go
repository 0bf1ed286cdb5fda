package mujoco

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// A slider of 2 kg with damping 3, pushed sideways, under gravity.
const slider = `<mujoco><option timestep="0.001"/><worldbody><body name="cart">
	<joint name="x" type="slide" axis="1 0 0" damping="3"/><joint name="z" type="slide" axis="0 0 1"/>
	<geom name="g" size=".1" mass="2"/></body></worldbody>
	<actuator><motor name="push" joint="x" gear="2"/></actuator>
	<sensor><jointpos name="x" joint="x"/><jointvel name="vx" joint="x"/></sensor></mujoco>`

func TestForwardComputesForces(t *testing.T) {
	d := world(t, load(t, slider))
	d.Ctrl()[0], d.QVel()[0], d.QfrcApplied()[1] = 5, 1, 4
	if err := d.Forward(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		got, want []float64
	}{
		{"bias holds against gravity", d.QfrcBias(), []float64{0, 2 * 9.81}},
		{"the actuator pushes with its gear", d.QfrcActuator(), []float64{10, 0}},
		{"the damper brakes", d.QfrcPassive(), []float64{-3, 0}},
		{"acceleration is force over mass", d.QAcc(), []float64{3.5, 2 - 9.81}},
		{"the scalar force is the control", d.ActuatorForce(), []float64{5}},
		{"sensors report", d.SensorData(), []float64{0, 1}},
	} {
		if !slices.EqualFunc(tt.got, tt.want, func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }) {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
	m := make([]float64, 4)
	if d.FullM(m); !slices.Equal(m, []float64{2, 0, 0, 2}) {
		t.Errorf("got inertia %v, want 2 kg twice", m)
	}
	if adr, dim, err := d.Model().Sensor("vx"); adr != 1 || dim != 1 || err != nil {
		t.Errorf("got sensor at %d of %d, %v, want at 1 of 1", adr, dim, err)
	}
}

func TestPostConstraintFindsTheContactForce(t *testing.T) {
	m := load(t, `<mujoco><option timestep="0.002" cone="elliptic"/><worldbody><geom type="plane" size="1 1 .1"/>
		<body name="box" pos="0 0 .05"><freejoint/><geom type="box" size=".05 .05 .05" mass="0.4"/></body></worldbody></mujoco>`)
	d := world(t, m)
	if err := errors.Join(d.StepN(1000), d.PostConstraint()); err != nil {
		t.Fatal(err)
	}
	if got, want := d.CFrcExt(1)[5], 0.4*9.81; math.Abs(got-want) > 1e-3 {
		t.Errorf("got %v N up, want %v: the weight", got, want)
	}
}

func TestSettersChangeThePhysics(t *testing.T) {
	m := load(t, slider)
	m.SetGravity([3]float64{0, 0, -1})
	m.DofDamping()[0] = 0
	m.BodyMass()[1] = 4
	if err := m.SetConst(); err != nil {
		t.Fatal(err)
	}
	d := world(t, m)
	d.Ctrl()[0], d.QVel()[0] = 2, 1
	if err := d.Forward(); err != nil {
		t.Fatal(err)
	}
	if got := d.QAcc(); math.Abs(got[0]-1) > 1e-12 || math.Abs(got[1]+1) > 1e-12 {
		t.Errorf("got accelerations %v, want 1 (4 N on 4 kg) and -1", got)
	}
	if m.Gravity() != [3]float64{0, 0, -1} {
		t.Errorf("got gravity %v", m.Gravity())
	}
}

func TestShapeMisusePanics(t *testing.T) {
	m := load(t, "push.xml")
	d, other := world(t, m), world(t, load(t, "shapes.xml"))
	r := renderer(t, m, Size{4, 4}, Lean, Raster)
	closed := world(t, m)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	jac := make([]float64, 3*m.Sizes().V)
	image := [][]byte{make([]byte, 48)}
	for name, f := range map[string]func(){
		"a short Jacobian":            func() { d.JacSite(jac[1:], nil, 0) },
		"a site that is not there":    func() { d.JacSite(jac, nil, 99) },
		"a Jacobian after Close":      func() { closed.JacSite(jac, nil, 0) },
		"a keyframe out of range":     func() { _ = d.ResetKey(7) },
		"a short inertia matrix":      func() { d.FullM(jac) },
		"an empty snapshot":           func() { _ = d.Restore(new(Snapshot)) },
		"a timestep of zero":          func() { m.SetTimestep(0) },
		"more cameras than images":    func() { _ = r.Render(d, []int{0, 1}, image) },
		"a camera that is not there":  func() { _ = r.Render(d, []int{3}, image) },
		"an image of the wrong size":  func() { _ = r.Render(d, []int{0}, [][]byte{{1, 2, 3}}) },
		"the data of another model":   func() { _ = r.Render(other, []int{0}, image) },
		"the median of nothing":       func() { MedianPace(nil) },
		"saving what has been closed": func() { closed.Save(new(Snapshot)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "mujoco: ") {
					t.Errorf("got panic %q, want one of this package", s)
				}
			}()
			f()
		})
	}
}
