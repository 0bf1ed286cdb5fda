package arm

import (
	"bytes"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

func ms(n ...int) (ts []time.Time) {
	for _, v := range n {
		ts = append(ts, time.UnixMilli(int64(v)))
	}
	return ts
}

func TestAlign(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stamps [][]time.Time
		pick   []int
		spread time.Duration
	}{
		{"one camera gives its newest", [][]time.Time{ms(0, 33, 66)}, []int{2}, 0},
		{"the newest of the slower one counts", [][]time.Time{ms(0, 33, 66, 100), ms(0, 66)}, []int{2, 1}, 0},
		{"nearest, not newest", [][]time.Time{ms(10, 43, 76), ms(30, 63, 96)}, []int{2, 1}, 13 * time.Millisecond},
		{"one that stopped holds the others back", [][]time.Time{ms(0), ms(900, 933)}, []int{0, 0}, 900 * time.Millisecond},
		{"of two as near the later", [][]time.Time{ms(0, 20, 30), ms(10)}, []int{1, 0}, 10 * time.Millisecond},
	} {
		pick, spread := align(tt.stamps)
		if !slices.Equal(pick, tt.pick) || spread != tt.spread {
			t.Errorf("%s: got %v, %v apart; want %v, %v", tt.name, pick, spread, tt.pick, tt.spread)
		}
	}
	if pick, spread := align(nil); pick != nil || spread != 0 {
		t.Errorf("no cameras: got %v, %v", pick, spread)
	}
}

// Against brute force: no choice of the other cameras' images is nearer to the
// newest that all have.
func TestAlignPicksTheNearest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var stamps [][]time.Time
		for range 1 + rng.IntN(3) {
			at, s := rng.IntN(40), []time.Time(nil)
			for range 1 + rng.IntN(4) {
				s = append(s, time.UnixMilli(int64(at)))
				at += 1 + rng.IntN(50)
			}
			stamps = append(stamps, s)
		}
		ref := newest(stamps[0])
		for _, s := range stamps {
			if newest(s).Before(ref) {
				ref = newest(s)
			}
		}
		pick, _ := align(stamps)
		for i, s := range stamps {
			for _, u := range s {
				if u.Sub(ref).Abs() < s[pick[i]].Sub(ref).Abs() {
					t.Fatalf("%v: picked %v of camera %d, but %v is nearer to %v", stamps, s[pick[i]], i, u, ref)
				}
			}
		}
	}
}

func TestScheduleIsAbsolute(t *testing.T) {
	s := schedule{period: 50 * time.Millisecond}
	at := func(n int) time.Time { return time.UnixMilli(int64(n)) }
	s.start(at(1000))
	for _, step := range []struct {
		now, due int
		missed   uint64
	}{
		{1001, 1050, 0},
		{1090, 1100, 0}, // late, but before the next tick: nothing is missed
		{1149, 1150, 0},
		{1200, 1200, 0}, // just at the tick
		{1251, 1300, 1}, // 1250 passed
		{1513, 1550, 5}, // 1350, 1400, 1450 and 1500 too
	} {
		if got := s.next(at(step.now)); !got.Equal(at(step.due)) || s.missed != step.missed {
			t.Errorf("at %d ms: wait for %d ms with %d missed, want %d with %d", step.now, got.UnixMilli(), s.missed, step.due, step.missed)
		}
	}
}

func TestMeter(t *testing.T) {
	var m meter
	if q := m.quantiles(); q != (Quantiles{}) {
		t.Errorf("before the first: %v, want zeros", q)
	}
	for i := range 3 * window { // the last third counts
		m.add(time.Duration(i))
	}
	q := m.quantiles()
	lo := float64(2 * window)
	want := Quantiles{time.Duration(lo + 0.5*(window-1)), time.Duration(lo + math.Floor(0.99*(window-1))), 3*window - 1}
	if q != want {
		t.Errorf("got %v, want %v", q, want)
	}
	if n := testing.AllocsPerRun(100, func() { m.add(1) }); n != 0 {
		t.Errorf("add allocates %g times", n)
	}
}

