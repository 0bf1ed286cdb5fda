package tabletop

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/franka/impedance"
	"github.com/rapport-rl/rapport/sim"
)

func bare(t *testing.T, c Config) *World {
	t.Helper()
	w, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func TestDriveWithTheOwnLawIsAStep(t *testing.T) {
	a, b := bare(t, Config{Render: None}), bare(t, Config{Render: None})
	c := robot.Command{Delta: [6]float64{0: 0.01, 1: -0.004}, Grip: 0.5}
	if _, err := a.ResetSeed(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ResetSeed(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		want, err := a.Step(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		b.target = franka.Move(b.target, &want.Applied.Delta)
		b.arm.SetTarget(b.target, Period.Seconds())
		if err := b.Drive(b.substeps, c.Grip*HandWidth, func(tau *[7]float64, in *impedance.Input, dt float64) { b.arm.Torque(tau, in, dt) }); err != nil {
			t.Fatal(err)
		}
		if err := b.Judged(); err != nil { // as a step does, to the last bit
			t.Fatal(err)
		}
		got := b.Feel(want.State.Stamp)
		got.EE.Q = want.State.EE.Q // its sign follows the target in a step
		got.Wrench = want.State.Wrench
		if got != want.State {
			t.Fatalf("step %d: driven to\n%+v, stepped to\n%+v", i, got, want.State)
		}
	}
	if a.Truth().Distance != b.Truth().Distance {
		t.Errorf("driven to the distance %g, stepped to %g", b.Truth().Distance, a.Truth().Distance)
	}
	if _, err := b.Step(t.Context(), c); err == nil {
		t.Error("a step after drives, whose target nobody knows, was taken")
	}
	if _, err := b.ResetSeed(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Step(t.Context(), c); err != nil {
		t.Errorf("a step after the next reset: %v", err)
	}
}

func TestDriveWantsAReset(t *testing.T) {
	w := bare(t, Config{Render: None})
	if err := w.Drive(1, 0, func(*[7]float64, *impedance.Input, float64) {}); err == nil {
		t.Error("drove without a reset")
	}
}

func TestUnstablePhysicsIsToldAsSuchByWhateverDrives(t *testing.T) {
	w := bare(t, Config{Task: Stack, Render: None})
	for name, do := range map[string]func() error{
		"Drive": func() error { return w.Drive(1, 0, func(*[7]float64, *impedance.Input, float64) {}) },
		"Turn":  func() error { _, err := w.Turn(t.Context(), Backward); return err },
	} {
		if _, err := w.ResetSeed(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.data.QVel()[0] = math.NaN()
		if err := do(); !errors.Is(err, sim.ErrUnstable) {
			t.Errorf("%s: error %v, want sim.ErrUnstable", name, err)
		}
	}
}

// spoiling is a context that makes the physics unstable at one look at it.
type spoiling struct {
	context.Context
	w     *World
	looks int // until then
}

func (s *spoiling) Err() error {
	if s.looks--; s.looks == 0 {
		s.w.data.QVel()[0] = math.NaN()
	}
	return nil
}

// A scene that the person who does the task before the way back makes unstable is one of
// those in which nobody did it.
func TestAWayBackBeginsFromAnotherSceneWhereOneGetsUnstable(t *testing.T) {
	w := bare(t, Config{Task: Stack, Render: None})
	ctx := &spoiling{t.Context(), w, 20}
	if _, err := w.ResetWay(ctx, 3, Backward); err != nil {
		t.Fatal(err)
	}
	if ctx.looks > -Stack.Horizon() {
		t.Errorf("%d looks after the unstable one, want those of another scene: %d", -ctx.looks, Stack.Horizon())
	}
}

// The red ball has to be where the lens says.
func TestLensesSeeWhatTheImagesShow(t *testing.T) {
	const side = 128
	w := bare(t, Config{Task: Reach, Render: Raster, Cameras: []Camera{{"front", side, side}, {"wrist", side, side}, {"scene", side, side}}})
	seen := map[string]int{}
	for seed := range uint64(6) {
		obs, err := w.ResetSeed(t.Context(), seed)
		if err != nil {
			t.Fatal(err)
		}
		frames, err := w.Look(3, time.Unix(9, 0))
		if err != nil {
			t.Fatal(err)
		}
		ball := w.Truth().Bodies[0].Pose.P
		for _, f := range frames {
			if f.Seq != 3 || !f.Stamp.Equal(time.Unix(9, 0)) {
				t.Fatalf("camera %s: image %d at %v, want 3 at 9 s", f.Camera, f.Seq, f.Stamp)
			}
			l, ok := LensOf(f.Camera)
			if !ok {
				t.Fatalf("camera %s has no lens", f.Camera)
			}
			p := ball
			if l.OnHand { // into the hand's frame, 0.1034 m behind the tool centre point
				ee := obs.State.EE
				for i := range p {
					p[i] -= ee.P[i]
				}
				p = franka.Rotate(franka.Conj(ee.Q), p)
				p[2] += 0.1034
			}
			for i := range p {
				p[i] -= l.Pose.P[i]
			}
			p = franka.Rotate(franka.Conj(l.Pose.Q), p)
			x, y := int(side*(0.5+l.Focal*p[0]/p[2])), int(side*(0.5+l.Focal*p[1]/p[2]))
			if p[2] <= 0 || x < 2 || y < 2 || x >= side-2 || y >= side-2 {
				continue
			}
			px := f.Pix[3*(y*side+x):]
			if px[2] > 90 && px[0] < 70 && px[1] < 70 {
				seen[f.Camera]++
			} else if f.Camera == "front" {
				t.Errorf("seed %d: camera %s at %d,%d: BGR %v, want the red ball", seed, f.Camera, x, y, px[:3])
			}
		}
	}
	for _, c := range []string{"front", "wrist", "scene"} {
		if seen[c] < 2 { // it may be hidden or outside the image in the others
			t.Errorf("camera %s saw the ball where its lens says %d times of 6", c, seen[c])
		}
	}
	if _, ok := LensOf("nowhere"); ok {
		t.Error("a camera that does not exist has a lens")
	}
}
