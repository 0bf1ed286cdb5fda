package teleop_test

import (
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/teleop"
)

const tick = 50 * time.Millisecond

// bench is a clock that the test moves, and a hand that goes by it.
type bench struct {
	now  time.Time
	hand *teleop.Hand
	seq  uint64
}

func newBench(m teleop.Mapping) *bench {
	b := &bench{now: time.Unix(1000, 0)}
	b.hand = teleop.NewHand(teleop.HandConfig{Mapping: m, Now: func() time.Time { return b.now }})
	return b
}

// skew is how much the sender's clock is ahead.
const skew = 17 * time.Hour

func (b *bench) raw(held bool, axes ...float64) teleop.Raw {
	b.seq++
	return teleop.Raw{Who: "anna", Device: "gamepad", Boot: 1, Seq: b.seq, Stamp: b.now.Add(skew), Deadman: held, Axes: axes, Buttons: []bool{false, false}}
}

func plain() teleop.Mapping {
	return teleop.Mapping{Axes: [6]int{1, 2, 3, 4, 5, 6}, Close: 1, Open: 2}
}

func TestMapping(t *testing.T) {
	for name, tt := range map[string]struct {
		m    teleop.Mapping
		raw  teleop.Raw
		want teleop.Reading
	}{
		"axes are chosen and turned": {
			teleop.Mapping{Axes: [6]int{-2, 1}}, teleop.Raw{Deadman: true, Axes: []float64{0.5, 0.25}},
			teleop.Reading{Deadman: true, Axes: [6]float64{-0.25, 0.5}},
		},
		"the dead zone is at rest and the rest begins at zero": {
			teleop.Mapping{Axes: [6]int{1, 2, 3}, Dead: 0.5}, teleop.Raw{Axes: []float64{0.5, -0.75, 1}},
			teleop.Reading{Axes: [6]float64{0, -0.5, 1}},
		},
		"what a device lacks is at rest": {
			teleop.Mapping{Axes: [6]int{9, -9}, Close: 9}, teleop.Raw{Axes: []float64{1}}, teleop.Reading{},
		},
		"what is not finite is at rest, what is too large is full": {
			teleop.Mapping{Axes: [6]int{1, 2, 3}}, teleop.Raw{Axes: []float64{math.NaN(), math.Inf(1), -7}},
			teleop.Reading{Axes: [6]float64{0, 0, -1}},
		},
		"buttons": {
			plain(), teleop.Raw{Buttons: []bool{true, true}}, teleop.Reading{Close: true, Open: true},
		},
		"touching a mouse takes the arm": {
			teleop.SpaceMouse(), teleop.Raw{Axes: []float64{0, 0, 0, 0, 0, 1}},
			teleop.Reading{Deadman: true, Axes: [6]float64{5: 1}},
		},
		"a mouse at rest does not": {
			teleop.SpaceMouse(), teleop.Raw{Axes: []float64{0.04, 0, 0, 0, 0, -0.05}}, teleop.Reading{},
		},
		"a mouse that rests beside zero does not, with a dead zone as wide": {
			teleop.Mapping{Axes: [6]int{1}, Threshold: 0.05, Dead: 0.1}, teleop.Raw{Axes: []float64{0.07}}, teleop.Reading{},
		},
		"a deadman's button must be held too": {
			teleop.Mapping{Axes: [6]int{1}, Deadman: 2}, teleop.Raw{Deadman: true, Axes: []float64{1}, Buttons: []bool{true, false}},
			teleop.Reading{Axes: [6]float64{1}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.m.Read(&tt.raw); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestHandHearsTheNewestOfOnePerson(t *testing.T) {
	b := newBench(plain())
	if _, fresh := b.hand.Latest(); fresh {
		t.Error("fresh before the first reading")
	}
	take := func(raw teleop.Raw, want bool) {
		t.Helper()
		if got := b.hand.Take(raw); got != want {
			t.Errorf("reading %d of %s: taken %v, want %v", raw.Seq, raw.Who, got, want)
		}
	}
	first := b.raw(true, 1)
	take(first, true)
	take(first, false) // again
	b.now = b.now.Add(tick)
	ben := b.raw(true, -1)
	ben.Who = "ben"
	take(ben, false) // anna holds the switch
	if r, fresh := b.hand.Latest(); !fresh || r.Axes[0] != 1 {
		t.Errorf("got %+v, fresh %v; want anna's", r, fresh)
	}
	take(b.raw(false, 1), true)
	take(ben, true) // anna let go
	b.now = b.now.Add(teleop.DefaultStale + 1)
	if _, fresh := b.hand.Latest(); fresh {
		t.Error("fresh after 200 ms of silence")
	}
	take(b.raw(true, 1), true) // ben fell silent
	reborn := b.raw(true, 0.5)
	reborn.Seq, reborn.Boot = 1, 2
	take(reborn, false)
	b.now = b.now.Add(teleop.DefaultStale + 1)
	reborn.Stamp = b.now.Add(skew)
	take(reborn, true)
	if n := b.hand.Refused(); n != 3 {
		t.Errorf("refused %d, want 3", n)
	}
}

// A network that holds readings back and then delivers all at once must not
// move the arm by what the hand did a while ago.
func TestLateReadingsDoNotCount(t *testing.T) {
	b := newBench(plain())
	var queue []teleop.Raw
	for range 20 {
		if !b.hand.Take(b.raw(true, 1)) {
			t.Fatal("a prompt reading was refused")
		}
		b.now = b.now.Add(tick)
	}
	for range 20 { // a second in the queue
		queue = append(queue, b.raw(true, -1))
		b.now = b.now.Add(tick)
	}
	taken := 0
	for _, raw := range queue {
		if b.hand.Take(raw) {
			taken++
		}
	}
	// Those of the last 200 ms are new enough.
	if taken != 4 {
		t.Errorf("%d late readings count, want 4", taken)
	}
}

// What a network held back of one person is late whoever was heard meanwhile, and what
// counted once does not again.
func TestLateReadingsDoNotCountAfterAnothersEither(t *testing.T) {
	for name, meanwhile := range map[string]func(b *bench, ben teleop.Raw){
		"another was heard": func(b *bench, ben teleop.Raw) { b.hand.Take(ben) },
		"many others were heard": func(b *bench, ben teleop.Raw) {
			for i := range 15 {
				ben.Boot = uint64(i)
				b.hand.Take(ben)
			}
		},
		"another had the arm and let go": func(b *bench, ben teleop.Raw) {
			ben.Deadman = true
			b.hand.Take(ben)
			ben.Seq, ben.Deadman = 2, false
			b.hand.Take(ben)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(plain())
			first := b.raw(true, 1)
			if !b.hand.Take(first) {
				t.Fatal("a prompt reading was refused")
			}
			b.now = b.now.Add(tick)
			stuck := b.raw(true, 1)
			b.now = b.now.Add(5 * time.Second)
			ben := b.raw(false)
			ben.Who, ben.Seq = "ben", 1
			meanwhile(b, ben)
			if b.hand.Take(stuck) {
				t.Error("a reading that was 5 s under way counts")
			}
			if r, fresh := b.hand.Latest(); fresh && r.Deadman {
				t.Error("it steers the arm")
			}
			first.Stamp = b.now.Add(skew)
			if b.hand.Take(first) {
				t.Error("a number that was seen counts again")
			}
			if !b.hand.Take(b.raw(true, -1)) {
				t.Error("a prompt reading is refused")
			}
		})
	}
}

// Who was heard only while somebody else held the switch is known all the same.
func TestLateReadingsOfOneWhoWaitedDoNotCount(t *testing.T) {
	b := newBench(plain())
	ben := func() teleop.Raw {
		raw := b.raw(true, -1)
		raw.Who = "ben"
		return raw
	}
	b.hand.Take(b.raw(true, 1))
	if b.hand.Take(ben()) {
		t.Fatal("two have the arm")
	}
	stuck := ben()
	b.now = b.now.Add(5 * time.Second)
	b.hand.Take(b.raw(false))
	if b.hand.Take(stuck) {
		t.Error("a reading that was 5 s under way counts")
	}
	if !b.hand.Take(ben()) {
		t.Error("a prompt reading is refused")
	}
}

// No time server disciplines a page's clock: two quartzes part by up to 200 ppm, which is no queue.
func TestClocksThatPartAreNotLate(t *testing.T) {
	b := newBench(plain())
	began := b.now
	for range int(3 * time.Hour / tick) {
		b.now = b.now.Add(tick)
		raw := b.raw(true, 1)
		raw.Stamp = raw.Stamp.Add(-time.Duration(1.9e-4 * float64(b.now.Sub(began))))
		if !b.hand.Take(raw) {
			t.Fatalf("after %v a prompt reading is refused", b.now.Sub(began))
		}
	}
	late := b.raw(true, -1)
	late.Stamp = late.Stamp.Add(-time.Duration(1.9e-4*float64(b.now.Sub(began))) - 250*time.Millisecond)
	if b.hand.Take(late) {
		t.Error("a reading that was 250 ms under way counts")
	}
}

// A clock that was set back is not a queue: after a while its sender is heard again, but not
// before the switch was let go. What a network held back for long is late all the same.
func TestAClockThatWasSetBackIsHeardAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		step  time.Duration // the clock is set back by this
		slack time.Duration // a queue that is emptied by this at each reading
		held  time.Duration // the switch, before it is let go
		want  bool
	}{
		"after ten seconds":              {time.Second, 0, 11 * time.Second, true},
		"a machine that slept":           {time.Hour, 0, 11 * time.Second, true},
		"not after five":                 {time.Second, 0, 5 * time.Second, false},
		"not while a queue is emptied":   {time.Minute, 5 * time.Millisecond, 30 * time.Second, false},
		"nor when it comes all at once":  {time.Minute, tick, 30 * time.Second, false},
		"nor while a queue becomes long": {time.Second, -20 * time.Millisecond, 30 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			var said strings.Builder
			b := newBench(plain())
			b.hand = teleop.NewHand(teleop.HandConfig{Mapping: plain(), Now: func() time.Time { return b.now }, Log: slog.New(slog.NewTextHandler(&said, nil))})
			if !b.hand.Take(b.raw(true, 1)) {
				t.Fatal("a prompt reading was refused")
			}
			late := tt.step
			take := func(held bool) bool {
				b.now = b.now.Add(tick)
				raw := b.raw(held, 1)
				raw.Stamp = raw.Stamp.Add(-late)
				late -= tt.slack
				return b.hand.Take(raw)
			}
			for range int(tt.held / tick) {
				if take(true) {
					t.Fatal("a late reading moves the arm")
				}
			}
			if got := take(false); got != tt.want {
				t.Errorf("heard when the switch is let go: %v, want %v", got, tt.want)
			}
			if got := take(true); got != tt.want {
				t.Errorf("heard when it is held anew: %v, want %v", got, tt.want)
			}
			if n := strings.Count(said.String(), "clock was set back"); n < 2 || n > 3 {
				t.Errorf("told %d times, want at the 1st, 10th and 100th: %s", n, said.String())
			}
		})
	}
}

