package robottest

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// arm follows every command at once. What break says is done wrongly.
type arm struct {
	breaks string
	pose   robot.Pose
	tick   int
	seq    uint64
	pix    []byte
	closed bool
}

func (a *arm) is(what string) bool { return a.breaks == what }

func (a *arm) Reset(ctx context.Context) (robot.Observation, error) {
	if a.closed {
		return robot.Observation{}, errors.New("closed")
	}
	if err := ctx.Err(); err != nil {
		return robot.Observation{}, err
	}
	if a.is("resets once") && a.seq > 0 {
		return robot.Observation{}, errors.New("no more")
	}
	q := franka.Ready()
	a.tick, a.pose = 0, franka.Forward(&q)
	o := a.see()
	if a.is("reset applies") {
		o.Applied.Grip = 1
	}
	return o, nil
}

func (a *arm) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	if a.closed && !a.is("steps when closed") {
		return robot.Observation{}, errors.New("closed")
	}
	if err := ctx.Err(); err != nil && !a.is("ignores the context") {
		return robot.Observation{}, err
	}
	for i, v := range append(c.Delta[:], c.Grip) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			switch {
			case a.is("takes NaN"):
				c.Delta[min(i, 5)] = 0
			case a.is("jumps at NaN"):
				a.pose.P[0] += 0.1
				fallthrough
			default:
				return robot.Observation{}, errors.New("not a number")
			}
		}
	}
	a.pose = franka.Move(a.pose, &c.Delta)
	if a.is("drifts") {
		a.pose.P[1] += 0.0005
	}
	a.tick++
	o := a.see()
	o.Applied = c
	if a.is("reports the wish of another") {
		o.Applied.Delta[2] *= 2
	}
	return o, nil
}

func (a *arm) see() robot.Observation {
	if a.pix == nil || !a.is("reuses pixels") {
		a.pix = make([]byte, 4*3*3)
	}
	a.pix[0] = byte(a.tick)
	n := a.tick
	if a.is("stands still in time") && n > 3 {
		n = 3
	}
	if a.is("skips a beat") && n > 3 {
		n += 2
	}
	at := time.Unix(0, 0).Add(time.Duration(n) * 50 * time.Millisecond)
	a.seq++
	f := robot.Frame{Camera: "front", Seq: a.seq, Stamp: at, W: 4, H: 3, Pix: a.pix}
	o := robot.Observation{State: robot.State{Stamp: at, EE: a.pose, Grip: 0.04}}
	switch {
	case a.is("cuts a frame"):
		f.Pix = f.Pix[:30]
	case a.is("loses a camera") && a.tick > 2:
		return o
	case a.is("counts backwards"):
		f.Seq = 100 - a.seq
	case a.is("senses NaN"):
		o.State.DQ[3] = math.NaN()
	case a.is("senses half a rotation"):
		o.State.EE.Q[0], o.State.EE.Q[1] = 0.5, 0
	}
	o.Frames = []robot.Frame{f}
	return o
}

func (a *arm) Close() error {
	if a.closed && a.is("closes once") {
		return errors.New("closed already")
	}
	a.closed = true
	return nil
}

func TestSoundBackendPasses(t *testing.T) {
	TestBackend(t, func(*testing.T) robot.Backend { return &arm{} })
}

func TestEachFaultIsFound(t *testing.T) {
	for _, tt := range []struct{ breaks, by string }{
		{"stands still in time", "stamps advance by the period"},
		{"skips a beat", "stamps advance by the period"},
		{"cuts a frame", "observations are complete"},
		{"loses a camera", "observations are complete"},
		{"counts backwards", "observations are complete"},
		{"senses NaN", "observations are complete"},
		{"senses half a rotation", "observations are complete"},
		{"reuses pixels", "frames stay as they were"},
		{"reset applies", "commands are reported"},
		{"reports the wish of another", "commands are reported"},
		{"drifts", "zero commands hold still"},
		{"takes NaN", "numbers that are none are refused"},
		{"jumps at NaN", "numbers that are none are refused"},
		{"ignores the context", "a cancelled context stops"},
		{"resets once", "a reset starts again"},
		{"closes once", "close is final"},
		{"steps when closed", "close is final"},
	} {
		t.Run(tt.breaks, func(t *testing.T) {
			ran := false
			for _, c := range checks() {
				if c.name != tt.by {
					continue
				}
				ran = true
				if err := c.run(t.Context(), &arm{breaks: tt.breaks}); err == nil {
					t.Errorf("%q passed an arm that %s", c.name, tt.breaks)
				}
			}
			if !ran {
				t.Errorf("no check is called %q", tt.by)
			}
		})
	}
}

// timed is an arm on real time.
type timed struct {
	*arm
	missed uint64
}

func (b *timed) Missed() uint64 {
	if b.tick > 3 {
		return b.missed
	}
	return 0
}
func (b *timed) Period() time.Duration { return 50 * time.Millisecond }

func TestMissedTicksAreForgivenWhereTheyAreTold(t *testing.T) {
	for _, tt := range []struct {
		breaks string
		missed uint64
		ok     bool
	}{
		{"", 0, true},
		{"skips a beat", 2, true},
		{"", 6, false},
		{"skips a beat", 9, false},
		{"stands still in time", 0, false},
	} {
		if err := stamps(t.Context(), &timed{&arm{breaks: tt.breaks}, tt.missed}); (err == nil) != tt.ok {
			t.Errorf("an arm that %q and tells of %d missed ticks: %v", tt.breaks, tt.missed, err)
		}
	}
}
