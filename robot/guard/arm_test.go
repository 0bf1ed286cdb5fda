package guard_test

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/guard"
)

// arm is a kinematic arm: it follows its target through the Jacobian, and checks
// by mathematics of its own (4×4 transforms, Gaussian elimination, the norm form
// of the acceleration limit) that no command exceeds what cfg allows. It is what
// stands behind the guard in the tests.
type arm struct {
	cfg    guard.Config
	follow float64 // share of the way to the target that it goes in a tick
	slip   float64 // growth of a joint's error in a tick, rad: an arm that strays
	start  [7]float64
	epoch  time.Time

	st     robot.State
	target [3]float64
	facing mat3
	last   [6]float64

	commands, moves int
	wrong           string // the first command outside a limit
	next            func(*arm) (robot.Observation, error)
}

type mat3 [3][3]float64

func newArm(cfg guard.Config) *arm {
	return &arm{cfg: cfg, follow: 1, start: franka.Ready(), epoch: time.Unix(1000, 0)}
}

func (a *arm) Reset(context.Context) (robot.Observation, error) {
	a.st = robot.State{Stamp: a.epoch, Q: a.start, Grip: 0.04}
	p, r, _ := forward(&a.st.Q)
	a.st.EE = robot.Pose{P: p, Q: fromMat(r)}
	a.target, a.facing, a.last = p, r, [6]float64{}
	return robot.Observation{State: a.st}, nil
}

func (a *arm) Step(_ context.Context, c robot.Command) (robot.Observation, error) {
	a.commands++
	dt := a.cfg.Tick.Seconds()
	_, r, j := forward(&a.st.Q)
	if what := a.exceeds(&c, &r, &j); what != "" && a.wrong == "" {
		a.wrong = fmt.Sprintf("command %d: %s: %+v", a.commands, what, c)
	}
	if c.Delta != [6]float64{} {
		a.moves++
	}
	for i := range 3 {
		a.target[i] += c.Delta[i]
	}
	a.facing = mul(rodrigues([3]float64{c.Delta[3], c.Delta[4], c.Delta[5]}), a.facing)
	a.last = c.Delta
	if a.next != nil {
		if obs, err := a.next(a); err != nil || obs.By == robot.ByLog {
			return obs, err
		}
	}
	v := a.ahead(&r)
	for i := range v {
		v[i] *= a.follow
	}
	dq := least(&j, &v, a.cfg.Damping)
	// Where the target got ahead of it, the arm's own damping bounds how fast it
	// catches up.
	s := 1.0
	for i := range dq {
		s = max(s, math.Abs(dq[i])/(a.cfg.Arm.SoftVel[i]*dt))
	}
	for i := range dq {
		dq[i] /= s
		a.st.Q[i] += dq[i] + a.slip
		a.st.DQ[i] = (dq[i] + a.slip) / dt
	}
	p, r, _ := forward(&a.st.Q)
	a.st.EE = robot.Pose{P: p, Q: fromMat(r)}
	a.st.Stamp = a.st.Stamp.Add(a.cfg.Tick)
	return robot.Observation{State: a.st, Applied: c}, nil
}

func (a *arm) Close() error { return nil }

// ahead is the motion from where the arm is to its target.
func (a *arm) ahead(r *mat3) (v [6]float64) {
	for i := range 3 {
		v[i] = a.target[i] - a.st.EE.P[i]
	}
	w := toVec(mul(a.facing, transpose(*r)))
	v[3], v[4], v[5] = w[0], w[1], w[2]
	return v
}

