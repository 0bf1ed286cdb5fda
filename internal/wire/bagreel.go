package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
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
	tape := &bagTape{path: path, cams: cams, guessed: len(rc.Map) == 0, from: from, to: to}
	return reel{id: recordingID(path), file: path, stored: math.NaN(), metric: math.NaN(), bag: tape, open: func(context.Context) (footage, error) {
		return tape, nil
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
	path    string
	cams    map[string]string // name by topic
	guessed bool              // nobody named them
	from    time.Time
	to      time.Time // zero: the end
	left    []string  // of cameras that nobody looks at
	after   []string  // of the last showing
}

func (b *bagTape) Info() record.Info  { return record.Info{} }
func (b *bagTape) Rewards() []float64 { return nil }
func (b *bagTape) Lossless() bool     { return false }
func (b *bagTape) Close() error       { return nil }

func (b *bagTape) Notes() (notes []string) {
	if b.guessed {
		for _, topic := range b.topics() {
			notes = append(notes, fmt.Sprintf("camera %s is taken to be %s", b.cams[topic], topic))
		}
	}
	return slices.Concat(notes, b.left, b.after)
}

// topics are those of the cameras, by the cameras' names.
func (b *bagTape) topics() []string {
	return slices.SortedFunc(maps.Keys(b.cams), func(x, y string) int { return strings.Compare(b.cams[x], b.cams[y]) })
}

// only leaves out the cameras that nobody looks at: to wait for them would cost what the others
// saw meanwhile. Where none of used is there, all stay, and what looks for one tells.
func (b *bagTape) only(used []string) {
	if !slices.ContainsFunc(slices.Collect(maps.Values(b.cams)), func(n string) bool { return slices.Contains(used, n) }) {
		return
	}
	for _, topic := range b.topics() {
		if n := b.cams[topic]; !slices.Contains(used, n) {
			b.left = append(b.left, fmt.Sprintf("camera %s (%s) is left out, since the session does not look at it", n, topic))
			delete(b.cams, topic)
		}
	}
}

// Each gives an observation every period, with the newest frame of each camera, from
// when each has sent one. It ends with a tornError where the recording is not whole.
func (b *bagTape) Each(ctx context.Context, f func(record.Tick) error) (err error) {
	in, err := bag.Open(b.path, bag.Options{Topics: b.topics(), From: b.from, To: b.to})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	v := viewing{tape: b, topics: b.topics(), f: f, newest: map[string]robot.Frame{}, at: map[string]time.Time{}, count: map[string]uint64{}, stale: map[string]stall{}, unread: map[string]bag.Unread{}}
	torn, err := v.run(ctx, in)
	if err != nil {
		return err
	}
	d := in.Damage()
	b.after = v.notes()
	if !d.None() {
		b.after = append(b.after, "damage: "+d.String())
	}
	if harmed(d) {
		torn = errors.Join(torn, fmt.Errorf("the recording is not whole, damage: %s; rapport bag repair writes what is left of it", d))
	}
	switch {
	case v.tick.IsZero():
		for _, topic := range v.topics {
			if u := v.unread[topic]; u.Count > 0 {
				torn = errors.Join(torn, errors.New(u.String()))
			}
		}
		return errors.Join(fmt.Errorf("%d of %d cameras sent a frame: %s", len(v.newest), len(b.cams), strings.Join(slices.Sorted(maps.Values(b.cams)), ", ")), torn)
	case torn != nil:
		return tornError{torn}
	}
	return nil
}

// harmed says whether messages are lost, or may be.
func harmed(d bag.Damage) bool { return d.Lost() || d.Truncated || d.Chunks > 0 }

// viewing is one showing of a bag.
type viewing struct {
	tape    *bagTape
	topics  []string
	f       func(record.Tick) error
	newest  map[string]robot.Frame // by topic, as all that follow
	at      map[string]time.Time   // when newest was recorded
	count   map[string]uint64
	stale   map[string]stall
	unread  map[string]bag.Unread
	first   time.Time // of any camera
	begin   time.Time // of the ticks
	last    string    // whose first frame they waited for
	tick    time.Time
	pauses  int
	paused  time.Time       // first of the pauses
	skipped time.Duration   // in all of them
	behind  time.Time       // the first message behind a pause, until the ticks go on
	absent  map[string]bool // who sent none behind it
}

// stall is for how many ticks a camera showed a frame older than pauseLimit.
type stall struct {
	ticks int
	since time.Time // of its frame
}

// run shows the recording to its end. torn is what of the recording could not be read.
func (v *viewing) run(ctx context.Context, in *bag.Bag) (torn, err error) {
	var m bag.Message
	var last time.Time
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if torn = in.Next(&m); torn != nil {
			if errors.Is(torn, io.EOF) {
				torn = nil
			}
			break
		}
		if !v.tick.IsZero() && m.Time.Sub(last) > pauseLimit {
			if v.behind.IsZero() {
				if err := v.show(); err != nil {
					return nil, err
				}
			}
			if v.pauses++; v.pauses == 1 {
				v.paused = last
			}
			v.behind, v.absent = m.Time, map[string]bool{}
			for _, topic := range v.topics {
				v.absent[topic] = true
			}
		}
		for !v.tick.IsZero() && v.behind.IsZero() && m.Time.After(v.tick) {
			if err := v.show(); err != nil {
				return nil, err
			}
			v.tick = v.tick.Add(tabletop.Period)
		}
		last = m.Time
		if torn = v.take(&m); torn != nil {
			break
		}
		// No tick has frames of both sides of a pause, unless a camera stays away.
		if !v.behind.IsZero() && (len(v.absent) == 0 || m.Time.Sub(v.behind) > pauseLimit) {
			v.skipped += m.Time.Sub(v.tick) - tabletop.Period
			v.tick, v.behind = m.Time, time.Time{}
		}
	}
	if !v.behind.IsZero() {
		v.skipped += last.Sub(v.tick)
		return torn, nil
	}
	if !v.tick.IsZero() {
		return torn, v.show()
	}
	return torn, nil
}

