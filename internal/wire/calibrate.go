package wire

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// CalibrateConfig says what a camera is calibrated from.
type CalibrateConfig struct {
	Setup     string            // file of config.Calibration
	Images    string            // folder of images of markers; "": those of the file
	Recording string            // an episode of ours or a bag, instead of images
	Map       map[string]string // topics of a bag by name: the camera, or states, joints, pose
	Known     string            // file of cameras that has the intrinsics; "": find them
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
	var al album
	if cc.Recording != "" {
		al, err = recordedAlbum(ctx, cc, &c)
	} else {
		al, err = imageAlbum(cc, &c)
	}
	if err != nil {
		return none, err
	}
	if len(c.Markers) == 0 {
		rested := still(al.tools, 40)
		if n, least := len(rested), keypoint.LeastViews(known); n < least && n < len(al.tools) {
			return none, fmt.Errorf("wire: calibrate: in the %d images of %s the hand stood still at %d places, want %d at least; hold it for half a second at each pose", len(al.tools), cc.Recording, n, least)
		}
		views, err := al.read(rested)
		if err != nil {
			return none, err
		}
		return keypoint.FromBoard(views, boardOf(c), c.OnHand, known)
	}
	views, err := al.read(spaced(len(al.tools), 8))
	if err != nil {
		return none, err
	}
	var frames []robot.Frame
	for _, v := range views {
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

// album is the images of a camera, of which only some are looked at.
type album struct {
	tools []robot.Pose // where the tool was at each; unknown of markers
	// read gives those of the numbers, which ascend.
	read func(of []int) ([]keypoint.View, error)
}

// imageAlbum is the images of files.
func imageAlbum(cc CalibrateConfig, c *config.Calibration) (album, error) {
	views, err := imageViews(cc, c)
	return inMemory(views), err
}

func inMemory(views []keypoint.View) (al album) {
	for _, v := range views {
		al.tools = append(al.tools, v.Tool)
	}
	al.read = func(of []int) (out []keypoint.View, _ error) {
		for _, i := range of {
			out = append(out, views[i])
		}
		return out, nil
	}
	return al
}

// spaced are k of the first n numbers at most, evenly.
func spaced(n, k int) (out []int) {
	for i := range min(n, k) {
		if n > k {
			i = i * (n - 1) / (k - 1)
		}
		out = append(out, i)
	}
	return out
}

// still are n views at most at which the hand stood still, 5 mm or 0.03 rad apart, since
// images and poses are not of the same instant while it moves. Where there are hardly
// more views than n, they are taken for photographs.
func still(tools []robot.Pose, n int) []int {
	if len(tools) <= n {
		return spaced(len(tools), n)
	}
	var rested []int
	for i := 1; i < len(tools)-1; i++ {
		if far(tools[i-1], tools[i+1]) > 0.0005 {
			continue
		}
		if k := len(rested); k == 0 || far(tools[rested[k-1]], tools[i]) > 0.005 {
			rested = append(rested, i)
		}
	}
	out := spaced(len(rested), n)
	for k, i := range out {
		out[k] = rested[i]
	}
	return out
}

// far is how far two poses are apart, m, a radian counting 0.15 m.
func far(a, b robot.Pose) float64 {
	d := franka.Diff(a, b)
	return math.Sqrt(d[0]*d[0]+d[1]*d[1]+d[2]*d[2]) + 0.15*math.Sqrt(d[3]*d[3]+d[4]*d[4]+d[5]*d[5])
}
