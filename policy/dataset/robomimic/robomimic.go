// Package robomimic reads demonstrations from HDF5 files as robomimic and
// robosuite write them:
//
//	data/demo_0/actions        (T,A)
//	data/demo_0/obs/NAME       (T,...) numbers, or images as (T,H,W,3) or (T,3,H,W), RGB
//	data/demo_0/next_obs/NAME  (T,...) if kept: what followed
//	data/demo_0/rewards, dones (T,)
//	mask/NAME                  names of demonstrations, as mask/train
//
// (robomimic documentation, "Dataset contents and structure").
//
//	src, err := robomimic.Open("demo.hdf5", "train")
//	t, err := src.Read(ctx, 0, table.Want{Columns: []string{"actions", "obs/robot0_eef_pos"}})
package robomimic

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/policy/dataset/hdf5"
	"github.com/rapport-rl/rapport/policy/dataset/table"
)

// maxSteps bounds an episode, so that a damaged length does not take the machine's memory.
const maxSteps = 1 << 20

// Source is an open file.
type Source struct {
	f     *hdf5.File
	path  string
	info  table.Info
	names []string // of the demonstrations
}

// Open opens a file. filter names one of its masks, "" all demonstrations.
func Open(path, filter string) (*Source, error) {
	f, err := hdf5.Open(path)
	if err != nil {
		return nil, fmt.Errorf("robomimic: %s: %w", path, err)
	}
	return from(f, path, filter)
}

// from reads what f holds; it closes f if it fails.
func from(f *hdf5.File, path, filter string) (*Source, error) {
	s := &Source{f: f, path: path, info: table.Info{Path: path, Format: "robomimic"}}
	if err := s.open(filter); err != nil {
		f.Close()
		return nil, fmt.Errorf("robomimic: %s: %w", path, err)
	}
	return s, nil
}

// Info says what the file holds.
func (s *Source) Info() table.Info { return s.info }

// Close closes the file.
func (s *Source) Close() error { return s.f.Close() }

func (s *Source) open(filter string) error {
	data, err := s.f.Group("data")
	if err != nil {
		return fmt.Errorf("no group data/, which holds the demonstrations of a robomimic file: %w", err)
	}
	if err := s.filters(); err != nil {
		return err
	}
	for _, name := range data.Names() {
		if is, _, err := data.Is(name); err == nil && is {
			s.names = append(s.names, name)
		}
	}
	if len(s.names) == 0 {
		return errors.New("data/ holds no demonstration, as demo_0 would be")
	}
	s.describe(data)
	if filter != "" {
		if err := s.choose(filter); err != nil {
			return err
		}
	}
	var first *hdf5.Group
	for _, name := range s.names {
		g, err := data.Group(name)
		if err != nil {
			continue // an error when it is read
		}
		if d, err := g.Dataset("actions"); err == nil && len(d.Shape) > 0 {
			s.info.Steps += d.Len()
			if first == nil {
				first = g
			}
		}
	}
	s.info.Episodes = len(s.names)
	if first == nil {
		return fmt.Errorf("none of the %d demonstrations has actions that can be read, as data/%s/actions", len(s.names), s.names[0])
	}
	return s.columns(first)
}

func (s *Source) filters() error {
	root, err := s.f.Root()
	if err != nil {
		return err
	}
	if is, _, err := root.Is("mask"); err != nil || !is {
		return nil
	}
	mask, err := root.Group("mask")
	if err != nil {
		return err
	}
	s.info.Filters = mask.Names()
	return nil
}

func (s *Source) choose(filter string) error {
	if !slices.Contains(s.info.Filters, filter) {
		have := "it has none"
		if len(s.info.Filters) > 0 {
			have = "it has " + strings.Join(s.info.Filters, ", ")
		}
		return fmt.Errorf("the file has no filter mask/%s; %s", filter, have)
	}
	d, err := s.f.Dataset("mask/" + filter)
	if err != nil {
		return err
	}
	chosen, err := d.Strings()
	if err != nil {
		return err
	}
	for _, name := range chosen {
		if !slices.Contains(s.names, name) {
			return fmt.Errorf("mask/%s names %q, which data/ does not hold", filter, name)
		}
	}
	s.names = slices.DeleteFunc(s.names, func(n string) bool { return !slices.Contains(chosen, n) })
	if len(s.names) == 0 {
		return fmt.Errorf("mask/%s names no demonstration", filter)
	}
	return nil
}

// describe takes what the attribute env_args says of the arm and its rate.
func (s *Source) describe(data *hdf5.Group) {
	a, err := data.Attr("env_args")
	if err != nil || len(a.Strings) == 0 {
		s.info.Notes = append(s.info.Notes, "data/ has no attribute env_args, so that the control rate is not known")
		return
	}
	env, err := parse(a.Strings[0])
	if err != nil {
		s.info.Notes = append(s.info.Notes, fmt.Sprintf("the attribute env_args of data/ is not read: %v", err))
		return
	}
	if env.Version != "" {
		s.info.Version = "env " + env.Version
	}
	if f := env.Kwargs.Freq; f > 0 && f <= 1e4 {
		s.info.FPS = f
	}
	s.info.Robot = strings.Join(env.Kwargs.Robots, ", ")
	s.info.Control = env.Kwargs.Controller.control()
}