func TestFrozenCountsEqualPixelsAlone(t *testing.T) {
	var s still
	a, b := []byte{1, 2, 3}, []byte{1, 2, 4}
	for _, step := range []struct {
		at   int
		data []byte
		want time.Duration
	}{
		{0, a, 0}, {30, slices.Clone(a), 30 * time.Millisecond}, {60, a, 60 * time.Millisecond}, {90, b, 0}, {120, b, 30 * time.Millisecond}, {150, a, 0},
	} {
		if got := s.look(time.UnixMilli(int64(step.at)), step.data); got != step.want {
			t.Errorf("at %d ms: the same for %v, want %v", step.at, got, step.want)
		}
	}
}

// Who announces a topic publishes nothing yet, and a driver that was started again follows the one
// before.
func TestSourcesAreSeveralOnlyInTurns(t *testing.T) {
	for _, tt := range []struct {
		name string
		from string // one letter a message, 100 ms apart
		want []string
	}{
		{"one", "aaaa", nil},
		{"started again under another name", "aaaabbbb", nil},
		{"one that a second joins", "aaaabab", []string{"a", "b"}},
		{"three", "abcabc", []string{"a", "b", "c"}},
		{"started again twice, as before", "aabbbbbbbbbbbbaa", nil},
		{"a second that ended", "ababaaaaaaaaaaaaa", nil},
	} {
		var s sources
		at := time.UnixMilli(1000)
		for _, c := range tt.from {
			at = at.Add(100 * time.Millisecond)
			s.hear(string(c), at)
		}
		if got := s.several(at); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A bag is played once more, by another name, and puts /clock back.
func TestSourcesOfBeforeAClockThatWasPutBackAreNone(t *testing.T) {
	var s sources
	at := time.UnixMilli(100_000)
	for i := range 1000 {
		s.hear("a", at.Add(time.Duration(i)*100*time.Millisecond))
	}
	for i := range 1100 { // and on, by the time at which the first ended
		now := at.Add(time.Duration(i) * 100 * time.Millisecond)
		s.hear("b", now)
		if got := s.several(now); len(got) > 0 {
			t.Fatalf("%v after the second began, got %q, want none", now.Sub(at), got)
		}
	}
}

func TestTree(t *testing.T) {
	var tr tree
	up := robot.Pose{P: [3]float64{0, 0, 1}, Q: franka.Exp([3]float64{0, 0, math.Pi / 2})}
	side := robot.Pose{P: [3]float64{0.5, 0, 0}, Q: [4]float64{1, 0, 0, 0}}
	tr.set("/panda_link0", "panda_hand", up) // tf's names have a slash, tf2's have not
	tr.set("panda_hand", "camera", side)
	got, ok := tr.lookup("panda_link0", "camera")
	want := robot.Pose{P: [3]float64{0, 0.5, 1}, Q: up.Q}
	d := franka.Diff(got, want)
	if !ok || norm(d[0], d[1], d[2]) > 1e-12 || norm(d[3], d[4], d[5]) > 1e-7 {
		t.Errorf("the camera is at %v (%v), want %v", got, ok, want)
	}
	back, ok := tr.lookup("camera", "panda_link0")
	d = franka.Diff(compose(got, back), robot.Pose{Q: [4]float64{1, 0, 0, 0}})
	if !ok || norm(d[0], d[1], d[2]) > 1e-12 || norm(d[3], d[4], d[5]) > 1e-7 {
		t.Errorf("there and back again is %v", compose(got, back))
	}
	if _, ok := tr.lookup("panda_link0", "elsewhere"); ok {
		t.Error("a frame that nobody told of is known")
	}
	tr.set("b", "a", side)
	tr.set("a", "b", side)
	if _, ok := tr.lookup("panda_link0", "a"); ok { // and it ends
		t.Error("frames in a loop are known")
	}
}

func TestHomeKeepsItsSpeedAndGoesOver(t *testing.T) {
	from := robot.Pose{P: [3]float64{0.6, 0.1, 0.02}, Q: franka.Mul(franka.Exp([3]float64{0, 0, 1}), [4]float64{0, 1, 0, 0})}
	start := robot.Pose{P: [3]float64{0.34, 0, 0.03}, Q: [4]float64{0, 1, 0, 0}}
	const speed, turn, dt = 0.1, 0.5, 0.001
	legs := home(from, start, 0.15, speed, turn)
	if len(legs) != 3 {
		t.Fatalf("%d legs, want up, over and down", len(legs))
	}
	var fastest, fastestTurn float64
	at := from
	for _, l := range legs {
		for s := 0.0; s < l.took.Seconds()+dt; s += dt {
			p := l.at(time.Duration(s * float64(time.Second)))
			d := franka.Diff(at, p)
			fastest, fastestTurn = max(fastest, norm(d[0], d[1], d[2])/dt), max(fastestTurn, norm(d[3], d[4], d[5])/dt)
			if far := math.Hypot(p.P[0]-from.P[0], p.P[1]-from.P[1]); far > 0.01 && math.Hypot(p.P[0]-start.P[0], p.P[1]-start.P[1]) > 0.01 && p.P[2] < 0.149 {
				t.Fatalf("at %v the hand is %.3f m high on its way over", p.P, p.P[2])
			}
			at = p
		}
	}
	if d := franka.Diff(at, start); norm(d[0], d[1], d[2]) > 1e-9 || norm(d[3], d[4], d[5]) > 1e-7 {
		t.Errorf("the way ends at %v, want %v", at, start)
	}
	// The fastest moment of each leg is in its middle, and at the limit of one kind.
	if fastest > speed*1.001 || fastestTurn > turn*1.001 {
		t.Errorf("up to %.4f m/s and %.4f rad/s, want at most %g and %g", fastest, fastestTurn, speed, turn)
	}
	if fastest < speed*0.99 && fastestTurn < turn*0.99 {
		t.Errorf("only %.4f m/s and %.4f rad/s where %g or %g are allowed", fastest, fastestTurn, speed, turn)
	}
	for _, tt := range []struct {
		name string
		lift float64
		from robot.Pose
		legs int
	}{{"no lift", 0, from, 1}, {"there already", 0.15, start, 1}} {
		if got := home(tt.from, start, tt.lift, speed, turn); len(got) != tt.legs {
			t.Errorf("%s: %d legs, want %d", tt.name, len(got), tt.legs)
		}
	}
}

// An arm that still comes nearer to its start is waited for, however slow it is, as one is
// whose simulator has too little of a processor. One that has stopped is not, nor one that trembles.
func TestAnArmOnItsWayIsWaitedFor(t *testing.T) {
	tick := 50 * time.Millisecond
	for name, tt := range map[string]struct {
		off  func(at time.Duration) float64
		want time.Duration // after which it counts as stuck
	}{
		"slow":     {func(at time.Duration) float64 { return 10 - at.Seconds()/5 }, time.Minute},
		"stopped":  {func(at time.Duration) float64 { return max(5, 10-at.Seconds()) }, 5*time.Second + settling},
		"trembles": {func(at time.Duration) float64 { return 2 + nearer/3*float64(at/tick%2) }, settling},
		"lost":     {func(time.Duration) float64 { return math.NaN() }, 0},
	} {
		way, began, got := approach{least: math.Inf(1)}, time.UnixMilli(0), time.Duration(0)
		for got < time.Minute && !way.stuck(tt.off(got), began.Add(got)) {
			got += tick
		}
		if d := got - tt.want; d < -2*tick || d > 2*tick {
			t.Errorf("%s: stuck after %v, want %v", name, got, tt.want)
		}
	}
}

func TestPicture(t *testing.T) {
	for _, tt := range []struct {
		encoding string
		step     int
		big      bool
		data     []byte
		want     []byte // of 2x1 pixels
	}{
		{"bgr8", 6, false, []byte{1, 2, 3, 4, 5, 6}, []byte{1, 2, 3, 4, 5, 6}},
		{"rgb8", 7, false, []byte{1, 2, 3, 4, 5, 6, 99}, []byte{3, 2, 1, 6, 5, 4}},
		{"bgra8", 8, false, []byte{1, 2, 3, 0, 4, 5, 6, 0}, []byte{1, 2, 3, 4, 5, 6}},
		{"rgba8", 8, false, []byte{1, 2, 3, 0, 4, 5, 6, 0}, []byte{3, 2, 1, 6, 5, 4}},
		{"mono8", 2, false, []byte{7, 9}, []byte{7, 7, 7, 9, 9, 9}},
		{"mono16", 4, false, []byte{0, 7, 0, 9}, []byte{7, 7, 7, 9, 9, 9}},
		{"mono16", 4, true, []byte{7, 0, 9, 0}, []byte{7, 7, 7, 9, 9, 9}},
	} {
		f, err := picture(tt.encoding, 2, 1, tt.step, tt.big, tt.data, nil)
		if err != nil || f.W != 2 || f.H != 1 || !bytes.Equal(f.Pix, tt.want) {
			t.Errorf("%s: %dx%d %v, %v; want %v", tt.encoding, f.W, f.H, f.Pix, err, tt.want)
		}
	}
	// Rows are apart by step, and the last needs no padding.
	f, err := picture("mono8", 1, 2, 3, false, []byte{5, 0, 0, 6}, nil)
	if err != nil || !bytes.Equal(f.Pix, []byte{5, 5, 5, 6, 6, 6}) {
		t.Errorf("padded rows: %v, %v", f.Pix, err)
	}
	// Scaled, an image is what its pixels in BGR would be.
	noise := make([]byte, 3*64*48)
	for i := range noise {
		noise[i] = byte(i * i >> 3)
	}
	small := func(f robot.Frame) (robot.Frame, error) { return vision.Resize(f, 20, 15) }
	for _, encoding := range []string{"rgb8", "bgr8"} {
		whole, err := picture(encoding, 64, 48, 192, false, noise, nil)
		if err != nil {
			t.Fatal(err)
		}
		want, err := small(whole)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := picture(encoding, 64, 48, 192, false, noise, small); err != nil || got.W != 20 || !bytes.Equal(got.Pix, want.Pix) {
			t.Errorf("%s scaled: %d wide, %v; not what it is in BGR", encoding, got.W, err)
		}
	}
	for _, tt := range []struct {
		name, encoding string
		w, h, step     int
		data           []byte
	}{
		{"unknown encoding", "bayer_rggb8", 1, 1, 1, []byte{1}},
		{"short data", "rgb8", 2, 1, 6, []byte{1, 2, 3, 4, 5}},
		{"short step", "rgb8", 2, 2, 5, make([]byte, 12)},
		{"no pixels", "rgb8", 0, 1, 0, nil},
		{"huge", "mono8", maxSide + 1, 1, maxSide + 1, make([]byte, maxSide+1)},
	} {
		if _, err := picture(tt.encoding, tt.w, tt.h, tt.step, false, tt.data, nil); err == nil {
			t.Errorf("%s was taken", tt.name)
		}
	}
}

func FuzzPicture(f *testing.F) {
	f.Add("rgb8", 2, 1, 6, []byte{1, 2, 3, 4, 5, 6})
	f.Add("mono16", 1, 2, 2, []byte{1, 2, 3, 4})
	f.Add("bgra8", 1<<40, 1<<40, -1, []byte{})
	f.Fuzz(func(t *testing.T, encoding string, w, h, step int, data []byte) {
		p, err := picture(encoding, w, h, step, len(data)%2 == 0, data, nil)
		if err == nil && (p.W != w || p.H != h || len(p.Pix) != 3*w*h) {
			t.Errorf("%dx%d with %d bytes", p.W, p.H, len(p.Pix))
		}
	})
}

func TestConfigIsValidated(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatalf("the defaults: %v", err)
	}
	for name, spoil := range map[string]func(*Config){
		"arm id":        func(c *Config) { c.ArmID = "" },
		"rate":          func(c *Config) { c.Rate = 100 },
		"stale":         func(c *Config) { c.Stale = 0 },
		"skew":          func(c *Config) { c.Skew = 0 },
		"frozen":        func(c *Config) { c.Frozen = 0 },
		"wait":          func(c *Config) { c.Wait = 0 },
		"load":          func(c *Config) { c.Load.Mass = -1 },
		"load centre":   func(c *Config) { c.Load.Centre[2] = math.NaN() },
		"load inertia":  func(c *Config) { c.Load.Inertia[8] = math.Inf(1) },
		"reset speed":   func(c *Config) { c.Speed = 3 },
		"reset turn":    func(c *Config) { c.Turn = math.NaN() },
		"lift":          func(c *Config) { c.Lift = -1 },
		"topic":         func(c *Config) { c.Cameras = []Camera{{Name: "front"}} },
		"twice":         func(c *Config) { c.Cameras = []Camera{{Name: "a", Topic: "/a"}, {Name: "a", Topic: "/b"}} },
		"decodes":       func(c *Config) { c.Cameras = []Camera{{Name: "a", Topic: "/a", Compressed: true}} },
		"resizes":       func(c *Config) { c.Cameras = []Camera{{Name: "a", Topic: "/a", W: 96, H: 96}} },
		"joint 3":       func(c *Config) { c.Collision.Torque.Lower[2] = 30 },
		"axis 6":        func(c *Config) { c.Collision.Force.Upper[5] = 0 },
		"stiffness":     func(c *Config) { c.Stiffness.Trans = 9000 },
		"turn clip":     func(c *Config) { c.Stiffness.TurnClip = 1 },
		"gripper speed": func(c *Config) { c.Gripper.Speed = 1 },
		"gripper force": func(c *Config) { c.Gripper.Force = 100 },
		"quaternion":    func(c *Config) { c.Start.Q = [4]float64{} },
		"distance":      func(c *Config) { c.Start.P = [3]float64{2, 0, 0} },
	} {
		c := Default()
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v, want it to be named", name, err)
		}
	}
}

