package keypoint

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"strconv"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
)

// Grid divides a top-down view of W by H pixels into N by N tiles: columns a, b, ... from
// the left, rows 1, 2, ... from the bottom (MOKA: N is 5).
type Grid struct{ N, W, H int }

// Validate reports what is wrong with g.
func (g Grid) Validate() error {
	if g.N < 1 || g.N > 26 || g.W < g.N || g.H < g.N {
		return fmt.Errorf("keypoint: grid of %d tiles a side over %dx%d pixels, want 1 to 26 tiles of at least a pixel", g.N, g.W, g.H)
	}
	return nil
}

// Tile is the label of the tile of a pixel; pixels outside belong to the nearest.
func (g Grid) Tile(px [2]float64) string {
	col := min(max(int((px[0]+0.5)*float64(g.N)/float64(g.W)), 0), g.N-1)
	row := min(max(int((px[1]+0.5)*float64(g.N)/float64(g.H)), 0), g.N-1)
	return g.label(col, row)
}

// label is that of a column from the left and a row from the top.
func (g Grid) label(col, row int) string {
	return string(rune('a'+col)) + strconv.Itoa(g.N-row)
}

// Centre is the middle of a tile, in pixels.
func (g Grid) Centre(label string) ([2]float64, error) {
	if len(label) >= 2 {
		col := int(label[0]) - 'a'
		row, err := strconv.Atoi(label[1:])
		if err == nil && strconv.Itoa(row) == label[1:] && col >= 0 && col < g.N && row >= 1 && row <= g.N {
			return [2]float64{(float64(col)+0.5)*float64(g.W)/float64(g.N) - 0.5, (float64(g.N-row)+0.5)*float64(g.H)/float64(g.N) - 0.5}, nil
		}
	}
	return [2]float64{}, fmt.Errorf("keypoint: no tile is called %q; want a letter of a to %c and a number of 1 to %d", label, 'a'+g.N-1, g.N)
}

// Colours of what is drawn for a model: things by their letters, as MOKA has red for the
// first and blue for the second.
var (
	ink   = color.RGBA{R: 255, G: 255, B: 255, A: 255}
	paper = color.RGBA{R: 90, G: 90, B: 90, A: 255}
)

func inkOf(name string) color.RGBA {
	if name != "" {
		switch ((int(name[0])-'P')%3 + 3) % 3 {
		case 0:
			return color.RGBA{R: 230, G: 30, B: 30, A: 255}
		case 1:
			return color.RGBA{R: 40, G: 90, B: 255, A: 255}
		}
	}
	return color.RGBA{R: 20, G: 150, B: 60, A: 255}
}

// Draw is f (W,H), scale times as large, under the grid and its labels, with the marks of
// its camera and their names.
func (g Grid) Draw(f robot.Frame, marks []perception.Keypoint, scale int) (robot.Frame, error) {
	if err := g.Validate(); err != nil {
		return robot.Frame{}, err
	}
	if f.W != g.W || f.H != g.H {
		return robot.Frame{}, fmt.Errorf("keypoint: grid over %dx%d pixels, and the frame of camera %q has %dx%d", g.W, g.H, f.Camera, f.W, f.H)
	}
	b, err := newBoard(f, scale)
	if err != nil {
		return robot.Frame{}, err
	}
	for i := 1; i < g.N; i++ {
		x, y := i*b.f.W/g.N, i*b.f.H/g.N
		b.lines = append(b.lines, vision.Line{A: image.Pt(x, 0), B: image.Pt(x, b.f.H-1), Colour: paper})
		b.lines = append(b.lines, vision.Line{A: image.Pt(0, y), B: image.Pt(b.f.W-1, y), Colour: paper})
	}
	for row := range g.N {
		for col := range g.N {
			label := g.label(col, row)
			at, err := g.Centre(label)
			if err != nil {
				return robot.Frame{}, err
			}
			b.texts = append(b.texts, vision.Text{At: b.at(at), S: label, Colour: ink, Height: min(14, max(7, b.f.H/g.N/5))})
		}
	}
	return b.draw(marks)
}

