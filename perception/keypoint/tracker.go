package keypoint

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
)

// Config sets a Tracker up. The zero value tracks images of any size.
type Config struct {
	// Patch is the odd side of the square around a point by which it is known again,
	// pixels; zero is a tenth of the image's height, and at least 9.
	Patch int
	Flow  vision.FlowConfig // of Lucas and Kanade
	// Back is how far a point may end from where it began when it is followed there and
	// back, pixels (Kalal et al. 2010); zero is 1.5.
	Back float64
	// Keep is the correlation with its looks below which a point is lost, and Find that
	// from which a lost one is found; zeros are 0.4 and 0.7.
	Keep, Find float64
	// Stray is how far the search for a lost point grows with each frame, pixels; zero is
	// a fiftieth of the image's height, and at least 2.
	Stray float64
}

// Validate reports what is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.Patch != 0 && (c.Patch < 5 || c.Patch > 201 || c.Patch%2 == 0) {
		errs = append(errs, fmt.Errorf("keypoint: patch is %d pixels, want an odd number from 5 to 201, or 0", c.Patch))
	}
	if !(c.Back >= 0) || !(c.Stray >= 0) {
		errs = append(errs, fmt.Errorf("keypoint: back is %g and stray %g pixels, want 0 or more", c.Back, c.Stray))
	}
	if !(c.Keep >= 0 && c.Keep < 1) || !(c.Find >= 0 && c.Find < 1) || c.Find > 0 && c.Find < c.Keep {
		errs = append(errs, fmt.Errorf("keypoint: keep is %g and find %g, want correlations below 1, find not below keep", c.Keep, c.Find))
	}
	return errors.Join(append(errs, c.Flow.Validate())...)
}

func (c Config) withDefaults() Config {
	if c.Back == 0 {
		c.Back = 1.5
	}
	if c.Keep == 0 {
		c.Keep = 0.4
	}
	if c.Find == 0 {
		c.Find = max(c.Keep, 0.7)
	}
	return c
}

// ErrBegin says that a Tracker does not know its points yet.
var ErrBegin = errors.New("keypoint: track before begin")

// Tracker follows points from frame to frame, in several cameras. A point goes with the
// optical flow and comes back by it (pyramidal Lucas and Kanade, forward and backward),
// and must look as it did: as at first, which bounds its drift, since it is drawn to
// where it looks most like that, or as of late, which lets things turn. One that fails
// either test is lost: it keeps its last place with a Score of 0 and is looked for, ever
// farther around, by its first looks and its colour.
//
// It is used by one goroutine. Close it.
type Tracker struct {
	// Apart names points that are each a thing of its own, whatever their names; Begin
	// reads it.
	Apart []string

	cfg    Config
	eyes   []*sight
	points []point
	keys   []perception.Keypoint // as of the last frames
}

// sight is one camera's side of a Tracker.
type sight struct {
	camera string
	flow   *vision.Flow
	side   int     // of patches, pixels
	core   int     // of their middles, pixels
	stray  float64 // pixels a frame
	mine   []int   // indices of its points
	skins  []int   // of its groups, each once
	// scratch of Track
	live     []int
	from, to [][2]float32
	back     []float32
	good     []int
}

// point is what a Tracker knows of one.
type point struct {
	at, speed     [2]float32 // pixels, pixels a frame
	start         [2]float32 // pixels, at Begin
	side          int        // of its patches, pixels
	first, lately []byte     // looks (side,side,3)
	scratch       []byte     // likewise
	core          []byte     // the middle of first (core,core,3), with little of what is behind
	tint          [3]float64 // share of blue, green, red in the middle of first
	lost          int        // frames since it was seen
	guess         [2]float32 // where to look for it while lost
	group         int        // of points that move together
	skin          int        // colours of its group, to the camera's flow
}

// NewTracker returns a Tracker without points.
func NewTracker(c Config) (*Tracker, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Tracker{cfg: c.withDefaults()}, nil
}

