package click

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/robot"
)

const (
	// maxMiss is how far the sights of two clicks may miss each other, m, as clicks on
	// one thing: frames of 96 pixels see a metre away in centimetres. Ours.
	maxMiss = 0.05
	// spot is how far from the click a thing's colour may have its middle, as a share of
	// the image's width: a hand's breadth at a table's distance. Ours.
	spot = 0.12
)

// View is a click.
type View struct {
	Camera string     `json:"camera"`
	Pixel  [2]float64 `json:"pixel"` // x, y; the first pixel's centre is (0,0)
}

// Sight is what is to become a place: clicks in two views, or one and its height.
type Sight struct {
	Views  []View   `json:"views"`
	Height *float64 `json:"height,omitempty"` // base frame, m
	// Find asks to follow the thing by its colour in the first view: the place is that of
	// the colour's middle there, not of the click.
	Find bool `json:"find,omitempty"`
}

// Place is where something is.
type Place struct {
	At   [3]float64 `json:"at"`   // base frame, m
	Miss float64    `json:"miss"` // how far two sights miss each other there, m
	// Point is how a plan finds it again.
	Point kagi.Point `json:"point"`
	// Seen is where each camera of the scene sees it; out of sight is missing.
	Seen []View `json:"seen"`
}

// Lift is the place that an operator clicked.
func (f Folder) Lift(s Sight) (Place, error) {
	sc, _, err := f.scene()
	if err != nil {
		return Place{}, err
	}
	return f.lift(sc, s)
}

func (f Folder) lift(sc Scene, s Sight) (p Place, err error) {
	if len(s.Views) == 0 || len(s.Views) > 2 {
		return p, refuse("%d clicks; want one and a height, or two in different views", len(s.Views))
	}
	cams := make([]keypoint.Camera, len(s.Views))
	for i, v := range s.Views {
		c, err := keypoint.Find(sc.Cameras, v.Camera)
		if err != nil {
			return p, refuse("%v", err)
		}
		if !c.Inside(v.Pixel) {
			return p, refuse("pixel (%.1f, %.1f) is beside the picture of camera %s; click on it", v.Pixel[0], v.Pixel[1], v.Camera)
		}
		cams[i] = c
	}
	first := s.Views[0]
	p.Point = kagi.Point{Camera: first.Camera, Pixel: &first.Pixel}
	if s.Find {
		if p.Point, err = f.found(cams[0], first); err != nil {
			return p, err
		}
	}
	switch {
	case len(s.Views) == 2 && s.Views[0].Camera == s.Views[1].Camera:
		return p, refuse("both clicks are in camera %s; click the second time in another view, or enter a height", first.Camera)
	case len(s.Views) == 2:
		p.At, p.Miss, err = keypoint.Triangulate(&cams[0], &cams[1], s.Views[0].Pixel, s.Views[1].Pixel)
		if err == nil && p.Miss > maxMiss {
			err = fmt.Errorf("the sights of the two clicks miss each other by %.0f mm; click the same spot in both", 1000*p.Miss)
		}
	case s.Height == nil:
		return p, refuse("one view does not tell how far it is; click it in another view, too, or enter its height")
	default:
		if math.IsNaN(*s.Height) || math.IsInf(*s.Height, 0) {
			return p, refuse("the height is no number; enter millimetres above the base")
		}
		p.At, err = cams[0].Lift(first.Pixel, *s.Height)
	}
	if err != nil {
		return p, refuse("%v", err)
	}
	p.Point.Height = p.At[2]
	if s.Find {
		// The plan will place it by the colour's middle at that height, so do the same.
		if p.At, _, err = f.where(sc, p.Point); err != nil {
			return p, err
		}
	}
	if err := within(p.At, sc.Box); err != nil {
		return p, err
	}
	for _, c := range sc.Cameras {
		if px, ok := c.Project(p.At); ok && c.Inside(px) {
			p.Seen = append(p.Seen, View{c.Name, px})
		}
	}
	return p, nil
}

