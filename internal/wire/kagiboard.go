package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/vlm"
	"github.com/rapport-rl/rapport/robot"
)

// tiles are those of a side of the grid. MOKA's code has 5; finer labels are not to
// be read in images of 96 pixels.
const tiles = 5

// boardScale makes small frames large enough for labels.
const boardScale = 6

// levels are the heights of the lines, as shares of the workspace's.
var levels = []float64{0.02, 0.1, 0.18, 0.3, 0.5}

// board draws what a model is shown: the plan's first camera under a grid, and
// another that stands still, if there is one, under lines of height. Without that
// the lines are told in words. things are those among the marks that the plan does not
// have.
func (p *pointer) board(ctx context.Context, obs robot.Observation) (b kagi.Board, things []kagi.Point, err error) {
	box := kagi.Box{Min: p.cfg.Guard.Workspace.Min, Max: p.cfg.Guard.Workspace.Max}
	b = kagi.Board{Start: p.last, Hands: p.plan.Hands(), Tolerance: p.cfg.Reward.KAGI.Tolerance, Box: box}
	above, side := -1, -1
	for i, c := range p.cams {
		switch {
		case c.OnHand:
		case above < 0:
			above = i
		case side < 0:
			side = i
		}
	}
	if above < 0 {
		return b, nil, fmt.Errorf("wire: no camera stands still, over which a grid could be drawn")
	}
	top := p.cams[above]
	points := p.plan.Points
	if p.cfg.Reward.KAGI.Marks == "candidates" {
		if things, err = p.things(ctx, top, obs); err != nil {
			return b, nil, err
		}
		points = slices.Concat(slices.DeleteFunc(slices.Clone(points), func(k kagi.Point) bool { return !k.Hand }), things)
	}
	var marks []perception.Keypoint
	for _, k := range points {
		at, known := p.last[k.Name]
		drawn := false
		for _, i := range []int{above, side} {
			if !known || i < 0 {
				continue
			}
			c := p.cams[i]
			if px, ok := c.Project(at); ok && c.Inside(px) {
				marks = append(marks, perception.Keypoint{Name: k.Name, Camera: c.Name, X: px[0], Y: px[1], Score: 1})
				drawn = true
			}
		}
		if drawn { // else the model would name what it cannot see
			b.Marks = append(b.Marks, k.Name)
		}
	}
	if len(b.Marks) == 0 {
		return b, nil, errors.New("wire: no point of the plan is seen in the pictures, so that a model has none to move")
	}
	grid := keypoint.Grid{N: tiles, W: top.W, H: top.H}
	f, err := frameOf(obs.Frames, top.Name)
	if err != nil {
		return b, nil, err
	}
	seen, err := grid.Draw(f, marks, boardScale)
	if err != nil {
		return b, nil, err
	}
	middle := [2]float64{(box.Min[0] + box.Max[0]) / 2, (box.Min[1] + box.Max[1]) / 2}
	lines := keypoint.Heights{X: middle[0], Y: middle[1]}
	var words []string
	for i, l := range levels {
		z := box.Min[2] + l*(box.Max[2]-box.Min[2])
		lines.Z = append(lines.Z, z)
		words = append(words, fmt.Sprintf("line %d is %.2f m", i+1, z))
	}
	b.Images = []vlm.Image{{Name: "From above, with the grid and the marks", Frame: seen}}
	says := "The lines of height above the table: " + strings.Join(words, ", ")
	if side >= 0 {
		lines.Camera = p.cams[side]
		f, err := frameOf(obs.Frames, lines.Camera.Name)
		if err != nil {
			return b, nil, err
		}
		seen, err := lines.Draw(f, marks, boardScale)
		if err != nil {
			return b, nil, err
		}
		b.Images = append(b.Images, vlm.Image{Name: says + ". From the side", Frame: seen})
	} else {
		b.Images[0].Name = says + ". " + b.Images[0].Name
	}
	b.Spot = func(tile, line string) (at [3]float64, err error) {
		px, err := grid.Centre(tile)
		if err != nil {
			return at, err
		}
		z, err := lines.Height(line)
		if err != nil {
			return at, err
		}
		return top.Lift(px, z)
	}
	return b, things, nil
}

// things are points on what stands out by its colour in the camera from above, or on what the
// session's network finds there, for a model to choose from, without those that show nothing of the workspace. One view does not tell
// how high they are: they count as lying on its floor.
func (p *pointer) things(ctx context.Context, top keypoint.Camera, obs robot.Observation) ([]kagi.Point, error) {
	f, err := frameOf(obs.Frames, top.Name)
	if err != nil {
		return nil, err
	}
	var find segmenter = keypoint.Segments{}
	if pl := plannerOf(ctx); pl != nil && pl.find != nil {
		find = pl.find
	}
	ms, err := find.Masks(ctx, f)
	if err != nil {
		return nil, err
	}
	box := kagi.Box{Min: p.cfg.Guard.Workspace.Min, Max: p.cfg.Guard.Workspace.Max}
	var out []kagi.Point
	for _, k := range keypoint.Candidates(ms, top.Name, p.cfg.Reward.KAGI.Points) {
		px := [2]float64{k.X, k.Y}
		at, err := top.Lift(px, box.Min[2])
		if errors.Is(err, keypoint.ErrBeside) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if kagi.Within([]kagi.Leg{{To: [][3]float64{at}}}, box) != nil {
			continue
		}
		p.last[k.Name] = at
		out = append(out, kagi.Point{Name: k.Name, Camera: top.Name, Pixel: &px, Height: box.Min[2]})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("wire: nothing stands out in camera %s that could be marked; want reward.kagi.marks plan", top.Name)
	}
	return out, nil
}
