package lerobot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy/dataset/lerobot/grid"
	"github.com/rapport-rl/rapport/policy/dataset/table"
	"github.com/rapport-rl/rapport/robot"
)

// sampled is how many images of an episode stand for all in the statistics.
const sampled = 50

// filesPerChunk is LeRobot's.
const filesPerChunk = 1000

// Spec says what a dataset to be written holds.
type Spec struct {
	Robot   string  // its type, as franka
	FPS     float64 // of the rows
	Columns []table.Column
	Cameras []table.Camera // W and H of the images as they come; in films an odd side gets one pixel more
	// Images has frames kept as PNG among the rows, bit for bit, instead of in films.
	Images bool
}

// Writer writes a v3.0 dataset. What an episode needs is in files of its own, with
// their footers, so that a writer that dies loses the episode it was at alone.
type Writer struct {
	dir   string
	spec  Spec
	n     int // episodes
	rows  int
	tasks []string
	stats map[string]*stat
	codec map[string]string
	err   error // of an episode that was written in part
}

// Create begins a dataset in a folder, which must be empty or new.
func Create(dir string, spec Spec) (*Writer, error) {
	es, err := os.ReadDir(dir)
	if err == nil && len(es) > 0 {
		return nil, fmt.Errorf("lerobot: %s is not empty; remove it, or write to another folder", dir)
	}
	if !(spec.FPS > 0 && spec.FPS <= 1000) {
		return nil, fmt.Errorf("lerobot: the rate is %v Hz, want that of the rows", spec.FPS)
	}
	w := &Writer{dir: dir, spec: spec, stats: map[string]*stat{}, codec: map[string]string{}}
	own := []string{"timestamp", "frame_index", "episode_index", "index", "task_index"}
	for _, c := range spec.Columns {
		if slices.Contains(own, c.Name) {
			return nil, fmt.Errorf("lerobot: the column %q is the format's own", c.Name)
		}
		if !slices.Contains([]string{"float32", "float64", "int64", "bool"}, c.Kind) || len(c.Shape) != 1 || c.Shape[0] < 1 || c.Shape[0] > maxWidth {
			return nil, fmt.Errorf("lerobot: column %q of kind %s and shape %v, want float32, float64, int64 or bool, and one number at least", c.Name, c.Kind, c.Shape)
		}
		if c.Kind == "bool" && c.Shape[0] > 1 {
			return nil, fmt.Errorf("lerobot: column %q: only a single number may be of kind bool", c.Name)
		}
		if c.Names != nil && len(c.Names) != c.Shape[0] {
			return nil, fmt.Errorf("lerobot: column %q has %d names for %d numbers", c.Name, len(c.Names), c.Shape[0])
		}
	}
	for i := range w.spec.Cameras {
		c := &w.spec.Cameras[i]
		if c.W < 1 || c.H < 1 || c.W >= vision.MaxSide || c.H >= vision.MaxSide {
			return nil, fmt.Errorf("lerobot: camera %q has %dx%d pixels", c.Name, c.W, c.H)
		}
	}
	return w, os.MkdirAll(dir, 0o755)
}

// Len is how many episodes were written.
func (w *Writer) Len() int { return w.n }

// Add writes an episode; it is whole and durable when Add returns. Frames are in
// the order of Spec.Cameras.
func (w *Writer) Add(ctx context.Context, t table.Table) error {
	if w.err != nil {
		return w.err
	}
	if err := w.fits(t); err != nil {
		return fmt.Errorf("lerobot: episode %s: %w", t.Name, err)
	}
	if err := w.add(ctx, t); err != nil {
		w.err = fmt.Errorf("lerobot: episode %s (%d): %w; the %d before it are whole", t.Name, w.n, err, w.n)
		return w.err
	}
	return nil
}

// Err is the error that ended the writing, nil while Add may be called.
func (w *Writer) Err() error { return w.err }

// Close ends the dataset. Each Add has left it whole.
func (w *Writer) Close() error {
	if w.err == nil && w.n == 0 {
		return errors.New("lerobot: no episode was written")
	}
	return w.err
}

