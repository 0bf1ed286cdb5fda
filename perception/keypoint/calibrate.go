package keypoint

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// Fixed is an ArUco marker at a known place.
type Fixed struct {
	ID int
	// Corners are clockwise from the marker's own top left, base frame, m.
	Corners [4][3]float64
}

// Flat is a marker of the given side, m, that lies on a level plane, face up. With a yaw
// of 0 its top is away from the arm, along x; a yaw turns it to the left, rad.
func Flat(id int, centre [3]float64, side, yaw float64) Fixed {
	f := Fixed{ID: id}
	s, c := math.Sincos(yaw)
	for k, xy := range [4][2]float64{{1, 1}, {1, -1}, {-1, -1}, {-1, 1}} { // top is +x, left +y
		x, y := xy[0]*side/2, xy[1]*side/2
		f.Corners[k] = [3]float64{centre[0] + c*x - s*y, centre[1] + s*x + c*y, centre[2]}
	}
	return f
}

// View is an image and where the tool was when it was taken, base frame.
type View struct {
	Frame robot.Frame
	Tool  robot.Pose
}

// Calibration is a camera that was calibrated, and how well.
type Calibration struct {
	Camera        Camera
	Views, Points int
	// Pixels is the root mean square of how far known places are seen from where the
	// camera should see them, Metres the same at the places.
	Pixels, Metres float64
}

// Accuracy is what a calibration must reach; zeros are 1 pixel and 5 mm.
type Accuracy struct{ Pixels, Metres float64 }

// ErrInaccurate says that a calibration misses its Accuracy.
var ErrInaccurate = errors.New("keypoint: the calibration is not accurate enough")

// Check refuses c where it is less accurate than a.
func (c *Calibration) Check(a Accuracy) error {
	if a.Pixels == 0 {
		a.Pixels = 1
	}
	if a.Metres == 0 {
		a.Metres = 0.005
	}
	if c.Pixels <= a.Pixels && c.Metres <= a.Metres {
		return nil
	}
	return fmt.Errorf("%w: camera %q misses its %d points by %.2f px and %.1f mm, limits %.2f px and %.1f mm; measure the markers' places and sides again, keep them flat and whole in sharp images, and see that the poses of the hand are those of the images",
		ErrInaccurate, c.Camera.Name, c.Points, c.Pixels, 1000*c.Metres, a.Pixels, 1000*a.Metres)
}

// FromMarkers calibrates a camera that stands still from images of markers at known
// places. Intrinsics are those of known, or where it is nil one focal length is found
// besides, for which the markers must be three at least, best not all at one height.
func FromMarkers(frames []robot.Frame, dictionary string, fixed []Fixed, known *Camera) (Calibration, error) {
	if len(frames) == 0 {
		return Calibration{}, errors.New("keypoint: calibrate: no images")
	}
	first := frames[0]
	for _, f := range frames {
		if f.W != first.W || f.H != first.H || f.Camera != first.Camera {
			return Calibration{}, fmt.Errorf("keypoint: calibrate: images of %dx%d of camera %q and of %dx%d of %q; want one camera's, of one size", first.W, first.H, first.Camera, f.W, f.H, f.Camera)
		}
	}
	view, seen, strangers, err := matches(frames, dictionary, fixed)
	if err != nil {
		return Calibration{}, err
	}
	least := 1
	if known == nil {
		least = 3
	}
	if seen < least {
		return Calibration{}, fmt.Errorf("keypoint: calibrate: camera %q sees %d of the %d markers of known places (and %d others of %s), want %d at least: light them evenly, show them whole with a white margin, at 20 pixels a side or more, or give the camera's intrinsics",
			first.Camera, seen, len(fixed), strangers, dictionary, least)
	}
	in, err := intrinsicsOf([][]vision.Match{view}, first, known, vision.Focal)
	if err != nil {
		return Calibration{}, err
	}
	c, err := placed(view, first, in)
	c.Views = len(frames)
	return c, err
}

