package franka_test

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

func ExampleForward() {
	q := franka.Ready()
	p := franka.Forward(&q)
	fmt.Printf("%.3f %.3f %.3f\n", p.P[0], math.Abs(p.P[1]), p.P[2])
	// Output: 0.307 0.000 0.487
}

func TestForward(t *testing.T) {
	// The tool of the ready posture is known; the stretched arm's is the sum of
	// its lengths: up along z, with the offset of the wrist along x.
	for name, c := range map[string]struct {
		q    [franka.Joints]float64
		p    [3]float64
		axis [3]float64 // where the hand points
	}{
		"ready":      {franka.Ready(), [3]float64{0.3069, 0, 0.4869}, [3]float64{0, 0, -1}},
		"stretched":  {[7]float64{}, [3]float64{0.088, 0, 0.333 + 0.316 + 0.384 - 0.107 - 0.1034}, [3]float64{0, 0, -1}},
		"base turns": {[7]float64{0: math.Pi / 2}, [3]float64{0, 0.088, 0.333 + 0.316 + 0.384 - 0.107 - 0.1034}, [3]float64{0, 0, -1}},
		"shoulder":   {[7]float64{1: math.Pi / 2}, [3]float64{0.316 + 0.384 - 0.107 - 0.1034, 0, 0.333 - 0.088}, [3]float64{-1, 0, 0}},
		"wrist":      {[7]float64{5: math.Pi / 2}, [3]float64{0.107 + 0.1034, 0, 0.333 + 0.316 + 0.384 + 0.088}, [3]float64{1, 0, 0}},
	} {
		got := franka.Forward(&c.q)
		if d := dist(got.P, c.p); d > 1e-4 {
			t.Errorf("%s: tool at %v, want %v", name, got.P, c.p)
		}
		if a := franka.Rotate(got.Q, [3]float64{0, 0, 1}); dist(a, c.axis) > 1e-9 {
			t.Errorf("%s: hand points along %v, want %v", name, a, c.axis)
		}
	}
	// The hand's own yaw: in the ready posture its x axis is the base's.
	q := franka.Ready()
	if x := franka.Rotate(franka.Forward(&q).Q, [3]float64{1, 0, 0}); dist(x, [3]float64{1, 0, 0}) > 1e-9 {
		t.Errorf("ready: the hand's x axis is %v, want the base's", x)
	}
}

func TestJacobianIsTheDerivativeOfForward(t *testing.T) {
	l := franka.Panda()
	rapid.Check(t, func(t *rapid.T) {
		q := posture(t, l)
		pose, j := franka.Jacobian(&q)
		if d := math.Hypot(math.Hypot(pose.P[0], pose.P[1]), pose.P[2]); d > franka.Reach {
			t.Fatalf("the tool is %v m from the base, further than its reach of %v", d, franka.Reach)
		}
		if f := franka.Forward(&q); f != pose {
			t.Fatalf("Jacobian's pose %v is not Forward's %v", pose, f)
		}
		const h = 1e-6
		tip := [3]float64{0.05, -0.02, 0.1} // of a tool, in the hand's frame
		at := func(p robot.Pose) [3]float64 {
			r := franka.Rotate(p.Q, tip)
			return [3]float64{p.P[0] + r[0], p.P[1] + r[1], p.P[2] + r[2]}
		}
		jt := franka.JacobianAt(&q, at(pose))
		for i := range franka.Joints {
			a, b := q, q
			a[i] -= h
			b[i] += h
			ta, tb := at(franka.Forward(&a)), at(franka.Forward(&b))
			for r := range 3 {
				if got, want := jt[r][i], (tb[r]-ta[r])/(2*h); math.Abs(got-want) > 1e-8 {
					t.Fatalf("J[%d][%d] of the tip = %v, want %v", r, i, got, want)
				}
			}
			d := franka.Diff(franka.Forward(&a), franka.Forward(&b))
			for r := range 6 {
				// Central differences: an error of h² and of rounding over h.
				if got, want := j[r][i], d[r]/(2*h); math.Abs(got-want) > 1e-8 {
					t.Fatalf("J[%d][%d] = %v, want %v", r, i, got, want)
				}
			}
		}
	})
}

func TestSolve(t *testing.T) {
	l := franka.Panda()
	t.Run("follows where damping does not matter", func(t *testing.T) {
		q := franka.Ready()
		_, j := franka.Jacobian(&q)
		v := [6]float64{0.1, -0.05, 0.02, 0.1, 0.2, -0.3}
		dq := franka.Solve(&j, &v, 1e-6)
		if got := mul(&j, &dq); far(got, v, 1e-8) {
			t.Errorf("J·dq = %v, want %v", got, v)
		}
	})
	t.Run("satisfies the normal equations", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			q := posture(t, l)
			_, j := franka.Jacobian(&q)
			var v [6]float64
			for i := range v {
				v[i] = rapid.Float64Range(-1, 1).Draw(t, "v")
			}
			dq := franka.Solve(&j, &v, franka.Damping)
			// (JᵀJ + λ²I) dq = Jᵀv, the same minimiser in its other form.
			back := mul(&j, &dq)
			for i := range franka.Joints {
				got := franka.Damping * franka.Damping * dq[i]
				var want float64
				for r := range 6 {
					got += j[r][i] * back[r]
					want += j[r][i] * v[r]
				}
				if math.Abs(got-want) > 1e-9 {
					t.Fatalf("normal equation %d: %v, want %v", i, got, want)
				}
			}
		})
	})
	t.Run("refuses no damping", func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		franka.Solve(new([6][7]float64), new([6]float64), 0)
	})
}