// Begin forgets what was tracked and takes points as they are in frames, by name, camera
// and place. Points that share a camera and a name up to its digits (P1, P2) belong to
// one thing, whose points help each other, but for those of Apart.
func (t *Tracker) Begin(frames []robot.Frame, points []perception.Keypoint) error {
	if err := t.Close(); err != nil {
		return err
	}
	groups := map[[3]string]int{}
	for i, p := range points {
		eye, err := t.eye(frames, p.Camera)
		if err != nil {
			return errors.Join(fmt.Errorf("keypoint: begin: point %q: %w", p.Name, err), t.Close())
		}
		w, h := eye.flow.Size()
		if !(p.X >= -0.5 && p.Y >= -0.5 && p.X < float64(w)-0.5 && p.Y < float64(h)-0.5) {
			return errors.Join(fmt.Errorf("keypoint: begin: point %q at (%g, %g) is outside the %dx%d pixels of camera %q", p.Name, p.X, p.Y, w, h, p.Camera), t.Close())
		}
		eye.mine = append(eye.mine, i)
		key := [3]string{p.Camera, stem(p.Name)}
		if slices.Contains(t.Apart, p.Name) {
			key[2] = p.Name
		}
		if _, ok := groups[key]; !ok {
			groups[key] = len(groups)
		}
		q := point{at: [2]float32{float32(p.X), float32(p.Y)}, core: make([]byte, 3*eye.core*eye.core), group: groups[key]}
		q.start = q.at
		t.points = append(t.points, q)
		p.Score = 1
		t.keys = append(t.keys, p)
	}
	for _, e := range t.eyes {
		if err := t.study(e); err != nil {
			return errors.Join(err, t.Close())
		}
		n := len(e.mine)
		e.good = make([]int, 0, n)
		e.live, e.from, e.to, e.back = make([]int, 0, n), make([][2]float32, n), make([][2]float32, n), make([]float32, n)
	}
	return nil
}

// study learns how the points of e look.
func (t *Tracker) study(e *sight) error {
	skins := map[int]int{} // by group
	for _, i := range e.mine {
		p := &t.points[i]
		if _, ok := skins[p.group]; !ok {
			var at [][2]float32
			for _, j := range e.mine {
				if q := &t.points[j]; q.group == p.group {
					at = append(at, q.at)
				}
			}
			skin, err := e.flow.Skin(at, float32(e.core)/3)
			if err != nil {
				return err
			}
			skins[p.group] = skin
			if !slices.Contains(e.skins, skin) {
				e.skins = append(e.skins, skin)
			}
		}
		p.skin = skins[p.group]
		// A patch inside an even thing shows nothing: it grows until the edge is in it.
		for p.side = e.side; ; p.side += 4 {
			n := 3 * p.side * p.side
			p.first = make([]byte, n)
			if err := e.flow.Cut(p.skin, p.at, p.side, p.first); err != nil {
				return err
			}
			if w, h := e.flow.Size(); p.skin < 0 || bounded(p.first) || p.side+4 > min(w, h)/3 {
				break
			}
		}
		p.lately, p.scratch = slices.Clone(p.first), make([]byte, len(p.first))
		if err := e.flow.Cut(p.skin, p.at, e.core, p.core); err != nil {
			return err
		}
		p.tint = tint(p.first, p.side)
	}
	return nil
}

// stem is a name without its number.
func stem(name string) string {
	n := len(name)
	for n > 0 && name[n-1] >= '0' && name[n-1] <= '9' {
		n--
	}
	return name[:n]
}

// eye returns the sight of a camera, which it opens on its frame if it is new.
func (t *Tracker) eye(frames []robot.Frame, camera string) (*sight, error) {
	for _, e := range t.eyes {
		if e.camera == camera {
			return e, nil
		}
	}
	f, err := frameOf(frames, camera)
	if err != nil {
		return nil, err
	}
	flow, err := vision.NewFlow(t.cfg.Flow)
	if err != nil {
		return nil, err
	}
	e := &sight{camera: camera, flow: flow, side: t.cfg.Patch, stray: t.cfg.Stray}
	t.eyes = append(t.eyes, e)
	if err := flow.Next(f); err != nil {
		return nil, err
	}
	if e.side == 0 {
		e.side = max(9, f.H/10|1)
	}
	e.core = max(5, e.side/2|1)
	if e.stray == 0 {
		e.stray = max(2, float64(f.H)/50)
	}
	if e.side > min(f.W, f.H) {
		return nil, fmt.Errorf("keypoint: patches of %d pixels are larger than the %dx%d of camera %q", e.side, f.W, f.H, camera)
	}
	return e, nil
}

