// Package teleop lets a person take the arm from a policy for a while: with a
// gamepad, a 3D mouse or keys. What the person decides goes through the guard
// like everything else, and is recorded as the person's (Luo et al. 2024,
// arXiv:2410.21845, HIL-SERL: interventions).
//
//	hand := teleop.NewHand(teleop.HandConfig{Mapping: teleop.Gamepad(), Now: time.Now})
//	hand.Take(raw) // whenever a reading comes
//	pilot := teleop.Pilot{Source: hand, Speed: 0.1, Turn: 0.3, Tick: 50 * time.Millisecond}
//	command, who := pilot.Decide(step, obs, wish) // at each control tick
//
// Nothing moves without a deadman switch that is held, and without readings that
// are new: a cable that is pulled holds the arm.
package teleop

import (
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// Reading is what a person wants just now, base frame.
type Reading struct {
	Deadman     bool       // the person holds the switch
	Axes        [6]float64 // shares of the top speed, -1..1: x y z rx ry rz
	Close, Open bool       // the fingers
}

// Source is where readings come from.
type Source interface {
	// Latest is the newest reading, however old; fresh says that it is new enough to act on.
	Latest() (r Reading, fresh bool)
}

// Raw is one reading of a device, as its driver has it.
type Raw struct {
	Who, Device string
	Boot        uint64 // differs between lives of a sender
	Seq         uint64 // grows within a life
	// Stamp is on the sender's clock; only its advance is used.
	Stamp   time.Time
	Deadman bool
	Axes    []float64 // -1..1
	Buttons []bool
}

// Mapping says which axes and buttons of a device do what.
type Mapping struct {
	// Axes are the device's axes for x y z rx ry rz, counted from 1; a negative
	// one moves the other way, 0 none.
	Axes [6]int
	// Close and Open are buttons, counted from 1; 0 is none.
	Close, Open int
	// Deadman is a button that must be held besides what Raw says, counted from 1;
	// 0 leaves it to Raw.
	Deadman int
	// Threshold makes any deflection beyond it, and beyond the dead zone, a held
	// deadman switch, for devices that spring back and have none, as a 3D mouse; 0
	// does not.
	Threshold float64
	// Dead is the share of the deflection around zero that is none.
	Dead float64
}

// Gamepad is a mapping for the standard layout of browsers: the left stick moves
// x and y as seen from behind the arm, the right stick z and the turn about it.
func Gamepad() Mapping {
	return Mapping{Axes: [6]int{-2, -1, -4, 0, 0, -3}, Close: 1, Open: 2, Dead: 0.1}
}

// Joystick is a mapping for ROS's joy node and a gamepad with two sticks, where
// left and up count up: as Gamepad, with the left shoulder as the deadman switch.
func Joystick() Mapping {
	return Mapping{Axes: [6]int{2, 1, 5, 0, 0, 4}, Close: 1, Open: 2, Deadman: 5, Dead: 0.1}
}

// SpaceMouse is a mapping for spacenav's six axes and two buttons: x forward, y
// left, z up, and the turns about them. Touching it takes the arm.
func SpaceMouse() Mapping {
	return Mapping{Axes: [6]int{1, 2, 3, 4, 5, 6}, Close: 1, Open: 2, Threshold: 0.05, Dead: 0.05}
}

// Read maps a raw reading. What the device does not have, or what is not finite,
// is at rest.
func (m *Mapping) Read(raw *Raw) Reading {
	r := Reading{Deadman: raw.Deadman, Close: button(raw, m.Close), Open: button(raw, m.Open)}
	top := 0.0
	for i, a := range m.Axes {
		v := axis(raw, a)
		top = max(top, math.Abs(v))
		if math.Abs(v) <= m.Dead {
			continue
		}
		// What is left of the way counts from zero, so that nothing jumps.
		r.Axes[i] = math.Copysign((math.Abs(v)-m.Dead)/(1-m.Dead), v)
	}
	if m.Threshold > 0 && (top > max(m.Threshold, m.Dead) || r.Close || r.Open) {
		r.Deadman = true
	}
	if m.Deadman > 0 && !button(raw, m.Deadman) {
		r.Deadman = false
	}
	return r
}

func axis(raw *Raw, a int) float64 {
	sign := 1.0
	if a < 0 {
		a, sign = -a, -1
	}
	if a == 0 || a > len(raw.Axes) {
		return 0
	}
	v := raw.Axes[a-1]
	if v-v != 0 { // NaN or infinite
		return 0
	}
	return sign * min(max(v, -1), 1)
}

func button(raw *Raw, b int) bool { return b > 0 && b <= len(raw.Buttons) && raw.Buttons[b-1] }

// HandConfig configures a Hand.
type HandConfig struct {
	Mapping
	// Stale is how old a reading may be; 0 means 200 ms, four control ticks.
	Stale time.Duration
	// Now is the receiver's clock.
	Now func() time.Time
	// Log is told the first of every ten-fold of refused readings; nil discards them.
	Log *slog.Logger
}

// DefaultStale is the default of HandConfig.Stale.
const DefaultStale = 200 * time.Millisecond

// Hand is a Source that is fed with readings as they arrive, from one device at
// a time: while somebody holds the switch, nobody else is heard.
type Hand struct {
	cfg HandConfig

	mu      sync.Mutex
	life    life // whose reading it is
	reading Reading
	arrived time.Time
	past    [lives]past
	refused uint64
	late    uint64 // of them
	waited  uint64 // of them, while another held the switch
}

// lives is how many lives a Hand remembers: the one not heard for longest makes room.
const lives = 16

// past is what is known of a life. It is kept while others are heard: begun anew,
// what a network held back would pass for prompt.
type past struct {
	life
	next uint64 // the least number that counts
	// swift is the shortest way of a reading of this life, on two clocks: their
	// difference plus the delay. What takes longer than that by Stale is late. It
	// rises by drift.
	swift time.Duration
	heard time.Time // when its last reading came, whether it counted or not
	anew  anew
}

// anew is what late readings of a life have in common: the shortest and the longest way of
// so many, the first of which came at since.
type anew struct {
	lo, hi time.Duration
	since  time.Time
	n      int
}

// A clock that was set back, or stood still while its machine slept, makes every reading late. It
// looks otherwise than a queue, which grows or is emptied: all ways are alike, here for steady and
// for at least alike readings.
const (
	steady = 10 * time.Second
	alike  = 20
)

// take takes the way of a late reading, and reports whether the clock was set back. spread is by
// how much ways that are alike may differ.
func (a *anew) take(way, spread time.Duration, now time.Time) bool {
	lo, hi := min(a.lo, way), max(a.hi, way)
	if a.n == 0 || hi-lo > spread {
		*a = anew{way, way, now, 1}
		return false
	}
	a.lo, a.hi, a.n = lo, hi, a.n+1
	return a.n >= alike && now.Sub(a.since) >= steady
}

// drift is by how much of the time two clocks may part: quartzes keep 100 ppm each. A page's
// clock is disciplined by nobody, and what parts would look like a queue.
const drift = 2e-4

type life struct {
	who, device string
	boot        uint64
}

// NewHand makes a hand that has not been heard of yet.
func NewHand(c HandConfig) *Hand {
	if c.Stale == 0 {
		c.Stale = DefaultStale
	}
	return &Hand{cfg: c}
}

// Take takes a reading that just arrived, and reports whether it counts. It does
// not if it is out of order, late, or somebody else has the arm. Who had it is
// not let go by another's reading whose switch is not held: a cable that is pulled
// holds the arm whoever else is heard.
func (h *Hand) Take(raw Raw) bool {
	ok, say, n := h.take(&raw)
	if say != "" && h.cfg.Log != nil { // a log may be slow: Latest does not wait for it
		h.cfg.Log.Warn("teleop: "+say, "who", raw.Who, "device", raw.Device, "so_far", n)
	}
	return ok
}

// take is Take, and what is to be said of how many refused readings.
func (h *Hand) take(raw *Raw) (ok bool, say string, n uint64) {
	now := h.cfg.Now()
	way := now.Sub(raw.Stamp)
	l := life{raw.Who, raw.Device, raw.Boot}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.recall(l)
	if p.life != l || p.heard.IsZero() {
		*p = past{life: l, swift: way, heard: now}
	}
	parted := time.Duration(drift * float64(max(0, now.Sub(p.heard))))
	p.swift, p.heard = min(p.swift+parted, way), now
	r := h.cfg.Read(raw)
	anothers := l != h.life && h.reading.Deadman
	if raw.Seq < p.next || anothers && h.fresh(now) {
		h.refused++
		if anothers && r.Deadman {
			if h.waited++; tenfold(h.waited) {
				say, n = fmt.Sprintf("a hand is not heard while another, %s with %s, holds the switch; one at a time", h.life.who, h.life.device), h.waited
			}
		}
		return false, say, n
	}
	p.next = max(raw.Seq, raw.Seq+1) // the last number is not followed by 0
	if way-p.swift <= h.cfg.Stale {
		p.anew = anew{}
	} else if back := p.anew.take(way, h.cfg.Stale, now); back && !r.Deadman {
		// Not while the switch is held: nothing moves at once because ten seconds are over.
		p.swift, p.anew = p.anew.lo, anew{}
	} else {
		h.refused++
		if h.late++; tenfold(h.late) {
			say, n = fmt.Sprintf("a reading came %v later than others of its sender did, and is not heard: a network holds readings back, or the sender's clock was set back. In that case hold the switch for %v and let go of it, or begin its page or driver anew",
				(way-p.swift).Round(time.Millisecond), steady), h.late
		}
		return false, say, n
	}
	if anothers && !r.Deadman {
		return false, "", 0
	}
	h.life, h.arrived, h.reading = l, now, r
	return true, "", 0
}

// tenfold limits the rate of warnings: 1, 10, 100, ...
func tenfold(n uint64) bool {
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}

// recall is where l is remembered, or is to be.
func (h *Hand) recall(l life) *past {
	oldest := &h.past[0]
	for i := range h.past {
		p := &h.past[i]
		if p.life == l {
			return p
		}
		if p.heard.Before(oldest.heard) {
			oldest = p
		}
	}
	return oldest
}

func (h *Hand) fresh(now time.Time) bool {
	age := now.Sub(h.arrived)
	return !h.arrived.IsZero() && age >= 0 && age <= h.cfg.Stale
}

// Latest is Source's.
func (h *Hand) Latest() (Reading, bool) {
	now := h.cfg.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reading, h.fresh(now)
}

// Refused counts the readings that Take refused.
func (h *Hand) Refused() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refused
}