// A cable that is pulled holds the arm though another pad lies beside it and is heard.
func TestAPulledCableHoldsWhoeverElseIsHeard(t *testing.T) {
	b := newBench(plain())
	p := teleop.Pilot{Source: b.hand, Speed: 0.2, Tick: tick, Pause: time.Second, Free: [7]bool{true}}
	wish := robot.Command{Delta: [6]float64{0.001}}
	b.hand.Take(b.raw(true, 1))
	held := 0
	for step := range 40 {
		idle := b.raw(false)
		idle.Who = "the pad beside"
		b.hand.Take(idle)
		if _, by := p.Decide(step, observe(b, 0), wish); by == robot.ByGuard {
			held++
		}
		b.now = b.now.Add(tick)
	}
	if held != 20 {
		t.Errorf("held for %d ticks, want 20", held)
	}
	other := b.raw(true, -1)
	other.Who = "the pad beside"
	b.hand.Take(other)
	if _, by := p.Decide(41, observe(b, 0), wish); by != robot.ByHuman {
		t.Errorf("the %v decides, want who holds the switch", by)
	}
}

func observe(b *bench, grip float64) robot.Observation {
	return robot.Observation{State: robot.State{Stamp: b.now}, Applied: robot.Command{Grip: grip}}
}

func TestPilotHandsOver(t *testing.T) {
	b := newBench(plain())
	dt := tick.Seconds() // at run time, as the pilot multiplies
	v := 0.2 * dt        // full speed
	p := teleop.Pilot{Source: b.hand, Speed: 0.2, Turn: 0.4, Tick: tick, Pause: time.Second, Free: [7]bool{true, true, false, false, false, true, true}}
	wish := robot.Command{Delta: [6]float64{0.001}, Grip: 0.75}
	step := 0
	decide := func(grip float64, want robot.Command, who robot.Source) {
		t.Helper()
		got, by := p.Decide(step, observe(b, grip), wish)
		if got != want || by != who {
			t.Errorf("step %d: got %+v by the %v, want %+v by the %v", step, got, by, want, who)
		}
		step++
		b.now = b.now.Add(tick)
	}
	decide(0, wish, robot.ByPolicy) // nobody there
	b.hand.Take(b.raw(false, 1, 1))
	decide(1, wish, robot.ByPolicy) // no switch held
	b.hand.Take(b.raw(true, 1, -0.5, 1, 1, 1, 0.5))
	decide(0.3, robot.Command{Delta: [6]float64{v, -v / 2, 0, 0, 0, 0.5 * (0.4 * dt)}, Grip: 0.3}, robot.ByHuman)
	raw := b.raw(true)
	raw.Buttons[0] = true
	b.hand.Take(raw)
	decide(0.3, robot.Command{Grip: 0}, robot.ByHuman)
	b.hand.Take(b.raw(false))
	decide(0, wish, robot.ByPolicy) // let go
	// The cable is pulled while the arm moves: what was read last is good for 200 ms.
	b.hand.Take(b.raw(true, 1))
	for range 5 {
		decide(0, robot.Command{Delta: [6]float64{v}}, robot.ByHuman)
	}
	for range 20 {
		decide(0, robot.Command{}, robot.ByGuard)
	}
	decide(0, wish, robot.ByPolicy)
	// The switch is let go while nobody asks, as between two episodes.
	b.hand.Take(b.raw(true, 1))
	decide(0, robot.Command{Delta: [6]float64{v}}, robot.ByHuman)
	b.hand.Take(b.raw(false))
	b.now = b.now.Add(3 * time.Second)
	decide(0, wish, robot.ByPolicy)
	// And held while the cable is pulled.
	b.hand.Take(b.raw(true, 1))
	decide(0, robot.Command{Delta: [6]float64{v}}, robot.ByHuman)
	b.now = b.now.Add(3 * time.Second)
	decide(0, robot.Command{}, robot.ByGuard)
	// A hand that comes back during a pause has the arm at once.
	b.hand.Take(b.raw(true, 1))
	decide(0, robot.Command{Delta: [6]float64{v}}, robot.ByHuman)
	b.now = b.now.Add(time.Second / 2)
	decide(0, robot.Command{}, robot.ByGuard)
	b.hand.Take(b.raw(true, -1))
	decide(0, robot.Command{Delta: [6]float64{-v}}, robot.ByHuman)
}

func TestHoldBeforeTheFirstCommandGripsAsThePolicyWishes(t *testing.T) {
	b := newBench(plain())
	wish := robot.Command{Delta: [6]float64{1}, Grip: 0.75}
	if got, want := teleop.Hold(0, observe(b, 0), wish), (robot.Command{Grip: 0.75}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := teleop.Hold(1, observe(b, 0), wish), (robot.Command{}); got != want {
		t.Errorf("got %+v, want %+v: closed fingers must not open", got, want)
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	b := newBench(plain())
	b.hand.Take(b.raw(true, 1))
	p := teleop.Pilot{Source: b.hand, Speed: 0.2, Tick: tick, Free: [7]bool{true}}
	obs := observe(b, 0)
	if n := testing.AllocsPerRun(100, func() { p.Decide(1, obs, robot.Command{}) }); n != 0 {
		t.Errorf("%v allocations a tick", n)
	}
}
