package lerobot

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rapport-rl/rapport/policy/dataset/table"
)

// Bounds of what a description is believed.
const (
	maxJSON  = 64 << 20
	maxSteps = 1 << 20
	maxWidth = 1 << 16
)

// Where things are unless info.json says otherwise.
const (
	data2  = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
	video2 = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
	data3  = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
	video3 = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
)

// meta is meta/info.json.
type meta struct {
	Version  string             `json:"codebase_version"`
	Robot    string             `json:"robot_type"`
	FPS      float64            `json:"fps"`
	Episodes int                `json:"total_episodes"`
	Frames   int                `json:"total_frames"`
	Chunk    int                `json:"chunks_size"`
	Data     string             `json:"data_path"`
	Video    string             `json:"video_path"`
	Features map[string]feature `json:"features"`

	three bool // a v3 dataset: many episodes in a file
}

type feature struct {
	Dtype string          `json:"dtype"`
	Shape []int           `json:"shape"`
	Names json.RawMessage `json:"names"`
	Info  map[string]any  `json:"info"`
}

// parse reads info.json.
func parse(b []byte) (meta, error) {
	var m meta
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("no JSON as LeRobot writes it: %w", err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(m.Version, "v"), ".")
	switch major {
	case "2":
	case "3":
		m.three = true
	case "":
		return m, errors.New("no codebase_version: this is no LeRobot dataset")
	default:
		return m, fmt.Errorf("codebase_version is %q, want v2.0, v2.1 or v3.0; convert the dataset with lerobot's convert_dataset_v21_to_v30 and its predecessors", m.Version)
	}
	if !(m.FPS > 0 && m.FPS <= 1e4) {
		return m, fmt.Errorf("fps is %v, want the rate of the recording", m.FPS)
	}
	if m.Episodes < 0 || m.Frames < 0 || m.Episodes > math.MaxInt32 || m.Frames > math.MaxInt32 {
		return m, fmt.Errorf("total_episodes is %d and total_frames %d", m.Episodes, m.Frames)
	}
	if m.Chunk <= 0 {
		m.Chunk = 1000
	}
	if m.Data == "" {
		m.Data = data2
		if m.three {
			m.Data = data3
		}
	}
	if m.Video == "" {
		m.Video = video2
		if m.three {
			m.Video = video3
		}
	}
	if len(m.Features) == 0 {
		return m, errors.New("no features: the dataset has no columns")
	}
	for name, f := range m.Features {
		n := 1
		for _, d := range f.Shape {
			if d < 0 || d > maxWidth*maxWidth {
				return m, fmt.Errorf("feature %q has the shape %v", name, f.Shape)
			}
			n = min(n*d, math.MaxInt32)
		}
		if !f.pictures() && n > maxWidth {
			return m, fmt.Errorf("feature %q has the shape %v, which is too large", name, f.Shape)
		}
	}
	return m, nil
}

func (f feature) pictures() bool { return f.Dtype == "video" || f.Dtype == "image" }

func (f feature) depth() bool {
	for _, k := range []string{"video.is_depth_map", "is_depth_map"} {
		if d, ok := f.Info[k].(bool); ok && d {
			return true
		}
	}
	return false
}

// size is the height and width of pictures, which shape gives as (H,W,C) or (C,H,W).
func (f feature) size() (h, w int) {
	if len(f.Shape) != 3 {
		return 0, 0
	}
	if f.Shape[0] <= 4 && f.Shape[2] > 4 {
		return f.Shape[1], f.Shape[2]
	}
	return f.Shape[0], f.Shape[1]
}

// names flattens what the file calls the numbers of a row: a list, a list below a
// name as {"motors": [...]}, or places as {"delta_x_ee": 0}.
func (f feature) names() []string {
	var list []string
	if json.Unmarshal(f.Names, &list) == nil {
		return list
	}
	var places map[string]int
	if json.Unmarshal(f.Names, &places) == nil {
		list = make([]string, len(places))
		for name, i := range places {
			if i < 0 || i >= len(list) {
				return nil
			}
			list[i] = name
		}
		return list
	}
	var groups map[string][]string
	if json.Unmarshal(f.Names, &groups) == nil && len(groups) == 1 {
		for _, list := range groups {
			return list
		}
	}
	return nil
}

// info describes the dataset.
func (m meta) info(path string) table.Info {
	in := table.Info{Path: path, Format: "LeRobot", Version: m.Version, Robot: m.Robot, FPS: m.FPS}
	names := make([]string, 0, len(m.Features))
	for name := range m.Features {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f := m.Features[name]
		switch {
		case f.pictures() && f.depth():
			in.Notes = append(in.Notes, name+" is passed over: a depth map")
		case f.pictures():
			h, w := f.size()
			in.Cameras = append(in.Cameras, table.Camera{Name: name, Kind: f.Dtype, W: w, H: h})
		case !slices.Contains([]string{"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float16", "float32", "float64"}, f.Dtype):
			in.Notes = append(in.Notes, fmt.Sprintf("%s is passed over: %s", name, f.Dtype))
		default:
			c := table.Column{Name: name, Kind: f.Dtype, Shape: f.Shape}
			if ns := f.names(); len(ns) == c.Width() {
				c.Names = ns
			}
			in.Columns = append(in.Columns, c)
		}
	}
	return in
}

var field = regexp.MustCompile(`\{([a-z_]+)(?::0?(\d{1,2})d)?\}`)

// fill writes numbers and names into a path of info.json, as
// "data/chunk-{chunk_index:03d}/file.parquet". What would leave the dataset's
// folder is an error.
func fill(pattern string, numbers map[string]int, key string) (string, error) {
	var bad string
	path := field.ReplaceAllStringFunc(pattern, func(s string) string {
		m := field.FindStringSubmatch(s)
		if m[1] == "video_key" || m[1] == "image_key" {
			return key
		}
		n, ok := numbers[m[1]]
		if !ok {
			bad = m[1]
		}
		width, _ := strconv.Atoi(m[2])
		return fmt.Sprintf("%0*d", width, n)
	})
	if bad != "" {
		return "", fmt.Errorf("meta/info.json: path %q has the unknown field {%s}", pattern, bad)
	}
	if !filepath.IsLocal(path) {
		return "", fmt.Errorf("meta/info.json: path %q leads out of the dataset", pattern)
	}
	return path, nil
}

// lines calls f with every line of a jsonl file.
func lines(path string, f func(n int, line []byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	sc := bufio.NewScanner(file)
	sc.Buffer(nil, maxJSON)
	for n := 1; sc.Scan(); n++ {
		if len(strings.TrimSpace(sc.Text())) == 0 {
			continue
		}
		if err := f(n, sc.Bytes()); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
