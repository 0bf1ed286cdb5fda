// Package kagi rewards by keypoints and waypoints, after KAGI (Lee et al. 2024,
// "Affordance-Guided Reinforcement Learning via Visual Prompting", arXiv:2407.10341).
//
// A Plan says which points are followed and through which places they are to go: the
// first stage brings the hand to a thing, say, and the next takes the thing along. A
// vision-language model writes it once an episode (Ask), a task file has it, or an
// operator clicks it; without any of them nothing is rewarded. Scorer then rates every
// step by the progress along the plan, and nobody is asked again:
//
//	plan, err := kagi.Load("reach.json")
//	s, err := kagi.New(kagi.Config{Plan: plan})
//	err = s.Score(ctx, rewards, episode.Trajectory())
//
// The paper's dense reward is not public; docs/kagi.md says what is ours.
package kagi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
)

// Plan is what is to go where. Places are in the base frame, m; in a plan in pixels
// they are (x, y, 0) in the images of Camera.
type Plan struct {
	Task   string  `json:"task"`             // in words, for a model
	Camera string  `json:"camera,omitempty"` // of a plan in pixels; empty: base frame
	Points []Point `json:"points"`
	Stages []Stage `json:"stages"`
}

// Point is a keypoint: the hand's, or that of a thing and how it is found in an
// episode's first frame.
type Point struct {
	Name string `json:"name"`
	Hand bool   `json:"hand,omitempty"` // the tool centre point, known from the joints
	// Camera sees it; there it is at Pixel, or in the middle of the largest spot of
	// Colour (red, green, blue, 0 to 255).
	Camera string      `json:"camera,omitempty"`
	Pixel  *[2]float64 `json:"pixel,omitempty"`
	Colour *[3]float64 `json:"colour,omitempty"`
	// All takes the middle of everything of the colour in place of the largest spot.
	All bool `json:"all,omitempty"`
	// Near (base frame, m) is about where it lies at the reset, and tells things of one
	// Colour apart: each is the part of the colour that is nearer to its place than to
	// the others' of the plan, there and from then on.
	Near *[3]float64 `json:"near,omitempty"`
	// Height of it in the base frame, m, which a single camera does not tell.
	Height float64 `json:"height,omitempty"`
	// Held says that a hand may carry it, whose tool centre point is within Held of it
	// then, m; 0: it stays at Height. Upon is its other height, once it was carried and
	// let go of, as on another thing; 0: there is none.
	Held float64 `json:"held,omitempty"`
	Upon float64 `json:"upon,omitempty"`
}

// Stage takes one point along waypoints.
type Stage struct {
	Point     string     `json:"point"`
	Waypoints []Waypoint `json:"waypoints"`
}

// Waypoint is a place, absolute or relative to where a point was at the reset.
type Waypoint struct {
	At [3]float64 `json:"at"`
	// From names the point that At is relative to; empty: the base frame.
	From string `json:"from,omitempty"`
	// Axes has those along which From counts, as "xy"; empty: all. Along the others
	// At is absolute.
	Axes string `json:"axes,omitempty"`
	Grip string `json:"grip,omitempty"` // what the fingers do there: close | open; empty: nothing
}

// Box is a workspace, m.
type Box struct{ Min, Max [3]float64 }

// Bounds of a plan, against files that ask for the machine's memory.
const (
	maxPoints    = 32
	maxStages    = 16
	maxWaypoints = 64
)

// Reach is how far from the base a place of a plan may be along each axis, and a waypoint from what
// it is relative to, m. No Franka reaches further than 0.855 m, so that beyond is a slip of the pen.
const Reach = 2

// widest is how many pixels a camera may have along a side.
const widest = 1 << 14

