package bus

import (
	"fmt"
	"math"
	"time"
)

// Teleop is one reading of what a person holds: a gamepad, a 3D mouse, keys.
// Axes and buttons are raw; the driver of the arm maps them.
type Teleop struct {
	Who    string // the person
	Device string // as "gamepad", "spacenav", "keys": chooses the mapping
	Seq    uint64 // grows with every reading of one life
	Boot   uint64 // differs between lives of a sender
	// Stamp is on the sender's clock. Receivers compare stamps of one life alone,
	// so that clocks need not agree.
	Stamp time.Time
	// Deadman says that the person holds the switch; without it nothing moves.
	Deadman bool
	Axes    []float64 // -1..1, at most 16
	Buttons []bool    // at most 32
}

// The largest numbers of axes and buttons of a device.
const (
	maxAxes    = 16
	maxButtons = 32
)

type teleopMeta struct {
	Who     string `json:"who"`
	Device  string `json:"device"`
	Seq     uint64 `json:"seq"`
	Boot    uint64 `json:"boot"`
	Deadman bool   `json:"deadman"`
}

// TeleopTopic carries what a person's hand does, 20 to 50 times a second.
func TeleopTopic() Topic[Teleop] { return Topic[Teleop]{"teleop", EncodeTeleop, DecodeTeleop} }

// EncodeTeleop writes a message of kind "teleop".
func EncodeTeleop(t Teleop) ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("bus: encode teleop: %w", err)
	}
	var w writer
	w.add("stamp", "i8", []int{1, 2}, func(b []byte) []byte { return putTime(b, t.Stamp) })
	w.add("axes", "f8", []int{len(t.Axes)}, func(b []byte) []byte { return putF64s(b, t.Axes...) })
	w.add("buttons", "u1", []int{len(t.Buttons)}, func(b []byte) []byte {
		for _, on := range t.Buttons {
			v := byte(0)
			if on {
				v = 1
			}
			b = append(b, v)
		}
		return b
	})
	return encode("teleop", teleopMeta{t.Who, t.Device, t.Seq, t.Boot, t.Deadman}, &w)
}

// DecodeTeleop reads what EncodeTeleop wrote. Axes that are not finite or outside
// -1..1 are an error: a hand cannot be there.
func DecodeTeleop(b []byte) (Teleop, error) {
	m, r, err := decode[teleopMeta]("teleop", b)
	if err != nil {
		return Teleop{}, err
	}
	t := Teleop{Who: m.Who, Device: m.Device, Seq: m.Seq, Boot: m.Boot, Deadman: m.Deadman}
	r.times("stamp", 1, func(_ int, at time.Time) { t.Stamp = at })
	axes, n := r.take("axes", "f8", -1)
	buttons, k := r.take("buttons", "u1", -1)
	if n > maxAxes || k > maxButtons {
		r.fail("%d axes and %d buttons", n, k)
	}
	if err := r.done("teleop"); err != nil {
		return Teleop{}, err
	}
	t.Axes, t.Buttons = make([]float64, n), make([]bool, k)
	c := cursor(axes)
	c.f64s(t.Axes)
	for i := range t.Buttons {
		t.Buttons[i] = buttons[i] != 0
	}
	if err := t.check(); err != nil {
		return Teleop{}, fmt.Errorf("bus: decode teleop: %w: %w", ErrWire, err)
	}
	return t, nil
}

func (t *Teleop) check() error {
	if len(t.Axes) > maxAxes || len(t.Buttons) > maxButtons {
		return fmt.Errorf("%d axes and %d buttons, want at most %d and %d", len(t.Axes), len(t.Buttons), maxAxes, maxButtons)
	}
	if len(t.Who) > maxWords || len(t.Device) > maxWords {
		return fmt.Errorf("who and device are longer than %d bytes", maxWords)
	}
	for i, a := range t.Axes {
		if math.IsNaN(a) || a < -1 || a > 1 {
			return fmt.Errorf("axis %d is %v, want -1 to 1", i, a)
		}
	}
	return nil
}
