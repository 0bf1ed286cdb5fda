package tabletop

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

const (
	forkHigh   = 0.008 // half height of the fork, m: the pads must not need the table
	forkHandle = -0.03 // from its middle to where one takes its handle
	forkTines  = 0.036 // and its tines
	bowlRadius = 0.078 // inside, m
	bowlRim    = 0.025 // height
)

// forkXML is a handle that points to the arm, a neck, and four tines.
func forkXML() string {
	var b strings.Builder
	fmt.Fprintf(&b, `      <geom class="box" name="handle" size="0.033 0.006 %g" pos="-0.025 0 0" mass="0.02" rgba="0.86 0.07 0.06 1"/>`+"\n", forkHigh)
	fmt.Fprintf(&b, `      <geom class="box" name="neck" size="0.005 0.014 %g" pos="0.013 0 0" mass="0.01" rgba="0.35 0.36 0.40 1"/>`+"\n", forkHigh)
	for i := range 4 {
		fmt.Fprintf(&b, `      <geom class="box" name="tine%d" size="0.018 0.002 %g" pos="0.036 %g 0" mass="0.003" rgba="0.35 0.36 0.40 1"/>`+"\n", i, forkHigh, 0.008*(float64(i)-1.5))
	}
	return b.String()
}

// bowlXML is twelve walls round a painted floor; it stays where it is put.
func bowlXML() string {
	var b strings.Builder
	const n, thick = 12, 0.004
	for i := range n {
		a := 2 * math.Pi * float64(i) / n
		s, c := math.Sincos(a)
		fmt.Fprintf(&b, `      <geom class="box" name="bowl%d" size="%g %g %g" pos="%.6f %.6f %g" euler="0 0 %.6f" mass="0" rgba="0.05 0.22 0.90 1"/>`+"\n",
			i, thick, (bowlRadius+2*thick)*math.Tan(math.Pi/n), bowlRim/2, (bowlRadius+thick)*c, (bowlRadius+thick)*s, bowlRim/2, a)
	}
	fmt.Fprintf(&b, `      <geom type="cylinder" size="%g 0.0005" pos="0 0 0.0006" rgba="0.75 0.82 0.95 1"/>`+"\n", bowlRadius)
	return b.String()
}

func layoutFork() *layout {
	return &layout{
		objects: []object{
			{Name: "fork", Geoms: forkXML()},
			{Name: "bowl", Geoms: bowlXML(), Still: true},
		},
		parts: []part{{name: "handle"}, {name: "tine", bad: true}, {name: "neck", bad: true}},
		size:  buffers{160, 640, 300000},
		start: down(0.46, 0.12),
		grip:  1,
		place: func(r *rand.Rand, p []robot.Pose) {
			p[0].P = [3]float64{0.49 + uniform(r, 0.02), -0.09 + uniform(r, 0.02), forkHigh}
			p[1].P = [3]float64{0.49, 0.09, 0}
		},
	}
}

// styleFork: touched tines are undesired, and a fork that was lifted and lies
// outside the bowl.
func styleFork(w *World, t *sim.Truth) {
	c := w.touched()
	if c.part[1] > 0 {
		w.past.undesired = true
	}
	fork, bowl := t.Bodies[0].Pose.P, t.Bodies[1].Pose.P
	outside := gap([2]float64{fork[0], fork[1]}, [2]float64{bowl[0], bowl[1]}) > bowlRadius
	if w.past.lifted && !c.any() && outside && fork[2] < forkHigh+0.004 {
		w.past.undesired = true
	}
}

// actFork: by the handle, or by the tines.
func actFork(d *Demonstrator) robot.Command {
	if d.style == Bad {
		return d.bring([3]float64{forkTines, 0, 0.008}, 0.035)
	}
	return d.bring([3]float64{forkHandle, 0, 0.008}, 0.035)
}
