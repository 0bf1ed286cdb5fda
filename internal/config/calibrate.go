package config

import (
	"fmt"
	"math"
	"os"
)

// Calibration is the file of rapport calibrate: what is where while a camera looks.
type Calibration struct {
	Camera     string   `yaml:"camera"`
	OnHand     bool     `yaml:"on_hand"`    // the camera is on the hand; else it stands still
	Dictionary string   `yaml:"dictionary"` // of the markers, as 4x4_50
	Images     []string `yaml:"images"`     // of markers, beside the file
	// Markers lie at known places in the base frame.
	Markers []PlacedMarker `yaml:"markers"`
	// Board is a ChArUco board: on the table for a camera on the hand, else in the hand.
	Board ChartBoard `yaml:"board"`
	// Views are images of the board and where the tool was.
	Views []BoardView `yaml:"views"`
}

// PlacedMarker is flat on a level plane, or has its four corners named clockwise from its
// own top left.
type PlacedMarker struct {
	ID      int         `yaml:"id"`
	Centre  []float64   `yaml:"centre"`  // m
	Size    float64     `yaml:"size"`    // side, m
	Yaw     float64     `yaml:"yaw"`     // rad; 0: its top away from the arm
	Corners [][]float64 `yaml:"corners"` // m
}

// ChartBoard is a ChArUco board.
type ChartBoard struct {
	Columns int     `yaml:"columns"`
	Rows    int     `yaml:"rows"`
	Square  float64 `yaml:"square"` // m
	Marker  float64 `yaml:"marker"` // m
}

// BoardView is an image and the pose of the tool.
type BoardView struct {
	Image string    `yaml:"image"`
	P     []float64 `yaml:"p"` // m
	Q     []float64 `yaml:"q"` // w, x, y, z
}

// LoadCalibration reads and checks the file at path.
func LoadCalibration(path string) (Calibration, error) {
	var c Calibration
	b, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("config: %w; see: rapport help calibrate", err)
	}
	if err := decode(b, &c); err != nil {
		return c, fmt.Errorf("config: %s: %w", path, err)
	}
	if err := c.validate(); err != nil {
		return c, fmt.Errorf("config: %s: %w", path, err)
	}
	return c, nil
}

// farthest is how far from the base what a camera of the arm shows may be along each axis, m.
// Beyond lie centimetres that were taken for metres.
const farthest = 3

// within says whether all are metres of what is near the arm.
func within(vs ...float64) bool {
	for _, v := range vs {
		if !(math.Abs(v) <= farthest) {
			return false
		}
	}
	return true
}

func (c *Calibration) validate() error {
	if c.Camera == "" {
		return fmt.Errorf("camera is missing: name it as the session does")
	}
	if c.Dictionary == "" {
		c.Dictionary = "4x4_50"
	}
	board := c.Board != ChartBoard{}
	if board == (len(c.Markers) > 0) {
		return fmt.Errorf("want markers, which lie at known places, or a board, and not both")
	}
	if c.OnHand && !board {
		return fmt.Errorf("on_hand wants a board, which is seen from several poses of the hand")
	}
	if b := c.Board; !within(b.Square, b.Marker) {
		return fmt.Errorf("board: squares of %g and markers of %g; want metres, at most %d", b.Square, b.Marker, farthest)
	}
	seen := map[int]bool{}
	for i, m := range c.Markers {
		switch {
		case seen[m.ID]:
			return fmt.Errorf("markers[%d]: id %d is there twice", i, m.ID)
		case m.Corners == nil && (len(m.Centre) != 3 || !(m.Size > 0)):
			return fmt.Errorf("markers[%d]: want centre: [x, y, z] and size in metres, or four corners", i)
		case m.Corners != nil && (len(m.Corners) != 4 || m.Centre != nil):
			return fmt.Errorf("markers[%d]: want four corners and no centre", i)
		case !within(m.Centre...) || !within(m.Size):
			return fmt.Errorf("markers[%d]: centre %v and size %g; want metres from the base, at most %d along each axis", i, m.Centre, m.Size, farthest)
		case !(math.Abs(m.Yaw) <= 2*math.Pi):
			return fmt.Errorf("markers[%d]: yaw is %g; want radians, at most a turn", i, m.Yaw)
		}
		for k, p := range m.Corners {
			if len(p) != 3 || !within(p...) {
				return fmt.Errorf("markers[%d]: corners[%d] is %v; want x, y, z in metres from the base, at most %d along each axis", i, k, p, farthest)
			}
		}
		seen[m.ID] = true
	}
	for i, v := range c.Views {
		if len(v.P) != 3 || len(v.Q) != 4 || v.Image == "" {
			return fmt.Errorf("views[%d]: want image, p: [x, y, z] and q: [w, x, y, z] of the tool", i)
		}
		if !within(v.P...) {
			return fmt.Errorf("views[%d]: p is %v; want metres from the base, at most %d along each axis", i, v.P, farthest)
		}
		if n := math.Hypot(math.Hypot(v.Q[0], v.Q[1]), math.Hypot(v.Q[2], v.Q[3])); !(n > 0) || math.IsInf(n, 0) {
			return fmt.Errorf("views[%d]: q is %v; want a turn as w, x, y, z", i, v.Q)
		}
	}
	return nil
}
