package tabletop

import (
	"fmt"
	"math"
	"strings"
)

// Marker is a printed square of cells, as of ArUco, by which a camera finds where it is.
// Nothing touches it, and the task is as without it.
type Marker struct {
	// Corners are clockwise from the marker's own top left, of a square, base frame, m.
	Corners [4][3]float64
	White   [][]bool // its cells by rows from the top, its border among them
}

func (m Marker) validate(i int, bad func(format string, args ...any)) {
	n := len(m.White)
	for _, row := range m.White {
		if len(row) != n {
			bad("markers[%d]: a row of %d cells, want as many as rows: %d", i, len(row), n)
			return
		}
	}
	if n < 3 || n > 9 { // 9: 7x7 and its border
		bad("markers[%d]: %d cells a side, want 3 to 9", i, n)
	}
	side := dist(m.Corners[0], m.Corners[1])
	if !(side > 0.005 && side < 1) {
		bad("markers[%d]: %g m a side, want 0.005 to 1", i, side)
	}
	for k := range m.Corners {
		a, b, c := m.Corners[k], m.Corners[(k+1)%4], m.Corners[(k+2)%4]
		if math.Abs(dist(a, b)-side) > 0.02*side || math.Abs(dist(a, c)-math.Sqrt2*side) > 0.02*side {
			bad("markers[%d]: corners of no square", i)
			return
		}
	}
}

// sheet is how thick a marker's layers are drawn, m: enough to tell them apart in depth,
// and too little to shift its corners.
const sheet = 1e-4

// xml is the marker as thin boxes: paper with a margin of a cell, ink, white cells.
func (m Marker) xml() string {
	n := len(m.White)
	var at, right, up [3]float64
	for i := range at {
		for _, c := range m.Corners {
			at[i] += c[i] / 4
		}
		right[i], up[i] = m.Corners[1][i]-m.Corners[0][i], m.Corners[0][i]-m.Corners[3][i]
	}
	half := dist(m.Corners[0], m.Corners[1]) / 2
	cell := half / float64(n) // half a cell's side
	right, up = unit(right), unit(up)
	out := cross(right, up)
	var b strings.Builder
	box := func(x, y, half float64, layer int, rgba string) {
		p := at
		for i := range p {
			p[i] += x*right[i] + y*up[i] + float64(2*layer-3)*sheet*out[i]
		}
		fmt.Fprintf(&b, "    <geom type=\"box\" size=\"%.6f %.6f %.6f\" pos=%q xyaxes=%q mass=\"0\" rgba=%q/>\n", half, half, sheet, triple(p), triple(right)+" "+triple(up), rgba)
	}
	box(0, 0, half+2*cell, 0, "0.95 0.95 0.95 1")
	box(0, 0, half, 1, "0.06 0.06 0.06 1")
	for r, row := range m.White {
		for c, white := range row {
			if white {
				box(float64(2*c+1)*cell-half, half-float64(2*r+1)*cell, cell, 2, "0.95 0.95 0.95 1")
			}
		}
	}
	return b.String()
}