func (w *Writer) fits(t table.Table) error {
	if t.Len < 1 || t.Len > maxSteps {
		return fmt.Errorf("%d rows, want 1 to %d", t.Len, maxSteps)
	}
	for _, c := range w.spec.Columns {
		xs, ok := t.Columns[c.Name]
		if !ok || len(xs) != t.Len*c.Width() {
			return fmt.Errorf("column %q has %d numbers, want %d for %d rows", c.Name, len(xs), t.Len*c.Width(), t.Len)
		}
		for i, x := range xs {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return fmt.Errorf("column %q: row %d holds %v", c.Name, i/c.Width(), x)
			}
		}
	}
	if len(w.spec.Cameras) == 0 {
		return nil
	}
	if len(t.Frames) != t.Len {
		return fmt.Errorf("%d rows of frames, want %d", len(t.Frames), t.Len)
	}
	for i, fs := range t.Frames {
		if len(fs) != len(w.spec.Cameras) {
			return fmt.Errorf("row %d has %d frames, want %d", i, len(fs), len(w.spec.Cameras))
		}
		for k, c := range w.spec.Cameras {
			if err := vision.Check(fs[k]); err != nil {
				return fmt.Errorf("row %d: %w", i, err)
			}
			if fs[k].W != c.W || fs[k].H != c.H {
				return fmt.Errorf("row %d: the frame of %q has %dx%d pixels, those before %dx%d", i, c.Name, fs[k].W, fs[k].H, c.W, c.H)
			}
		}
	}
	return nil
}

func (w *Writer) place() (chunk, file int64) {
	return int64(w.n / filesPerChunk), int64(w.n % filesPerChunk)
}

// path is where the files of the running episode are.
func (w *Writer) path(format, key string) (string, error) {
	c, f := w.place()
	rel, err := fill(format, map[string]int{"chunk_index": int(c), "file_index": int(f)}, key)
	return filepath.Join(w.dir, rel), err
}

func (w *Writer) add(ctx context.Context, t table.Table) error {
	for k, c := range w.spec.Cameras {
		if w.spec.Images {
			break
		}
		if err := w.film(ctx, k, c, t); err != nil {
			return err
		}
	}
	task := slices.Index(w.tasks, t.Task)
	if task < 0 {
		task = len(w.tasks)
		w.tasks = append(w.tasks, t.Task)
		if err := w.list(); err != nil {
			return err
		}
	}
	if err := w.table(ctx, t, task); err != nil {
		return err
	}
	if err := w.episode(t); err != nil {
		return err
	}
	w.n++
	w.rows += t.Len
	if err := w.put("meta/stats.json", w.statistics()); err != nil {
		return err
	}
	return w.put("meta/info.json", w.info())
}

func (w *Writer) put(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		return err
	}
	return grid.Put(filepath.Join(w.dir, filepath.FromSlash(name)), func(out io.Writer) error {
		_, err := out.Write(b)
		return err
	})
}

// list writes the tasks as pandas' index, by which LeRobot finds them.
func (w *Writer) list() error {
	type col struct {
		Name     string `json:"name"`
		Field    string `json:"field_name"`
		Pandas   string `json:"pandas_type"`
		Numpy    string `json:"numpy_type"`
		Metadata any    `json:"metadata"`
	}
	note, err := json.Marshal(map[string]any{
		"index_columns": []string{"task"}, "column_indexes": []any{}, "pandas_version": "1.5.3",
		"columns": []col{{"task_index", "task_index", "int64", "int64", nil}, {"task", "task", "unicode", "object", nil}},
	})
	if err != nil {
		return err
	}
	index := make([]int64, len(w.tasks))
	for i := range index {
		index[i] = int64(i)
	}
	return grid.WriteFile(filepath.Join(w.dir, "meta", "tasks.parquet"), map[string]string{"pandas": string(note)},
		grid.Column{Name: "task", Values: w.tasks}, grid.Column{Name: "task_index", Values: index})
}

