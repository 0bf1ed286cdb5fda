package dataset_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// drawn is an episode of odd numbers; its frames are smooth, as a codec wants them.
func drawn(rng *rand.Rand, n, T int, cameras ...string) policy.Episode {
	e := policy.Episode{ID: fmt.Sprintf("online-%05d", n), Seq: uint64(n), Terminal: n%2 == 0}
	for t := range T + 1 {
		in := policy.Input{Step: t}
		s := &in.State
		s.Stamp = time.Unix(0, int64(t)*50e6).UTC()
		for _, v := range [][]float64{s.Q[:], s.DQ[:], s.EE.P[:], s.EE.Q[:], s.Wrench[:]} {
			for i := range v {
				v[i] = rng.NormFloat64()
			}
		}
		s.EE.Q = franka.Unit(s.EE.Q)
		s.Grip = 0.08 * rng.Float64()
		for k, name := range cameras {
			f := robot.Frame{Camera: name, Seq: uint64(t), Stamp: s.Stamp, W: 63 + k, H: 48, Pix: make([]byte, 3*(63+k)*48)}
			for i := range f.Pix {
				f.Pix[i] = byte(100 + 40*math.Sin(float64(i/3%f.W)/9+float64(t)/3+float64(n)))
			}
			in.Frames = append(in.Frames, f)
		}
		e.Inputs = append(e.Inputs, in)
		if t == T {
			break
		}
		var c robot.Command
		for i := range c.Delta {
			c.Delta[i] = 0.02 * rng.NormFloat64()
		}
		c.Grip = rng.Float64()
		e.Applied = append(e.Applied, c)
		e.By = append(e.By, []robot.Source{robot.ByLog, robot.ByHuman}[t%2])
		e.Version = append(e.Version, 0)
		e.Rewards = append(e.Rewards, rng.NormFloat64())
	}
	return e
}

