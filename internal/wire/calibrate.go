package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/record"
)

// CalibrateConfig says what a camera is calibrated from.
type CalibrateConfig struct {
	Setup     string // file of config.Calibration
	Images    string // folder of images of markers; "": those of the file
	Recording string // an episode of ours or a bag, instead of images
	Known     string // file of cameras that has the intrinsics; "": find them
}

// Calibrate calibrates a camera.
func Calibrate(ctx context.Context, cc CalibrateConfig) (keypoint.Calibration, error) {
	var none keypoint.Calibration
	c, err := config.LoadCalibration(cc.Setup)
	if err != nil {
		return none, err
	}
	var known *keypoint.Camera
	if cc.Known != "" {
		cams, err := keypoint.Load(cc.Known)
		if err != nil {
			return none, err
		}
		k, err := keypoint.Find(cams, c.Camera)
		if err != nil {
			return none, fmt.Errorf("%s: %w", cc.Known, err)
		}
		known = &k
	}
	var views []keypoint.View
	if cc.Recording != "" {
		views, err = recordedViews(ctx, cc.Recording, c.Camera)
	} else {
		views, err = imageViews(cc, &c)
	}
	if err != nil {
		return none, err
	}
	if len(c.Markers) == 0 {
		rested := still(views, 40)
		if n, least := len(rested), keypoint.LeastViews(known); n < least && n < len(views) {
			return none, fmt.Errorf("wire: calibrate: in the %d images of %s the hand stood still at %d places, want %d at least; hold it for half a second at each pose", len(views), cc.Recording, n, least)
		}
		return keypoint.FromBoard(rested, boardOf(c), c.OnHand, known)
	}
	var frames []robot.Frame
	for _, v := range spaced(views, 8) {
		frames = append(frames, v.Frame)
	}
	return keypoint.FromMarkers(frames, c.Dictionary, fixed(c.Markers), known)
}

// PrintSheet is a page of HTML with the markers or the board of a setup at their size.
func PrintSheet(setup string) ([]byte, error) {
	c, err := config.LoadCalibration(setup)
	if err != nil {
		return nil, err
	}
	var page []byte
	if len(c.Markers) > 0 {
		page, err = keypoint.Sheet(c.Dictionary, fixed(c.Markers))
	} else {
		page, err = keypoint.BoardSheet(boardOf(c))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setup, err)
	}
	return page, nil
}

func boardOf(c config.Calibration) vision.Board {
	return vision.Board{Dictionary: c.Dictionary, Columns: c.Board.Columns, Rows: c.Board.Rows, Square: c.Board.Square, Marker: c.Board.Marker}
}

func fixed(ms []config.PlacedMarker) []keypoint.Fixed {
	var fs []keypoint.Fixed
	for _, m := range ms {
		if m.Corners == nil {
			fs = append(fs, keypoint.Flat(m.ID, [3]float64(m.Centre), m.Size, m.Yaw))
			continue
		}
		f := keypoint.Fixed{ID: m.ID}
		for k := range f.Corners {
			f.Corners[k] = [3]float64(m.Corners[k])
		}
		fs = append(fs, f)
	}
	return fs
}

