package xmagical

import (
	"math"
	"testing"

	"github.com/jakecoffman/cp/v2"
)

// The ground takes 1.5 N from a square of 10 g, and no more than it moves with.
func TestSquaresSlowDownByTheGroundsFriction(t *testing.T) {
	a := newArena(Short, Dynamics{}.withDefaults(), Line, place{0, -0.6, 0}, []place{{0, 0, 0}})
	b := a.squares[0].body
	b.SetVelocity(4, 0)
	b.SetAngularVelocity(30)
	const dt = 0.0125
	v, spin, x, angle := 4.0, 30.0, 0.0, 0.0
	moment := 0.01 * 2 * Side * Side / 12 // the bevel does not count
	for range 6 {
		x, angle = x+v*dt, angle+spin*dt
		v, spin = max(0, v-1.5*dt/0.01), max(0, spin-0.1*dt/moment)
		a.space.Step(dt)
		if got := b.Velocity().X; math.Abs(got-v) > 1e-9 || math.Abs(b.Position().X-x) > 1e-9 {
			t.Errorf("velocity %.9f at %.9f, want %.9f at %.9f", got, b.Position().X, v, x)
		}
		if math.Abs(b.AngularVelocity()-spin) > 1e-9 || math.Abs(b.Angle()-angle) > 1e-9 {
			t.Errorf("turning at %.9f, at %.9f, want %.9f, %.9f", b.AngularVelocity(), b.Angle(), spin, angle)
		}
	}
	if v != 0 {
		t.Error("the square never stops; the test looks at too few steps")
	}
}

// The solver takes one contact after the other, so that mirrored pushes are mirror
// images only nearly.
func TestMirroredPushesEndMirrored(t *testing.T) {
	end := func(sign float64) [2]place {
		a := newArena(Medium, Dynamics{}.withDefaults(), Line, place{0, -0.6, 0}, []place{{sign * 0.1, -0.2, 0}})
		for range 10 {
			a.act(Speed, -sign*0.01, 0)
			a.step()
		}
		return [2]place{placeOf(a.body), placeOf(a.squares[0].body)}
	}
	l, r := end(-1), end(1)
	for i := range l {
		if math.Abs(l[i].X+r[i].X) > 2e-3 || math.Abs(l[i].Y-r[i].Y) > 2e-3 || math.Abs(l[i].A+r[i].A) > 2e-3 {
			t.Errorf("%v is no mirror image of %v", l[i], r[i])
		}
	}
	if r[1].Y < 0.1 {
		t.Errorf("the square was not pushed: %v", r[1])
	}
}

func TestOverlapOfBoxes(t *testing.T) {
	box := func(x, y, w, h, a float64) (c [4]cp.Vector) {
		b := cp.NewBody(1, 1)
		b.SetPosition(cp.Vector{X: x, Y: y})
		b.SetAngle(a)
		return corners(b, []cp.Vector{{X: -w / 2, Y: -h / 2}, {X: w / 2, Y: -h / 2}, {X: w / 2, Y: h / 2}, {X: -w / 2, Y: h / 2}})
	}
	unit := box(0, 0, 1, 1, 0)
	for _, tt := range []struct {
		name string
		b    [4]cp.Vector
		want float64
	}{
		{"apart along x", box(1.2, 0, 1, 1, 0), 0},
		{"touching", box(1, 0, 1, 1, 0), 0},
		{"beside by 0.1", box(0.9, 0.3, 1, 1, 0), 0.1},
		{"a corner in, by the diagonal", box(0.5+math.Sqrt2/2-0.1, 0, 1, 1, math.Pi/4), 0.1},
		{"apart though their boxes overlap", box(0.95, 0.95, 1, 1, math.Pi/4), 0},
		{"inside", box(0.3, 0, 0.2, 0.2, 0), 0.3},
	} {
		if got := overlap(unit, tt.b); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("%s: %g, want %g", tt.name, got, tt.want)
		}
		if got := overlap(tt.b, unit); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("%s, exchanged: %g, want %g", tt.name, got, tt.want)
		}
	}
}

// scened is a world with a scene of the test's.
func scened(t *testing.T, c Config, s scene) *World {
	t.Helper()
	w, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	w.scene = s
	w.build(nil)
	return w
}

func TestTruthOfAvoid(t *testing.T) {
	off := zone{-0.1, -0.4, 0.1, 0}
	for _, e := range Embodiments() {
		w := scened(t, Config{Task: Avoid, Embodiment: e, Cameras: []Camera{}}, scene{
			robot: place{0, -0.7, 0}, squares: []place{{0.6, 0.9, 0}}, bottom: Line, off: off,
		})
		if got := w.Truth(); !got.Success || got.Distance != 0 {
			t.Errorf("%s: beside the zone, the square home: %+v", e, got)
		}
		a := make([]float64, e.Actions())
		for range 7 {
			a[0] = 0.5
			w.Act(a)
		}
		in := w.Truth()
		if in.Success || in.Distance < trespass || in.Reward > -2 {
			t.Errorf("%s: in the zone: %+v", e, in)
		}
		for range 10 {
			a[0] = -0.5
			w.Act(a)
		}
		if out := w.Truth(); out.Success || out.Distance < in.Distance || out.Reward < -1 || w.trespassing() > 0 {
			t.Errorf("%s: out of the zone again: %+v, want it unforgotten and not paid for any more", e, out)
		}
	}
}

