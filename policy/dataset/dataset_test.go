package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset/table"
	"github.com/rapport-rl/rapport/robot"
)

const robosuite, libero, v3, v21 = "robomimic/testdata/robosuite.hdf5", "robomimic/testdata/libero.hdf5", "lerobot/testdata/v3", "lerobot/testdata/v21"

// from reads everything of a dataset.
func from(t *testing.T, path string, o Options) ([]policy.Episode, *Reader, error) {
	t.Helper()
	r, err := Open(t.Context(), path, o)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	var es []policy.Episode
	err = r.Each(t.Context(), func(e policy.Episode) error { es = append(es, e); return nil })
	return es, r, err
}

func TestEveryFormatBecomesEpisodes(t *testing.T) {
	name := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	for _, tt := range []struct {
		path     string
		o        Options
		steps    []int
		terminal []bool
		cameras  string
		first    robot.Command
		ids      string
	}{
		{robosuite, Options{}, []int{6, 5, 7}, []bool{true, true, true}, "agentview", robot.Command{Delta: [6]float64{0: 0.025, 5: 0.1}, Grip: 1}, "robosuite-demo_0 robosuite-demo_2 robosuite-demo_10"},
		{robosuite, Options{Filter: "valid", Name: "lift/7"}, []int{5}, []bool{true}, "agentview", robot.Command{Delta: [6]float64{0.025, 0, -0.005, 0, 0, 0.1}, Grip: 1}, "lift-7-demo_2"},
		{libero, Options{Terminal: Never, Limit: 1}, []int{5}, []bool{false}, "agentview", robot.Command{Delta: [6]float64{0: 0.025, 5: 0.1}, Grip: 1}, "libero-demo_0"},
		// The second episode of both ended without success: its last action is dropped.
		{v3, Options{Map: Map{Action: Action{Scale: 0.02, Open: 2}}}, []int{6, 4}, []bool{true, false}, "front wrist", robot.Command{Delta: [6]float64{0.01, -0.005}}, "v3-episode_000000 v3-episode_000001"},
		{v21, Options{}, []int{6, 4}, []bool{true, false}, "front", robot.Command{Delta: [6]float64{0: 0.01}, Grip: 1}, "v21-episode_000000 v21-episode_000001"},
	} {
		told := 0
		tt.o.Progress = func(done, total int) {
			if told++; done != told || total != len(tt.steps) {
				t.Errorf("%s: told of %d of %d", tt.path, done, total)
			}
		}
		es, r, err := from(t, tt.path, tt.o)
		if err != nil {
			t.Errorf("%s: %v", tt.path, err)
			continue
		}
		var steps []int
		var terminal []bool
		var ids []string
		for k, e := range es {
			steps, terminal, ids = append(steps, e.Len()), append(terminal, e.Terminal), append(ids, e.ID)
			if e.Origin != policy.Demo || e.Seq != uint64(k) || !name.MatchString(e.ID) {
				t.Errorf("%s: episode %s of origin %d is number %d", tt.path, e.ID, e.Origin, e.Seq)
			}
			for i, in := range e.Inputs {
				var cams []string
				for _, f := range in.Frames {
					cams = append(cams, f.Camera)
				}
				if got := strings.Join(cams, " "); got != tt.cameras || in.Step != i {
					t.Fatalf("%s: step %d (%d) has the cameras %s, want %s", tt.path, in.Step, i, got, tt.cameras)
				}
			}
		}
		if !slices.Equal(steps, tt.steps) || !slices.Equal(terminal, tt.terminal) || strings.Join(ids, " ") != tt.ids || told != len(tt.steps) {
			t.Errorf("%s: steps %v, terminal %v, %v, told %d times", tt.path, steps, terminal, ids, told)
			continue
		}
		got := es[0].Applied[0]
		for k, x := range got.Delta {
			if d := x - tt.first.Delta[k]; !(d < 1e-6 && d > -1e-6) || got.Grip != tt.first.Grip { // float32 in the files
				t.Errorf("%s: command %v, want %v", tt.path, got, tt.first)
				break
			}
		}
		if len(r.Left()) != 0 || r.Map().Action.Position == "" {
			t.Errorf("%s: left out %v, mapped as %+v", tt.path, r.Left(), r.Map())
		}
	}
}

