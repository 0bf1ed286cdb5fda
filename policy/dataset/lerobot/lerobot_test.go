package lerobot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy/dataset/table"
	"github.com/rapport-rl/rapport/robot"
)

func TestReadsWhatArrowAndFfmpegWrote(t *testing.T) {
	for _, tt := range []struct {
		dir, version string
		cameras      []string
		action       func(e, t int) []float64
	}{
		{"v3", "v3.0", []string{"observation.images.front", "observation.images.wrist"},
			func(_, t int) []float64 { return []float64{0.5, -0.25, 0, float64(2 * (t % 2))} }},
		{"v21", "v2.1", []string{"observation.images.front"},
			func(e, t int) []float64 {
				return []float64{0.41 + 0.01*float64(t), -0.1 * float64(e), 0.3, 1, 0, 0, 0, 1}
			}},
	} {
		t.Run(tt.dir, func(t *testing.T) {
			s, err := Open(filepath.Join("testdata", tt.dir))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			in := s.Info()
			if in.Version != tt.version || in.FPS != 10 || in.Episodes != 2 || in.Steps != 11 || in.Robot != "franka" || len(in.Notes) != 0 {
				t.Errorf("got %+v", in)
			}
			if len(in.Cameras) != len(tt.cameras) {
				t.Fatalf("cameras %v, want %v", in.Cameras, tt.cameras)
			}
			for i, c := range in.Cameras {
				if c.Name != tt.cameras[i] || c.W != 96 || c.H != 64 {
					t.Errorf("camera %v, want %s of 96x64", c, tt.cameras[i])
				}
			}
			if c, _ := in.Column("observation.state"); c.Width() != 8 || strings.Join(c.Names, " ") != "x y z qx qy qz qw gripper_width" {
				t.Errorf("state is %v", c)
			}
			n := 0
			for e, T := range []int{6, 5} {
				tab, err := s.Read(context.Background(), e, table.Want{Cameras: tt.cameras,
					Columns: []string{"observation.state", "action", "next.done", "next.reward", "frame_index"}})
				if err != nil {
					t.Fatal(err)
				}
				if tab.Len != T || tab.Task != "push the cube" || tab.Name != fmt.Sprintf("episode_%06d", e) {
					t.Errorf("episode %d: %d steps of task %q, called %s", e, tab.Len, tab.Task, tab.Name)
				}
				for i := range T {
					near(t, tab.Row("observation.state", i), 0.4+0.01*float64(i), -0.1*float64(e), 0.3, 1, 0, 0, 0, 0.08-0.01*float64(i))
					near(t, tab.Row("action", i), tt.action(e, i)...)
					near(t, tab.Row("frame_index", i), float64(i))
					done, won := 0.0, 0.0
					if i == T-1 {
						done, won = 1, float64(1-e)
					}
					near(t, tab.Row("next.done", i), done)
					near(t, tab.Row("next.reward", i), won)
					if len(tab.Frames[i]) != len(tt.cameras) {
						t.Fatalf("step %d has %d frames", i, len(tab.Frames[i]))
					}
					for k, f := range tab.Frames[i] {
						if f.Camera != tt.cameras[k] || f.W != 96 || f.H != 64 || f.Seq != uint64(i) {
							t.Fatalf("step %d: frame %s %dx%d number %d", i, f.Camera, f.W, f.H, f.Seq)
						}
						if d := int(f.Pix[3*32*96+90]) - (20*n + 20); d < -4 || d > 4 { // what the codec leaves of a flat grey
							t.Errorf("episode %d, step %d: %s is %d grey, want %d", e, i, f.Camera, f.Pix[3*32*96+90], 20*n+20)
						}
					}
					n++
				}
			}
		})
	}
}

