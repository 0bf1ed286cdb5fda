package xmagical

import "math/rand/v2"

// zone is an axis-aligned box, m.
type zone struct{ L, B, R, T float64 }

// scene is what a task looks like at the start of an episode.
type scene struct {
	robot   place
	squares []place
	bottom  float64 // y where the goal strip begins
	off     zone    // where the robot must not be; empty except in Avoid
}

// newScene draws a scene. The Demo layout has everything in the middle of what the
// Test layout draws, or where the original has it.
func newScene(c *Config, r *rand.Rand) scene {
	s := scene{robot: place{0, -0.6, 0}, bottom: Line}
	drawn := c.Layout == Test
	u := func(a float64) float64 {
		v := a * (2*r.Float64() - 1)
		if !drawn {
			return 0
		}
		return v
	}
	switch c.Task {
	case Sweep:
		s.squares = []place{{-0.5, 0, 0}, {0, 0, 0}, {0.5, 0, 0}}
		if drawn {
			y := 0.2 + 0.3*(2*r.Float64()-1)
			for i, k := range r.Perm(4)[:3] {
				s.squares[i] = place{-0.8 + 0.48*float64(k), y, 0}
			}
		}
	case Avoid:
		s.avoid(c.Embodiment, u, !drawn || r.IntN(2) == 0)
	case Group:
		s.bottom = groupLine
		to := 0.4
		if c.Embodiment == Long {
			to = 0.15 // off its middle the squares turn it
		}
		x, y := u(to), -0.05+u(0.08)
		s.squares = []place{{x, y, 0}, {x + u(0.04), y + groupApart + u(0.04), 0}}
	}
	return s
}

const (
	// groupLine is where the strip of Group begins: two squares behind each other
	// and a hand's breadth fit between it and the wall.
	groupLine = 0.60
	// groupApart is how far ahead of the first square the second one is, m.
	groupApart = 0.40
)

// avoid lays out Avoid. The zone is in the middle, the robot faces up beside it and
// the square is on the other side, so that the shortest way to behind the square
// goes through the zone. A long stick cannot pass there: it starts in the middle
// below, and a zone at the wall is where its end would sweep if it drove straight.
func (s *scene) avoid(e Embodiment, u func(float64) float64, right bool) {
	side := 1.0
	if !right {
		side = -1
	}
	if e == Long {
		s.squares = []place{{-side * (0.45 + u(0.2)), 0.1 + u(0.15), 0}}
		s.off = zone{0.72, 0.02, Size, 0.5}
	} else {
		s.robot = place{-side * (0.55 + u(0.1)), -0.1 + u(0.1), 0}
		s.squares = []place{{side * (0.6 + u(0.1)), 0.1 + u(0.1), 0}}
		s.off = zone{-0.14, -0.35, 0.14, 0.3}
	}
	if side < 0 {
		s.off.L, s.off.R = -s.off.R, -s.off.L
	}
}