func TestCamerasAreMadeReadyWhileReading(t *testing.T) {
	o := Options{Limit: 1, Map: Map{Cameras: []Camera{{Key: "obs/agentview_image", Name: "side", Flip: true, Crop: [4]int{0, 0, 12, 4}, W: 6, H: 4}}}}
	es, _, err := from(t, robosuite, o)
	if err != nil {
		t.Fatal(err)
	}
	f := es[0].Inputs[2].Frames[0]
	if f.Camera != "side" || f.W != 6 || f.H != 4 || f.Seq != 2 || f.Stamp.UnixMilli() != 100 {
		t.Fatalf("frame %s %dx%d number %d at %v", f.Camera, f.W, f.H, f.Seq, f.Stamp)
	}
	// Upside down, the odd row is the last one, and is cut off.
	for y := range 4 {
		if got := f.Pix[3*6*y+1]; got != 100 {
			t.Errorf("row %d is %d green, want 100", y, got)
		}
	}
	o.Map.Cameras[0].Crop = [4]int{0, 0, 13, 4}
	if _, _, err := from(t, robosuite, o); err == nil || !strings.Contains(err.Error(), "crop") || !strings.Contains(err.Error(), "demo_0") {
		t.Errorf("crop beyond the image: %v", err)
	}
}

func TestFramesMayBeLeftOut(t *testing.T) {
	es, r, err := from(t, robosuite, Options{NoFrames: true, Map: Map{Base: [3]float64{0, 0, 0.1}}})
	if err != nil {
		t.Fatal(err)
	}
	if in := es[0].Inputs[0]; in.Frames != nil || math.Abs(in.State.EE.P[2]-0.1) > 1e-9 || len(es[0].Inputs) != 7 {
		t.Errorf("%d frames at %v, %d inputs", len(in.Frames), in.State.EE.P, len(es[0].Inputs))
	}
	if g := r.Guessed(); len(g) != 0 {
		t.Errorf("guessed %v, which was given", g)
	}
	if _, r, err = from(t, robosuite, Options{}); err != nil || len(r.Guessed()) != 1 || r.Guessed()[0].Field != "base" {
		t.Errorf("guessed %v, %v", r.Guessed(), err)
	}
}

func TestWhatIsNoDatasetIsRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	file("session/session.db", "x")
	file("other/data/x.csv", "x")
	file("other/notes.txt", "x")
	for _, tt := range []struct {
		path string
		o    Options
		want string
	}{
		{filepath.Join(dir, "none"), Options{}, "no such file"},
		{empty, Options{}, "holds nothing"},
		{filepath.Join(dir, "other"), Options{}, "neither meta/info.json (LeRobot) nor session.db (a session); it holds data, notes.txt"},
		{filepath.Join(dir, "session"), Options{}, "no opener of sessions"},
		{file("text.hdf5", "hello"), Options{}, "does not begin as HDF5"},
		{file("nothing.hdf5", ""), Options{}, "does not begin as HDF5"},
		{file("one.parquet", "PAR1...PAR1"), Options{}, "name the folder which holds meta/info.json"},
		{file("one.mcap", "\x89MCAP0\r\n"), Options{}, "rapport replay"},
		{file("one.hdf5", "\x89HDF\r\n\x1a\n and no more"), Options{}, "one.hdf5"},
		{robosuite, Options{Filter: "test"}, "no filter mask/test"},
		{v3, Options{Filter: "train"}, "filter \"train\" is of robomimic files alone"},
		{file("pointer.hdf5", "version https://git-lfs.github.com/spec/v1\n"), Options{}, "git lfs pull"},
		{robosuite, Options{Terminal: "maybe"}, "terminal is \"maybe\""},
		{robosuite, Options{Last: "maybe"}, "last is \"maybe\""},
		{robosuite, Options{Limit: -1}, "limit is -1"},
		{robosuite, Options{FPS: -1}, "fps is -1"},
		// What cannot be guessed is asked for, with what there is.
		{v3, Options{}, "action.scale: \"action[0:3]\" are moves"},
		{v3, Options{}, "observation.state float32[8] (x, y, z, qx, qy, qz, qw, gripper_width)"},
		{v3, Options{}, "observation.images.wrist image 96x64"},
		{v3, Options{}, "  position: observation.state[0:3]"},
		{robosuite, Options{Map: Map{Position: "obs/pos", Rotation: "obs/robot0_eef_quat"}}, "no column \"obs/pos\""},
	} {
		_, err := Open(t.Context(), tt.path, tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "dataset: ") {
			t.Errorf("%s: %v, want %s", tt.path, err, tt.want)
		}
	}
	if _, err := Inspect(filepath.Join(dir, "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("inspecting nothing: %v", err)
	}
}

func TestInfoIsReadWithoutAMap(t *testing.T) {
	for path, want := range map[string][]string{
		v3:        {"LeRobot v3.0", "franka", "10 Hz", "2 of 11 steps", "observation.images.front video 96x64", "action float32[4] (delta_x"},
		robosuite: {"robomimic", "Panda", "20 Hz", "3 of 18 steps", "train, valid"},
	} {
		in, err := Inspect(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(in.String(), w) {
				t.Errorf("%s: %q does not say %q", path, in, w)
			}
		}
	}
}

