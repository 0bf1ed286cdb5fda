package policytest

import (
	"math"

	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/trunk"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

// Side is that of the reach's picture, pixels.
const Side = 16

// Camera is the name of the reach's camera.
const Camera = "top"

// PixelView is what a policy of the reach sees that has no embedding: where the
// goal is it finds in the picture.
func PixelView() view.Config {
	v := View()
	v.Embed = 0
	v.Cameras = []view.Camera{{Name: Camera, W: Side, H: Side}}
	return v
}

// PixelArch is a quick policy of the reach from pixels.
func PixelArch() bc.Arch {
	return bc.Arch{View: PixelView(), Hidden: []int{32}, Trunk: trunk.Config{Channels: 8, Strides: []int{2, 2}, Latent: 16, Shift: -1}}
}

// picture shows the goal as a soft red spot; the point is in the middle.
func picture(p, goal [2]float64) robot.Frame {
	f := robot.Frame{Camera: Camera, W: Side, H: Side, Pix: make([]byte, 3*Side*Side)}
	const reach = 0.7 // m from the middle to the edge; a goal is at most 0.6 away
	x, y := Side/2*(1+(goal[0]-p[0])/reach), Side/2*(1+(goal[1]-p[1])/reach)
	for i := range Side {
		for j := range Side {
			dx, dy := float64(j)+0.5-x, float64(i)+0.5-y
			at := 3 * (i*Side + j)
			f.Pix[at], f.Pix[at+1] = 40, 60
			f.Pix[at+2] = byte(30 + 220*math.Exp(-(dx*dx+dy*dy)/4))
		}
	}
	return f
}
