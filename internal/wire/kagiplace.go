package wire

import (
	"errors"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/robot"
)

// carried is what is known of a point that a hand may carry.
type carried struct {
	held   bool
	offset [3]float64 // from the tool centre point, as of when it was taken
	height float64    // m, while it is not held
}

// Openings between which fingers hold something, m: a Franka hand's are 0 and 0.08.
const (
	shut = 0.004
	wide = 0.07
)

// astray is how far from where a hand carries a thing its line of sight may pass, m:
// fingers hide part of it, and it turns in them.
const astray = 0.025

// place is where the thing is that a pixel shows. One camera tells a line of sight
// alone: the height comes from the plan, or from the hand while that carries the
// thing. A thing is carried when fingers that are neither open nor shut have it near,
// and as long as it is seen where they take it.
func (p *pointer) place(k kagi.Point, seen perception.Keypoint, arm robot.State) (at [3]float64, score float64, err error) {
	if seen.Score <= 0 {
		return at, 0, nil
	}
	i := slices.IndexFunc(p.cams, func(c keypoint.Camera) bool { return c.Name == k.Camera })
	cam := p.cams[i].At(arm.EE)
	px := [2]float64{seen.X, seen.Y}
	c := p.carried[k.Name]
	if c == nil {
		c = &carried{height: k.Height}
		p.carried[k.Name] = c
	}
	was := p.where(k)
	if k.Held > 0 && arm.Grip > shut && arm.Grip < wide {
		for a := range was {
			if !c.held {
				c.offset[a] = was[a] - arm.EE.P[a]
			}
			at[a] = arm.EE.P[a] + c.offset[a]
		}
		near, miss := passing(&cam, px, at)
		if c.held = miss <= astray && norm(c.offset) <= k.Held; c.held {
			return near, seen.Score, nil
		}
	} else if c.held {
		c.held = false
		if k.Upon != 0 {
			c.height = fallen(&cam, px, was, k.Height, k.Upon)
		}
	}
	at, err = cam.Lift(px, c.height)
	if errors.Is(err, keypoint.ErrBeside) {
		return at, 0, nil
	}
	return at, seen.Score, err
}

// passing is where a pixel's line of sight passes p, and how far from it, m.
func passing(cam *keypoint.Camera, px [2]float64, p [3]float64) (at [3]float64, miss float64) {
	from, along := cam.Ray(px)
	t := 0.0
	for i := range p {
		t += (p[i] - from[i]) * along[i]
	}
	var off [3]float64
	for i := range p {
		at[i] = from[i] + t*along[i]
		off[i] = p[i] - at[i]
	}
	return at, norm(off)
}

// fallen is that of two heights at which a pixel shows what was let go of at was:
// things fall straight down.
func fallen(cam *keypoint.Camera, px [2]float64, was [3]float64, a, b float64) float64 {
	beside := func(z float64) float64 {
		at, err := cam.Lift(px, z)
		if err != nil {
			return math.Inf(1)
		}
		return math.Hypot(at[0]-was[0], at[1]-was[1])
	}
	if beside(b) < beside(a) {
		return b
	}
	return a
}

func norm(v [3]float64) float64 { return math.Hypot(math.Hypot(v[0], v[1]), v[2]) }