// A hold after a panic comes by the same lock.
func TestAPanicWithinACommandLeavesTheBackendUnlocked(t *testing.T) {
	b := &Backend{} // which has no publisher
	func() {
		defer func() {
			if recover() == nil {
				t.Error("nothing panics")
			}
		}()
		b.command(&robot.Command{})
	}()
	if !b.mu.TryLock() {
		t.Error("the backend is locked for good")
	}
}

// A camera of 4:3 whose frames are square is told of once, and one of the same shape never.
func TestImagesThatAreSqueezedAreToldOfOnce(t *testing.T) {
	for want, size := range map[int][2]int{1: {96, 96}, 0: {96, 72}} {
		var log bytes.Buffer
		b := &Backend{log: slog.New(slog.NewTextHandler(&log, nil)), cfg: Config{Resize: vision.Resize}}
		c := &camera{cfg: Camera{Name: "front", W: size[0], H: size[1]}}
		for range 3 {
			if _, err := b.decode(c, &shot{raw: &std.Image{Width: 640, Height: 480, Encoding: "bgr8", Step: 3 * 640, Data: make([]byte, 3*640*480)}}); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(log.String(), "brought to another shape"); n != want {
			t.Errorf("%v: told %d times, want %d:\n%s", size, n, want, log.String())
		}
	}
}