// table writes the rows of an episode.
func (w *Writer) table(ctx context.Context, t table.Table, task int) error {
	cols, err := w.images(ctx, t)
	if err != nil {
		return err
	}
	for _, c := range w.spec.Columns {
		cols = append(cols, columnOf(c, t.Columns[c.Name], t.Len))
		w.stat(c.Name, c.Width()).rows(t.Columns[c.Name])
	}
	stamp, frame, episode, index, tasks := make([]float32, t.Len), make([]int64, t.Len), make([]int64, t.Len), make([]int64, t.Len), make([]int64, t.Len)
	for i := range t.Len {
		stamp[i], frame[i], episode[i], index[i], tasks[i] = float32(float64(i)/w.spec.FPS), int64(i), int64(w.n), int64(w.rows+i), int64(task)
		for name, x := range map[string]float64{"timestamp": float64(stamp[i]), "frame_index": float64(i), "episode_index": float64(w.n), "index": float64(index[i]), "task_index": float64(task)} {
			w.stat(name, 1).rows([]float64{x})
		}
	}
	cols = append(cols, grid.Column{Name: "timestamp", Values: stamp}, grid.Column{Name: "frame_index", Values: frame},
		grid.Column{Name: "episode_index", Values: episode}, grid.Column{Name: "index", Values: index}, grid.Column{Name: "task_index", Values: tasks})
	path, err := w.path(data3, "")
	if err != nil {
		return err
	}
	return grid.WriteFile(path, nil, cols...)
}

// columnOf is a column as it is kept: a single number by itself, more as a list.
func columnOf(c table.Column, xs []float64, n int) grid.Column {
	k := c.Width()
	out := grid.Column{Name: c.Name}
	switch {
	case c.Kind == "bool":
		v := make([]bool, n)
		for i := range v {
			v[i] = xs[i] != 0
		}
		out.Values = v
	case c.Kind == "int64" && k == 1:
		out.Values = cast[int64](xs)
	case c.Kind == "int64":
		out.Values = split(cast[int64](xs), k)
	case c.Kind == "float32" && k == 1:
		out.Values = cast[float32](xs)
	case c.Kind == "float32":
		out.Values = split(cast[float32](xs), k)
	case k == 1:
		out.Values = xs
	default:
		out.Values = split(xs, k)
	}
	return out
}

func cast[T int64 | float32](xs []float64) []T {
	out := make([]T, len(xs))
	for i, x := range xs {
		out[i] = T(x)
	}
	return out
}

func split[T any](xs []T, k int) [][]T {
	var out [][]T
	for i := 0; i < len(xs); i += k {
		out = append(out, xs[i:i+k])
	}
	return out
}

// episode writes where the episode is.
func (w *Writer) episode(t table.Table) error {
	chunk, file := w.place()
	one := func(name string, v int64) grid.Column { return grid.Column{Name: name, Values: []int64{v}} }
	cols := []grid.Column{one("episode_index", int64(w.n)), {Name: "tasks", Values: [][]string{{t.Task}}}, one("length", int64(t.Len)),
		one("data/chunk_index", chunk), one("data/file_index", file), one("dataset_from_index", int64(w.rows)), one("dataset_to_index", int64(w.rows+t.Len)),
		one("meta/episodes/chunk_index", chunk), one("meta/episodes/file_index", file)}
	for _, c := range w.spec.Cameras {
		if w.spec.Images {
			break
		}
		cols = append(cols, one("videos/"+c.Name+"/chunk_index", chunk), one("videos/"+c.Name+"/file_index", file),
			grid.Column{Name: "videos/" + c.Name + "/from_timestamp", Values: []float64{0}},
			grid.Column{Name: "videos/" + c.Name + "/to_timestamp", Values: []float64{float64(t.Len) / w.spec.FPS}})
	}
	path := filepath.Join(w.dir, "meta", "episodes", fmt.Sprintf("chunk-%03d", chunk), fmt.Sprintf("file-%03d.parquet", file))
	return grid.WriteFile(path, nil, cols...)
}

