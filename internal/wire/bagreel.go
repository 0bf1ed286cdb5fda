package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// pauseLimit is the silence of all cameras behind which the ticks of a recording
// begin anew, instead of repeating the last frames.
const pauseLimit = 2 * time.Second

// bagReel is a recording of somebody else, of which the cameras count.
func bagReel(path string, rc ReplayConfig) (reel, error) {
	b, err := bag.Open(path, bag.Options{})
	if err != nil {
		return reel{}, fmt.Errorf("wire: replay: %w", err)
	}
	info := b.Info()
	if err := b.Close(); err != nil {
		return reel{}, fmt.Errorf("wire: replay: %w", err)
	}
	var notes []string
	cams := map[string]string{} // name by topic
	if len(rc.Map) > 0 {
		for name, topic := range rc.Map {
			if !slices.ContainsFunc(info.Topics, func(t bag.Topic) bool { return t.Name == topic }) {
				return reel{}, fmt.Errorf("wire: replay: %s has no topic %q for the camera %q; it has %s", path, topic, name, topicNames(info))
			}
			cams[topic] = name
		}
	} else {
		m, _ := bag.Guess(info)
		for _, c := range m.Cameras {
			cams[c.Topic] = c.Name
			notes = append(notes, fmt.Sprintf("camera %s is taken to be %s", c.Name, c.Topic))
		}
		if len(cams) == 0 {
			return reel{}, fmt.Errorf("wire: replay: %s: no camera is known among its topics; name one, as --map front=/camera/color/image_raw; it has %s", path, topicNames(info))
		}
	}
	var from, to time.Time
	if rc.From > 0 {
		from = info.Start.Add(rc.From)
	}
	if rc.To > 0 {
		to = info.Start.Add(rc.To)
	}
	id := strings.TrimSuffix(filepath.Base(filepath.Clean(path)), filepath.Ext(path))
	return reel{id: id, file: path, stored: math.NaN(), metric: math.NaN(), open: func(context.Context) (footage, error) {
		return &bagTape{path: path, cams: cams, from: from, to: to, notes: notes}, nil
	}}, nil
}

func topicNames(in bag.Info) string {
	var names []string
	for _, t := range in.Topics {
		names = append(names, t.Name+" ("+t.Type+")")
	}
	if len(names) == 0 {
		return "no topics"
	}
	return strings.Join(names, ", ")
}

// tornError says that a recording is not whole. What was shown before is.
type tornError struct{ err error }

func (e tornError) Error() string { return e.err.Error() }
func (e tornError) Unwrap() error { return e.err }

// bagTape shows the cameras of a bag at control ticks.
type bagTape struct {
	path  string
	cams  map[string]string // name by topic
	from  time.Time
	to    time.Time // zero: the end
	notes []string
	after []string // of the last showing
}

func (b *bagTape) Info() record.Info  { return record.Info{} }
func (b *bagTape) Rewards() []float64 { return nil }
func (b *bagTape) Notes() []string    { return slices.Concat(b.notes, b.after) }
func (b *bagTape) Lossless() bool     { return false }
func (b *bagTape) Close() error       { return nil }

// Each gives an observation every period, with the newest frame of each camera, from
// when each has sent one. It ends with a tornError where the recording is not whole.
func (b *bagTape) Each(ctx context.Context, f func(record.Tick) error) (err error) {
	in, err := bag.Open(b.path, bag.Options{Topics: slices.Sorted(maps.Keys(b.cams)), From: b.from, To: b.to})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	names := slices.Sorted(maps.Values(b.cams))
	newest := map[string]robot.Frame{}
	count := map[string]uint64{}
	var tick, last time.Time
	pauses := 0
	var torn error
	show := func() error {
		t := record.Tick{State: robot.State{Stamp: tick}}
		for _, n := range names {
			t.Frames = append(t.Frames, newest[n])
		}
		return f(t)
	}
	var m bag.Message
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := in.Next(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			torn = err
			break
		}
		if !tick.IsZero() && m.Time.Sub(last) > pauseLimit {
			if err := show(); err != nil {
				return err
			}
			tick = m.Time
			pauses++
		}
		for !tick.IsZero() && m.Time.After(tick) {
			if err := show(); err != nil {
				return err
			}
			tick = tick.Add(tabletop.Period)
		}
		last = m.Time
		var fr robot.Frame
		if torn = decodeFrame(&m, &fr); torn != nil {
			break
		}
		fr.Camera = b.cams[m.Topic]
		fr.Seq = count[fr.Camera]
		if fr.Stamp.IsZero() {
			fr.Stamp = m.Time
		}
		count[fr.Camera]++
		newest[fr.Camera] = fr
		if tick.IsZero() && len(newest) == len(names) {
			tick = m.Time
		}
	}
	if !tick.IsZero() {
		if err := show(); err != nil {
			return err
		}
	}
	b.after = nil
	if pauses > 0 {
		b.after = append(b.after, fmt.Sprintf("all cameras were silent for more than %v, %d times: is it one trajectory? cut with --from and --to", pauseLimit, pauses))
	}
	d := in.Damage()
	if !d.None() {
		b.after = append(b.after, "damage: "+d.String())
	}
	if harmed(d) {
		torn = errors.Join(torn, fmt.Errorf("the recording is not whole, damage: %s; rapport bag repair writes what is left of it", d))
	}
	switch {
	case tick.IsZero():
		return errors.Join(fmt.Errorf("%d of %d cameras sent a frame: %s", len(newest), len(names), strings.Join(names, ", ")), torn)
	case torn != nil:
		return tornError{torn}
	}
	return nil
}

// harmed says whether messages are lost, or may be.
func harmed(d bag.Damage) bool { return d.Lost() || d.Truncated || d.Chunks > 0 }

// decodeFrame makes a frame of a message.
func decodeFrame(m *bag.Message, into *robot.Frame) error {
	d, err := m.Conn.Decoder()
	if err != nil {
		return fmt.Errorf("%s: %w", m.Topic, err)
	}
	if err := d.Image(m.Data, into); err != nil {
		return fmt.Errorf("%s at %v: %w", m.Topic, m.Time, err)
	}
	return nil
}
