package tabletop

// Spot is a point of a thing of the scene whose place a camera can show: a corner or the
// middle of a face that is up, or the middle of a thing that looks alike from everywhere.
type Spot struct {
	Body int        // in the truth
	At   [3]float64 // in the thing's frame, m
	Deep float64    // how far below what is seen of the thing it lies at most, m
}

// skin is Deep of a spot on a thing's face: rounding.
const skin = 0.003

// face are the middle and the corners of a face that is up, x by y to either side of at.
func face(body int, at [3]float64, x, y float64) []Spot {
	spots := []Spot{{Body: body, At: at, Deep: skin}}
	for _, d := range [][2]float64{{x, y}, {x, -y}, {-x, y}, {-x, -y}} {
		spots = append(spots, Spot{Body: body, At: add(at, [3]float64{d[0], d[1], 0}), Deep: skin})
	}
	return spots
}

// Spots are those of the things that a task is about, by which tracking is judged; of the
// styled tasks there are none yet.
func (w *World) Spots() (spots []Spot) {
	bodies := w.Truth().Bodies
	switch w.cfg.Task {
	case Reach:
		for i := range bodies {
			spots = append(spots, Spot{Body: i, Deep: 0.0205}) // a ball of 2 cm
		}
	case Group, Clutter:
		for i, b := range bodies {
			if !b.Disliked {
				spots = append(spots, face(i, [3]float64{0, 0, Side / 2}, Side/2, Side/2)...)
			}
		}
	case Stack:
		for i := range bodies {
			spots = append(spots, face(i, [3]float64{0, 0, cube / 2}, cube/2, cube/2)...)
		}
	case Almonds:
		for i := range bodies {
			spots = append(spots, Spot{Body: i, Deep: 0.0125}) // half of one's length
		}
	case Spatula: // the blade, and the plate's middle
		spots = append(face(0, [3]float64{blade, 0, -0.001}, 0.034, 0.03), Spot{Body: 1, At: [3]float64{0, 0, 0.0042}, Deep: skin})
	case Cover: // the box, and the tab by which the cloth is pulled
		spots = append(face(0, [3]float64{0, 0, lidHeight / 2}, lidHalf, lidHalf), Spot{Body: 2, At: [3]float64{tab - 0.003, 0, 0.010}, Deep: skin})
	}
	return spots
}
