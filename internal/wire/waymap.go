package wire

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// waymap is what is drawn of a plan on an episode's pictures: points and where they
// came along, waypoints, the one that is sought, and what the reward is made of.
type waymap struct {
	legs  []kagi.Leg
	steps []kagi.Step   // (T,)
	spots [][]kagi.Spot // (T+1,), of the frames
}

// trail is how many frames back a point's way is drawn.
const trail = 20

// What is drawn in which colour.
var (
	wayInk   = color.RGBA{R: 255, G: 210, B: 60, A: 255}
	soughtIn = color.RGBA{R: 255, G: 60, B: 220, A: 255}
	spotInk  = color.RGBA{R: 60, G: 200, B: 255, A: 255}
	lostInk  = color.RGBA{R: 150, G: 150, B: 150, A: 255}
)

// waymapOf is nil for rewards without waypoints, and for plans in pixels, whose places
// no other camera has.
func waymapOf(s reward.Scorer, traj []perception.Features) (*waymap, error) {
	k, ok := s.(*kagi.Scorer)
	if !ok {
		return nil, nil
	}
	if p := k.Config().Plan; p != nil && p.Camera != "" {
		return nil, nil
	}
	var m waymap
	var err error
	if m.steps, m.legs, err = k.Explain(traj); err != nil {
		return nil, err
	}
	for _, f := range traj {
		m.spots = append(m.spots, kagi.Spots(f.Keys))
	}
	return &m, nil
}

// at is the step that is shown with frame t: the reset has that which is sought first.
func (m *waymap) at(t int) kagi.Step { return m.steps[min(max(t-1, 0), len(m.steps)-1)] }

// says are the terms of the reward at frame t.
func (m *waymap) says(t int) string {
	s := m.at(t)
	leg := m.legs[s.Stage]
	out := fmt.Sprintf("stage %d/%d  %s\nseeks %d/%d", s.Stage+1, len(m.legs), leg.Point, min(s.Waypoint+1, len(leg.To)), len(leg.To))
	if t == 0 {
		return out
	}
	out += fmt.Sprintf("\naway %.3f of %.3f m\nphi %.3f\ndense %.3f", s.Distance, s.Length, s.Phi, s.Dense)
	if s.Done {
		out += "\nsuccess"
	}
	if s.Lost {
		out += "\nlost"
	}
	return out
}

// draw is f with frame t of the map over it, as a camera sees it while the hand is at
// hand. Waypoints are numbered through all stages.
func (m *waymap) draw(f robot.Frame, cam keypoint.Camera, hand robot.Pose, t int) (robot.Frame, error) {
	cam = cam.Scaled(f.W, f.H).At(hand)
	see := func(at [3]float64) (image.Point, bool) {
		px, ok := cam.Project(at)
		if !ok || !cam.Inside(px) {
			return image.Point{}, false
		}
		return image.Pt(int(math.Round(px[0])), int(math.Round(px[1]))), true
	}
	var lines []vision.Line
	var discs []vision.Disc
	var texts []vision.Text
	text := max(8, f.H/26)
	s, n := m.at(t), 0
	for i, l := range m.legs {
		var last image.Point
		joined := false
		for j, to := range l.To {
			n++
			p, ok := see(to)
			if ok && joined {
				lines = append(lines, vision.Line{A: last, B: p, Colour: wayInk})
			}
			if last, joined = p, ok; !ok {
				continue
			}
			d, ink := vision.Disc{At: p, R: 3, Colour: wayInk}, wayInk
			if i == s.Stage && j == min(s.Waypoint, len(l.To)-1) {
				d.R, d.Colour, ink = 5, soughtIn, soughtIn
			}
			discs = append(discs, d)
			texts = append(texts, vision.Text{At: p.Add(image.Pt(-text, text)), S: fmt.Sprint(n), Colour: ink, Height: text})
		}
	}
	if t >= len(m.spots) {
		return vision.Paint(f, lines, discs, texts)
	}
	for k, spot := range m.spots[t] {
		for u := max(1, t-trail); u <= t; u++ {
			if k >= len(m.spots[u]) || k >= len(m.spots[u-1]) {
				continue
			}
			a, ok := see(m.spots[u-1][k].At)
			b, ok2 := see(m.spots[u][k].At)
			if ok && ok2 && a != b {
				lines = append(lines, vision.Line{A: a, B: b, Colour: spotInk})
			}
		}
		p, ok := see(spot.At)
		if !ok {
			continue
		}
		ink := spotInk
		if !spot.Seen {
			ink = lostInk
		}
		discs = append(discs, vision.Disc{At: p, R: 3, Colour: ink})
		texts = append(texts, vision.Text{At: p.Add(image.Pt(2*text, -text)), S: spot.Name, Colour: ink, Height: text})
	}
	return vision.Paint(f, lines, discs, texts)
}

// over is f, as large as a film's cell, with frame t of the map over it; cameras that
// are not known leave it as it is.
func (m *waymap) over(f robot.Frame, cams []keypoint.Camera, hand robot.Pose, t int) (robot.Frame, error) {
	big, err := vision.Resize(f, cell, cell)
	i := slices.IndexFunc(cams, func(c keypoint.Camera) bool { return c.Name == f.Camera })
	if err != nil || i < 0 {
		return big, err
	}
	return m.draw(big, cams[i], hand, t)
}

// lenses are the cameras of a recorded episode: of one in simulation as its world had
// them, of one on an arm as they were calibrated.
func (p *projector) lenses(ctx context.Context, file string, info record.Info) ([]keypoint.Camera, error) {
	if dir := home(file); dir != "" && real(p.s.cfg) {
		return calibrated(p.s.cfg)
	}
	if err := p.past.begin(ctx, file, info, false); err != nil {
		return nil, err
	}
	return SimCameras(p.past.world)
}