// take makes a frame of a message. One that is broken counts as not sent.
func (v *viewing) take(m *bag.Message) error {
	if v.first.IsZero() {
		v.first = m.Time
	}
	d, err := m.Conn.Decoder()
	if err != nil {
		return fmt.Errorf("%s: %w", m.Topic, err)
	}
	var fr robot.Frame
	if err := d.Image(m.Data, &fr); err != nil {
		u := v.unread[m.Topic]
		u.Add(m.Topic, m.Time, err)
		v.unread[m.Topic] = u
		return nil
	}
	fr.Camera, fr.Seq = v.tape.cams[m.Topic], v.count[m.Topic]
	if fr.Stamp.IsZero() {
		fr.Stamp = m.Time
	}
	v.count[m.Topic]++
	v.newest[m.Topic], v.at[m.Topic] = fr, m.Time
	delete(v.absent, m.Topic)
	if v.tick.IsZero() && len(v.newest) == len(v.tape.cams) {
		v.tick, v.begin, v.last = m.Time, m.Time, m.Topic
	}
	return nil
}

func (v *viewing) show() error {
	t := record.Tick{State: robot.State{Stamp: v.tick}}
	for _, topic := range v.topics {
		t.Frames = append(t.Frames, v.newest[topic])
		if v.tick.Sub(v.at[topic]) > pauseLimit {
			z := v.stale[topic]
			if z.ticks++; z.ticks == 1 {
				z.since = v.at[topic]
			}
			v.stale[topic] = z
		}
	}
	return v.f(t)
}

// notes tell what the cameras' silence cost.
func (v *viewing) notes() (notes []string) {
	if n := v.begin.Sub(v.first) / tabletop.Period; n > 0 {
		notes = append(notes, fmt.Sprintf("the first %d ticks are left out: camera %s (%s) begins %v after the first one", n, v.tape.cams[v.last], v.last, v.begin.Sub(v.first).Round(time.Millisecond)))
	}
	if v.pauses > 0 {
		notes = append(notes, fmt.Sprintf("all cameras were silent for more than %v, %d times, first from %v on, and %d ticks are left out: is it one trajectory? cut with --from and --to",
			pauseLimit, v.pauses, clock(v.paused), v.skipped/tabletop.Period))
	}
	for _, topic := range v.topics {
		if u := v.unread[topic]; u.Count > 0 {
			notes = append(notes, u.String())
		}
		if z := v.stale[topic]; z.ticks > 0 {
			notes = append(notes, fmt.Sprintf("camera %s (%s) was silent for more than %v, first from %v on: in %d ticks its last frame stands for what it did not send", v.tape.cams[topic], topic, pauseLimit, clock(z.since), z.ticks))
		}
	}
	return notes
}

// clock writes a time of recording.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
