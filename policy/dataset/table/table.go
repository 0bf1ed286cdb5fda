// Package table is a demonstration as its file holds it: named columns of
// numbers and named cameras, a row for every step. The readers of the formats
// make tables; package dataset turns them into episodes, by a map that says which
// column means what.
//
//	src, err := lerobot.Open("data/pick")
//	t, err := src.Read(ctx, 0, table.Want{Columns: []string{"action"}})
//	act := t.Row("action", 3) // what was commanded at step 3
package table

import (
	"context"
	"fmt"
	"strings"

	"github.com/rapport-rl/rapport/robot"
)

// Column is a column of numbers.
type Column struct {
	Name  string   `json:"name"`
	Kind  string   `json:"kind"`  // as float32
	Shape []int    `json:"shape"` // of a row; none for a single number
	Names []string `json:"names"` // of the numbers of a row, nil if the file has none
}

// Width is how many numbers a row has.
func (c Column) Width() int {
	n := 1
	for _, d := range c.Shape {
		n *= d
	}
	return n
}

func (c Column) String() string {
	s := fmt.Sprintf("%s %s%v", c.Name, c.Kind, c.Shape)
	if len(c.Names) > 0 {
		s += " (" + strings.Join(c.Names, ", ") + ")"
	}
	return s
}

// Camera is a column of images.
type Camera struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // "video", "image", "uint8 HWC", ...
	W    int    `json:"width"`
	H    int    `json:"height"`
}

func (c Camera) String() string { return fmt.Sprintf("%s %s %dx%d", c.Name, c.Kind, c.W, c.H) }

// Control is what the numbers of an action are, where the file says so.
type Control struct {
	Kind     string  `json:"kind"` // as OSC_POSE
	Absolute bool    `json:"absolute"`
	Scale    float64 `json:"scale"`      // m of a 1, 0 if unknown
	Turn     float64 `json:"turn_scale"` // rad of a 1, 0 if unknown
}

// Info is what a dataset says of itself.
type Info struct {
	Path     string   `json:"path"`
	Format   string   `json:"format"`  // "LeRobot", "robomimic", "session"
	Version  string   `json:"version"` // of the format, "" if it has none
	Robot    string   `json:"robot"`   // its type, "" if the file does not say
	FPS      float64  `json:"fps"`     // 0 if the file does not say
	Episodes int      `json:"episodes"`
	Steps    int      `json:"steps"`
	Columns  []Column `json:"columns"`
	Cameras  []Camera `json:"cameras"`
	Filters  []string `json:"filters"` // named subsets of the episodes
	Notes    []string `json:"notes"`   // what is passed over
	Control  Control  `json:"control"`
}

// String is what a person wants to know, in lines.
func (i Info) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("path", "%s", i.Path)
	line("format", "%s", strings.TrimSpace(i.Format+" "+i.Version))
	if i.Robot != "" {
		line("robot", "%s", i.Robot)
	}
	if i.FPS > 0 {
		line("rate", "%g Hz", i.FPS)
	}
	line("episodes", "%d of %d steps in all", i.Episodes, i.Steps)
	for _, c := range i.Cameras {
		line("camera", "%v", c)
	}
	for _, c := range i.Columns {
		line("column", "%v", c)
	}
	if len(i.Filters) > 0 {
		line("filters", "%s", strings.Join(i.Filters, ", "))
	}
	for _, n := range i.Notes {
		line("note", "%s", n)
	}
	return b.String()
}

// Column returns the column of a name.
func (i Info) Column(name string) (Column, bool) {
	for _, c := range i.Columns {
		if c.Name == name {
			return c, true
		}
	}
	return Column{}, false
}

// Want says what of an episode is read.
type Want struct {
	Columns []string
	Cameras []string
	// Frame makes an image smaller as soon as it is decoded, since an episode of
	// full images may not fit in memory; nil leaves them as they are.
	Frame func(robot.Frame) (robot.Frame, error)
}

// Shrink applies w.Frame.
func (w Want) Shrink(camera string, f robot.Frame) (robot.Frame, error) {
	f.Camera = camera
	if w.Frame == nil {
		return f, nil
	}
	return w.Frame(f)
}

// Table is an episode of T rows: row t holds the observation at step t and the
// action that follows it.
type Table struct {
	Name    string // of the episode in its dataset
	File    string // where its numbers come from
	Task    string // what was asked for, "" if the file does not say
	Len     int    // T
	Columns map[string][]float64
	Frames  [][]robot.Frame // (T,) rows, cameras as in Want; nil if none were wanted
	// What was observed after the last action, for files that hold it.
	Last       map[string][]float64
	LastFrames []robot.Frame
}

// Row is the numbers of a column at step t.
func (t *Table) Row(name string, step int) []float64 {
	xs := t.Columns[name]
	n := len(xs) / t.Len
	return xs[n*step : n*(step+1)]
}

// Source is an open dataset. It is used by one goroutine.
type Source interface {
	Info() Info
	// Read returns episode i of Info().Episodes. Reading in order is quickest.
	Read(ctx context.Context, i int, w Want) (Table, error)
	Close() error
}