func near(t *testing.T, got []float64, want ...float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-6 {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

func TestRowsAndFramesBelongTogetherAcrossFiles(t *testing.T) {
	dir := t.TempDir()
	const n = 40
	lengths := write(t, dir, n)
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	begin := make([]int, n)
	for e := 1; e < n; e++ {
		begin[e] = begin[e-1] + lengths[e-1]
	}
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)[:12]
	for e := range n {
		order = append(order, e)
	}
	shrunk := 0
	want := table.Want{Columns: []string{"observation.state", "action", "next.done"}, Cameras: []string{"observation.images.front"},
		Frame: func(f robot.Frame) (robot.Frame, error) { shrunk++; return f, nil }}
	frames := 0
	for _, e := range order {
		tab, err := s.Read(context.Background(), e, want)
		if err != nil {
			t.Fatal(err)
		}
		if tab.Len != lengths[e] || tab.Task != fmt.Sprint("task ", e%3) {
			t.Fatalf("episode %d has %d steps of %q, want %d", e, tab.Len, tab.Task, lengths[e])
		}
		for i := range tab.Len {
			k := begin[e] + i
			near(t, tab.Row("observation.state", i), float64(k), float64(e), float64(i))
			near(t, tab.Row("action", i), 0.5*float64(k), -1)
			if got := shown(tab.Frames[i][0].Pix); got != k {
				t.Fatalf("episode %d, step %d shows frame %d, want %d", e, i, got, k)
			}
		}
		frames += tab.Len
	}
	if shrunk != frames {
		t.Errorf("%d of %d frames were made ready", shrunk, frames)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Read(ctx, 3, want); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancelling: %v", err)
	}
	if _, err := s.Read(context.Background(), 3, want); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// spoilt copies a dataset of testdata and does something to it.
func spoilt(t *testing.T, from string, do func(dir string)) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", from))); err != nil {
		t.Fatal(err)
	}
	do(dir)
	return dir
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBadDatasetsAreNamed(t *testing.T) {
	const data3, film3 = "data/chunk-000/file-000.parquet", "videos/observation.images.front/chunk-000/file-000.mp4"
	const data2, film2 = "data/chunk-000/episode_000000.parquet", "videos/chunk-000/observation.images.front/episode_000000.mp4"
	change := func(file, from, to string) func(string) {
		return func(dir string) {
			b := read(t, filepath.Join(dir, file))
			if !bytes.Contains(b, []byte(from)) {
				t.Fatalf("%s does not contain %q", file, from)
			}
			put(t, filepath.Join(dir, file), bytes.ReplaceAll(b, []byte(from), []byte(to)))
		}
	}
	remove := func(file string) func(string) {
		return func(dir string) {
			if err := os.RemoveAll(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
		}
	}
	halve := func(file string) func(string) {
		return func(dir string) {
			b := read(t, filepath.Join(dir, file))
			put(t, filepath.Join(dir, file), b[:len(b)/2])
		}
	}
	move := func(from, to string) func(string) {
		return func(dir string) { put(t, filepath.Join(dir, to), read(t, filepath.Join(dir, from))) }
	}
	for _, tt := range []struct {
		name, from string
		do         func(string)
		want       []string
	}{
		{"no info", "v3", remove("meta/info.json"), []string{"info.json"}},
		{"info is no JSON", "v3", func(dir string) { put(t, filepath.Join(dir, "meta/info.json"), []byte("{")) }, []string{"info.json", "JSON"}},
		{"old version", "v3", change("meta/info.json", `"v3.0"`, `"v1.6"`), []string{"v1.6", "convert"}},
		{"no version", "v3", change("meta/info.json", `"codebase_version"`, `"version"`), []string{"codebase_version"}},
		{"no rate", "v21", change("meta/info.json", `"fps": 10`, `"fps": 0`), []string{"fps is 0"}},
		{"no list of episodes, v3", "v3", remove("meta/episodes"), []string{"meta/episodes", "copy"}},
		{"no list of episodes, v2", "v21", remove("meta/episodes.jsonl"), []string{"episodes.jsonl is missing"}},
		{"empty list", "v21", func(dir string) { put(t, filepath.Join(dir, "meta/episodes.jsonl"), []byte("\n")) }, []string{"empty"}},
		{"list is no JSON", "v21", func(dir string) { put(t, filepath.Join(dir, "meta/episodes.jsonl"), []byte("{\n")) }, []string{"episodes.jsonl:1"}},
		{"episode twice", "v21", change("meta/episodes.jsonl", `"episode_index":1`, `"episode_index":0`), []string{"episode 0 is listed twice"}},
		{"path leads out", "v21", change("meta/info.json", `"data/chunk-`, `"../chunk-`), []string{"leads out"}},
		{"path of unknown field", "v21", change("meta/info.json", `{episode_chunk:03d}/episode`, `{chunk_of:03d}/episode`), []string{"chunk_of"}},
		{"rows missing", "v3", remove(data3), []string{"episode 0", data3, "missing"}},
		{"rows cut off", "v3", halve(data3), []string{"episode 0", data3, "footer"}},
		{"list cut off", "v3", halve("meta/episodes/chunk-000/file-000.parquet"), []string{"meta/episodes", "footer"}},
		{"column missing", "v3", change("meta/info.json", `"next.done"`, `"next.over"`), []string{"no column \"next.over\"", "it has", "next.done"}},
		{"other width", "v3", change("meta/info.json", "\"shape\": [\n    4\n", "\"shape\": [\n    5\n"), []string{`column "action"`, "row 0 has 4 numbers, want 5"}},
		{"length of another dataset", "v21", change("meta/episodes.jsonl", `"length":6`, `"length":7`), []string{"episode 0", data2, "6 rows", "7"}},
		{"rows of another episode", "v21", func(dir string) {
			move("data/chunk-000/episode_000001.parquet", data2)(dir)
			change("meta/episodes.jsonl", `"length":6`, `"length":5`)(dir)
		}, []string{"episode 0", "row 0 is of episode 1"}},
		{"other rate, v2", "v21", change("meta/info.json", `"fps": 10,`, `"fps": 20,`), []string{"timestamp", "step 1 is at 0.1", "20 Hz", "rate is mixed"}},
		{"other rate, v3", "v3", change("meta/info.json", `"fps": 10,`, `"fps": 20,`), []string{"episode 0", "20 Hz"}},
		{"video missing", "v21", remove(film2), []string{"episode 0", film2, "missing"}},
		{"video cut off", "v3", halve(film3), []string{"episode 0", film3, "ffmpeg"}},
		{"video is text", "v21", func(dir string) { put(t, filepath.Join(dir, film2), bytes.Repeat([]byte("film"), 99)) }, []string{film2, "ffmpeg"}},
		{"rows not fetched", "v21", func(dir string) {
			put(t, filepath.Join(dir, data2), []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"))
		}, []string{data2, "git lfs pull"}},
		{"video not fetched", "v21", func(dir string) {
			put(t, filepath.Join(dir, film2), []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"))
		}, []string{film2, "git lfs pull"}},
		{"video of another episode", "v21", move("videos/chunk-000/observation.images.front/episode_000001.mp4", film2), []string{film2, "5 frames", "6 rows"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := all(spoilt(t, tt.from, tt.do))
			if err == nil {
				t.Fatal("it was read")
			}
			for _, w := range append(tt.want, "lerobot: ") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
	// Of a v3 video that ends early the episodes before that are whole.
	dir := t.TempDir()
	lengths := write(t, dir, 12)
	total := 0
	for _, n := range lengths {
		total += n
	}
	numbers := make([]int, total-3)
	filmOf(t, filepath.Join(dir, film3), numbers)
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for e := range lengths {
		_, err := s.Read(context.Background(), e, table.Want{Cameras: []string{"observation.images.front"}})
		if short := e == len(lengths)-1; short != errors.Is(err, errShort) || !short && err != nil {
			t.Errorf("episode %d: %v", e, err)
		}
	}
	// An empty value is no number.
	rows := make([]step, 200)
	for i := range rows {
		rows[i].Time = float32(i) / rate
	}
	sheetOf(t, filepath.Join(dir, "data/chunk-000/file-000.parquet"), rows)
	s.Close() // the file is open otherwise
	if _, err := s.Read(context.Background(), 0, table.Want{Columns: []string{"label"}}); err == nil || !strings.Contains(err.Error(), `column "label": row 0 is empty`) {
		t.Errorf("empty value: %v", err)
	}
}

// all reads everything of a dataset.
func all(dir string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	var w table.Want
	for _, c := range s.Info().Columns {
		w.Columns = append(w.Columns, c.Name)
	}
	for _, c := range s.Info().Cameras {
		w.Cameras = append(w.Cameras, c.Name)
	}
	for i := range s.Info().Episodes {
		if _, err := s.Read(context.Background(), i, w); err != nil {
			return err
		}
	}
	return nil
}

func TestImagesMayLieBesideTheRows(t *testing.T) {
	type image struct {
		Bytes []byte `parquet:"bytes,optional"`
		Path  string `parquet:"path"`
	}
	type row struct {
		Image image `parquet:"observation.images.side"`
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "meta/info.json"), []byte(`{"codebase_version":"v2.0","fps":10,"total_episodes":1,"total_frames":3,
		"features":{"observation.images.side":{"dtype":"image","shape":[4,5,3]},"note":{"dtype":"string","shape":[1]},
		"observation.depth":{"dtype":"video","shape":[4,5,1],"info":{"video.is_depth_map":true}}}}`))
	put(t, filepath.Join(dir, "meta/episodes.jsonl"), []byte(`{"episode_index":0,"length":3}`))
	var rows []row
	for i := range 3 {
		b, err := vision.EncodePNG(robot.Frame{W: 5, H: 4, Pix: bytes.Repeat([]byte{byte(i), 0, 9}, 20)})
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			put(t, filepath.Join(dir, "images/observation.images.side/episode_000000/frame_000001.png"), b)
			b = nil
		}
		rows = append(rows, row{image{Bytes: b}})
	}
	sheetOf(t, filepath.Join(dir, "data/chunk-000/episode_000000.parquet"), rows)
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n := strings.Join(s.Info().Notes, "\n"); !strings.Contains(n, "note is passed over") || !strings.Contains(n, "depth map") {
		t.Errorf("notes: %s", n)
	}
	w := table.Want{Cameras: []string{"observation.images.side"}}
	tab, err := s.Read(context.Background(), 0, w)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if f := tab.Frames[i][0]; f.Pix[0] != byte(i) || f.Pix[2] != 9 {
			t.Errorf("image %d is %v", i, f.Pix[:3])
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "images")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(context.Background(), 0, w); err == nil || !strings.Contains(err.Error(), "row 1 holds no image") {
		t.Errorf("without the file: %v", err)
	}
}

func FuzzInfo(f *testing.F) {
	for _, dir := range []string{"v3", "v21"} {
		b, err := os.ReadFile(filepath.Join("testdata", dir, "meta/info.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b)
		if err != nil {
			return
		}
		for _, c := range m.info("x").Columns {
			if c.Width() > maxWidth || len(c.Names) > 0 && len(c.Names) != c.Width() {
				t.Errorf("column %v", c)
			}
		}
		for _, p := range []string{m.Data, m.Video} {
			path, err := fill(p, map[string]int{"episode_chunk": 1, "episode_index": 2, "chunk_index": 3, "file_index": 4}, "../key")
			if err == nil && !filepath.IsLocal(path) {
				t.Errorf("%q leads out", path)
			}
		}
	})
}

func FuzzSheet(f *testing.F) {
	for _, file := range []string{"v3/data/chunk-000/file-000.parquet", "v3/meta/episodes/chunk-000/file-000.parquet", "v21/data/chunk-000/episode_000000.parquet"} {
		b, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(differing(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := newSheet("fuzz", bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		rows := min(s.rows, 50)
		for _, c := range s.columns() {
			_, _ = s.floats(c, 0, rows, 0)
			_, _ = s.floats(c, rows/2, rows, 8)
			if s.rows < 1000 {
				_, _ = s.texts(c)
			}
		}
	})
}