// placed is the camera of f, of known intrinsics, where a view of known places says that
// it stands.
func placed(view []vision.Match, f robot.Frame, in vision.Intrinsics) (Calibration, error) {
	s, err := vision.PoseOf(view, in)
	if err != nil {
		return Calibration{}, fmt.Errorf("keypoint: calibrate: %w", err)
	}
	c := Calibration{Camera: cameraOf(f, in), Views: 1, Points: len(view)}
	c.Camera.Pose = invert(poseOf(s))
	var sum sums
	for _, m := range view {
		sum.add(&c.Camera, m.Place, m.Pixel)
	}
	c.Pixels, c.Metres = sum.rms()
	return c, c.Camera.Validate()
}

// matches are the corners of the markers of known places that frames show, how many of
// those are seen, and how many others of the dictionary.
func matches(frames []robot.Frame, dictionary string, fixed []Fixed) (view []vision.Match, seen, others int, err error) {
	places := map[int]Fixed{}
	for _, f := range fixed {
		places[f.ID] = f
	}
	known, strangers := map[int]bool{}, map[int]bool{}
	for _, f := range frames {
		ms, err := vision.Markers(f, dictionary)
		if err != nil {
			return nil, 0, 0, err
		}
		for _, m := range ms {
			p, ok := places[m.ID]
			if !ok {
				strangers[m.ID] = true
				continue
			}
			known[m.ID] = true
			for k := range 4 {
				view = append(view, vision.Match{Place: p.Corners[k], Pixel: m.Corners[k]})
			}
		}
	}
	return view, len(known), len(strangers), nil
}

// Recheck is how a camera that was calibrated sees markers at known places now.
type Recheck struct {
	Markers int // of known places that are seen
	// Odd is one of them that is left out of what follows, since no place of the camera
	// explains it beside the others: it was moved, or misread. It is nil where all are
	// explained, and where Enough others are not.
	Odd *int
	// Metres is the root mean square of how far the camera as it was sees them beside
	// their places; 0 without any.
	Metres float64
	// Now is the camera where these markers say that it stands, with the intrinsics that
	// it had; nil of fewer than Enough.
	Now *Calibration
}

// Enough markers fix a camera's pose. Small ones that lie flat do so badly where they are
// fewer: of images that show them half a millimetre beside their places, two put a camera
// up to 72 mm beside its own, three 19 mm, and four 2 mm; and with three nothing tells that
// one of them was moved.
const Enough = 4

// LookAgain asks whether cam, which stands still, is where it was when it was calibrated,
// by what it sees in f (any size of cam's shape) of markers at known places. limit is how
// far beside them a place of the camera may see them that explains what is seen, m.
func LookAgain(cam Camera, f robot.Frame, dictionary string, fixed []Fixed, limit float64) (Recheck, error) {
	cam = cam.Scaled(f.W, f.H)
	view, seen, _, err := matches([]robot.Frame{f}, dictionary, fixed)
	r := Recheck{Markers: seen}
	if err != nil || seen == 0 {
		return r, err
	}
	if r.Metres = beside(&cam, view); seen < Enough {
		return r, nil
	}
	f.Camera = cam.Name
	now, err := placed(view, f, intrinsics(&cam))
	if r.Now = &now; err != nil || seen <= Enough || now.Metres <= limit {
		return r, err
	}
	for _, odd := range fixed {
		rest := slices.DeleteFunc(slices.Clone(view), func(m vision.Match) bool { return slices.Contains(odd.Corners[:], m.Place) })
		if len(rest) == len(view) {
			continue // it is not seen
		}
		if c, err := placed(rest, f, intrinsics(&cam)); err == nil && c.Metres <= limit && c.Metres < r.Now.Metres {
			r.Odd, r.Now, r.Metres = &odd.ID, &c, beside(&cam, rest)
		}
	}
	return r, nil
}

