// Package clicktest has a small scene to click on: a red ball and a blue one over a
// table, seen by a camera from above and one from the side, without a simulator.
//
//	f := clicktest.Show(t, click.Folder(t.TempDir()))
//	px := clicktest.Pixel("front", clicktest.Ball)
package clicktest

import (
	"math"
	"testing"

	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/kagi/click"
	"github.com/rapport-rl/rapport/robot"
)

// Side is the pixels of a side of each picture.
const Side = 96

var (
	// Ball is where the middle of the red ball is, base frame, m; Other that of the blue.
	Ball, Other = [3]float64{0.5, 0.1, 0.05}, [3]float64{0.6, -0.15, 0.05}
	// Hand is the tool centre point.
	Hand = [3]float64{0.4, 0, 0.3}
	// Box is the workspace.
	Box = kagi.Box{Min: [3]float64{0.2, -0.3, 0.015}, Max: [3]float64{0.75, 0.3, 0.6}}
)

// Cameras are "front", which looks down, and "side", which looks along y.
func Cameras() []keypoint.Camera {
	h := math.Sqrt2 / 2
	return []keypoint.Camera{
		keypoint.Pinhole("front", Side, Side, 1, robot.Pose{P: [3]float64{0.5, 0, 1}, Q: [4]float64{0, 1, 0, 0}}),
		keypoint.Pinhole("side", Side, Side, 1, robot.Pose{P: [3]float64{0.5, -0.9, 0.2}, Q: [4]float64{h, -h, 0, 0}}),
	}
}

// Pixel is where a camera sees a place.
func Pixel(camera string, at [3]float64) [2]float64 {
	c, err := keypoint.Find(Cameras(), camera)
	if err != nil {
		panic("clicktest: " + err.Error())
	}
	px, _ := c.Project(at)
	return px
}

// Frames are the pictures.
func Frames() []robot.Frame {
	var fs []robot.Frame
	for _, c := range Cameras() {
		f := robot.Frame{Camera: c.Name, W: Side, H: Side, Pix: make([]byte, 3*Side*Side)}
		for i := range f.Pix {
			f.Pix[i] = 90
		}
		for _, b := range []struct {
			at     [3]float64
			colour [3]byte // blue, green, red
		}{{Ball, [3]byte{15, 18, 219}}, {Other, [3]byte{230, 56, 13}}} {
			px, _ := c.Project(b.at)
			for y := range Side {
				for x := range Side {
					if math.Hypot(float64(x)-px[0], float64(y)-px[1]) <= 4 {
						copy(f.Pix[3*(y*Side+x):], b.colour[:])
					}
				}
			}
		}
		fs = append(fs, f)
	}
	return fs
}

// Show puts the scene into f, where a plan of it is waited for.
func Show(t testing.TB, f click.Folder, names ...string) click.Folder {
	t.Helper()
	s := click.Scene{Task: "bring the hand to the ball", Cameras: Cameras(), Hand: Hand, Box: Box, Names: names}
	if err := f.Show(s, Frames()); err != nil {
		t.Fatal(err)
	}
	return f
}
