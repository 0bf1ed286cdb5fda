package tabletop

import (
	"fmt"
	"math"
	"strings"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

const (
	cupRadius = 0.036 // of the middle of its wall, m
	cupHeight = 0.06
	cupWall   = 0.003 // half thickness
	cupHandle = 0.062 // from the cup's axis to where one takes its handle
)

// cupXML is eight flat walls on a floor, and a handle that points away from the
// arm, towards the front camera. The origin is in the middle of the cup's bottom.
func cupXML() string {
	var b strings.Builder
	const n = 8
	for i := range n {
		a := 2 * math.Pi * float64(i) / n
		s, c := math.Sincos(a)
		fmt.Fprintf(&b, `      <geom class="box" name="wall%d" size="%g %g %g" pos="%.6f %.6f %g" euler="0 0 %.6f" mass="0.007" rgba="0.86 0.07 0.06 1"/>`+"\n",
			i, cupWall, cupRadius*math.Tan(math.Pi/n), cupHeight/2, cupRadius*c, cupRadius*s, cupHeight/2, a)
	}
	fmt.Fprintf(&b, `      <geom type="cylinder" name="bottom" size="%g 0.003" pos="0 0 0.003" mass="0.03" contype="1" conaffinity="3" rgba="0.55 0.04 0.04 1"/>`+"\n", cupRadius)
	fmt.Fprintf(&b, `      <geom class="box" name="handle" size="0.013 0.006 0.016" pos="%g 0 0.036" mass="0.008" rgba="0.95 0.78 0.05 1"/>`+"\n", cupHandle)
	for _, z := range []float64{0.024, 0.048} {
		fmt.Fprintf(&b, `      <geom class="box" name="handle%g" size="0.008 0.006 0.004" pos="%g 0 %g" mass="0.002" rgba="0.95 0.78 0.05 1"/>`+"\n", z, cupRadius+0.008, z)
	}
	return b.String()
}

// goalXML paints a round place on the table.
func placeXML(radius float64, rgba string) string {
	return fmt.Sprintf(`      <geom type="cylinder" size="%g 0.0005" rgba="%s"/>`, radius, rgba)
}

func layoutCup() *layout {
	return &layout{
		objects: []object{
			{Name: "cup", Geoms: cupXML()},
			{Name: "coaster", Geoms: placeXML(0.05, blue), Still: true},
		},
		parts: []part{{name: "handle"}, {name: "wall", bad: true}, {name: "bottom", bad: true}},
		size:  buffers{160, 640, 300000},
		start: down(0.46, 0.12),
		grip:  1,
		place: placeStyled,
	}
}

// styleCup: a finger in the cup is undesired.
func styleCup(w *World, t *sim.Truth) {
	cup := t.Bodies[0].Pose.P
	for _, p := range w.pads() {
		in := gap([2]float64{p[0], p[1]}, [2]float64{cup[0], cup[1]}) < cupRadius
		// The pads reach 9 mm below their middles.
		if in && p[2]-0.009 < cup[2]+cupHeight && p[2] > cup[2] {
			w.past.undesired = true
		}
	}
}

// actCup: by the handle, or by the rim on the side of the coaster, a finger inside.
func actCup(d *Demonstrator) robot.Command {
	if d.style == Bad {
		return d.bring([3]float64{0, cupRadius, cupHeight - 0.011}, 0.002)
	}
	return d.bring([3]float64{cupHandle + 0.002, 0, 0.038}, 0.002)
}
