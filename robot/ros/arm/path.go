package arm

import (
	"math"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// leg is a straight way from one pose to another, at rest at both ends.
type leg struct {
	from  robot.Pose
	delta [6]float64
	took  time.Duration
}

// newLeg takes the time that keeps it within speed (m/s) and turn (rad/s).
func newLeg(from, to robot.Pose, speed, turn float64) leg {
	d := franka.Diff(from, to)
	// The profile of at is 15/8 times as fast in the middle as on average.
	const peak = 15.0 / 8
	s := peak * max(norm(d[0], d[1], d[2])/speed, norm(d[3], d[4], d[5])/turn)
	return leg{from, d, time.Duration(s * float64(time.Second))}
}

// at returns where to be at time t since the start: minimum-jerk (Flash & Hogan
// 1985, eq. 4).
func (l *leg) at(t time.Duration) robot.Pose {
	s := 1.0
	if t < l.took {
		x := max(0, t.Seconds()/l.took.Seconds())
		s = x * x * x * (10 + x*(-15+6*x))
	}
	d := l.delta
	for i := range d {
		d[i] *= s
	}
	return franka.Move(l.from, &d)
}

// home lists the legs from a pose to the start of an episode: up to the height
// lift, over, and down, so that what lies on the table stays there. Where the
// hand is higher, it stays as high until it is over the start.
func home(from, start robot.Pose, lift, speed, turn float64) []leg {
	high := max(lift, from.P[2])
	if math.Hypot(from.P[0]-start.P[0], from.P[1]-start.P[1]) < 0.01 || lift <= 0 {
		return []leg{newLeg(from, start, speed, turn)}
	}
	up, over := from, start
	up.P[2], over.P[2] = high, max(high, start.P[2])
	return []leg{newLeg(from, up, speed, turn), newLeg(up, over, speed, turn), newLeg(over, start, speed, turn)}
}

func norm(x, y, z float64) float64 { return math.Sqrt(x*x + y*y + z*z) }