// Pilot decides at each control tick between a person and a policy. It is driven
// by one goroutine.
type Pilot struct {
	Source      Source
	Speed, Turn float64 // m/s and rad/s at full deflection of an axis
	// MaxSpeed and MaxTurn bound the whole motion, m/s and rad/s (Euclidean), where
	// what is beyond would be cut later and not be the person's; 0 does not.
	MaxSpeed, MaxTurn float64
	Tick              time.Duration // control period
	// Pause is how long the arm is held after the readings of a person who held the
	// switch went stale, before the policy goes on. A switch that is let go hands
	// over at once.
	Pause time.Duration
	// Free are the axes that the person moves: x y z rx ry rz and the grip. Those
	// of the policy alone, if it is to learn from what is done.
	Free [7]bool
	// Lost is told each time readings of a person who held the switch went stale; nil is not.
	Lost func()

	has   bool
	until time.Time // of a pause
}

// Decide returns what to do at step, and who says so: the person while he holds
// the switch; else nobody, robot.ByGuard, for a while after they went stale with the
// switch held; else the policy, whose wish it is.
func (p *Pilot) Decide(step int, obs robot.Observation, wish robot.Command) (robot.Command, robot.Source) {
	r, fresh := p.Source.Latest()
	now := obs.State.Stamp
	switch {
	case fresh && r.Deadman:
		p.has, p.until = true, time.Time{}
		return p.command(&r, Hold(step, obs, wish)), robot.ByHuman
	case p.has && !r.Deadman: // or let go while nobody decided, as between two episodes
		p.has = false
	case p.has:
		p.has, p.until = false, now.Add(p.Pause)
		if p.Lost != nil {
			p.Lost()
		}
		return Hold(step, obs, wish), robot.ByGuard
	}
	if now.Before(p.until) {
		return Hold(step, obs, wish), robot.ByGuard
	}
	return wish, robot.ByPolicy
}

