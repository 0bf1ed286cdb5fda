package bus_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
)

// bits compares floats by their bits, so that NaN equals itself and 0 is not -0.
func bits() cmp.Options {
	return cmp.Options{cmp.Transformer("bits", math.Float64bits), cmp.Transformer("bits32", math.Float32bits)}
}

func anyTime() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		return time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).UTC()
	})
}

func anyFloat() *rapid.Generator[float64] {
	return rapid.Map(rapid.Uint64(), math.Float64frombits)
}

func anyFeatures() *rapid.Generator[perception.Features] {
	return rapid.Custom(func(t *rapid.T) perception.Features {
		f := perception.Features{Stamp: anyTime().Draw(t, "stamp")}
		for range rapid.IntRange(0, 5).Draw(t, "d") {
			f.Embed = append(f.Embed, math.Float32frombits(rapid.Uint32().Draw(t, "e")))
		}
		for range rapid.IntRange(0, 3).Draw(t, "k") {
			f.Keys = append(f.Keys, perception.Keypoint{
				Name: rapid.String().Draw(t, "name"), Camera: rapid.String().Draw(t, "camera"),
				X: anyFloat().Draw(t, "x"), Y: anyFloat().Draw(t, "y"), Score: anyFloat().Draw(t, "score"),
			})
		}
		return f
	})
}

func anyState() *rapid.Generator[robot.State] {
	return rapid.Custom(func(t *rapid.T) robot.State {
		s := robot.State{Stamp: anyTime().Draw(t, "stamp"), Grip: anyFloat().Draw(t, "grip")}
		for i := range s.Q {
			s.Q[i], s.DQ[i] = anyFloat().Draw(t, "q"), anyFloat().Draw(t, "dq")
		}
		for i := range s.EE.P {
			s.EE.P[i], s.EE.Q[i], s.Wrench[i] = anyFloat().Draw(t, "p"), anyFloat().Draw(t, "o"), anyFloat().Draw(t, "w")
		}
		return s
	})
}

func anyInput() *rapid.Generator[policy.Input] {
	return rapid.Custom(func(t *rapid.T) policy.Input {
		return policy.Input{Step: rapid.Int().Draw(t, "step"), Features: anyFeatures().Draw(t, "f"), State: anyState().Draw(t, "s")}
	})
}

func anyCommand() *rapid.Generator[robot.Command] {
	return rapid.Custom(func(t *rapid.T) robot.Command {
		c := robot.Command{Grip: anyFloat().Draw(t, "grip")}
		for i := range c.Delta {
			c.Delta[i] = anyFloat().Draw(t, "d")
		}
		return c
	})
}

func anyEpisode() *rapid.Generator[policy.Episode] {
	return rapid.Custom(func(t *rapid.T) policy.Episode {
		e := policy.Episode{
			ID: rapid.StringN(1, 20, 80).Draw(t, "id"), Seq: rapid.Uint64().Draw(t, "seq"), Seed: rapid.Uint64().Draw(t, "seed"),
			Origin: policy.Origin(rapid.IntRange(0, 1).Draw(t, "origin")), Terminal: rapid.Bool().Draw(t, "terminal"),
		}
		labelled := rapid.Bool().Draw(t, "labelled")
		n := rapid.IntRange(1, 4).Draw(t, "T")
		for range n {
			e.Inputs = append(e.Inputs, anyInput().Draw(t, "in"))
			e.Applied = append(e.Applied, anyCommand().Draw(t, "c"))
			e.By = append(e.By, robot.Source(rapid.IntRange(0, 3).Draw(t, "by")))
			e.Version = append(e.Version, rapid.Uint64().Draw(t, "v"))
			if labelled {
				e.Rewards = append(e.Rewards, anyFloat().Draw(t, "r"))
			}
		}
		e.Inputs = append(e.Inputs, anyInput().Draw(t, "in"))
		return e
	})
}

func roundTrip[T any](g *rapid.Generator[T], enc func(T) ([]byte, error), dec func([]byte) (T, error)) func(*rapid.T) {
	return func(t *rapid.T) {
		want := g.Draw(t, "value")
		b, err := enc(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := dec(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, bits()); d != "" {
			t.Fatalf("-want +got:\n%s", d)
		}
	}
}

func TestValuesComeBackBitForBit(t *testing.T) {
	t.Run("features", rapid.MakeCheck(roundTrip(anyFeatures(), bus.EncodeFeatures, bus.DecodeFeatures)))
	t.Run("trajectory", rapid.MakeCheck(roundTrip(rapid.SliceOfN(anyFeatures(), 0, 4), bus.EncodeTrajectory, bus.DecodeTrajectory)))
	t.Run("state", rapid.MakeCheck(roundTrip(anyState(), bus.EncodeState, bus.DecodeState)))
	t.Run("input", rapid.MakeCheck(roundTrip(anyInput(), bus.EncodeInput, bus.DecodeInput)))
	t.Run("episode", rapid.MakeCheck(roundTrip(anyEpisode(), bus.EncodeEpisode, bus.DecodeEpisode)))
	t.Run("order", rapid.MakeCheck(roundTrip(rapid.Custom(func(t *rapid.T) bus.Order {
		return bus.Order{Seq: rapid.Uint64().Draw(t, "seq"), Lease: time.Duration(rapid.Int64().Draw(t, "lease")), Command: anyCommand().Draw(t, "c")}
	}), bus.EncodeOrder, bus.DecodeOrder)))
	t.Run("params", rapid.MakeCheck(roundTrip(rapid.Custom(func(t *rapid.T) policy.Params {
		return policy.Params{Version: rapid.Uint64().Draw(t, "v"), Data: rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "data")}
	}), bus.EncodeParams, bus.DecodeParams)))
	t.Run("stats", rapid.MakeCheck(roundTrip(rapid.Custom(func(t *rapid.T) policy.Stats {
		s := policy.Stats{Updates: rapid.Uint64().Draw(t, "n")}
		for range rapid.IntRange(0, 3).Draw(t, "k") {
			s.Metrics = append(s.Metrics, policy.Metric{Name: rapid.String().Draw(t, "name"), Value: anyFloat().Draw(t, "v")})
		}
		return s
	}), bus.EncodeStats, bus.DecodeStats)))
}

