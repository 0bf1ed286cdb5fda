package keypoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rapport-rl/rapport/internal/whole"
	"github.com/rapport-rl/rapport/robot"
)

// maxFile bounds a file of cameras, bytes.
const maxFile = 1 << 20

// file is how cameras are kept: JSON, strictly.
type file struct {
	Cameras []entry `json:"cameras"`
}

type entry struct {
	Name       string    `json:"name"`
	Size       []int     `json:"size"`   // width, height, pixels
	Focal      []float64 `json:"focal"`  // x, y, pixels
	Centre     []float64 `json:"centre"` // x, y, pixels
	Distortion []float64 `json:"distortion,omitempty"`
	Pose       struct {
		P []float64 `json:"p"` // m
		Q []float64 `json:"q"` // w, x, y, z
	} `json:"pose"`
	OnHand bool `json:"on_hand,omitempty"`
}

// Load reads the file of cameras at path. Errors name the file, the camera and the
// field.
func Load(path string) ([]Camera, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("keypoint: cameras: %w; rapport calibrate writes them", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("keypoint: cameras: %w", err)
	}
	cs, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cs, nil
}

// Decode reads what Encode writes.
func Decode(data []byte) ([]Camera, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("keypoint: cameras of more than %d bytes", maxFile)
	}
	var f file
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("keypoint: cameras: %w; want {\"cameras\": [...]} as rapport calibrate writes it", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("keypoint: cameras: something follows the JSON object; remove it")
	}
	if len(f.Cameras) == 0 {
		return nil, errors.New("keypoint: cameras: the list is empty")
	}
	var errs []error
	var cs []Camera
	seen := map[string]bool{}
	for i := range f.Cameras {
		e := &f.Cameras[i]
		c, err := e.camera()
		if err == nil {
			err = c.Validate()
		}
		if err == nil && seen[c.Name] {
			err = fmt.Errorf("keypoint: camera %q: name is there twice", c.Name)
		}
		seen[e.Name] = true
		errs = append(errs, err)
		cs = append(cs, c)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return cs, nil
}

func (e *entry) camera() (Camera, error) {
	var errs []error
	want := func(field string, got, n int, what string) {
		if got != n {
			errs = append(errs, fmt.Errorf("keypoint: camera %q: %s has %d numbers, want %d: %s", e.Name, field, got, n, what))
		}
	}
	want("size", len(e.Size), 2, "width and height in pixels")
	want("focal", len(e.Focal), 2, "x and y in pixels")
	want("centre", len(e.Centre), 2, "x and y in pixels")
	if e.Distortion != nil {
		want("distortion", len(e.Distortion), 5, "k1, k2, p1, p2, k3")
	}
	want("pose.p", len(e.Pose.P), 3, "x, y, z in metres")
	want("pose.q", len(e.Pose.Q), 4, "w, x, y, z")
	if err := errors.Join(errs...); err != nil {
		return Camera{}, err
	}
	c := Camera{
		Name: e.Name, W: e.Size[0], H: e.Size[1], FX: e.Focal[0], FY: e.Focal[1], CX: e.Centre[0], CY: e.Centre[1],
		Pose: robot.Pose{P: [3]float64(e.Pose.P), Q: [4]float64(e.Pose.Q)}, OnHand: e.OnHand,
	}
	copy(c.Distortion[:], e.Distortion)
	return c, nil
}

// Encode is the file of cs, which are valid.
func Encode(cs []Camera) ([]byte, error) {
	var f file
	var errs []error
	for _, c := range cs {
		errs = append(errs, c.Validate())
		e := entry{
			Name: c.Name, Size: []int{c.W, c.H}, Focal: []float64{c.FX, c.FY}, Centre: []float64{c.CX, c.CY}, OnHand: c.OnHand,
		}
		if c.Distortion != [5]float64{} {
			e.Distortion = c.Distortion[:]
		}
		e.Pose.P, e.Pose.Q = c.Pose.P[:], c.Pose.Q[:]
		f.Cameras = append(f.Cameras, e)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(f, "", "  ")
	return append(b, '\n'), err
}

// Save writes cs to path: whole, or it leaves the cameras that are there.
func Save(path string, cs []Camera) error {
	b, err := Encode(cs)
	if err != nil {
		return err
	}
	if err := whole.Write(path, b); err != nil {
		return fmt.Errorf("keypoint: cameras: %w", err)
	}
	return nil
}

// Find is the camera of that name.
func Find(cs []Camera, name string) (Camera, error) {
	var names []string
	for _, c := range cs {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return Camera{}, fmt.Errorf("keypoint: no camera is called %q; there are %q", name, names)
}