// beside is the root mean square of how far from their places c sees what a view matches, m.
func beside(c *Camera, view []vision.Match) float64 {
	var sum sums
	for _, m := range view {
		sum.add(c, m.Place, m.Pixel)
	}
	_, metres := sum.rms()
	return metres
}

// intrinsicsOf are those of known, or found from views.
func intrinsicsOf(views [][]vision.Match, f robot.Frame, known *Camera, lens vision.Lens) (vision.Intrinsics, error) {
	if known != nil {
		if known.W != f.W || known.H != f.H {
			return vision.Intrinsics{}, fmt.Errorf("keypoint: calibrate: intrinsics are for %dx%d pixels and the images of camera %q have %dx%d; scale neither", known.W, known.H, f.Camera, f.W, f.H)
		}
		return intrinsics(known), nil
	}
	// A guess of a usual lens, which a view of more than a plane needs.
	side := float64(max(f.W, f.H))
	guess := vision.Intrinsics{K: [4]float64{1.2 * side, 1.2 * side, float64(f.W-1) / 2, float64(f.H-1) / 2}}
	in, _, _, err := vision.Calibrate(views, f.W, f.H, &guess, lens)
	if err != nil {
		return in, fmt.Errorf("keypoint: calibrate: %w", err)
	}
	return in, nil
}

func intrinsics(c *Camera) vision.Intrinsics {
	return vision.Intrinsics{K: [4]float64{c.FX, c.FY, c.CX, c.CY}, D: c.Distortion}
}

func cameraOf(f robot.Frame, in vision.Intrinsics) Camera {
	return Camera{Name: f.Camera, W: f.W, H: f.H, FX: in.K[0], FY: in.K[1], CX: in.K[2], CY: in.K[3], Distortion: in.D, Pose: robot.Pose{Q: [4]float64{1}}}
}

// sums are of squared errors.
type sums struct {
	n, px, m float64
}

func (s *sums) add(c *Camera, place [3]float64, px [2]float64) {
	got, ok := c.Project(place)
	if !ok {
		got = [2]float64{math.Inf(1), 0}
	}
	d := math.Hypot(got[0]-px[0], got[1]-px[1])
	q := place
	for i := range q {
		q[i] -= c.Pose.P[i]
	}
	depth := franka.Rotate(franka.Conj(c.Pose.Q), q)[2]
	s.n++
	s.px += d * d
	s.m += d * d * depth * depth / (c.FX * c.FY)
}

func (s *sums) rms() (px, m float64) { return math.Sqrt(s.px / s.n), math.Sqrt(s.m / s.n) }

func poseOf(s vision.Sight) robot.Pose { return robot.Pose{P: s.Shift, Q: franka.Exp(s.Turn)} }

// invert is the pose of b in a from that of a in b.
func invert(p robot.Pose) robot.Pose {
	q := franka.Conj(p.Q)
	r := franka.Rotate(q, p.P)
	return robot.Pose{P: [3]float64{-r[0], -r[1], -r[2]}, Q: q}
}

// then is the pose in a's frame of what has pose b in the frame of a.
func then(a, b robot.Pose) robot.Pose {
	p := franka.Rotate(a.Q, b.P)
	for i := range p {
		p[i] += a.P[i]
	}
	return robot.Pose{P: p, Q: franka.Unit(franka.Mul(a.Q, b.Q))}
}

func rigid(p robot.Pose) (r vision.Rigid) {
	for k := range 3 {
		var e [3]float64
		e[k] = 1
		col := franka.Rotate(p.Q, e)
		for i := range 3 {
			r[3*i+k] = col[i]
		}
		r[9+k] = p.P[k]
	}
	return r
}

func unrigid(r vision.Rigid) robot.Pose {
	return franka.Matrix(&[16]float64{r[0], r[3], r[6], 0, r[1], r[4], r[7], 0, r[2], r[5], r[8], 0, r[9], r[10], r[11], 1})
}