func TestBadEpisodesAreLeftOutAndAccountedFor(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(v21)); err != nil {
		t.Fatal(err)
	}
	rows := filepath.Join(dir, "data/chunk-000/episode_000000.parquet")
	if err := os.Truncate(rows, 100); err != nil {
		t.Fatal(err)
	}
	if _, _, err := from(t, dir, Options{}); err == nil || !strings.Contains(err.Error(), rows) {
		t.Errorf("without SkipBad: %v", err)
	}
	told := 0
	es, r, err := from(t, dir, Options{SkipBad: true, Progress: func(int, int) { told++ }})
	if err != nil {
		t.Fatal(err)
	}
	if len(es) != 1 || es[0].Seq != 1 || len(r.Left()) != 1 || told != 2 {
		t.Fatalf("%d episodes, told %d times, left out %v", len(es), told, r.Left())
	}
	if l := r.Left()[0]; l.Episode != 0 || !strings.Contains(l.String(), "episode 0: ") || !strings.Contains(l.String(), rows) {
		t.Errorf("account: %v", l)
	}
	if err := os.Remove(filepath.Join(dir, "videos/chunk-000/observation.images.front/episode_000001.mp4")); err != nil {
		t.Fatal(err)
	}
	if es, _, err = from(t, dir, Options{SkipBad: true}); err == nil || len(es) != 0 || !strings.Contains(err.Error(), "none of the 2 episodes") {
		t.Errorf("nothing is left: %d episodes, %v", len(es), err)
	}
}

func TestReadingStops(t *testing.T) {
	r, err := Open(t.Context(), robosuite, Options{SkipBad: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Len() != 3 {
		t.Errorf("%d episodes, want 3", r.Len())
	}
	stop := errors.New("enough")
	if err := r.Each(t.Context(), func(policy.Episode) error { return stop }); err != stop {
		t.Errorf("got %v, want what the caller returned", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) || len(r.Left()) != 0 {
		t.Errorf("after cancelling: %v, left out %v", err, r.Left())
	}
	for range 2 {
		if _, err := r.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Next(t.Context()); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// past is a session of one episode.
type past struct{ closed bool }

func (p *past) Info() Info {
	return Info{Format: "session", Episodes: 1, Cameras: []table.Camera{{Name: "front", W: 2, H: 2}}}
}
func (p *past) Close() error { p.closed = true; return nil }
func (p *past) Episode(context.Context, int) (policy.Episode, error) {
	f := func() []robot.Frame { return []robot.Frame{{Camera: "front", W: 2, H: 2, Pix: make([]byte, 12)}} }
	return policy.Episode{ID: "e", Inputs: []policy.Input{{Frames: f()}, {Frames: f()}}, Applied: make([]robot.Command, 1),
		By: make([]robot.Source, 1), Version: make([]uint64, 1)}, nil
}

func TestSessionsAreReadByTheirOpener(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "session.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &past{}
	o := Options{Session: func(string) (Session, error) { return p, nil }}
	es, _, err := from(t, dir, o)
	if err != nil || len(es) != 1 || es[0].ID != "e" || !p.closed {
		t.Errorf("got %v, %v, closed %t", es, err, p.closed)
	}
	o.Map.Cameras = []Camera{{Key: "front", Name: "f", W: 1, H: 1}}
	if es, _, err = from(t, dir, o); err != nil || es[0].Inputs[1].Frames[0].W != 1 {
		t.Errorf("made ready: %v", err)
	}
	o.Map.Cameras[0].Key = "back"
	if _, _, err = from(t, dir, o); err == nil || !strings.Contains(err.Error(), "cameras of the map") {
		t.Errorf("another camera: %v", err)
	}
	o.Map.Cameras[0].Key = ""
	if _, _, err = from(t, dir, o); err == nil || !strings.Contains(err.Error(), "cameras[0]") {
		t.Errorf("no key: %v", err)
	}
	o.Session = func(string) (Session, error) { return nil, errors.New("in use") }
	if _, _, err = from(t, dir, o); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("opener fails: %v", err)
	}
}

func ExampleOpen() {
	r, err := Open(context.Background(), "robomimic/testdata/robosuite.hdf5", Options{Filter: "train"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	err = r.Each(context.Background(), func(e policy.Episode) error {
		fmt.Println(e.ID, e.Len(), "steps, return", e.Return())
		return nil
	})
	fmt.Println(err)
	// Output:
	// robosuite-demo_0 6 steps, return 1
	// robosuite-demo_10 7 steps, return 1
	// <nil>
}