// exceeds names the first limit that c breaks in the present state.
func (a *arm) exceeds(c *robot.Command, r *mat3, j *[6][7]float64) string {
	const (
		tol = 1e-9  // of a limit
		eps = 1e-12 // m and rad, rounding of sums
	)
	dt, d := a.cfg.Tick.Seconds(), &c.Delta
	for i, x := range d {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Sprintf("delta %d is not finite", i)
		}
	}
	if !(c.Grip >= 0 && c.Grip <= 1) {
		return "grip outside [0, 1]"
	}
	if *d == [6]float64{} {
		return "" // a hold is always allowed
	}
	length := func(v []float64) float64 { return math.Hypot(math.Hypot(v[0], v[1]), v[2]) }
	if v := length(d[:3]) / dt; v > a.cfg.Speed*(1+tol) {
		return fmt.Sprintf("%v m/s", v)
	}
	if v := length(d[3:]) / dt; v > a.cfg.Turn*(1+tol) {
		return fmt.Sprintf("%v rad/s", v)
	}
	var growth [6]float64
	for i := range d {
		growth[i] = outside(d[i], min(0, a.last[i]), max(0, a.last[i])) / (dt * dt)
	}
	if g := length(growth[:3]); g > a.cfg.Acc*(1+tol) {
		return fmt.Sprintf("%v m/s²", g)
	}
	if g := length(growth[3:]); g > a.cfg.TurnAcc*(1+tol) {
		return fmt.Sprintf("%v rad/s²", g)
	}
	ahead := a.ahead(r)
	for i := range 3 {
		// Inside, or nearer than before without crossing to the other side.
		if worse(a.target[i], a.target[i]+d[i], a.cfg.Box.Min[i], a.cfg.Box.Max[i], eps) {
			return fmt.Sprintf("target of axis %d at %v leaves the box", i, a.target[i])
		}
		if worse(ahead[i], ahead[i]+d[i], -a.cfg.Lead, a.cfg.Lead, eps) {
			return fmt.Sprintf("target of axis %d runs ahead by %v", i, ahead[i])
		}
		if worse(ahead[i+3], ahead[i+3]+d[i+3], -a.cfg.LeadTurn, a.cfg.LeadTurn, 1e-7) {
			return fmt.Sprintf("target turns ahead about axis %d by %v", i, ahead[i+3])
		}
	}
	behind, dq := least(j, &ahead, a.cfg.Damping), least(j, d, a.cfg.Damping)
	l := a.cfg.Arm
	for i := range dq {
		v := dq[i] / dt
		if math.Abs(v) > l.SoftVel[i]*(1+1e-7) {
			return fmt.Sprintf("joint %d at %v rad/s", i+1, v)
		}
		was := a.st.DQ[i]
		if g := outside(v, min(0, was), max(0, was)) / dt; g > l.Acc[i]*(1+1e-6) {
			return fmt.Sprintf("joint %d at %v rad/s²", i+1, g)
		}
		for _, q := range [2]float64{a.st.Q[i], a.st.Q[i] + behind[i]} {
			if worse(q, q+dq[i], l.SoftMin[i], l.SoftMax[i], 1e-7) {
				return fmt.Sprintf("joint %d from %v to %v rad", i+1, q, q+dq[i])
			}
		}
	}
	return ""
}

// outside is the distance of x from [lo, hi].
func outside(x, lo, hi float64) float64 { return max(lo-x, x-hi, 0) }

// worse reports whether going from x to y leaves [lo, hi] or gets further out.
func worse(x, y, lo, hi, eps float64) bool {
	return outside(y, lo, hi) > outside(x, lo, hi)+eps || x < lo && y > hi+eps || x > hi && y < lo-eps
}