func (p *Pilot) command(r *Reading, c robot.Command) robot.Command {
	dt := p.Tick.Seconds()
	for i := range 6 {
		if !p.Free[i] {
			continue
		}
		top := p.Speed
		if i >= 3 {
			top = p.Turn
		}
		c.Delta[i] = r.Axes[i] * top * dt
	}
	shorten(c.Delta[:3], p.MaxSpeed*dt)
	shorten(c.Delta[3:], p.MaxTurn*dt)
	switch {
	case !p.Free[6]:
	case r.Close:
		c.Grip = 0
	case r.Open:
		c.Grip = 1
	}
	return c
}

// shorten keeps v in its direction within a length that is not 0, in spite of rounding.
func shorten(v []float64, most float64) {
	n := math.Sqrt(v[0]*v[0] + v[1]*v[1] + v[2]*v[2])
	if most *= 1 - 1e-9; most <= 0 || n <= most {
		return
	}
	for i := range v {
		v[i] *= most / n
	}
}

// Hold is the command that moves nothing and keeps the fingers as they were told
// last: before the first command of an episode that is as the policy wishes.
func Hold(step int, obs robot.Observation, wish robot.Command) robot.Command {
	if step == 0 {
		return robot.Command{Grip: wish.Grip}
	}
	return robot.Command{Grip: obs.Applied.Grip}
}
