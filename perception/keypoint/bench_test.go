package keypoint

import (
	"syscall"
	"testing"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
)

// A tracked frame beside OpenCV's flow of the same points alone, forward and backward,
// pyramids included, in processor time.
func BenchmarkTrack(b *testing.B) {
	fs := [][]robot.Frame{{at(0, 0)}, {at(2, 1)}}
	tr := begun(b, fs[0][0], points())
	flow, err := vision.NewFlow(vision.FlowConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer flow.Close()
	if err := flow.Next(fs[0][0]); err != nil {
		b.Fatal(err)
	}
	var from, to [][2]float32
	for _, p := range points() {
		from, to = append(from, [2]float32{float32(p.X), float32(p.Y)}), append(to, [2]float32{})
	}
	back := make([]float32, len(from))
	var ours, plain float64
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		t0 := cpu()
		if _, err := tr.Track(fs[n%2]); err != nil {
			b.Fatal(err)
		}
		t1 := cpu()
		copy(to, from)
		if err := flow.Next(fs[n%2][0]); err != nil {
			b.Fatal(err)
		}
		if err := flow.Follow(-1, from, to, back); err != nil {
			b.Fatal(err)
		}
		ours, plain = ours+t1-t0, plain+cpu()-t1
	}
	b.ReportMetric(1000*ours/float64(n), "ours-ms")
	b.ReportMetric(1000*plain/float64(n), "flow-ms")
	b.ReportMetric(ours/plain, "ours/flow")
}

// cpu is the processor time of the process, s.
func cpu() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	s := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return s(u.Utime) + s(u.Stime)
}

// BenchmarkLookAgain is what a reset costs where markers are looked at: an image of the
// usual size with five of them.
func BenchmarkLookAgain(b *testing.B) {
	cam := Pinhole("front", 640, 480, 1.3, lookAt([3]float64{1.1, 0.1, 0.7}, [3]float64{0.52, 0, 0.03}))
	f := shoot(&cam, fixedPlates(b)...)
	for b.Loop() {
		if r, err := LookAgain(cam, f, "4x4_50", fixedMarkers(), 0.003); err != nil || r.Markers != 5 {
			b.Fatalf("%d markers (%v)", r.Markers, err)
		}
	}
}