func frameOf(frames []robot.Frame, camera string) (robot.Frame, error) {
	var names []string
	for _, f := range frames {
		if f.Camera == camera {
			return f, nil
		}
		names = append(names, f.Camera)
	}
	return robot.Frame{}, fmt.Errorf("keypoint: no frame of camera %q; there are %q", camera, names)
}

// Track follows the points into frames, the next of their cameras, and returns them in
// the order of Begin. A Score of 0 says that a point is lost and stands where it was last
// seen.
func (t *Tracker) Track(frames []robot.Frame) ([]perception.Keypoint, error) {
	if len(t.eyes) == 0 {
		return nil, ErrBegin
	}
	for _, e := range t.eyes {
		f, err := frameOf(frames, e.camera)
		if err != nil {
			return nil, err
		}
		if err := e.flow.Next(f); err != nil {
			return nil, err
		}
		if err := t.follow(e); err != nil {
			return nil, err
		}
	}
	out := make([]perception.Keypoint, len(t.keys))
	copy(out, t.keys)
	return out, nil
}

// Lost is for how many frames the i-th point has been lost, 0 if it is seen.
func (t *Tracker) Lost(i int) int { return t.points[i].lost }

// Close frees the images; Begin may follow.
func (t *Tracker) Close() error {
	var errs []error
	for _, e := range t.eyes {
		errs = append(errs, e.flow.Close())
	}
	t.eyes, t.points, t.keys = nil, nil, nil
	return errors.Join(errs...)
}