// forward is the arm's kinematics by its table of Denavit-Hartenberg parameters.
func forward(q *[7]float64) (p [3]float64, r mat3, j [6][7]float64) {
	h := math.Pi / 2
	table := [7][3]float64{{0, 0, 0.333}, {0, -h, 0}, {0, h, 0.316}, {0.0825, h, 0}, {-0.0825, -h, 0.384}, {0, h, 0}, {0.088, h, 0}}
	r = mat3{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}
	var at, axis [7][3]float64
	shift := func(x, z float64) {
		for k := range 3 {
			p[k] += x*r[k][0] + z*r[k][2]
		}
	}
	for i, row := range table {
		shift(row[0], 0)
		// The sines of right angles, without their rounding.
		sa, ca := math.Round(math.Sin(row[1])), math.Round(math.Cos(row[1]))
		r = mul(r, mat3{{1, 0, 0}, {0, ca, -sa}, {0, sa, ca}})
		shift(0, row[2])
		axis[i], at[i] = [3]float64{r[0][2], r[1][2], r[2][2]}, p
		s, c := math.Sincos(q[i])
		r = mul(r, mat3{{c, -s, 0}, {s, c, 0}, {0, 0, 1}})
	}
	shift(0, 0.107+0.1034)
	s, c := math.Sincos(-h / 2)
	r = mul(r, mat3{{c, -s, 0}, {s, c, 0}, {0, 0, 1}})
	for i := range 7 {
		for k := range 3 {
			m, n := (k+1)%3, (k+2)%3
			j[k][i] = axis[i][m]*(p[n]-at[i][n]) - axis[i][n]*(p[m]-at[i][m])
			j[k+3][i] = axis[i][k]
		}
	}
	return p, r, j
}

// least is the damped least-squares inverse of j times v, by elimination.
func least(j *[6][7]float64, v *[6]float64, damping float64) (dq [7]float64) {
	var m [6][7]float64 // JJᵀ + λ²I beside v
	for r := range 6 {
		for c := range 6 {
			for k := range 7 {
				m[r][c] += j[r][k] * j[c][k]
			}
		}
		m[r][r] += damping * damping
		m[r][6] = v[r]
	}
	for c := range 6 {
		best := c
		for r := c + 1; r < 6; r++ {
			if math.Abs(m[r][c]) > math.Abs(m[best][c]) {
				best = r
			}
		}
		m[c], m[best] = m[best], m[c]
		for r := range 6 {
			if r == c {
				continue
			}
			f := m[r][c] / m[c][c]
			for k := c; k < 7; k++ {
				m[r][k] -= f * m[c][k]
			}
		}
	}
	for i := range dq {
		for r := range 6 {
			dq[i] += j[r][i] * m[r][6] / m[r][r]
		}
	}
	return dq
}

func mul(a, b mat3) (m mat3) {
	for r := range 3 {
		for c := range 3 {
			m[r][c] = a[r][0]*b[0][c] + a[r][1]*b[1][c] + a[r][2]*b[2][c]
		}
	}
	return m
}

func transpose(a mat3) (m mat3) {
	for r := range 3 {
		for c := range 3 {
			m[r][c] = a[c][r]
		}
	}
	return m
}

// rodrigues is the rotation by the vector v.
func rodrigues(v [3]float64) mat3 {
	a := math.Sqrt(v[0]*v[0] + v[1]*v[1] + v[2]*v[2])
	if a == 0 {
		return mat3{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}
	}
	x, y, z := v[0]/a, v[1]/a, v[2]/a
	s, c := math.Sincos(a)
	k := 1 - c
	return mat3{
		{c + x*x*k, x*y*k - z*s, x*z*k + y*s},
		{y*x*k + z*s, c + y*y*k, y*z*k - x*s},
		{z*x*k - y*s, z*y*k + x*s, c + z*z*k},
	}
}

// toVec is the rotation vector of r, for angles below π.
func toVec(r mat3) [3]float64 {
	v := [3]float64{r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]}
	s := math.Sqrt(v[0]*v[0]+v[1]*v[1]+v[2]*v[2]) / 2
	k := 0.5
	if s > 1e-9 {
		k = math.Atan2(s, (r[0][0]+r[1][1]+r[2][2]-1)/2) / (2 * s)
	}
	return [3]float64{v[0] * k, v[1] * k, v[2] * k}
}

// fromMat is the quaternion of r through its rotation vector; r here is never
// near a half turn from the hand's downward pose, so it is taken from there.
func fromMat(r mat3) [4]float64 {
	down := mat3{{1, 0, 0}, {0, -1, 0}, {0, 0, -1}}
	q := franka.Exp(toVec(mul(r, transpose(down))))
	return franka.Mul(q, [4]float64{0, 1, 0, 0})
}
