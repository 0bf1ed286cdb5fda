package tabletop

import (
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/robot"
)

// Red and blue, and two colours that nobody takes for them at 8 pixels.
const (
	red    = "0.86 0.07 0.06 1"
	blue   = "0.05 0.22 0.90 1"
	yellow = "0.95 0.78 0.05 1"
)

// object is something that a task puts into the scene.
type object struct {
	Name     string
	RGBA     string
	At       string // reference place in the model, of what constraints tie; m
	Root     string // name of its body, if it is not Name: composites want another
	Disliked bool
	Ball     bool
	Size     float64 // radius of a ball, m
	Still    bool    // it stays where it is put, whatever pushes
	// Geoms is MJCF that makes up the free body; empty: a box of edge Side.
	Geoms string
	// Damping of the free body, Ns/m and Nms: stops small round things from
	// rolling away, at less cost than a rolling friction.
	Damping float64
}

// layout is what a task looks like at the start of an episode.
type layout struct {
	objects []object
	beads   []string   // bodies that a cloth is made of
	springs []string   // joints of the first object that give way when it is squeezed
	parts   []part     // of the first object, of tasks with styles
	start   robot.Pose // of the tool centre point
	grip    float64    // of the hand at the start, 0 (closed) to 1
	goal    bool       // whether there is a line
	// fixed is MJCF of the world's body: what is painted, or never moves as one
	// free body; in Geoms and fixed the scene's classes and materials are known.
	fixed string
	// tool is MJCF of the hand's body, of what is screwed to it.
	tool string
	// equality is MJCF of the constraints that the task adds.
	equality string
	// size are MuJoCo's buffers; those of Clutter do if zero.
	size buffers
	// place draws the objects' poses for an episode, m; they come upright.
	place func(r *rand.Rand, dst []robot.Pose)
}

// buffers are MuJoCo's fixed sizes: contacts, rows of constraints, and numbers on
// its stack. Loading takes longer with larger ones.
type buffers struct{ Contacts, Rows, Stack int }

// down is the hand pointing down, fingers opening along y.
func down(x, z float64) robot.Pose {
	return robot.Pose{P: [3]float64{x, 0, z}, Q: [4]float64{0, 1, 0, 0}}
}

// pair are the boxes of Group.
func pair() []object {
	return []object{{Name: "box1", RGBA: red}, {Name: "box2", RGBA: blue}}
}

func layoutReach() *layout {
	return &layout{
		objects: []object{
			{Name: "ball", RGBA: red, Ball: true, Size: 0.02},
			{Name: "decoy", RGBA: blue, Ball: true, Size: 0.02, Disliked: true},
		},
		start: down(0.42, reachHeight),
		place: placeBalls,
	}
}

func layoutGroup() *layout {
	return &layout{objects: pair(), start: down(0.34, 0.03), goal: true, place: placePair}
}

func layoutClutter() *layout {
	l := &layout{objects: pair(), start: down(0.34, 0.03), goal: true, place: placeClutter}
	for _, n := range []string{"box3", "box4", "box5", "box6"} {
		l.objects = append(l.objects, object{Name: n, RGBA: yellow, Disliked: true})
	}
	return l
}

// uniform draws from (-a, a).
func uniform(r *rand.Rand, a float64) float64 { return a * (2*r.Float64() - 1) }

// placePair is RAPL's Franka Group: box 1 at (0.65, 0) ± 0.02, box 2 0.12 m
// nearer the goal, mirrored; box 2 is also up to 1 cm off to the side, so that
// the boxes meet off-centre as real ones do.
func placePair(r *rand.Rand, p []robot.Pose) {
	p[0].P = [3]float64{0.40 + uniform(r, 0.02), uniform(r, 0.02), Side / 2}
	p[1].P = [3]float64{p[0].P[0] + 0.12, p[0].P[1] + uniform(r, 0.01), Side / 2}
}

// placeClutter adds two disliked boxes on either side of the lane.
func placeClutter(r *rand.Rand, p []robot.Pose) {
	placePair(r, p)
	for i := range 4 {
		x, y := 0.44, 0.105
		if i%2 == 1 {
			x = 0.54
		}
		if i >= 2 {
			y = -y
		}
		p[2+i].P = [3]float64{x + uniform(r, 0.015), y + uniform(r, 0.015), Side / 2}
	}
}

// reachHeight is where the balls hover: at the fingers' height, since policies
// command x and y.
const reachHeight = 0.12

// placeBalls puts the balls at least 8 cm from the start and 12 cm apart.
func placeBalls(r *rand.Rand, p []robot.Pose) {
	draw := func() [3]float64 {
		return [3]float64{0.52 + uniform(r, 0.10), uniform(r, 0.15), reachHeight}
	}
	for {
		p[0].P, p[1].P = draw(), draw()
		start := [3]float64{0.42, 0, reachHeight}
		if dist(p[0].P, p[1].P) > 0.12 && dist(p[0].P, start) > 0.08 && dist(p[1].P, start) > 0.08 {
			return
		}
	}
}

func dist(a, b [3]float64) float64 {
	x, y, z := a[0]-b[0], a[1]-b[1], a[2]-b[2]
	return math.Sqrt(x*x + y*y + z*z)
}

// turned is a turn about the vertical by a, rad.
func turned(a float64) [4]float64 {
	s, c := math.Sincos(a / 2)
	return [4]float64{c, 0, 0, s}
}
