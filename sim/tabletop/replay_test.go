package tabletop

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/mujoco"
)

// tape is an episode as the physics saw it.
type tape struct {
	seed  uint64
	push  robot.Command
	start mujoco.Snapshot
	ctrl  []float64 // (Horizon*substeps, nu)
	qpos  []float64 // at the end
	pix   []byte    // of the last images
}

// tapeOf plays an episode of pushes and writes down what the motors got.
func tapeOf(tb testing.TB, w *World, seed uint64) *tape {
	tb.Helper()
	t := &tape{seed: seed, push: robot.Command{Delta: [6]float64{0: 0.01}}}
	if _, err := w.ResetSeed(context.Background(), seed); err != nil {
		tb.Fatal(err)
	}
	w.data.Save(&t.start)
	for range w.cfg.Task.Horizon() {
		applied, _ := w.lead(t.push)
		w.arm.SetTarget(w.target, Period.Seconds())
		for range w.substeps {
			if err := w.run(1, applied.Grip); err != nil {
				tb.Fatal(err)
			}
			t.ctrl = append(t.ctrl, w.data.Ctrl()...)
		}
		if err := w.data.Kinematics(); err != nil {
			tb.Fatal(err)
		}
	}
	t.qpos = slices.Clone(w.data.QPos())
	return t
}

// play is the episode by World.Step, after its reset.
func (t *tape) play(tb testing.TB, w *World) {
	tb.Helper()
	var obs robot.Observation
	var err error
	for range w.cfg.Task.Horizon() {
		if obs, err = w.Step(context.Background(), t.push); err != nil {
			tb.Fatal(err)
		}
	}
	t.pix = t.pix[:0]
	for _, f := range obs.Frames {
		t.pix = append(t.pix, f.Pix...)
	}
}

// replay is the episode by a plain C loop, after the start's Restore.
func (t *tape) replay(tb testing.TB, w *World, dst []byte) {
	tb.Helper()
	var err error
	if len(w.eyes.groups) == 0 {
		err = w.data.Replay(t.ctrl, w.substeps)
	} else {
		g := w.eyes.groups[0]
		err = g.r.Replay(w.data, t.ctrl, w.substeps, g.cams, dst)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// same fails unless the episode ended as its tape did, bit for bit.
func (t *tape) same(tb testing.TB, w *World, who string) {
	tb.Helper()
	if !slices.Equal(w.data.QPos(), t.qpos) {
		tb.Fatalf("%s: got qpos %v, want %v", who, w.data.QPos(), t.qpos)
	}
}

func TestPlainCLoopReplaysAnEpisode(t *testing.T) {
	for _, render := range []Render{None, EGL} {
		w, err := New(Config{Task: Group, Render: render})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		for seed := range uint64(3) {
			ep := tapeOf(t, w, seed)
			if _, err := w.ResetSeed(t.Context(), seed); err != nil {
				t.Fatal(err)
			}
			ep.play(t, w)
			ep.same(t, w, "World.Step")
			if err := w.data.Restore(&ep.start); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(ep.pix))
			ep.replay(t, w, got)
			ep.same(t, w, "C")
			if !bytes.Equal(got, ep.pix) {
				t.Errorf("seed %d: C draws other pixels than World.Step", seed)
			}
		}
	}
}

// BenchmarkAgainstReplay plays episodes of pushes by World.Step, controller and
// observation included, and their very steps (and images) by a plain C loop
// over MuJoCo, one after the other, and reports policy steps per CPU-second.
func BenchmarkAgainstReplay(b *testing.B) {
	for _, bb := range []struct {
		name   string
		render Render
	}{{"none", None}, {"egl-2x96", EGL}} {
		b.Run(bb.name, func(b *testing.B) {
			w, err := New(Config{Task: Group, Render: bb.render})
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			dst := make([]byte, w.eyes.bytes)
			var ours, theirs, ratio []float64
			for i := 0; b.Loop(); i++ {
				ep := tapeOf(b, w, uint64(i))
				side := func(c bool) float64 {
					if c {
						if err := w.data.Restore(&ep.start); err != nil {
							b.Fatal(err)
						}
						before := cpu(b)
						ep.replay(b, w, dst)
						return cpu(b) - before
					}
					if _, err := w.ResetSeed(b.Context(), ep.seed); err != nil {
						b.Fatal(err)
					}
					before := cpu(b)
					ep.play(b, w)
					return cpu(b) - before
				}
				var t [2]float64 // Go, C
				for turn := range 2 {
					who := turn ^ i&1
					t[who] = side(who == 1)
					ep.same(b, w, [...]string{"World.Step", "C"}[who])
				}
				n := float64(Group.Horizon())
				ours, theirs, ratio = append(ours, n/t[0]), append(theirs, n/t[1]), append(ratio, t[1]/t[0])
			}
			for _, x := range [][]float64{ours, theirs, ratio} {
				slices.Sort(x)
			}
			mid := len(ratio) / 2
			b.ReportMetric(ours[mid], "cpu/s")
			b.ReportMetric(theirs[mid], "C-cpu/s")
			b.ReportMetric(ratio[mid], "Go/C")
		})
	}
}
