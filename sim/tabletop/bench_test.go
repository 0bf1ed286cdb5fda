package tabletop

import (
	"context"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/mujoco"
)

// BenchmarkStep pushes box 1 through Group, episode after episode. cpu/s is
// policy steps per second of processor time, which a busy machine does not
// change much.
func BenchmarkStep(b *testing.B) {
	for _, bb := range []struct {
		name   string
		render Render
		task   Task
	}{
		{"group/none", None, Group},
		{"group/egl-2x96", EGL, Group},
		{"group/raster-2x96", Raster, Group},
		{"clutter/egl-2x96", EGL, Clutter},
	} {
		b.Run(bb.name, func(b *testing.B) {
			w, err := New(Config{Task: bb.task, Render: bb.render})
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			ctx := context.Background()
			push := robot.Command{Delta: [6]float64{0: 0.01}}
			b.ReportAllocs()
			before := cpu(b)
			for i := 0; b.Loop(); i++ {
				if i%bb.task.Horizon() == 0 {
					if _, err := w.Reset(ctx); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := w.Step(ctx, push); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/(cpu(b)-before), "cpu/s")
		})
	}
}

// cpu is the processor time that this process has used, s.
func cpu(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	sec := func(t syscall.Timeval) float64 { return float64(t.Sec) + 1e-6*float64(t.Usec) }
	return sec(u.Utime) + sec(u.Stime)
}

// BenchmarkAgainstC steps the physics of Group at the arm's start, in the Go
// loop that Step uses and in a plain C loop, and reports their CPU time's ratio.
func BenchmarkAgainstC(b *testing.B) {
	w, err := New(Config{Task: Group, Render: None})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	for b.Loop() {
		// 21 short pairs damp what other processes do to single ones.
		paces, err := mujoco.Compare(w.model, 2000, 21, rand.NewPCG(1, 1))
		if err != nil {
			b.Fatal(err)
		}
		p := mujoco.MedianPace(paces)
		b.ReportMetric(p.GoRate(), "Go-steps/s")
		b.ReportMetric(p.CRate(), "C-steps/s")
		b.ReportMetric(p.Ratio(), "Go/C")
	}
}