// imageViews reads the images of a setup, or all of a folder.
func imageViews(cc CalibrateConfig, c *config.Calibration) ([]keypoint.View, error) {
	if cc.Images != "" && len(c.Markers) == 0 {
		return nil, fmt.Errorf("wire: calibrate: --images: %s has a board, of which images alone do not say where the hand was; name them with its poses in views, or give --recording", cc.Setup)
	}
	dir := filepath.Dir(cc.Setup)
	var views []keypoint.View
	add := func(path string, tool robot.Pose) error {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("wire: calibrate: %w", err)
		}
		f, err := vision.Decode(b)
		if err != nil {
			return fmt.Errorf("wire: calibrate: %s: %w", path, err)
		}
		f.Camera = c.Camera
		views = append(views, keypoint.View{Frame: f, Tool: tool})
		return nil
	}
	for _, v := range c.Views {
		if err := add(v.Image, robot.Pose{P: [3]float64(v.P), Q: franka.Unit([4]float64(v.Q))}); err != nil {
			return nil, err
		}
	}
	images := c.Images
	if cc.Images != "" {
		dir, images = cc.Images, nil
		es, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("wire: calibrate: %w", err)
		}
		for _, e := range es {
			if slices.Contains([]string{".png", ".jpg", ".jpeg"}, strings.ToLower(filepath.Ext(e.Name()))) {
				images = append(images, e.Name())
			}
		}
		if len(images) == 0 {
			return nil, fmt.Errorf("wire: calibrate: --images: no image in %s; want names that end in .png, .jpg or .jpeg", dir)
		}
	}
	if len(c.Markers) > 0 {
		for _, i := range images {
			if err := add(i, robot.Pose{Q: [4]float64{1}}); err != nil {
				return nil, err
			}
		}
	}
	if len(views) == 0 {
		if len(c.Markers) == 0 {
			return nil, fmt.Errorf("wire: calibrate: no images: name them in %s, in views with the poses of the tool, or give --recording", cc.Setup)
		}
		return nil, fmt.Errorf("wire: calibrate: no images: name them in %s, in images, or give --images or --recording", cc.Setup)
	}
	return views, nil
}

// recordedViews are a camera's images in a recording, with the tool's poses.
func recordedViews(ctx context.Context, path, camera string) (views []keypoint.View, err error) {
	add := func(s robot.State, fs []robot.Frame) error {
		for _, f := range fs {
			if f.Camera == camera {
				// A frame is told again until the next.
				if n := len(views); n == 0 || &views[n-1].Frame.Pix[0] != &f.Pix[0] {
					views = append(views, keypoint.View{Frame: f, Tool: s.EE})
				}
				return nil
			}
		}
		var names []string
		for _, f := range fs {
			names = append(names, f.Camera)
		}
		return fmt.Errorf("wire: calibrate: %s has no camera %q; it has %q", path, camera, names)
	}
	if rec, err := record.Read(path); err == nil || errors.Is(err, record.ErrTruncated) && len(rec.Ticks) > 0 {
		for _, t := range rec.Ticks {
			if err := add(t.State, t.Frames); err != nil {
				return nil, err
			}
		}
		return views, nil
	}
	in, err := bag.Open(path, bag.Options{})
	if err != nil {
		return nil, fmt.Errorf("wire: calibrate: %w", err)
	}
	m, _ := bag.Guess(in.Info())
	if err := in.Close(); err != nil {
		return nil, err
	}
	b, err := bag.NewBackend(path, bag.BackendConfig{Map: m})
	if err != nil {
		return nil, fmt.Errorf("wire: calibrate: %w", err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	obs, err := b.Reset(ctx)
	for ; err == nil; obs, err = b.Step(ctx, robot.Command{}) {
		if err := add(obs.State, obs.Frames); err != nil {
			return nil, err
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("wire: calibrate: %w", err)
	}
	return views, nil
}

// spaced are n of vs at most, evenly.
func spaced(vs []keypoint.View, n int) []keypoint.View {
	if len(vs) <= n {
		return vs
	}
	var out []keypoint.View
	for i := range n {
		out = append(out, vs[i*(len(vs)-1)/(n-1)])
	}
	return out
}

// still are n views at most at which the hand stood still, 5 mm or 0.03 rad apart, since
// images and poses are not of the same instant while it moves. Where there are hardly
// more views than n, they are taken for photographs.
func still(vs []keypoint.View, n int) []keypoint.View {
	if len(vs) <= n {
		return vs
	}
	var out []keypoint.View
	for i := 1; i < len(vs)-1; i++ {
		if far(vs[i-1].Tool, vs[i+1].Tool) > 0.0005 {
			continue
		}
		if k := len(out); k == 0 || far(out[k-1].Tool, vs[i].Tool) > 0.005 {
			out = append(out, vs[i])
		}
	}
	return spaced(out, n)
}

// far is how far two poses are apart, m, a radian counting 0.15 m.
func far(a, b robot.Pose) float64 {
	d := franka.Diff(a, b)
	return math.Sqrt(d[0]*d[0]+d[1]*d[1]+d[2]*d[2]) + 0.15*math.Sqrt(d[3]*d[3]+d[4]*d[4]+d[5]*d[5])
}
