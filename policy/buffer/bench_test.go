package buffer_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

// lab is what a policy sees with two square cameras of a side, or none.
func lab(side int) view.Config {
	v := view.Config{
		Embed: 16, Place: []int{0, 1, 2}, Span: 1, Fingers: true, Horizon: 100,
		Action: view.Action{Axes: []int{0, 1, 2}, Scale: 0.01, MoveGrip: true},
	}
	if side > 0 {
		v.Cameras = []view.Camera{{Name: "wrist", W: side, H: side}, {Name: "side", W: side, H: side}}
	}
	return v
}

// scenery draws a table with a few things on it, with the grain of a sensor:
// frames that JPEG finds as hard as rendered ones.
func scenery(pix []byte, side, t int, rng *rand.Rand) {
	for y := range side {
		for x := range side {
			light := 90 + 60*y/side
			at := pix[3*(y*side+x):]
			at[0], at[1], at[2] = byte(light), byte(light+10), byte(light+25)
		}
	}
	for k := range 5 {
		cx := side/2 + int(float64(side)*0.35*math.Cos(float64(t)/40+float64(k)*1.3))
		cy := side/2 + int(float64(side)*0.35*math.Sin(float64(t)/50+float64(k)*2.1))
		r := side/16 + k*side/64
		for y := max(0, cy-r); y < min(side, cy+r); y++ {
			for x := max(0, cx-r); x < min(side, cx+r); x++ {
				at := pix[3*(y*side+x):]
				at[0], at[1], at[2] = byte(40*k+x-cx), byte(200-30*k+y-cy), byte(90+25*k)
			}
		}
	}
	for i := range pix {
		pix[i] += byte(rng.IntN(7))
	}
}

// shot is an episode of T steps of lab(side).
func shot(id string, side, T int, rng *rand.Rand) policy.Episode {
	e := policy.Episode{ID: id, Rewards: make([]float64, T), Version: make([]uint64, T), By: make([]robot.Source, T)}
	for t := range T + 1 {
		in := policy.Input{Step: t}
		in.Features.Embed = make([]float32, 16)
		for _, c := range lab(side).Cameras {
			f := robot.Frame{Camera: c.Name, W: side, H: side, Pix: make([]byte, 3*side*side)}
			scenery(f.Pix, side, t+rng.IntN(1000), rng)
			in.Frames = append(in.Frames, f)
		}
		e.Inputs = append(e.Inputs, in)
	}
	e.Applied = make([]robot.Command, T)
	return e
}

var benches = []struct {
	name       string
	side, jpeg int
	disk       bool
}{
	{"numbers", 0, 0, false},
	{"2x96x96 raw", 96, 0, false},
	{"2x128x128 JPEG", 128, 90, false},
	{"2x96x96 raw on disk", 96, 0, true},
	{"2x128x128 JPEG on disk", 128, 90, true},
}

func BenchmarkStorage(b *testing.B) {
	for _, bb := range benches {
		c := buffer.Config{View: lab(bb.side), Gamma: 0.99, JPEG: bb.jpeg}
		e := shot("", bb.side, 100, seed(1))
		b.Run("Sample 256 rows/"+bb.name, func(b *testing.B) {
			c := c
			if bb.disk {
				c.Dir = b.TempDir()
			}
			buf := open(b, c)
			for i := range 20 {
				e.ID, e.Origin = fmt.Sprint(i), policy.Origin(i%2)
				add(b, buf, e)
			}
			dst, rng := buffer.NewBatch(256, c.View), seed(1)
			for range 3 {
				if err := buf.Sample(dst, 128, rng); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := buf.Sample(dst, 128, rng); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("Add 100 steps/"+bb.name, func(b *testing.B) {
			c := c
			c.Capacity = 1000
			if bb.disk {
				c.Dir = b.TempDir()
			}
			buf := open(b, c)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				e.ID, e.Origin = fmt.Sprint(n), policy.Online
				add(b, buf, e)
				n++
			}
			b.ReportMetric(100*float64(n)/b.Elapsed().Seconds(), "steps/s")
		})
	}
}

// BenchmarkPrioritised is for comparison with "numbers" above.
func BenchmarkPrioritised(b *testing.B) {
	c := buffer.Config{View: lab(0), Gamma: 0.99, Prioritised: buffer.Prioritised{Alpha: 0.6, Beta: 0.4}}
	buf := open(b, c)
	e := shot("", 0, 100, seed(1))
	for i := range 1000 {
		e.ID, e.Origin = fmt.Sprint(i), policy.Origin(i%2)
		add(b, buf, e)
	}
	dst, rng, td := buffer.NewBatch(256, c.View), seed(1), make([]float32, 256)
	for i := range td {
		td[i] = rng.Float32()
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := buf.Sample(dst, 128, rng); err != nil {
			b.Fatal(err)
		}
		if err := buf.SetPriorities(dst, td); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFullSize fills a folder with 2x128x128 frames as JPEG, opens it again
// and draws 1,000 batches of 256, and tells what that takes. It is a measurement
// for a process of its own:
//
//	go test ./policy/buffer -run '^$' -bench FullSize -benchtime 1x -timeout 2h
//
// REPLAY_STEPS is the number of transitions, 20,000 if not set; REPLAY_DIR where
// the folder is made.
func BenchmarkFullSize(b *testing.B) {
	steps := 20_000
	if s := os.Getenv("REPLAY_STEPS"); s != "" {
		var err error
		if steps, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp(os.Getenv("REPLAY_DIR"), "replay")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	c := buffer.Config{View: lab(128), Gamma: 0.99, JPEG: 90, Dir: dir}
	for b.Loop() {
		buf := open(b, c)
		rng := seed(1)
		shots := make([]policy.Episode, 8)
		for i := range shots {
			shots[i] = shot("", 128, 100, rng)
		}
		start := b.Elapsed()
		for i := range steps / 100 {
			e := shots[i%len(shots)]
			e.ID, e.Origin = fmt.Sprintf("session-episode-%07d", i), policy.Origin(i%10/9)
			add(b, buf, e)
		}
		b.ReportMetric(float64(steps)/(b.Elapsed()-start).Seconds(), "added/s")
		if err := buf.Close(); err != nil {
			b.Fatal(err)
		}
		shots = nil
		start = b.Elapsed()
		if buf, err = buffer.New(c); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((b.Elapsed() - start).Seconds(), "s/open")
		dst := buffer.NewBatch(256, c.View)
		start = b.Elapsed()
		for range 1000 {
			if err := buf.Sample(dst, 128, rng); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(1000*(b.Elapsed()-start).Seconds()/1000, "ms/batch")
		b.ReportMetric(resident(b, "RssAnon"), "MiB-anon")
		b.ReportMetric(resident(b, "VmHWM"), "MiB-peak")
		var size int64
		if err := filepath.Walk(dir, func(_ string, st os.FileInfo, err error) error {
			if err == nil {
				size += st.Size()
			}
			return err
		}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(size)/float64(steps)/1000, "kB-disk/step")
		if err := buf.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// resident reads a line of /proc/self/status, in MiB.
func resident(b *testing.B, field string) float64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if name, rest, _ := strings.Cut(line, ":"); name == field {
			kB, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kB / 1024
		}
	}
	b.Fatalf("no %s in /proc/self/status", field)
	return 0
}