// Validate reports everything that is wrong with p.
func (p Plan) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("kagi: "+format, args...)) }
	if len(p.Points) == 0 || len(p.Points) > maxPoints {
		bad("points: %d of them, want 1 to %d", len(p.Points), maxPoints)
	}
	known := map[string]bool{}
	for i, k := range p.Points {
		if k.Name == "" || known[k.Name] || k.Name == Success || strings.HasPrefix(k.Name, way) {
			bad("points[%d].name is %q, want a name of its own, other than %q, and that does not begin with %q", i, k.Name, Success, way)
		}
		known[k.Name] = true
		switch {
		case k.Hand && (k.Pixel != nil || k.Colour != nil):
			bad("points[%d]: is the hand's, which needs neither pixel nor colour", i)
		case !k.Hand && (k.Pixel == nil) == (k.Colour == nil):
			bad("points[%d]: want either a pixel or a colour by which it is found", i)
		case !k.Hand && k.Camera == "":
			bad("points[%d].camera is empty; name the one that sees it", i)
		}
		if k.All && k.Colour == nil {
			bad("points[%d].all is set, but it has no colour; all is of what is found by its colour", i)
		}
		if k.Near != nil {
			switch {
			case k.Colour == nil || k.All:
				bad("points[%d].near is set; it tells things of one colour apart, and is of a point with a colour and without all", i)
			case p.Camera != "":
				bad("points[%d].near is a place in the base frame, but the plan is in pixels of camera %s", i, p.Camera)
			case !within(-Reach, Reach, k.Near[:]...):
				bad("points[%d].near is %v, want metres from the base, at most %d along each axis", i, *k.Near, Reach)
			}
		}
		if k.Colour != nil && !within(0, 255, k.Colour[:]...) {
			bad("points[%d].colour is %v, want red, green and blue of 0 to 255", i, *k.Colour)
		}
		if k.Pixel != nil && !within(-widest, widest, k.Pixel[:]...) {
			bad("points[%d].pixel is %v, want a place in the image of camera %s", i, *k.Pixel, k.Camera)
		}
		for _, h := range []struct {
			field string
			m     float64
		}{{"height", k.Height}, {"held", k.Held}, {"upon", k.Upon}} {
			if !within(-Reach, Reach, h.m) {
				bad("points[%d].%s is %g, want metres, at most %d", i, h.field, h.m, Reach)
			}
		}
		if !(k.Held >= 0) || k.Held > 0 && k.Hand {
			bad("points[%d].held is %g, want a distance from the hand, m, of a thing, or 0", i, k.Held)
		}
		if k.Upon != 0 && k.Held == 0 {
			bad("points[%d].upon is %g, but held is 0: what no hand carries is put nowhere; want a held", i, k.Upon)
		}
	}
	if len(p.Stages) == 0 || len(p.Stages) > maxStages {
		bad("stages: %d of them, want 1 to %d", len(p.Stages), maxStages)
	}
	for i, s := range p.Stages {
		if !known[s.Point] {
			bad("stages[%d].point is %q, want one of points", i, s.Point)
		}
		if len(s.Waypoints) == 0 || len(s.Waypoints) > maxWaypoints {
			bad("stages[%d].waypoints: %d of them, want 1 to %d", i, len(s.Waypoints), maxWaypoints)
		}
		for j, w := range s.Waypoints {
			switch {
			case p.Camera == "" && !within(-Reach, Reach, w.At[:]...):
				bad("stages[%d].waypoints[%d].at is %v, want metres, at most %d along each axis", i, j, w.At, Reach)
			case p.Camera != "" && !within(-widest, widest, w.At[:]...):
				bad("stages[%d].waypoints[%d].at is %v, want pixels of camera %s", i, j, w.At, p.Camera)
			}
			if w.From != "" && !known[w.From] {
				bad("stages[%d].waypoints[%d].from is %q, want one of points", i, j, w.From)
			}
			if w.Axes != "" && (w.From == "" || !axes(w.Axes)) {
				bad("stages[%d].waypoints[%d].axes is %q, want letters of xyz, once each, and a from", i, j, w.Axes)
			}
			if w.Grip != "" && w.Grip != "close" && w.Grip != "open" {
				bad("stages[%d].waypoints[%d].grip is %q, want close, open or nothing", i, j, w.Grip)
			}
		}
	}
	return errors.Join(errs...)
}

func axes(s string) bool {
	seen := [3]bool{}
	for _, r := range s {
		if r < 'x' || r > 'z' || seen[r-'x'] {
			return false
		}
		seen[r-'x'] = true
	}
	return s != ""
}

// within says whether all vs are numbers of lo to hi.
func within(lo, hi float64, vs ...float64) bool {
	for _, v := range vs {
		if !(v >= lo && v <= hi) {
			return false
		}
	}
	return true
}

// whole reports arrays of b, a plan, that have too few numbers or too many: they would be filled
// up with zeros, and cut.
func whole(b []byte) error {
	var p struct {
		Points []struct{ Pixel, Colour, Near []*float64 }
		Stages []struct {
			Waypoints []struct {
				At   []*float64
				From string
			}
		}
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return fmt.Errorf("kagi: plan: %w", err)
	}
	var errs []error
	want := func(n int, vs []*float64, format string, args ...any) {
		if vs != nil && (len(vs) != n || slices.Contains(vs, nil)) {
			errs = append(errs, fmt.Errorf("kagi: "+format+" has %d entries, want %d numbers", append(args, len(vs), n)...))
		}
	}
	for i, k := range p.Points {
		want(2, k.Pixel, "points[%d].pixel", i)
		want(3, k.Colour, "points[%d].colour", i)
		want(3, k.Near, "points[%d].near", i)
	}
	for i, s := range p.Stages {
		for j, w := range s.Waypoints {
			want(3, w.At, "stages[%d].waypoints[%d].at", i, j)
			if w.At == nil && w.From == "" { // the base of the arm
				errs = append(errs, fmt.Errorf("kagi: stages[%d].waypoints[%d].at is missing, and there is no from that it could be; want 3 numbers", i, j))
			}
		}
	}
	return errors.Join(errs...)
}

