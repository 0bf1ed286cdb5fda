package tabletop

import (
	"bytes"
	"embed"
	"fmt"
	"math"
	"text/template"
)

//go:embed arm.xml orange.xml scene.xml
var models embed.FS

// view is a fixed camera: where it is, what it looks at, and how wide.
type view struct {
	name     string
	pos, at  [3]float64 // m
	fovy     float64    // degrees, as MuJoCo has it
	attached bool       // to the hand: described in arm.xml
}

// viewOf lists the cameras. The front one is cropped tightly to where things
// happen, so that a 5 cm box has 9 pixels in an image of 96.
func viewOf(name string) (view, bool) {
	switch name {
	case "front":
		return view{name: name, pos: [3]float64{1.22, 0, 0.80}, at: [3]float64{0.515, 0, 0.03}, fovy: 27}, true
	case "wrist":
		return view{name: name, attached: true}, true
	case "scene":
		return view{name: name, pos: [3]float64{1.32, -0.92, 0.72}, at: [3]float64{0.36, -0.01, 0.255}, fovy: 36.5}, true
	}
	return view{}, false
}

// scene is what scene.xml is filled with.
type scene struct {
	Timestep      float64
	Orange        bool // the look
	Width, Height int
	Planks        []plank
	Cameras       []cameraXML
	Goal          *goalXML
	Objects       []object
	Motors        []motor
	Size          buffers
	Key, Fill     string // diffuse colours of the lights
	Fixed         string
	Equality      string
	Tool          string
	Markers       []string
}

type plank struct {
	Name string
	Y    float64
	RGBA string
}

type cameraXML struct {
	Name, Pos, Axes string
	Fovy            float64
}

type goalXML struct{ Line, X, HalfX float64 }

type motor struct {
	Name string
	Max  float64 // Nm
}

// stripDepth is how far the painted strip reaches beyond the line, m.
const stripDepth = 0.16

// compose returns the MJCF of c's scene.
func compose(c Config, l *layout, torque [7]float64) ([]byte, error) {
	s := scene{Timestep: c.Timestep, Orange: c.Look == Orange, Width: 1, Height: 1, Objects: l.objects, Size: l.size, Fixed: l.fixed, Equality: l.equality, Tool: l.tool}
	s.Key, s.Fill = c.Disturb.light([3]float64{0.62, 0.60, 0.56}), c.Disturb.light([3]float64{0.16, 0.17, 0.20})
	if s.Size == (buffers{}) {
		s.Size = buffers{120, 500, 200000} // three times the peak of Clutter, and load in milliseconds
	}
	for _, cam := range c.Cameras {
		s.Width, s.Height = max(s.Width, cam.W), max(s.Height, cam.H)
	}
	// Nine planks of oak, each a little different.
	for i, k := range []float64{1, 0.93, 1.04, 0.95, 1.01, 0.90, 1.02, 0.95, 1.0} {
		s.Planks = append(s.Planks, plank{
			Name: fmt.Sprintf("oak%d", i), Y: -0.536 + 0.134*float64(i),
			RGBA: fmt.Sprintf("%.3f %.3f %.3f 1", 0.80*k, 0.62*k, 0.44*k),
		})
	}
	for _, name := range []string{"front", "scene"} {
		v, _ := viewOf(name)
		c.Disturb.knock(&v, c.Seed)
		s.Cameras = append(s.Cameras, cameraXML{name, triple(v.pos), axes(v.pos, v.at), v.fovy})
	}
	if l.goal {
		s.Goal = &goalXML{Line: Line, X: Line + stripDepth/2, HalfX: stripDepth / 2}
	}
	for _, m := range c.Markers {
		s.Markers = append(s.Markers, m.xml())
	}
	for i, m := range torque {
		s.Motors = append(s.Motors, motor{jointName(i), m})
	}
	t, err := template.ParseFS(models, "*.xml")
	if err != nil {
		return nil, fmt.Errorf("tabletop: parse models: %w", err)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "scene.xml", s); err != nil {
		return nil, fmt.Errorf("tabletop: compose model: %w", err)
	}
	return b.Bytes(), nil
}

func jointName(i int) string { return fmt.Sprintf("joint%d", i+1) }

func triple(v [3]float64) string { return fmt.Sprintf("%.6f %.6f %.6f", v[0], v[1], v[2]) }

// axes are the right and up directions of an upright camera at pos that looks
// at a point.
func axes(pos, at [3]float64) string {
	right, up, _ := frame(pos, at)
	return triple(right) + " " + triple(up)
}

// frame is the axes of that camera.
func frame(pos, at [3]float64) (right, up, ahead [3]float64) {
	ahead = unit([3]float64{at[0] - pos[0], at[1] - pos[1], at[2] - pos[2]})
	right = unit(cross(ahead, [3]float64{0, 0, 1}))
	return right, cross(right, ahead), ahead
}

func cross(a, b [3]float64) [3]float64 {
	return [3]float64{a[1]*b[2] - a[2]*b[1], a[2]*b[0] - a[0]*b[2], a[0]*b[1] - a[1]*b[0]}
}

func unit(v [3]float64) [3]float64 {
	n := math.Sqrt(v[0]*v[0] + v[1]*v[1] + v[2]*v[2])
	return [3]float64{v[0] / n, v[1] / n, v[2] / n}
}
