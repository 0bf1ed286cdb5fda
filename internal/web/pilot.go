package web

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/rapport-rl/rapport/internal/bus"
)

// reading is what a browser says of the gamepad, keys or fingers.
type reading struct {
	Who     string    `json:"who"`
	Device  string    `json:"device"`
	Seq     uint64    `json:"seq"`
	At      float64   `json:"at"` // ms, the page's own clock, which never goes back
	Deadman bool      `json:"deadman"`
	Axes    []float64 `json:"axes"` // -1..1
	Buttons []bool    `json:"buttons"`
}

// The largest numbers of axes and buttons, as docs/bus.md has them, and what the page calls
// its devices at most.
const (
	maxAxes    = 16
	maxButtons = 32
	maxDevice  = 100 // bytes
)

// What is longer is cut, bytes. The page's fields take 80 and 300 characters, of up to three
// bytes each; the bus carries 500 bytes.
const (
	maxName = 400
	maxNote = 500
)

// cut is as much of the beginning of s as fits into n bytes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func (r *reading) check() error {
	bad := len(r.Axes) > maxAxes || len(r.Buttons) > maxButtons || len(r.Device) > maxDevice
	bad = bad || !(r.At >= 0 && r.At < 1e12) // 30 years
	for _, a := range r.Axes {
		bad = bad || !(math.Abs(a) <= 1)
	}
	if bad {
		return errors.New("web: reading of a hand is outside what hands can do")
	}
	return nil
}

// hand is one browser that may drive.
type hand struct {
	addr string
	boot uint64
	seq  uint64 // of its newest reading
	last bus.Teleop
	held bool
}

func newHand(addr string) hand { return hand{addr: addr, boot: rand.Uint64()} }

// teleop is a reading as the bus carries it.
func (h *hand) teleop(r *reading) bus.Teleop {
	name := strings.TrimSpace(cut(r.Who, maxName))
	if name == "" {
		name = "somebody at " + h.addr
	}
	return bus.Teleop{
		Who: name, Device: r.Device, Seq: r.Seq, Boot: h.boot,
		// The page's clock, so that a queue between it and the arm shows.
		Stamp:   time.UnixMicro(int64(1000 * r.At)).UTC(),
		Deadman: r.Deadman, Axes: r.Axes, Buttons: r.Buttons,
	}
}

// keepFor is for how long an arm stays with who drove last, between two holds
// of the deadman switch.
const keepFor = time.Second

// pilot lets one browser at a time drive.
type pilot struct {
	mu   sync.Mutex
	feed *bus.Feed[bus.Teleop]
	at   *hand // who drives, or drove last
	till time.Time
}

func (p *pilot) open(c *bus.Conn, session string) (err error) {
	// What waits longer than a reading or two is of no use.
	p.feed, err = bus.NewFeed(c, session, bus.TeleopTopic(), 2)
	return err
}

func (p *pilot) close() { p.feed.Close() }

// take hands a reading on, if its browser may drive: whoever holds the switch
// first.
func (p *pilot) take(h *hand, r *reading) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Seq <= h.seq {
		return
	}
	h.seq = r.Seq
	now := time.Now()
	mine := p.at == h
	if !mine && (!r.Deadman || p.at != nil && now.Before(p.till)) {
		return
	}
	if !r.Deadman && !h.held {
		return // released before; nothing is new
	}
	p.at, p.till = h, now.Add(keepFor)
	h.held = r.Deadman
	was := h.last
	h.last = h.teleop(r)
	if !r.Deadman {
		// Whoever drives the arm hears a release only from the hand that held it.
		h.last.Who, h.last.Device = was.Who, was.Device
	}
	p.feed.Publish(h.last)
}

// leave lets go in the name of a browser that went away.
func (p *pilot) leave(h *hand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at != h {
		return
	}
	if h.held {
		v := h.last
		v.Seq, v.Deadman, v.Axes, v.Buttons = v.Seq+1, false, make([]float64, len(v.Axes)), make([]bool, len(v.Buttons))
		v.Stamp = v.Stamp.Add(time.Millisecond)
		p.feed.Publish(v)
	}
	p.at = nil
}

// who drives just now, and whether it is h.
func (p *pilot) who(h *hand) (name string, yours bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil || time.Now().After(p.till) {
		return "", false
	}
	return p.at.last.Who, p.at == h
}
