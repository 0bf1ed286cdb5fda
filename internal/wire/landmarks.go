package wire

import (
	"context"
	"fmt"
	"slices"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// landmarkFiles are the files of robot.markers.
func landmarkFiles(c config.Config) ([]config.Calibration, error) {
	var all []config.Calibration
	for _, path := range c.Robot.Markers {
		m, err := config.LoadCalibration(path)
		switch {
		case err != nil:
			return nil, fmt.Errorf("wire: robot.markers: %w", err)
		case len(m.Markers) < keypoint.Enough:
			return nil, fmt.Errorf("wire: robot.markers: %s has %d markers; want %d at least, best around where things are, of a camera that stands still", path, len(m.Markers), keypoint.Enough)
		}
		if !slices.ContainsFunc(c.Robot.Cameras, func(r config.Camera) bool { return r.Name == m.Camera }) {
			return nil, fmt.Errorf("wire: robot.markers: %s is of camera %s, which robot.cameras does not have", path, m.Camera)
		}
		all = append(all, m)
	}
	return all, nil
}

// printed are those markers as a simulated table shows them. Several cameras may see one.
func printed(c config.Config) ([]tabletop.Marker, error) {
	files, err := landmarkFiles(c)
	if err != nil {
		return nil, err
	}
	type key struct {
		dictionary string
		id         int
	}
	places := map[key]keypoint.Fixed{}
	var ms []tabletop.Marker
	for i, f := range files {
		for _, p := range fixed(f.Markers) {
			k := key{f.Dictionary, p.ID}
			if was, ok := places[k]; ok {
				if was != p {
					return nil, fmt.Errorf("wire: robot.markers: %s has marker %d at another place than a file before it", c.Robot.Markers[i], p.ID)
				}
				continue
			}
			places[k] = p
			m := tabletop.Marker{Corners: p.Corners}
			if m.White, err = vision.MarkerCells(f.Dictionary, p.ID); err != nil {
				return nil, fmt.Errorf("wire: robot.markers: %s: %w", c.Robot.Markers[i], err)
			}
			ms = append(ms, m)
		}
	}
	return ms, nil
}

// landmarks know by markers at known places whether cameras stand where they were
// calibrated, and where they stand else.
type landmarks struct {
	files []config.Calibration
	limit float64                                  // m
	full  func(camera string) (robot.Frame, error) // what it sees now, as large as there is
	poses map[string]found                         // of cameras that were moved, as found last
	lost  map[string]bool                          // cameras that saw no marker last
	odd   map[string]int                           // by camera, a marker that was left out last
}

// found is where a camera stands that was calibrated elsewhere.
type found struct{ pose, calibrated robot.Pose }

func newLandmarks(c config.Config, full func(camera string) (robot.Frame, error)) (*landmarks, error) {
	files, err := landmarkFiles(c)
	if err != nil {
		return nil, err
	}
	return &landmarks{files: files, limit: c.Robot.Moved, full: full, poses: map[string]found{}, lost: map[string]bool{}, odd: map[string]int{}}, nil
}

// correct puts cameras where their markers say that they stand. Where they say nothing
// that fits any place, a marker was moved as well, and nobody knows where things are.
func (l *landmarks) correct(ctx context.Context, cams []keypoint.Camera) error {
	for _, f := range l.files {
		for i := range cams {
			if cams[i].Name != f.Camera {
				continue
			}
			if cams[i].OnHand {
				return fmt.Errorf("wire: robot.markers: camera %s is on the hand, and markers tell of cameras that stand still whether they were moved; leave its file out", f.Camera)
			}
			if err := l.look(ctx, f, &cams[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *landmarks) look(ctx context.Context, f config.Calibration, cam *keypoint.Camera) error {
	calibrated := cam.Pose
	if at, ok := l.poses[cam.Name]; ok && at.calibrated == calibrated { // and not anew since
		cam.Pose = at.pose
	}
	r, img, err := l.seen(f, *cam)
	if err != nil {
		return err
	}
	if r.Markers == 0 && !l.lost[cam.Name] {
		heedOf(ctx)(fmt.Sprintf("camera %s sees none of its %d markers (%dx%d pixels), which tell whether it was moved: it is taken to be where it was. %s", cam.Name, len(f.Markers), img.W, img.H, showThem))
	}
	if l.lost[cam.Name] = r.Markers == 0; r.Markers == 0 {
		return nil
	}
	if was, ok := l.odd[cam.Name]; r.Odd != nil && (!ok || was != *r.Odd) {
		heedOf(ctx)(oddly(cam.Name, r))
	}
	if delete(l.odd, cam.Name); r.Odd != nil {
		l.odd[cam.Name] = *r.Odd
	}
	if r.Metres <= l.limit {
		return nil
	}
	if err := l.explained(cam.Name, r); err != nil {
		return err
	}
	cam.Pose = r.Now.Camera.Pose
	l.poses[cam.Name] = found{cam.Pose, calibrated}
	d := franka.Diff(cam.Pose, calibrated)
	heedOf(ctx)(fmt.Sprintf("camera %s saw its markers %.0f mm beside their places, so that it was moved: by %.0f mm and %.3f rad since it was calibrated. From here on it is taken to stand where its %d markers say, which it sees within %.1f mm; calibrate it again when there is time (rapport calibrate)",
		cam.Name, 1000*r.Metres, 1000*norm([3]float64(d[:3])), norm([3]float64(d[3:])), r.Markers, 1000*r.Now.Metres))
	return nil
}

// seen is what a camera sees now of its markers, from where it is taken to stand.
func (l *landmarks) seen(f config.Calibration, cam keypoint.Camera) (r keypoint.Recheck, img robot.Frame, err error) {
	if img, err = l.full(cam.Name); err != nil {
		return r, img, err
	}
	if r, err = keypoint.LookAgain(cam, img, f.Dictionary, fixed(f.Markers), l.limit); err != nil {
		err = fmt.Errorf("wire: the markers of camera %s: %w", cam.Name, err)
	}
	return r, img, err
}

// showThem is how markers are found.
const showThem = "Show them whole, in even light, at 20 pixels a side or more"

// strayed is why nobody knows where a camera stands.
type strayed struct{ why string }

func (e *strayed) Error() string { return "wire: " + e.why }

// Ask says it to who may mend that.
func (e *strayed) Ask() string { return e.why }

// explained refuses what a camera sees of its markers where no place of it is known that does
// so within the limit.
func (l *landmarks) explained(camera string, r keypoint.Recheck) error {
	switch {
	case r.Now == nil:
		return &strayed{fmt.Sprintf("camera %s sees %d of its markers, %.0f mm beside their places, so that it was moved, and %d tell where it stands now. %s, or calibrate it anew (rapport calibrate)", camera, r.Markers, 1000*r.Metres, keypoint.Enough, showThem)}
	case r.Now.Metres > l.limit:
		return &strayed{fmt.Sprintf("camera %s sees its markers %.0f mm beside their places, and no place of it explains them within %.1f mm (robot.moved is %.1f): one of them was moved, or they were not measured well. Put them back, or calibrate the camera anew (rapport calibrate)", camera, 1000*r.Metres, 1000*r.Now.Metres, 1000*l.limit)}
	}
	return nil
}

// oddly says which marker is left out.
func oddly(camera string, r keypoint.Recheck) string {
	return fmt.Sprintf("camera %s sees its marker %d where no place of the camera has it beside the others: it was moved, and is left out; put it back", camera, *r.Odd)
}

// survey says how each camera sees its markers from where it was calibrated.
func (a *arm) survey(c config.Config) (detail string, err error) {
	l, err := newLandmarks(c, a.full)
	if err != nil || len(l.files) == 0 {
		return "", err
	}
	cams, err := a.cameras(c)
	if err != nil {
		return "", err
	}
	for _, f := range l.files {
		cam, err := keypoint.Find(cams, f.Camera)
		if err != nil {
			return "", err
		}
		r, _, err := l.seen(f, cam)
		if err != nil {
			return "", err
		}
		if r.Markers == 0 {
			return "", fmt.Errorf("wire: robot.markers: camera %s sees none of its %d markers. %s", f.Camera, len(f.Markers), showThem)
		}
		detail += fmt.Sprintf("; %s sees %d of its %d markers %.1f mm beside their places", f.Camera, r.Markers, len(f.Markers), 1000*r.Metres)
		if r.Odd != nil {
			detail += "; " + oddly(f.Camera, r)
		}
		if r.Metres > l.limit {
			if err := l.explained(f.Camera, r); err != nil {
				return "", err
			}
			detail += fmt.Sprintf(", and within %.1f mm from where it stands now", 1000*r.Now.Metres)
		}
	}
	return detail, nil
}

type heedKey struct{}

// withHeed returns a context under which people are told what they should heed.
func withHeed(ctx context.Context, tell func(words string)) context.Context {
	return context.WithValue(ctx, heedKey{}, tell)
}

// heeding is withHeed of a session's log.
func (s *Session) heeding(ctx context.Context) context.Context {
	return withHeed(ctx, func(words string) { s.log.Warn(words) })
}

// heedOf tells nobody where nobody wants to be told.
func heedOf(ctx context.Context) func(words string) {
	if tell, ok := ctx.Value(heedKey{}).(func(string)); ok {
		return tell
	}
	return func(string) {}
}