// within refuses places outside the workspace.
func within(at [3]float64, box kagi.Box) error {
	for a, v := range at {
		if !(v >= box.Min[a] && v <= box.Max[a]) {
			return refuse("%c is %.3f m, outside the workspace of %.3f to %.3f m; click elsewhere, or enter another height", "xyz"[a], v, box.Min[a], box.Max[a])
		}
	}
	return nil
}

// frame is the picture of a camera.
func (f Folder) frame(camera string) (robot.Frame, error) {
	b, err := os.ReadFile(f.path(pictureFile(camera)))
	if err != nil {
		return robot.Frame{}, fmt.Errorf("click: %w", err)
	}
	fr, err := vision.Decode(b)
	fr.Camera = camera
	return fr, err
}

// found is a point that is followed by the colour under a click: the mean of three by
// three pixels.
func (f Folder) found(c keypoint.Camera, v View) (p kagi.Point, err error) {
	fr, err := f.frame(v.Camera)
	if err != nil {
		return p, err
	}
	var colour [3]float64
	n := 0.0
	x0, y0 := int(math.Round(v.Pixel[0])), int(math.Round(v.Pixel[1]))
	for y := max(y0-1, 0); y <= min(y0+1, fr.H-1); y++ {
		for x := max(x0-1, 0); x <= min(x0+1, fr.W-1); x++ {
			i := 3 * (y*fr.W + x)
			for k := range colour {
				colour[k] += float64(fr.Pix[i+2-k]) // frames are blue, green, red
			}
			n++
		}
	}
	for k := range colour {
		colour[k] = math.Round(colour[k] / n)
	}
	if colour == ([3]float64{}) {
		return p, refuse("it is black there, and no colour to be found by; follow the spot itself")
	}
	p = kagi.Point{Camera: v.Camera, Colour: &colour}
	px, ok, err := kagi.Find(fr, colour)
	if err != nil {
		return p, err
	}
	if !ok || math.Hypot(px[0]-v.Pixel[0], px[1]-v.Pixel[1]) > spot*float64(c.W) {
		return p, refuse("the largest spot of this colour is not where you clicked; follow the spot itself instead of its colour, or click the middle of the thing")
	}
	return p, nil
}

// find is where fr, of camera c, shows a point that has a colour.
func find(c *keypoint.Camera, fr robot.Frame, k kagi.Point) (px [2]float64, ok bool, err error) {
	if k.Near == nil {
		return k.Find(fr)
	}
	if px, ok = c.Project(*k.Near); !ok {
		return px, false, nil
	}
	at, seen, err := kagi.FindNear(fr, *k.Colour, [][2]float64{px})
	if err != nil {
		return px, false, err
	}
	return at[0], seen[0], nil
}

// where is the place of a plan's point in the scene; false: it is not seen.
func (f Folder) where(sc Scene, k kagi.Point) (at [3]float64, ok bool, err error) {
	if k.Hand {
		return sc.Hand, true, nil
	}
	c, err := keypoint.Find(sc.Cameras, k.Camera)
	if err != nil {
		return at, false, refuse("point %s: %v", k.Name, err)
	}
	px := [2]float64{}
	if k.Pixel != nil {
		px = *k.Pixel
		if !c.Inside(px) {
			return at, false, refuse("point %s: pixel (%.1f, %.1f) is beside the picture of camera %s", k.Name, px[0], px[1], k.Camera)
		}
	} else {
		fr, err := f.frame(k.Camera)
		if err != nil {
			return at, false, err
		}
		if px, ok, err = find(&c, fr, k); err != nil || !ok {
			return at, false, err
		}
	}
	at, err = c.Lift(px, k.Height)
	if errors.Is(err, keypoint.ErrBeside) {
		return at, false, nil
	}
	return at, err == nil, err
}