func TestTruthOfGroup(t *testing.T) {
	for _, tt := range []struct {
		name    string
		squares []place
		d       float64
		success bool
	}{
		{"together and in", []place{{0, 0.75, 0}, {Side, 0.75, 0}}, 0, true},
		{"in, a finger apart", []place{{0, 0.75, 0}, {Side + 0.04, 0.75, 0}}, 0.04, true},
		{"in, a hand apart", []place{{0, 0.75, 0}, {Side + 0.1, 0.75, 0}}, 0.1, false},
		{"together below", []place{{0, 0.3, 0}, {Side, 0.3, 0}}, groupLine - 0.3 + 0.51*Side, false},
	} {
		w := scened(t, Config{Task: Group, Cameras: []Camera{}}, scene{robot: place{0, -0.7, 0}, squares: tt.squares, bottom: groupLine})
		if got := w.Truth(); math.Abs(got.Distance-tt.d) > 1e-9 || got.Success != tt.success {
			t.Errorf("%s: distance %.9f, success %v, want %.9f, %v", tt.name, got.Distance, got.Success, tt.d, tt.success)
		}
	}
}

func TestTruthOfSweep(t *testing.T) {
	w := scened(t, Config{Cameras: []Camera{}}, scene{robot: place{0, -0.6, 0}, squares: []place{{-0.5, 0.9, 0}, {0, 0.8, 0}, {0.5, 0.1, 0}}, bottom: Line})
	half := 0.51 * Side
	want := ((Line - 0.8 + half) + (Line - 0.1 + half)) / 3
	tr := w.Truth()
	if w.Score() != 1./3 || tr.Success || math.Abs(tr.Distance-want) > 1e-9 {
		t.Errorf("score %g, %+v, want 1/3 and distance %.9f", w.Score(), tr, want)
	}
	if want := -(0.2 + 0.9) / 3; math.Abs(tr.Reward-want) > 1e-9 {
		t.Errorf("reward %.9f, want %.9f", tr.Reward, want)
	}
}

func TestPaintAgreesWithBruteForce(t *testing.T) {
	w := scened(t, Config{Task: Avoid, Embodiment: Medium, Cameras: []Camera{{"top", 80, 64}}}, scene{
		robot: place{-0.5, -0.3, 0.7}, squares: []place{{0.4, 0.2, 0.3}}, bottom: Line, off: zone{-0.1, -0.4, 0.1, 0},
	})
	pix := make([]byte, 3*80*64)
	w.Paint(0, pix)
	inside := func(b *cp.Body, x, y, hw, hh float64) bool {
		p := b.WorldToLocal(cp.Vector{X: x, Y: y})
		return math.Abs(p.X) < hw && math.Abs(p.Y) < hh
	}
	seen := map[colour]int{}
	for row := range 64 {
		for col := range 80 {
			x := (float64(col)+0.5)/80*2*Size*zoom - Size*zoom
			y := Size*zoom - (float64(row)+0.5)/64*2*Size*zoom
			got := colour(pix[3*(row*80+col):])
			seen[got]++
			isSquare := inside(w.arena.squares[0].body, x, y, 0.51*Side, 0.51*Side)
			if isRed := got == red || got == darkRed; y < 0.7 && isRed != isSquare {
				t.Fatalf("pixel (%d,%d) is %v, square %v", col, row, got, isSquare)
			}
			isRobot := inside(w.arena.body, x, y, 0.3, 0.05)
			if is := got == grey || got == dark || got == black; y < 0.7 && is && !isRobot || isRobot && got != white && !is {
				t.Fatalf("pixel (%d,%d) is %v, robot %v", col, row, got, isRobot)
			}
		}
	}
	for _, c := range []colour{grey, white, black, red, strip, blue, pale} {
		if seen[c] == 0 {
			t.Errorf("no pixel is %v", c)
		}
	}
}

func TestPaintAllocatesNothing(t *testing.T) {
	for _, e := range Embodiments() {
		w, err := New(Config{Embodiment: e})
		if err != nil {
			t.Fatal(err)
		}
		w.Start(1)
		pix := make([]byte, 3*96*96)
		if n := testing.AllocsPerRun(20, func() { w.Paint(0, pix) }); n != 0 {
			t.Errorf("%s: %g allocations an image, want none", e, n)
		}
	}
}