// follow moves the points of e into its newest image.
func (t *Tracker) follow(e *sight) error {
	for _, skin := range e.skins {
		e.live = e.live[:0]
		for _, i := range e.mine {
			p := &t.points[i]
			if p.lost > 0 || p.skin != skin {
				continue
			}
			k := len(e.live)
			e.from[k] = p.at
			e.to[k] = [2]float32{p.at[0] + p.speed[0], p.at[1] + p.speed[1]}
			e.live = append(e.live, i)
		}
		n := len(e.live)
		if err := e.flow.Follow(skin, e.from[:n], e.to[:n], e.back[:n]); err != nil {
			return err
		}
		for k, i := range e.live {
			if err := t.judge(e, i, e.from[k], e.to[k], float64(e.back[k])); err != nil {
				return err
			}
		}
	}
	if err := t.agree(e); err != nil {
		return err
	}
	for _, i := range e.mine {
		if p := &t.points[i]; p.lost > 0 {
			if err := t.seek(e, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// looks is how much the place at looks like p: as at first, with its ground or without,
// or as of late. near is where it looks most as at first, within two pixels.
func (p *point) looks(e *sight, at [2]float32) (score float64, near vision.Found, err error) {
	first, err := e.flow.Match(p.skin, p.first, p.side, at, 2)
	if err != nil {
		return 0, near, err
	}
	core, err := e.flow.Match(p.skin, p.core, e.core, at, 2)
	if err != nil {
		return 0, near, err
	}
	lately, err := e.flow.Match(p.skin, p.lately, p.side, at, 1)
	if err != nil {
		return 0, near, err
	}
	near = first
	if core.Score > first.Score {
		near = core
	}
	if p.skin >= 0 {
		// The rest of the image is black to it: what is left of its colours must be
		// enough, and like the first looks, since a dark patch looks like any other.
		if err := e.flow.Cut(p.skin, near.At, p.side, p.scratch); err != nil {
			return 0, near, err
		}
		if sum(p.scratch) < 0.3*sum(p.first) {
			return 0, near, nil
		}
		return max(float64(first.Score), 0.97*float64(core.Score)), near, nil
	}
	return max(float64(first.Score), 0.97*float64(core.Score), 0.95*float64(lately.Score)), near, nil
}

// judge decides whether point i went from from to to.
func (t *Tracker) judge(e *sight, i int, from, to [2]float32, back float64) error {
	p := &t.points[i]
	if back < 0 || back > t.cfg.Back || !e.inside(to) {
		p.lose()
		return nil
	}
	score, near, err := p.looks(e, to)
	if err != nil {
		return err
	}
	if score < t.cfg.Keep || float64(near.Score) < t.cfg.Keep/2 {
		p.lose()
		return nil
	}
	p.speed = [2]float32{to[0] - from[0], to[1] - from[1]}
	return t.settle(e, i, to, score*(1-0.5*back/t.cfg.Back), near)
}

// settle puts point i at at, or a little nearer to where it looks most as at first.
func (t *Tracker) settle(e *sight, i int, at [2]float32, score float64, near vision.Found) error {
	p := &t.points[i]
	// Where a thing looks the same all along an edge, it is not drawn along.
	if float64(near.Score) >= t.cfg.Find && near.Score-near.Here > 0.02 {
		at[0] += (near.At[0] - at[0]) / 3
		at[1] += (near.At[1] - at[1]) / 3
	}
	p.at, p.lost = at, 0
	if score >= t.cfg.Find {
		if err := e.flow.Cut(p.skin, at, p.side, p.lately); err != nil {
			return err
		}
	}
	t.tell(i, score)
	return nil
}

func (p *point) lose() {
	p.lost, p.guess, p.speed = 1, p.at, [2]float32{}
}

// tell writes what becomes known of point i.
func (t *Tracker) tell(i int, score float64) {
	p, k := &t.points[i], &t.keys[i]
	k.X, k.Y, k.Score = float64(p.at[0]), float64(p.at[1]), min(1, max(0.01, score))
}

func (e *sight) inside(at [2]float32) bool {
	w, h := e.flow.Size()
	return at[0] >= -0.5 && at[1] >= -0.5 && at[0] < float32(w)-0.5 && at[1] < float32(h)-0.5
}

// seek looks for the lost point i.
func (t *Tracker) seek(e *sight, i int) error {
	p := &t.points[i]
	t.keys[i].Score = 0
	w, h := e.flow.Size()
	reach := min(float64(p.side)/2+e.stray*float64(p.lost), float64(max(w, h)))
	p.lost++
	f, err := e.flow.Match(p.skin, p.first, p.side, p.guess, int(reach))
	if err != nil {
		return err
	}
	// Two places that look the same are none.
	if float64(f.Score) < t.cfg.Find || f.Score-f.Rival < 0.05 {
		if f, err = e.flow.Match(p.skin, p.core, e.core, p.guess, int(reach)); err != nil {
			return err
		}
		if float64(f.Score) < (1+t.cfg.Find)/2 || f.Score-f.Rival < 0.05 {
			return nil
		}
	}
	if !e.inside(f.At) {
		return nil
	}
	if err := e.flow.Cut(p.skin, f.At, p.side, p.lately); err != nil {
		return err
	}
	if !alike(tint(p.lately, p.side), p.tint) {
		return nil
	}
	p.at, p.lost, p.speed = f.At, 0, [2]float32{}
	t.tell(i, float64(f.Score))
	return nil
}

// tint is the share of each channel in the middle of a patch, which dimmer light leaves.
func tint(patch []byte, side int) (c [3]float64) {
	m := side / 2
	r := max(1, side/6)
	all := 0.0
	for y := m - r; y <= m+r; y++ {
		for x := m - r; x <= m+r; x++ {
			for k := range c {
				v := float64(patch[3*(y*side+x)+k]) + 1
				c[k] += v
				all += v
			}
		}
	}
	for k := range c {
		c[k] /= all
	}
	return c
}

// bounded says whether at least an eighth of a patch is not the thing's.
func bounded(patch []byte) bool {
	n := 0
	for i := 0; i < len(patch); i += 3 {
		if max(patch[i], patch[i+1], patch[i+2]) < 24 {
			n++
		}
	}
	return 24*n >= len(patch)
}

// sum is that of all bytes.
func sum(b []byte) float64 {
	n := 0
	for _, v := range b {
		n += int(v)
	}
	return float64(n)
}

// alike says whether two tints are of one colour.
func alike(a, b [3]float64) bool {
	return math.Abs(a[0]-b[0])+math.Abs(a[1]-b[1])+math.Abs(a[2]-b[2]) < 0.2
}