func TestFramesAreRawOrJPEG(t *testing.T) {
	rng := seeded(1)
	small := someFrames(rng, 2, 96, 96)
	b, err := bus.EncodeFrames(small, bus.RawFrames)
	if err != nil {
		t.Fatal(err)
	}
	got, err := bus.DecodeFrames(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(small, got); d != "" {
		t.Errorf("raw frames changed:\n%s", d)
	}
	// A smooth picture, as cameras make: noise is what JPEG is worst at.
	big := robot.Frame{Camera: "wrist", Seq: 7, Stamp: small[0].Stamp, W: 640, H: 480, Pix: make([]byte, 3*640*480)}
	for i := range 640 * 480 {
		x, y := i%640, i/640
		big.Pix[3*i], big.Pix[3*i+1], big.Pix[3*i+2] = byte(x/3), byte(y/2), byte((x+y)/5)
	}
	if b, err = bus.EncodeFrames([]robot.Frame{big}, bus.RawView); err != nil {
		t.Fatal(err)
	}
	if len(b) > len(big.Pix)/10 {
		t.Errorf("JPEG of %d bytes, raw are %d", len(b), len(big.Pix))
	}
	if got, err = bus.DecodeFrames(b); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i, v := range got[0].Pix {
		sum += math.Abs(float64(v) - float64(big.Pix[i]))
	}
	// One grey level on average: a swap of red and blue would cost 60.
	if mean := sum / float64(len(big.Pix)); mean > 2 {
		t.Errorf("pixels are off by %v on average", mean)
	}
	got[0].Pix = big.Pix
	if d := cmp.Diff(big, got[0]); d != "" {
		t.Errorf("all but the pixels changed:\n%s", d)
	}
}

func TestEncodersRefuse(t *testing.T) {
	rng := seeded(2)
	short := someFrames(rng, 1, 4, 4)
	short[0].Pix = short[0].Pix[1:]
	huge := []robot.Frame{{W: 1 << 20, H: 1 << 20}}
	ep := someEpisode(rng, "e", 2, 2, 0)
	by := ep
	by.By = []robot.Source{0, 9}
	for name, enc := range map[string]func() ([]byte, error){
		"short pixels":    func() ([]byte, error) { return bus.EncodeFrames(short, 0) },
		"huge frame":      func() ([]byte, error) { return bus.EncodeFrames(huge, 0) },
		"many cameras":    func() ([]byte, error) { return bus.EncodeFrames(make([]robot.Frame, 65), 0) },
		"broken text":     func() ([]byte, error) { return bus.EncodeFrames([]robot.Frame{{Camera: "\xff"}}, 0) },
		"broken name":     func() ([]byte, error) { return bus.EncodeStats(policy.Stats{Metrics: []policy.Metric{{Name: "\xff"}}}) },
		"invalid episode": func() ([]byte, error) { return bus.EncodeEpisode(policy.Episode{ID: "x"}) },
		"unknown decider": func() ([]byte, error) { return bus.EncodeEpisode(by) },
	} {
		if _, err := enc(); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

// wire composes a message by hand.
func wire(head string, body ...byte) []byte {
	return append(append(binary.LittleEndian.AppendUint32(nil, uint32(len(head))), head...), body...)
}

func TestDecodersRefuse(t *testing.T) {
	const params = `{"v":1,"kind":"params","meta":{"version":1},"arrays":[{"name":"data","type":"u1","shape":`
	for name, b := range map[string][]byte{
		"nothing":            nil,
		"length only":        {9, 0, 0, 0},
		"endless envelope":   {255, 255, 255, 255, '{', '}'},
		"no JSON":            wire("no"),
		"other version":      wire(`{"v":2,"kind":"params","arrays":[]}`),
		"other kind":         wire(`{"v":1,"kind":"state","arrays":[]}`),
		"negative shape":     wire(params + `[-1]}]}`),
		"overflowing shape":  wire(params + `[4294967296,4294967296]}]}`),
		"more than is there": wire(params+`[3]}]}`, 1, 2),
		"less than is there": wire(params+`[1]}]}`, 1, 2),
		"unknown type":       wire(strings.ReplaceAll(params, "u1", "f2") + `[0]}]}`),
		"matrix for vector":  wire(params+`[1,2]}]}`, 1, 2),
	} {
		if _, err := bus.DecodeParams(b); !errors.Is(err, bus.ErrWire) {
			t.Errorf("%s: got %v, want ErrWire", name, err)
		}
	}
	p, err := bus.DecodeParams(wire(params+`[2]},{"name":"later","type":"f8","shape":[1]}]}`, make([]byte, 10)...))
	if err != nil || p.Version != 1 || len(p.Data) != 2 {
		t.Errorf("an array of a later revision: got %+v, %v; want it ignored", p, err)
	}
	if err := bus.DecodeRewards(make([]float64, 2), mustEncode(bus.EncodeRewards([]float64{1}))); !errors.Is(err, bus.ErrWire) {
		t.Errorf("one reward for two steps: got %v", err)
	}
}

func mustEncode(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// fuzz wants a decoder to fail or to return what survives another round.
func fuzz[T any](f *testing.F, seeds [][]byte, enc func(T) ([]byte, error), dec func([]byte) (T, error)) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := dec(b)
		if err != nil {
			return
		}
		c, err := enc(v)
		if err != nil {
			t.Fatalf("decoded, but not encodable: %v", err)
		}
		w, err := dec(c)
		if err != nil {
			t.Fatalf("encoded, but not decodable: %v", err)
		}
		d, err := enc(w)
		if err != nil || !bytes.Equal(c, d) {
			t.Fatalf("two rounds differ: %v", err)
		}
	})
}

func FuzzFeatures(f *testing.F) {
	fuzz(f, [][]byte{mustEncode(bus.EncodeFeatures(someFeatures(seeded(1), 3, 2)))}, bus.EncodeFeatures, bus.DecodeFeatures)
}

func FuzzTrajectory(f *testing.F) {
	r := seeded(1)
	fuzz(f, [][]byte{
		mustEncode(bus.EncodeTrajectory([]perception.Features{someFeatures(r, 3, 2), someFeatures(r, 3, 0)})),
		mustEncode(bus.EncodeTrajectory([]perception.Features{someFeatures(r, 3, 2), someFeatures(r, 2, 0)})),
	}, bus.EncodeTrajectory, bus.DecodeTrajectory)
}

func FuzzRewards(f *testing.F) {
	t := bus.RewardTopic()
	fuzz(f, [][]byte{mustEncode(bus.EncodeRewards([]float64{1, math.NaN()}))}, t.Encode, t.Decode)
}

func FuzzState(f *testing.F) {
	fuzz(f, [][]byte{mustEncode(bus.EncodeState(someState(seeded(1))))}, bus.EncodeState, bus.DecodeState)
}

func FuzzInput(f *testing.F) {
	fuzz(f, [][]byte{mustEncode(bus.EncodeInput(someInput(seeded(1), 3, 4)))}, bus.EncodeInput, bus.DecodeInput)
}

func FuzzOrder(f *testing.F) {
	fuzz(f, [][]byte{mustEncode(bus.EncodeOrder(bus.Order{Seq: 1, Lease: 5}))}, bus.EncodeOrder, bus.DecodeOrder)
}

func FuzzEpisode(f *testing.F) {
	r := seeded(1)
	fuzz(f, [][]byte{mustEncode(bus.EncodeEpisode(someEpisode(r, "a", 2, 3, 1))), mustEncode(bus.EncodeEpisode(someEpisode(r, "b", 1, 0, 0)))}, bus.EncodeEpisode, bus.DecodeEpisode)
}

func FuzzParams(f *testing.F) {
	fuzz(f, [][]byte{mustEncode(bus.EncodeParams(gains(3, [7]float64{1, 2})))}, bus.EncodeParams, bus.DecodeParams)
}

func FuzzStats(f *testing.F) {
	fuzz(f, [][]byte{mustEncode(bus.EncodeStats(policy.Stats{Updates: 2, Metrics: []policy.Metric{{Name: "loss", Value: 1}}}))}, bus.EncodeStats, bus.DecodeStats)
}

func FuzzFrames(f *testing.F) {
	r := seeded(1)
	f.Add(mustEncode(bus.EncodeFrames(someFrames(r, 2, 3, 2), 1000)))
	f.Add(mustEncode(bus.EncodeFrames(someFrames(r, 1, 9, 8), 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		fs, err := bus.DecodeFrames(b)
		if err != nil {
			return
		}
		n := 0
		for _, x := range fs {
			if len(x.Pix) != 3*x.W*x.H {
				t.Fatalf("%d bytes for %dx%d", len(x.Pix), x.W, x.H)
			}
			n += len(x.Pix)
		}
		c, err := bus.EncodeFrames(fs, n)
		if err != nil {
			t.Fatal(err)
		}
		again, err := bus.DecodeFrames(c)
		if d := cmp.Diff(fs, again); err != nil || d != "" {
			t.Fatalf("raw frames changed: %v\n%s", err, d)
		}
	})
}
