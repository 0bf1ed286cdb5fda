package tabletop

import (
	"fmt"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

const (
	bagHeight = 0.06  // m
	bagBulge  = 0.024 // half of its thickness in the middle
	bagEdge   = 0.062 // from its middle to where one takes its edge
	// squeezed is how far a side of the bag gives way before chips break, m.
	squeezed = 0.006
)

// bagXML is a bag of chips that stands on its long side: a stiff sheet whose ends
// are its sealed edges, and two cheeks on springs, which give way up to 1.4 cm. The
// spring of 700 N/m yields to a fifth of the hand's force; the armature keeps its
// oscillation slow (150 rad/s) for steps of 4 ms. The origin is in the middle of the
// lower side.
func bagXML() string {
	s := fmt.Sprintf(`      <geom class="box" name="edge" size="0.075 0.004 %g" pos="0 0 %g" mass="0.03" rgba="0.95 0.78 0.05 1"/>`+"\n", bagHeight/2, bagHeight/2)
	for i, side := range []float64{1, -1} {
		s += fmt.Sprintf(`      <body name="cheek%d" pos="0 %g %g">
        <joint name="cheek%d" type="slide" axis="0 %g 0" range="0 0.014" limited="true" stiffness="700" damping="6" armature="0.03"/>
        <geom class="box" name="cheek%d" size="0.034 0.009 %g" mass="0.01" rgba="0.86 0.07 0.06 1"/>
        <geom class="box" name="cheek%dflat" size="0.044 0.004 %g" pos="0 %g 0" mass="0.005" rgba="0.70 0.05 0.05 1"/>
      </body>`+"\n", i, side*(bagBulge-0.009), bagHeight/2, i, -side, i, bagHeight/2-0.005, i, bagHeight/2-0.008, -side*0.005)
	}
	return s
}

func layoutChips() *layout {
	return &layout{
		objects: []object{
			{Name: "bag", Geoms: bagXML()},
			{Name: "zone", Geoms: `      <geom type="box" size="0.09 0.055 0.0005" rgba="0.30 0.62 0.42 1"/>`, Still: true},
		},
		parts:   []part{{name: "edge"}, {name: "cheek", bad: true}},
		springs: []string{"cheek0", "cheek1"},
		size:    buffers{160, 640, 300000},
		start:   down(0.46, 0.12),
		grip:    1,
		place:   placeStyled,
	}
}

// styleChips: a squeezed bag is undesired.
func styleChips(w *World, _ *sim.Truth) {
	for _, q := range w.id.springs {
		if w.data.QPos()[q] > squeezed {
			w.past.undesired = true
		}
	}
}

// actChips: by the edge that points away from the arm, or squeezed in the middle.
func actChips(d *Demonstrator) robot.Command {
	if d.style == Bad {
		return d.bring([3]float64{0, 0, bagHeight - 0.018}, 0.002)
	}
	return d.bring([3]float64{bagEdge, 0, bagHeight - 0.018}, 0.002)
}