func TestLimits(t *testing.T) {
	for _, l := range []franka.Limits{franka.Panda(), franka.FR3()} {
		q := franka.Ready()
		for i := range franka.Joints {
			if !(l.Min[i] < l.SoftMin[i] && l.SoftMin[i] < l.SoftMax[i] && l.SoftMax[i] < l.Max[i]) {
				t.Errorf("%s: soft positions of joint %d are not inside the hard ones", l.Name, i+1)
			}
			if !(0 < l.SoftVel[i] && l.SoftVel[i] < l.Vel[i]) {
				t.Errorf("%s: soft velocity of joint %d is not below the hard one", l.Name, i+1)
			}
			if !(l.SoftMin[i] < q[i] && q[i] < l.SoftMax[i]) {
				t.Errorf("%s: joint %d is not ready at %v", l.Name, i+1, q[i])
			}
			if !(l.Acc[i] > 0 && l.Jerk[i] > 0 && l.Torque[i] > 0 && l.TorqueRate[i] > 0) {
				t.Errorf("%s: joint %d misses a limit", l.Name, i+1)
			}
		}
	}
}

func TestQuaternions(t *testing.T) {
	vec := rapid.Custom(func(t *rapid.T) (v [3]float64) {
		for i := range v {
			v[i] = rapid.Float64Range(-1.8, 1.8).Draw(t, "x") // length below π
		}
		return v
	})
	rapid.Check(t, func(t *rapid.T) {
		v, w, x := vec.Draw(t, "v"), vec.Draw(t, "w"), vec.Draw(t, "x")
		if got := franka.Log(franka.Exp(v)); dist(v, [3]float64{}) < math.Pi && dist(got, v) > 1e-9 {
			t.Fatalf("Log(Exp(%v)) = %v", v, got)
		}
		a, b := franka.Exp(v), franka.Exp(w)
		if got, want := franka.Rotate(franka.Mul(a, b), x), franka.Rotate(a, franka.Rotate(b, x)); dist(got, want) > 1e-12 {
			t.Fatalf("(ab)x = %v, a(bx) = %v", got, want)
		}
		if got := franka.Rotate(franka.Conj(a), franka.Rotate(a, x)); dist(got, x) > 1e-12 {
			t.Fatalf("turned there and back: %v, want %v", got, x)
		}
		// A rotation matrix, column-major with a translation, reads back.
		m := [16]float64{12: 1, 13: 2, 14: 3, 15: 1}
		for c := range 3 {
			var e [3]float64
			e[c] = 1
			col := franka.Rotate(a, e)
			copy(m[4*c:], col[:])
		}
		p := franka.Matrix(&m)
		if p.P != [3]float64{1, 2, 3} {
			t.Fatalf("Matrix's position is %v", p.P)
		}
		if got, want := franka.Rotate(p.Q, x), franka.Rotate(a, x); dist(got, want) > 1e-9 {
			t.Fatalf("Matrix turns %v to %v, want %v", x, got, want)
		}
		from, to := robot.Pose{P: v, Q: a}, robot.Pose{P: w, Q: b}
		d := franka.Diff(from, to)
		got := franka.Move(from, &d)
		if dist(got.P, to.P) > 1e-12 || dist(franka.Rotate(got.Q, x), franka.Rotate(to.Q, x)) > 1e-9 {
			t.Fatalf("Move(a, Diff(a, b)) = %v, want %v", got, to)
		}
	})
	if got := franka.Exp([3]float64{0: math.Pi / 2}); dist4(got, [4]float64{math.Sqrt2 / 2, math.Sqrt2 / 2, 0, 0}) > 1e-15 {
		t.Errorf("a quarter turn about x is %v", got)
	}
	for name, q := range map[string][4]float64{"zero": {}, "NaN": {math.NaN(), 0, 0, 0}, "Inf": {math.Inf(1), 0, 0, 0}} {
		if got := franka.Unit(q); got != [4]float64{1, 0, 0, 0} {
			t.Errorf("Unit(%s) = %v, want no rotation", name, got)
		}
	}
}

func TestKinematicsDoNotAllocate(t *testing.T) {
	q := franka.Ready()
	v := [6]float64{0.1, 0, 0, 0, 0, 0.1}
	if n := testing.AllocsPerRun(100, func() {
		_, j := franka.Jacobian(&q)
		dq := franka.Solve(&j, &v, franka.Damping)
		q[0] += 1e-9 * dq[0]
	}); n != 0 {
		t.Errorf("%v allocations a run, want 0", n)
	}
}

func BenchmarkJacobianSolve(b *testing.B) {
	q := franka.Ready()
	v := [6]float64{0.1, 0, 0, 0, 0, 0.1}
	b.ReportAllocs()
	for b.Loop() {
		_, j := franka.Jacobian(&q)
		dq := franka.Solve(&j, &v, franka.Damping)
		q[0] += 1e-9 * dq[0]
	}
}

func posture(t *rapid.T, l franka.Limits) (q [franka.Joints]float64) {
	for i := range q {
		q[i] = rapid.Float64Range(l.Min[i], l.Max[i]).Draw(t, "q")
	}
	return q
}

func mul(j *[6][franka.Joints]float64, dq *[franka.Joints]float64) (v [6]float64) {
	for r := range v {
		for i := range dq {
			v[r] += j[r][i] * dq[i]
		}
	}
	return v
}

func far(a, b [6]float64, tol float64) bool {
	for i := range a {
		if math.Abs(a[i]-b[i]) > tol {
			return true
		}
	}
	return false
}

func dist(a, b [3]float64) float64 {
	return math.Sqrt((a[0]-b[0])*(a[0]-b[0]) + (a[1]-b[1])*(a[1]-b[1]) + (a[2]-b[2])*(a[2]-b[2]))
}

func dist4(a, b [4]float64) (s float64) {
	for i := range a {
		s += math.Abs(a[i] - b[i])
	}
	return s
}
