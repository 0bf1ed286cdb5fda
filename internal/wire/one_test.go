package wire

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"os"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
)

func TestOne(t *testing.T) {
	n := 0
	HOOK = func(fs []robot.Frame, keys []perception.Keypoint, which [][2]int, now [][]truthPoint) {
		n++
		if n%11 != 0 {
			return
		}
		var out []robot.Frame
		for i, f := range fs {
			big, _ := vision.Resize(f, 3*f.W, 3*f.H)
			for j, k := range keys {
				if which[j][1] != i {
					continue
				}
				p := now[which[j][0]][i]
				c := color.RGBA{G: 255, A: 255}
				if k.Score == 0 {
					c = color.RGBA{R: 255, G: 255, A: 255}
				}
				big, _ = vision.Dot(big, []image.Point{{int(3*k.X + 1), int(3*k.Y + 1)}}, 3, c)
				c = color.RGBA{R: 255, B: 255, A: 255}
				if !p.seen {
					c = color.RGBA{A: 255}
				}
				big, _ = vision.Dot(big, []image.Point{{int(3*p.px[0] + 1), int(3*p.px[1] + 1)}}, 2, c)
			}
			out = append(out, big)
		}
		m, _ := vision.Mosaic(out, 2, 800, 700)
		b, _ := vision.EncodeJPEG(m, 90)
		os.WriteFile(fmt.Sprintf("/tmp/kp-%d.jpg", n), b, 0o644)
	}
	Keypoints(context.Background(), KeypointStudy{Seeds: 1, Tasks: []string{"group"}, Troubles: []Trouble{Plain}}, nil)
}
