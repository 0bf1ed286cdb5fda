package tabletop

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// lead moves the target by c as far as it may lead, and returns what it moved by.
func (w *World) lead(c robot.Command) (robot.Command, robot.Source) {
	before := w.target
	want := franka.Move(before, &c.Delta)
	ee := franka.Forward(&w.in.Q)
	d := franka.Diff(ee, want)
	s := min(1, MaxLead/norm(d[0], d[1], d[2]))
	r := min(1, MaxTurn/norm(d[3], d[4], d[5]))
	applied, by := c, robot.ByPolicy
	if s < 1 || r < 1 {
		for i := range 3 {
			d[i] *= s
			d[3+i] *= r
		}
		want = franka.Move(ee, &d)
		applied.Delta, by = franka.Diff(before, want), robot.ByGuard
	}
	if applied.Grip < 0 || applied.Grip > 1 {
		applied.Grip, by = min(max(applied.Grip, 0), 1), robot.ByGuard
	}
	w.target = want
	return applied, by
}

func norm(x, y, z float64) float64 { return math.Sqrt(x*x + y*y + z*z) }

// run takes n physics steps under control, with the fingers' opening 0..1.
func (w *World) run(n int, grip float64) error {
	var tau [7]float64
	ctrl := w.data.Ctrl()
	ctrl[w.id.grip] = grip * HandWidth / 2
	for range n {
		w.sense()
		w.arm.Torque(&tau, &w.in, w.cfg.Timestep)
		for i, a := range w.id.motor {
			ctrl[a] = tau[i]
		}
		if err := w.data.Step(); err != nil {
			return err
		}
	}
	w.sense()
	return nil
}

// sense reads what the controller needs. The bias torque is a physics step
// old, as a measured one would be.
func (w *World) sense() {
	q, v, b := w.data.QPos(), w.data.QVel(), w.data.QfrcBias()
	for i := range 7 {
		w.in.Q[i], w.in.DQ[i], w.in.Bias[i] = q[w.id.q[i]], v[w.id.v[i]], b[w.id.v[i]]
	}
}

// wrench sums what presses on hand and fingers, N and Nm about p, base frame,
// at the last physics step.
func (w *World) wrench(p [3]float64) (f [6]float64) {
	w.contacts = w.data.Contacts(w.contacts[:0])
	for i := range w.contacts {
		c := &w.contacts[i]
		first, second := w.id.hand[c.Geom[0]], w.id.hand[c.Geom[1]]
		if first == second {
			continue
		}
		sign := 1.0
		if first {
			sign = -1
		}
		arm := [3]float64{c.Pos[0] - p[0], c.Pos[1] - p[1], c.Pos[2] - p[2]}
		turn := cross(arm, c.Force)
		for k := range 3 {
			f[k] += sign * c.Force[k]
			f[3+k] += sign * (c.Torque[k] + turn[k])
		}
	}
	return f
}

// solve returns joint positions that bring the tool centre point to p, from the
// arm's ready pose downhill.
func solve(p robot.Pose) ([7]float64, error) {
	q, l := franka.Ready(), franka.Panda()
	for range 200 {
		ee, jac := franka.Jacobian(&q)
		d := franka.Diff(ee, p)
		if norm(d[0], d[1], d[2]) < 1e-9 && norm(d[3], d[4], d[5]) < 1e-9 {
			for i := range q {
				if q[i] < l.SoftMin[i] || q[i] > l.SoftMax[i] {
					return q, fmt.Errorf("tabletop: joint %d would start at %.3f rad, outside %.3f to %.3f", i+1, q[i], l.SoftMin[i], l.SoftMax[i])
				}
			}
			return q, nil
		}
		dq := franka.Solve(&jac, &d, 1e-4)
		for i := range q {
			q[i] += min(max(dq[i], -0.2), 0.2)
		}
	}
	return q, fmt.Errorf("tabletop: no joint positions for the start pose %v", p)
}