// columns describes what the demonstration g holds.
func (s *Source) columns(g *hdf5.Group) error {
	add := func(name string, d *hdf5.Dataset) {
		switch n, h, w := layout(d); {
		case d.Kind.Class != hdf5.Int && d.Kind.Class != hdf5.Uint && d.Kind.Class != hdf5.Float:
			s.info.Notes = append(s.info.Notes, fmt.Sprintf("%s is passed over: %v", name, d.Kind))
		case n != "":
			s.info.Cameras = append(s.info.Cameras, table.Camera{Name: name, Kind: d.Kind.String() + " " + n, W: w, H: h})
		case len(d.Shape) >= 1 && len(d.Shape) <= 2:
			s.info.Columns = append(s.info.Columns, table.Column{Name: name, Kind: d.Kind.String(), Shape: d.Shape[1:]})
		default:
			s.info.Notes = append(s.info.Notes, fmt.Sprintf("%s is passed over: %v is neither rows of numbers nor images of three channels", name, d.Shape))
		}
	}
	for _, name := range g.Names() {
		if name == "obs" || name == "next_obs" {
			continue
		}
		if _, is, err := g.Is(name); err == nil && is {
			if d, err := g.Dataset(name); err == nil {
				add(name, d)
			}
		}
	}
	if !g.Has("obs") {
		s.info.Notes = append(s.info.Notes, g.Path()+" has no obs/: the file holds simulator states alone; make the observations with robomimic's dataset_states_to_obs.py")
		return nil
	}
	obs, err := g.Group("obs")
	if err != nil {
		return err
	}
	for _, name := range obs.Names() {
		if _, is, err := obs.Is(name); err == nil && is {
			if d, err := obs.Dataset(name); err == nil {
				add("obs/"+name, d)
			}
		}
	}
	return nil
}

// layout is "HWC" or "CHW" with the size for images, "" for others.
func layout(d *hdf5.Dataset) (name string, h, w int) {
	if len(d.Shape) != 4 {
		return "", 0, 0
	}
	switch {
	case d.Shape[3] == 3:
		return "HWC", d.Shape[1], d.Shape[2]
	case d.Shape[1] == 3:
		return "CHW", d.Shape[2], d.Shape[3]
	}
	return "", 0, 0
}

// Read reads demonstration i.
func (s *Source) Read(ctx context.Context, i int, w table.Want) (table.Table, error) {
	t, err := s.read(ctx, s.names[i], w)
	if err != nil {
		return table.Table{}, fmt.Errorf("robomimic: %s: %s: %w", s.path, s.names[i], err)
	}
	return t, nil
}

func (s *Source) read(ctx context.Context, name string, w table.Want) (table.Table, error) {
	g, err := s.f.Group("data/" + name)
	if err != nil {
		return table.Table{}, err
	}
	d, err := g.Dataset("actions")
	if err != nil {
		return table.Table{}, err
	}
	n := d.Len()
	if len(d.Shape) == 0 || n == 0 || n > maxSteps {
		return table.Table{}, fmt.Errorf("actions have the shape %v, want 1 to %d rows", d.Shape, maxSteps)
	}
	if a, err := g.Attr("num_samples"); err == nil && len(a.Floats) == 1 && a.Floats[0] != float64(n) {
		return table.Table{}, fmt.Errorf("actions have %d rows, the attribute num_samples says %v: the file was not finished or was edited", n, a.Floats[0])
	}
	t := table.Table{Name: name, File: s.path, Len: n, Columns: map[string][]float64{}}
	for _, c := range w.Columns {
		d, err := s.column(g, c, n)
		if err != nil {
			return table.Table{}, err
		}
		if t.Columns[c], err = d.Floats(0, n); err != nil {
			return table.Table{}, fmt.Errorf("%s: %w", c, err)
		}
		if last, ok := strings.CutPrefix(c, "obs/"); ok && g.Has("next_obs") {
			if d, err := s.column(g, "next_obs/"+last, n); err == nil {
				xs, err := d.Floats(n-1, n)
				if err != nil {
					return table.Table{}, fmt.Errorf("next_obs/%s: %w", last, err)
				}
				if t.Last == nil {
					t.Last = map[string][]float64{}
				}
				t.Last[c] = xs
			}
		}
	}
	if len(w.Cameras) > 0 {
		if err := s.frames(ctx, g, &t, w); err != nil {
			return table.Table{}, err
		}
	}
	return t, nil
}

// rows returns a dataset that must have n rows.
func (s *Source) rows(g *hdf5.Group, name string, n int) (*hdf5.Dataset, error) {
	d, err := s.f.Dataset(strings.TrimPrefix(g.Path()+"/"+name, "/"))
	if err != nil {
		return nil, err
	}
	if len(d.Shape) == 0 || d.Len() != n {
		return nil, fmt.Errorf("%s has the shape %v, want %d rows as the actions have", name, d.Shape, n)
	}
	return d, nil
}

// column is rows of what is read whole; images are read and made smaller some at a time.
func (s *Source) column(g *hdf5.Group, name string, n int) (*hdf5.Dataset, error) {
	d, err := s.rows(g, name, n)
	if err != nil {
		return nil, err
	}
	width := 1
	for _, v := range d.Shape[1:] {
		width *= v
		if width > 1<<20 || width*n > math.MaxInt32 {
			return nil, fmt.Errorf("%s has the shape %v, which is too large", name, d.Shape)
		}
	}
	return d, nil
}