// images are the columns of frames, if they are to be among the rows.
func (w *Writer) images(ctx context.Context, t table.Table) ([]grid.Column, error) {
	if !w.spec.Images {
		return nil, nil
	}
	var cols []grid.Column
	for k, c := range w.spec.Cameras {
		s := w.stat(c.Name, 3)
		s.pixels = true
		stride := max(1, t.Len/sampled)
		v := make([]grid.Image, t.Len)
		for i, fs := range t.Frames {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if i%stride == 0 {
				s.image(fs[k])
			}
			b, err := vision.EncodePNG(fs[k])
			if err != nil {
				return nil, err
			}
			v[i] = grid.Image{Bytes: b, Path: fmt.Sprintf("frame-%06d.png", i)}
		}
		cols = append(cols, grid.Column{Name: c.Name, Values: v})
	}
	return cols, nil
}

// film writes the video of a camera.
func (w *Writer) film(ctx context.Context, k int, c table.Camera, t table.Table) (err error) {
	path, err := w.path(video3, c.Name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := vision.CreateFilm(path, w.spec.FPS, c.W+c.W%2, c.H+c.H%2)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Abort())
		} else {
			err = f.Close()
		}
	}()
	w.codec[c.Name] = f.Codec()
	s := w.stat(c.Name, 3)
	s.pixels = true
	stride := max(1, t.Len/sampled)
	for i, fs := range t.Frames {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i%stride == 0 {
			s.image(fs[k])
		}
		if err := f.Write(even(fs[k])); err != nil {
			return err
		}
	}
	return nil
}

// even repeats the last column and row of a frame with odd sides.
func even(f robot.Frame) robot.Frame {
	w, h := f.W+f.W%2, f.H+f.H%2
	if w == f.W && h == f.H {
		return f
	}
	pix := make([]byte, 3*w*h)
	for y := range h {
		row := f.Pix[3*f.W*min(y, f.H-1):][:3*f.W]
		copy(pix[3*w*y:], row)
		copy(pix[3*w*y+3*(w-1):3*w*(y+1)], row[len(row)-3:])
	}
	f.W, f.H, f.Pix = w, h, pix
	return f
}

// info is meta/info.json.
func (w *Writer) info() map[string]any {
	features := map[string]any{}
	scalar := func(name, dtype string) {
		features[name] = map[string]any{"dtype": dtype, "shape": []int{1}, "names": nil}
	}
	scalar("timestamp", "float32")
	for _, name := range []string{"frame_index", "episode_index", "index", "task_index"} {
		scalar(name, "int64")
	}
	for _, c := range w.spec.Columns {
		f := map[string]any{"dtype": c.Kind, "shape": c.Shape, "names": nil}
		if c.Names != nil {
			f["names"] = c.Names
		}
		features[c.Name] = f
	}
	for _, c := range w.spec.Cameras {
		if w.spec.Images {
			features[c.Name] = map[string]any{"dtype": "image", "shape": []int{c.H, c.W, 3}, "names": []string{"height", "width", "channels"}}
			continue
		}
		width, height := c.W+c.W%2, c.H+c.H%2
		codec := map[string]string{"avc1": "h264", "mp4v": "mpeg4"}[w.codec[c.Name]]
		features[c.Name] = map[string]any{"dtype": "video", "shape": []int{height, width, 3}, "names": []string{"height", "width", "channels"},
			"info": map[string]any{"video.height": height, "video.width": width, "video.codec": codec, "video.pix_fmt": "yuv420p",
				"video.is_depth_map": false, "video.fps": w.spec.FPS, "video.channels": 3, "has_audio": false}}
	}
	m := map[string]any{"codebase_version": "v3.0", "robot_type": w.spec.Robot, "total_episodes": w.n, "total_frames": w.rows, "total_tasks": len(w.tasks),
		"chunks_size": filesPerChunk, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200, "fps": w.spec.FPS,
		"splits": map[string]string{"train": fmt.Sprintf("0:%d", w.n)}, "data_path": data3, "video_path": nil, "features": features}
	if len(w.spec.Cameras) > 0 && !w.spec.Images {
		m["video_path"] = video3
	}
	return m
}