// Decode reads a task file's plan.
func Decode(b []byte) (Plan, error) {
	var p Plan
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return p, fmt.Errorf("kagi: plan: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return p, errors.New("kagi: plan: something follows it; want one JSON object a file")
	}
	return p, errors.Join(whole(b), p.Validate())
}

// Encode is the task file of p, which Decode reads.
func Encode(p Plan) ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(p, "", "  ")
	return append(b, '\n'), err
}

// Load reads a task file.
func Load(path string) (Plan, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Plan{}, fmt.Errorf("kagi: plan: %w", err)
	}
	p, err := Decode(b)
	if err != nil {
		return p, fmt.Errorf("kagi: %s: %w", path, err)
	}
	return p, nil
}

// Leg is a stage in numbers: all its places are absolute.
type Leg struct {
	Point string
	To    [][3]float64
	Grip  []string // (len(To),)
}

// Fix makes p's waypoints absolute, given where its points are at the reset; a point
// that is not there is an *Unseen where a waypoint needs it.
func (p Plan) Fix(at map[string][3]float64) ([]Leg, error) {
	legs := make([]Leg, len(p.Stages))
	for i, s := range p.Stages {
		legs[i].Point = s.Point
		for j, w := range s.Waypoints {
			to := w.At
			if w.From != "" {
				from, ok := at[w.From]
				if !ok {
					return nil, &Unseen{Point: w.From, Remedy: p.lookFor(w.From), stage: i, waypoint: j}
				}
				for a := range to {
					if w.Axes == "" || bytes.IndexByte([]byte(w.Axes), "xyz"[a]) >= 0 {
						to[a] += from[a]
					}
				}
			}
			legs[i].To = append(legs[i].To, to)
			legs[i].Grip = append(legs[i].Grip, w.Grip)
		}
	}
	return legs, nil
}

// Unseen is a point on which waypoints hang, and which is not seen at a reset.
type Unseen struct {
	Point           string
	Remedy          string // what a person may do
	stage, waypoint int
}

func (u *Unseen) Error() string {
	return fmt.Sprintf("kagi: stages[%d].waypoints[%d] is relative to %q, which is not seen at the reset: %s", u.stage, u.waypoint, u.Point, u.Remedy)
}

// Ask is what a person at the arm is asked for.
func (u *Unseen) Ask() string {
	return fmt.Sprintf("%s is not seen at the reset: %s", u.Point, u.Remedy)
}

// lookFor says what to do about a point that is not seen.
func (p Plan) lookFor(name string) string {
	for i, k := range p.Points {
		switch {
		case k.Name != name:
		case k.Colour != nil:
			return fmt.Sprintf("show it to camera %s, which looks for red, green and blue of %v, or correct points[%d] of the plan", k.Camera, *k.Colour, i)
		case k.Pixel != nil:
			return fmt.Sprintf("put it where camera %s looks for it, at pixel %v, or correct points[%d] of the plan", k.Camera, *k.Pixel, i)
		}
	}
	return "correct the plan"
}

// Within says which waypoint lies outside the workspace, if any.
func Within(legs []Leg, box Box) error {
	for i, l := range legs {
		for j, p := range l.To {
			for a, v := range p {
				if !(v >= box.Min[a] && v <= box.Max[a]) {
					return fmt.Errorf("kagi: stage %d, waypoint %d: %c is %.3f m, outside the workspace of %.3f to %.3f m", i+1, j+1, "xyz"[a], v, box.Min[a], box.Max[a])
				}
			}
		}
	}
	return nil
}

// Monotone says which waypoint leads away from its stage's last one, seen from above,
// by more than slack, m. Lifting something is no way back. A point begins a leg where its last one
// ended; the hand, of whose points these are, anywhere once it moved another.
func Monotone(legs []Leg, start map[string][3]float64, hands []string, slack float64) error {
	start = maps.Clone(start)
	for i, l := range legs {
		end := l.To[len(l.To)-1]
		from := func(p [3]float64) float64 { return math.Hypot(p[0]-end[0], p[1]-end[1]) }
		last := math.Inf(1)
		if p, ok := start[l.Point]; ok {
			last = from(p)
		}
		for j, p := range l.To {
			d := from(p)
			if d > last+slack {
				return fmt.Errorf("kagi: stage %d, waypoint %d leads away from the stage's end: %.3f m after %.3f m", i+1, j+1, d, last)
			}
			last = d
		}
		if start != nil {
			for _, h := range hands {
				delete(start, h)
			}
			start[l.Point] = end
		}
	}
	return nil
}