// Heights are lines of equal height over a side view: that of Z[i] is drawn where the
// camera sees that height above the place (X,Y), base frame, m, and is called i+1.
type Heights struct {
	Camera Camera
	X, Y   float64
	Z      []float64
}

// Height is what a line's label means, m.
func (h Heights) Height(label string) (float64, error) {
	if i, err := strconv.Atoi(label); err == nil && i >= 1 && i <= len(h.Z) {
		return h.Z[i-1], nil
	}
	return 0, fmt.Errorf("keypoint: no height is called %q; want a number of 1 to %d", label, len(h.Z))
}

// Draw is f, scale times as large, under the lines that it shows, with the marks of its
// camera and their names.
func (h Heights) Draw(f robot.Frame, marks []perception.Keypoint, scale int) (robot.Frame, error) {
	if len(h.Z) == 0 {
		return robot.Frame{}, fmt.Errorf("keypoint: no heights to draw")
	}
	if f.W != h.Camera.W || f.H != h.Camera.H {
		return robot.Frame{}, fmt.Errorf("keypoint: heights are of camera %q with %dx%d pixels, and the frame of camera %q has %dx%d", h.Camera.Name, h.Camera.W, h.Camera.H, f.Camera, f.W, f.H)
	}
	b, err := newBoard(f, scale)
	if err != nil {
		return robot.Frame{}, err
	}
	shown := 0
	for i, z := range h.Z {
		px, ok := h.Camera.Project([3]float64{h.X, h.Y, z})
		if !ok || !(px[1] > -0.5 && px[1] < float64(f.H)-0.5) {
			continue
		}
		y := b.at(px).Y
		b.lines = append(b.lines, vision.Line{A: image.Pt(0, y), B: image.Pt(b.f.W-1, y), Colour: ink})
		s := strconv.Itoa(i + 1)
		b.texts = append(b.texts, vision.Text{At: image.Pt(12, y), S: s, Colour: ink, Height: 12}, vision.Text{At: image.Pt(b.f.W-13, y), S: s, Colour: ink, Height: 12})
		shown++
	}
	if shown == 0 {
		return robot.Frame{}, fmt.Errorf("keypoint: camera %q sees none of the heights above (%.2f, %.2f) m", h.Camera.Name, h.X, h.Y)
	}
	return b.draw(marks)
}

// board is a picture in the making.
type board struct {
	f     robot.Frame
	scale float64
	lines []vision.Line
	texts []vision.Text
	discs []vision.Disc
}

func newBoard(f robot.Frame, scale int) (*board, error) {
	if err := vision.Check(f); err != nil {
		return nil, err
	}
	if scale < 1 || scale > 16 {
		return nil, fmt.Errorf("keypoint: drawing %d times as large, want 1 to 16", scale)
	}
	big, err := vision.Resize(f, scale*f.W, scale*f.H)
	return &board{f: big, scale: float64(scale)}, err
}

// at is a pixel of the frame in the picture.
func (b *board) at(px [2]float64) image.Point {
	return image.Pt(int(math.Floor((px[0]+0.5)*b.scale)), int(math.Floor((px[1]+0.5)*b.scale)))
}

func (b *board) draw(marks []perception.Keypoint) (robot.Frame, error) {
	for _, m := range marks {
		if m.Camera != b.f.Camera {
			continue
		}
		at := b.at([2]float64{m.X, m.Y})
		b.discs = append(b.discs, vision.Disc{At: at, R: 5, Colour: ink}, vision.Disc{At: at, R: 4, Colour: inkOf(m.Name)})
		// Beside the mark, on the side where there is room.
		to := at.Add(image.Pt(16, -8))
		if to.X > b.f.W-14 {
			to.X = at.X - 16
		}
		to.Y = max(to.Y, 8)
		b.texts = append(b.texts, vision.Text{At: to, S: m.Name, Colour: inkOf(m.Name), Height: 11})
	}
	return vision.Paint(b.f, b.lines, b.discs, b.texts)
}
