package wire

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// Trouble is what a study of tracking does to rendered frames.
type Trouble string

// The troubles.
const (
	Plain       Trouble = "plain"
	Occluder    Trouble = "occluder"    // a striped board crosses the view
	Shift       Trouble = "shift"       // the camera sways and is knocked once
	Light       Trouble = "light"       // it gets darker and brighter, once at a blow
	Distractors Trouble = "distractors" // things of the boxes' colours cross the view
	Everything  Trouble = "everything"
)

// Troubles lists them.
func Troubles() []Trouble {
	return []Trouble{Plain, Occluder, Shift, Light, Distractors, Everything}
}

// marked is a point of a thing of the scene that is tracked.
type marked struct {
	name string
	tabletop.Spot
}

// tool is the Body of the point between the fingers, whose Deep is how far they reach.
var tool = tabletop.Spot{Body: -1, Deep: 0.035}

// marksOf are the points of a task's things that are tracked, and the tool. Names of one
// thing's differ by their number.
func marksOf(w *tabletop.World) []marked {
	var ms []marked
	n := map[int]int{}
	for _, s := range w.Spots() {
		n[s.Body]++
		ms = append(ms, marked{fmt.Sprintf("%c%d", 'P'+s.Body, n[s.Body]), s})
	}
	return append(ms, marked{"H1", tool})
}

// place is where m is now, base frame, m.
func (m *marked) place(w *tabletop.World, hand robot.Pose) [3]float64 {
	pose := hand
	if m.Body >= 0 {
		pose = w.Truth().Bodies[m.Body].Pose
	}
	c := keypoint.Camera{OnHand: true, Pose: robot.Pose{P: m.At, Q: [4]float64{1}}}
	return c.At(pose).Pose.P
}

// spoiler does a trouble to the frames of one camera, tick by tick.
type spoiler struct {
	kind   Trouble
	rng    *rand.Rand
	ticks  int
	dx, dy float64 // of the view, pixels
	vx, vy float64
	cover  [4]float64 // of the board: x0, y0, x1, y1, pixels
	things []thing
}

// thing is a distractor.
type thing struct {
	x, y, vx, vy float64
	side         int
	colour       [3]byte // BGR
}

func newSpoiler(kind Trouble, ticks, w, h int, seed uint64) *spoiler {
	s := &spoiler{kind: kind, ticks: ticks, rng: rand.New(rand.NewPCG(seed, 0x73706f696c))}
	for i, c := range [][3]byte{{15, 18, 200}, {210, 50, 12}, {40, 170, 60}} {
		side := h / 9
		t := thing{side: side, colour: c, x: float64(w) * (0.1 + 0.3*float64(i)), y: -float64(side)}
		t.vx = (s.rng.Float64() - 0.5) * float64(w) / float64(ticks)
		t.vy = (1 + 0.6*s.rng.Float64()) * float64(h) / float64(ticks)
		s.things = append(s.things, t)
	}
	return s
}

func (s *spoiler) has(k Trouble) bool { return s.kind == k || s.kind == Everything }

// next spoils frame f of tick t into a fresh one.
func (s *spoiler) next(t int, f robot.Frame) robot.Frame {
	pix := make([]byte, len(f.Pix))
	if s.has(Shift) && t > 0 {
		scale := float64(f.H) / 224
		s.vx = 0.8*s.vx + 0.6*scale*s.rng.NormFloat64() - 0.03*s.dx
		s.vy = 0.8*s.vy + 0.6*scale*s.rng.NormFloat64() - 0.03*s.dy
		s.dx, s.dy = s.dx+s.vx, s.dy+s.vy
		if t == s.ticks/2 {
			s.dx, s.dy = s.dx+7*scale, s.dy-5*scale
		}
	}
	sx, sy := int(math.Round(s.dx)), int(math.Round(s.dy))
	for y := range f.H {
		yy := min(max(y-sy, 0), f.H-1)
		for x := range f.W {
			xx := min(max(x-sx, 0), f.W-1)
			copy(pix[3*(y*f.W+x):], f.Pix[3*(yy*f.W+xx):][:3])
		}
	}
	f.Pix = pix
	fill := func(x0, y0, x1, y1 float64, c func(x, y int) [3]byte) {
		for y := max(0, int(y0)); y < min(f.H, int(y1)); y++ {
			for x := max(0, int(x0)); x < min(f.W, int(x1)); x++ {
				v := c(x-int(x0), y-int(y0))
				copy(pix[3*(y*f.W+x):], v[:])
			}
		}
	}
	if s.has(Distractors) {
		for i := range s.things {
			d := &s.things[i]
			d.x, d.y = d.x+d.vx, d.y+d.vy
			fill(d.x, d.y, d.x+float64(d.side), d.y+float64(d.side), func(_, y int) [3]byte {
				c := d.colour
				if y < d.side/3 { // a lighter top, as boxes have
					for k := range c {
						c[k] += (255 - c[k]) / 6
					}
				}
				return c
			})
		}
	}
	s.cover = [4]float64{}
	if s.has(Occluder) {
		u := float64(t)/float64(s.ticks)*1.6 - 0.4 // from left of the view to right of it
		s.cover = [4]float64{u * float64(f.W), 0, (u + 0.22) * float64(f.W), float64(f.H)}
		fill(s.cover[0], s.cover[1], s.cover[2], s.cover[3], func(x, y int) [3]byte {
			if (x+y)/8%2 == 0 {
				return [3]byte{70, 90, 80}
			}
			return [3]byte{120, 130, 140}
		})
	}
	if s.has(Light) {
		u := float64(t) / float64(s.ticks)
		gain := 1 - 0.35*math.Sin(2*math.Pi*u)
		if u > 0.6 {
			gain *= 0.8
		}
		for i, v := range pix {
			pix[i] = byte(min(255, gain*float64(v)+8*u))
		}
	}
	return f
}

// where is where the pixel of the unspoilt frame is now, and whether it is covered.
func (s *spoiler) where(px [2]float64) (at [2]float64, covered bool) {
	at = [2]float64{px[0] + math.Round(s.dx), px[1] + math.Round(s.dy)}
	in := func(x0, y0, x1, y1 float64) bool { return at[0] >= x0 && at[0] < x1 && at[1] >= y0 && at[1] < y1 }
	if s.has(Distractors) {
		for _, d := range s.things {
			n := float64(d.side)
			covered = covered || in(d.x, d.y, d.x+n, d.y+n)
		}
	}
	return at, covered || in(s.cover[0], s.cover[1], s.cover[2], s.cover[3])
}