func export(t testing.TB, dir string, o dataset.ExportOptions, es ...policy.Episode) *dataset.Exporter {
	t.Helper()
	x := dataset.NewExporter(dir, o)
	for _, e := range es {
		if err := x.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func reread(t testing.TB, dir string) (es []policy.Episode, notes []dataset.Problem) {
	t.Helper()
	r, err := dataset.Open(t.Context(), dir, dataset.Options{Last: dataset.Repeat})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Each(t.Context(), func(e policy.Episode) error { es = append(es, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return es, r.Guessed()
}

func TestExportIsReadBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var want []policy.Episode
	for n := range 4 {
		want = append(want, drawn(rng, n, 5+3*n, "front", "wrist"))
	}
	dir := filepath.Join(t.TempDir(), "out")
	x := export(t, dir, dataset.ExportOptions{Task: "reach for the ball"}, want...)
	if err := x.Close(); err != nil || x.Len() != 4 {
		t.Fatalf("%d episodes, %v", x.Len(), err)
	}
	if len(x.Notes()) != 1 || !strings.Contains(x.Notes()[0], "63x48") {
		t.Errorf("notes %q, want one of the odd side", x.Notes())
	}
	got, guessed := reread(t, dir)
	if len(guessed) > 0 {
		t.Errorf("of our own columns nothing is to be guessed, but: %v", guessed)
	}
	if len(got) != len(want) {
		t.Fatalf("%d episodes, want %d", len(got), len(want))
	}
	for n, g := range got {
		w := want[n]
		if d := cmp.Diff(w.Applied, g.Applied); d != "" {
			t.Errorf("commands of episode %d:\n%s", n, d)
		}
		if d := cmp.Diff(w.Rewards, g.Rewards); d != "" {
			t.Errorf("rewards of episode %d:\n%s", n, d)
		}
		if d := cmp.Diff(w.By, g.By); d != "" || g.Terminal != w.Terminal {
			t.Errorf("episode %d: terminal %v, deciders\n%s", n, g.Terminal, d)
		}
		for i := range w.Applied {
			a, b := w.Inputs[i].State, g.Inputs[i].State
			for k := range a.EE.Q { // normalised anew
				if math.Abs(a.EE.Q[k]-b.EE.Q[k]) > 1e-15 {
					t.Errorf("episode %d, step %d: turn %v, want %v", n, i, b.EE.Q, a.EE.Q)
				}
			}
			b.EE.Q = a.EE.Q
			if a != b {
				t.Fatalf("episode %d, step %d: state\n%+v, want\n%+v", n, i, b, a)
			}
			for k, f := range g.Inputs[i].Frames {
				o := w.Inputs[i].Frames[k]
				if f.Camera != o.Camera || f.H != o.H || f.W != o.W+o.W%2 {
					t.Fatalf("frame %q of %dx%d pixels, want %q of %dx%d", f.Camera, f.W, f.H, o.Camera, o.W+o.W%2, o.H)
				}
				sum := 0.0
				for y := range o.H {
					for x := range 3 * o.W {
						sum += math.Abs(float64(f.Pix[3*f.W*y+x]) - float64(o.Pix[3*o.W*y+x]))
					}
				}
				if mean := sum / float64(len(o.Pix)); mean > 3 { // measured: 0.6; another step's frame: 11
					t.Errorf("episode %d, step %d, camera %s: pixels differ by %.2f in the mean", n, i, f.Camera, mean)
				}
			}
		}
	}
}

func TestExportedImagesAreTheFrames(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	want := []policy.Episode{drawn(rng, 0, 5, "front", "wrist"), drawn(rng, 1, 4, "front", "wrist")}
	for _, e := range want {
		for _, in := range e.Inputs {
			for i := range in.Frames[1].Pix {
				in.Frames[1].Pix[i] = byte(rng.Uint32())
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "out")
	if x := export(t, dir, dataset.ExportOptions{Images: true}, want...); len(x.Notes()) > 0 {
		t.Errorf("notes %q", x.Notes())
	}
	got, _ := reread(t, dir)
	if len(got) != 2 {
		t.Fatalf("%d episodes", len(got))
	}
	for n, e := range got {
		for i := range e.Applied {
			for k, f := range e.Inputs[i].Frames {
				if o := want[n].Inputs[i].Frames[k]; f.Camera != o.Camera || f.W != o.W || !bytes.Equal(f.Pix, o.Pix) {
					t.Errorf("episode %d, step %d: camera %s has other pixels", n, i, o.Camera)
				}
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "videos")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there are films too: %v", err)
	}
}

// Every episode is whole when Add returns: without Close, and with what a killed
// writer leaves of the next one.
func TestKilledExportLosesTheRunningEpisodeAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	dir := filepath.Join(t.TempDir(), "out")
	export(t, dir, dataset.ExportOptions{}, drawn(rng, 0, 6, "front"), drawn(rng, 1, 7, "front"))
	if err := os.WriteFile(filepath.Join(dir, "videos/observation.images.front/chunk-000/file-002.mp4"), []byte("half a film"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data/chunk-000/.part-1"), []byte("PAR1"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, _ := reread(t, dir)
	if len(got) != 2 || got[0].Len() != 6 || got[1].Len() != 7 {
		t.Errorf("%d episodes are left", len(got))
	}
}

// What LeRobot v3.0 looks for, by its public documentation.
func TestExportIsLeRobots(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	dir := filepath.Join(t.TempDir(), "out")
	export(t, dir, dataset.ExportOptions{Task: "pick"}, drawn(rng, 0, 6, "front"), drawn(rng, 1, 7, "front"))
	var info struct {
		Version  string            `json:"codebase_version"`
		Robot    string            `json:"robot_type"`
		Episodes int               `json:"total_episodes"`
		Frames   int               `json:"total_frames"`
		Tasks    int               `json:"total_tasks"`
		Chunks   int               `json:"chunks_size"`
		FPS      int               `json:"fps"`
		Splits   map[string]string `json:"splits"`
		Data     string            `json:"data_path"`
		Video    string            `json:"video_path"`
		Features map[string]struct {
			Dtype string         `json:"dtype"`
			Shape []int          `json:"shape"`
			Names []string       `json:"names"`
			Info  map[string]any `json:"info"`
		} `json:"features"`
	}
	b, err := os.ReadFile(filepath.Join(dir, "meta/info.json"))
	if err := errors.Join(err, json.Unmarshal(b, &info)); err != nil {
		t.Fatal(err)
	}
	if info.Version != "v3.0" || info.Robot != "franka" || info.Episodes != 2 || info.Frames != 13 || info.Tasks != 1 || info.Chunks != 1000 || info.FPS != 20 ||
		info.Splits["train"] != "0:2" || info.Data != "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet" || info.Video != "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4" {
		t.Errorf("meta/info.json is %+v", info)
	}
	front := info.Features["observation.images.front"]
	if front.Dtype != "video" || !cmp.Equal(front.Shape, []int{48, 64, 3}) || front.Info["video.codec"] != "h264" || front.Info["video.pix_fmt"] != "yuv420p" {
		t.Errorf("the camera is %+v", front)
	}
	for name, dtype := range map[string]string{"observation.state": "float32", "action": "float32", "next.reward": "float32", "next.done": "bool", "next.truncated": "bool",
		"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64"} {
		f := info.Features[name]
		if f.Dtype != dtype || len(f.Shape) != 1 || f.Names != nil && len(f.Names) != f.Shape[0] {
			t.Errorf("feature %s is %+v", name, f)
		}
	}
	type row struct {
		State   []float32 `parquet:"observation.state,list"`
		Action  []float32 `parquet:"action,list"`
		Done    bool      `parquet:"next.done"`
		Stamp   float32   `parquet:"timestamp"`
		Frame   int64     `parquet:"frame_index"`
		Episode int64     `parquet:"episode_index"`
		Index   int64     `parquet:"index"`
		Task    int64     `parquet:"task_index"`
	}
	rows, err := parquet.ReadFile[row](filepath.Join(dir, "data/chunk-000/file-001.parquet"))
	if err != nil || len(rows) != 7 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	last := rows[6]
	if len(last.State) != 15 || len(last.Action) != 7 || !last.Done || rows[5].Done || last.Stamp != 0.3 || last.Frame != 6 || last.Episode != 1 || last.Index != 12 || last.Task != 0 {
		t.Errorf("the last row is %+v", last)
	}
	type task struct {
		Task  string `parquet:"task"`
		Index int64  `parquet:"task_index"`
	}
	tasks, err := parquet.ReadFile[task](filepath.Join(dir, "meta/tasks.parquet"))
	if err != nil || !cmp.Equal(tasks, []task{{"pick", 0}}) {
		t.Errorf("tasks %+v, %v", tasks, err)
	}
	type place struct {
		Episode int64    `parquet:"episode_index"`
		Tasks   []string `parquet:"tasks,list"`
		Length  int64    `parquet:"length"`
		File    int64    `parquet:"data/file_index"`
		From    int64    `parquet:"dataset_from_index"`
		To      int64    `parquet:"dataset_to_index"`
		End     float64  `parquet:"videos/observation.images.front/to_timestamp"`
	}
	places, err := parquet.ReadFile[place](filepath.Join(dir, "meta/episodes/chunk-000/file-001.parquet"))
	if err != nil || !cmp.Equal(places, []place{{1, []string{"pick"}, 7, 1, 6, 13, 0.35}}) {
		t.Errorf("episodes %+v, %v", places, err)
	}
	var stats map[string]struct {
		Min, Max, Mean, Std json.RawMessage
		Count               []int
	}
	b, err = os.ReadFile(filepath.Join(dir, "meta/stats.json"))
	if err := errors.Join(err, json.Unmarshal(b, &stats)); err != nil {
		t.Fatal(err)
	}
	for name := range info.Features {
		if _, ok := stats[name]; !ok {
			t.Errorf("meta/stats.json lacks %s", name)
		}
	}
	var mean []float64
	var deep [][][]float64
	if err := errors.Join(json.Unmarshal(stats["index"].Mean, &mean), json.Unmarshal(stats["observation.images.front"].Max, &deep)); err != nil {
		t.Fatal(err)
	}
	if math.Abs(mean[0]-6) > 1e-12 || stats["index"].Count[0] != 13 || len(deep) != 3 || deep[0][0][0] > 141./255 || deep[0][0][0] < 100./255 {
		t.Errorf("the mean of index is %v of %v, the brightest red %v", mean, stats["index"].Count, deep)
	}
}

func TestExportRefuses(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	dir := t.TempDir()
	whole := drawn(rng, 0, 4, "front")
	for want, f := range map[string]func(e *policy.Episode, o *dataset.ExportOptions){
		"some episodes have rewards":     func(e *policy.Episode, _ *dataset.ExportOptions) { e.Rewards = nil },
		`no frame of the camera "front"`: func(e *policy.Episode, _ *dataset.ExportOptions) { e.Inputs[2].Frames = nil },
		"those before 63x48": func(e *policy.Episode, _ *dataset.ExportOptions) {
			*e = drawn(rng, 1, 4, "other", "front")
			e.Inputs[0].Frames[1].Camera = "front"
		},
		"row 1 holds NaN": func(e *policy.Episode, _ *dataset.ExportOptions) { e.Applied[1].Grip = math.NaN() },
		"without an id":   func(e *policy.Episode, _ *dataset.ExportOptions) { e.ID = "" },
	} {
		e, o := drawn(rng, 1, 4, "front"), dataset.ExportOptions{}
		f(&e, &o)
		x := export(t, filepath.Join(dir, want), o, whole)
		if err := x.Add(t.Context(), e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		// What was refused leaves the dataset as it was.
		if got, _ := reread(t, filepath.Join(dir, want)); len(got) != 1 {
			t.Errorf("%s: %d episodes", want, len(got))
		}
	}
	if err := dataset.NewExporter(dir, dataset.ExportOptions{}).Add(t.Context(), whole); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a folder with something in it: %v", err)
	}
	still := drawn(rng, 2, 3)
	for i := range still.Inputs {
		still.Inputs[i].State.Stamp = time.Time{}
	}
	if err := dataset.NewExporter(filepath.Join(dir, "still"), dataset.ExportOptions{}).Add(t.Context(), still); err == nil || !strings.Contains(err.Error(), "name the rate") {
		t.Errorf("no times: %v", err)
	}
	if err := dataset.NewExporter(filepath.Join(dir, "none"), dataset.ExportOptions{}).Close(); err == nil {
		t.Error("nothing was called a dataset")
	}
}

// LeRobot reads a whole number of frames a second.
func TestExportTellsOfARateThatIsNoWholeNumber(t *testing.T) {
	for rate, told := range map[float64]int{20: 0, 20.1: 0, 13.2: 1} {
		e := policy.Episode{ID: "a"}
		for i := range 12 {
			e.Inputs = append(e.Inputs, policy.Input{Step: i, State: robot.State{Stamp: time.Unix(1, 0).Add(time.Duration(float64(i) / rate * 1e9)), EE: robot.Pose{Q: [4]float64{1}}}})
		}
		e.Applied, e.By, e.Version = make([]robot.Command, 11), make([]robot.Source, 11), make([]uint64, 11)
		x := dataset.NewExporter(filepath.Join(t.TempDir(), "out"), dataset.ExportOptions{})
		if err := x.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, s := range x.Notes() {
			if strings.Contains(s, "LeRobot wants a whole number") {
				n++
			}
		}
		if n != told {
			t.Errorf("%v a second: %q", rate, x.Notes())
		}
	}
}

// A rate that is named is for stamps that tell none, or about that one; it does not change the speed of
// what tells another.
func TestNamedRatesKeepTheSpeed(t *testing.T) {
	at := func(id string, rate float64) policy.Episode {
		e := policy.Episode{ID: id}
		for i := range 12 {
			var d float64
			if rate > 0 {
				d = float64(i) / rate
			}
			e.Inputs = append(e.Inputs, policy.Input{Step: i, State: robot.State{Stamp: time.Unix(1, 0).Add(time.Duration(d * 1e9)), EE: robot.Pose{Q: [4]float64{1}}}})
		}
		e.Applied, e.By, e.Version = make([]robot.Command, 11), make([]robot.Source, 11), make([]uint64, 11)
		return e
	}
	for _, tt := range []struct {
		rates       []float64 // of the episodes
		named, want float64
		note        string
	}{
		{[]float64{20}, 10, 20, "the stamps of 0 tell a rate of 20, and not the 10 that was named"},
		{[]float64{0}, 10, 10, ""},
		{[]float64{19.9}, 20, 20, ""},
		{[]float64{19.3}, 20, 20, "the stamps of 0 tell a rate of 19.3; the dataset has 20"},
		{[]float64{20, 20, 30}, 0, 20, "the stamps of 2 tell a rate of 30; the dataset has 20"},
	} {
		dir := filepath.Join(t.TempDir(), "out")
		x := dataset.NewExporter(dir, dataset.ExportOptions{FPS: tt.named})
		for i, rate := range tt.rates {
			if err := x.Add(t.Context(), at(fmt.Sprint(i), rate)); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		in, err := dataset.Inspect(dir, dataset.Options{})
		if err != nil || in.FPS != tt.want {
			t.Errorf("%v and %v named: the dataset has %v, want %v, %v", tt.rates, tt.named, in.FPS, tt.want, err)
		}
		notes := strings.Join(x.Notes(), "\n")
		if tt.note == "" == strings.Contains(notes, "rate") || !strings.Contains(notes, tt.note) {
			t.Errorf("%v and %v named: %q, want %q", tt.rates, tt.named, notes, tt.note)
		}
	}
}
