package robomimic

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy/dataset/hdf5"
	"github.com/rapport-rl/rapport/policy/dataset/table"
	"github.com/rapport-rl/rapport/robot"
)

var lengths = []int{6, 5, 7} // of testdata/make.py

func TestReadsWhatH5pyWrote(t *testing.T) { agrees(t, "testdata/robosuite.hdf5") }

func agrees(t *testing.T, path string) {
	s, err := Open(path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := s.Info()
	want := table.Control{Kind: "OSC_POSE", Scale: 0.05, Turn: 0.5}
	if in.FPS != 20 || in.Robot != "Panda" || in.Episodes != 3 || in.Steps != 18 || in.Control != want || !slices.Equal(in.Filters, []string{"train", "valid"}) {
		t.Errorf("got %+v", in)
	}
	if len(in.Cameras) != 1 || in.Cameras[0] != (table.Camera{Name: "obs/agentview_image", Kind: "uint8 HWC", W: 12, H: 8}) {
		t.Errorf("cameras %v", in.Cameras)
	}
	for d, name := range []string{"demo_0", "demo_2", "demo_10"} {
		tab, err := s.Read(context.Background(), d, table.Want{Columns: []string{"actions", "obs/robot0_eef_pos", "obs/robot0_joint_pos", "rewards", "dones"}, Cameras: []string{"obs/agentview_image"}})
		if err != nil {
			t.Fatal(err)
		}
		T := lengths[d]
		if tab.Name != name || tab.Len != T {
			t.Fatalf("demonstration %d is %s of %d steps, want %s of %d", d, tab.Name, tab.Len, name, T)
		}
		for i := range T {
			grip := -1.0
			if i%2 == 1 {
				grip = 1
			}
			near(t, tab.Row("actions", i), 0.5, 0, -0.1*float64(d), 0, 0, 0.2, grip)
			near(t, tab.Row("obs/robot0_eef_pos", i), 0.4+0.01*float64(i), 0, 0.2)
			near(t, tab.Row("obs/robot0_joint_pos", i), 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
			last := 0.0
			if i == T-1 {
				last = 1
			}
			near(t, tab.Row("rewards", i), last)
			near(t, tab.Row("dones", i), last)
			picture(t, tab.Frames[i], d, i)
		}
		near(t, tab.Last["obs/robot0_eef_pos"], 0.4+0.01*float64(T), 0, 0.2)
		if tab.Last["actions"] != nil {
			t.Error("an action after the last")
		}
		picture(t, tab.LastFrames, d, T)
	}
}

func TestReadsImagesOfFloatsWithTheChannelFirst(t *testing.T) {
	s, err := Open("testdata/libero.hdf5", "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if in := s.Info(); in.FPS != 0 || in.Control != (table.Control{}) || !strings.Contains(strings.Join(in.Notes, " "), "env_args") || !strings.Contains(strings.Join(in.Notes, " "), "obs/depth") {
		t.Errorf("got %+v", in)
	}
	for d := range 2 {
		tab, err := s.Read(context.Background(), d, table.Want{Columns: []string{"obs/ee_ori"}, Cameras: []string{"obs/agentview_rgb"}})
		if err != nil {
			t.Fatal(err)
		}
		if tab.Last != nil || tab.LastFrames != nil {
			t.Error("something after the last step, which the file does not hold")
		}
		for i := range lengths[d] {
			near(t, tab.Row("obs/ee_ori", i), 0, math.Pi/2, 0)
			picture(t, tab.Frames[i], d, i)
		}
	}
}

// Images are read some at a time and made smaller at once, so that how many bytes they have in
// the file does not matter.
func TestReadsLargeImagesThatAreMadeSmaller(t *testing.T) {
	b, err := os.ReadFile("testdata/libero.hdf5")
	if err != nil {
		t.Fatal(err)
	}
	words := func(ns ...uint64) (out []byte) {
		for _, n := range ns {
			out = binary.LittleEndian.AppendUint64(out, n)
		}
		return out
	}
	patch := func(old, now []byte) {
		t.Helper()
		if bytes.Count(b, old) == 0 {
			t.Fatalf("%x is not in the file", old)
		}
		b = bytes.ReplaceAll(b, old, now)
	}
	const h, w = 600, 800
	at, size := uint64(len(b)), uint64(lengths[0]*3*h*w*4)
	was := uint64(lengths[0] * 3 * 8 * 12 * 4)
	i := bytes.Index(b, words(was)) // behind where the images of demo_0 are
	if i < 8 {
		t.Fatal("where the images are is not in the file")
	}
	patch(bytes.Clone(b[i-8:i+8]), words(at, size))
	patch(words(uint64(lengths[0]), 3, 8, 12), words(uint64(lengths[0]), 3, h, w))
	path := t.TempDir() + "/large.hdf5"
	if err := errors.Join(os.WriteFile(path, b, 0o600), os.Truncate(path, int64(at+size))); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := table.Want{Cameras: []string{"obs/agentview_rgb"}, Frame: func(f robot.Frame) (robot.Frame, error) {
		if f.W != w || f.H != h {
			t.Errorf("an image of %dx%d", f.W, f.H)
		}
		return robot.Frame{W: 2, H: 1, Pix: f.Pix[:6]}, nil
	}}
	tab, err := s.Read(context.Background(), 0, want)
	if err != nil || len(tab.Frames) != lengths[0] || len(tab.Frames[5]) != 1 {
		t.Errorf("%d rows of frames, %v", len(tab.Frames), err)
	}
	want = table.Want{Columns: []string{"obs/agentview_rgb"}}
	if _, err := s.Read(context.Background(), 0, want); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("as numbers: %v", err)
	}
	want = table.Want{Cameras: []string{"obs/agentview_rgb"}, Frame: func(f robot.Frame) (robot.Frame, error) {
		f.Pix = make([]byte, 1<<29) // untouched
		return f, nil
	}}
	if _, err := s.Read(context.Background(), 0, want); err == nil || !strings.Contains(err.Error(), "by width and height") {
		t.Errorf("of more than fits: %v", err)
	}
}

// picture checks image i of demonstration d, which is BGR here.
func picture(t *testing.T, fs []robot.Frame, d, i int) {
	t.Helper()
	if len(fs) != 1 || fs[0].W != 12 || fs[0].H != 8 || len(fs[0].Pix) != 3*12*8 {
		t.Fatalf("demonstration %d, step %d has the frames %v", d, i, fs)
	}
	for _, at := range []struct {
		pixel int
		want  []byte
	}{{5, []byte{200, 50, byte(10*i + d)}}, {12*4 + 3, []byte{200, 100, byte(10*i + d)}}} {
		if got := fs[0].Pix[3*at.pixel : 3*at.pixel+3]; !bytes.Equal(got, at.want) {
			t.Fatalf("demonstration %d, step %d: pixel %d is %v, want %v", d, i, at.pixel, got, at.want)
		}
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

func TestFilterChoosesDemonstrations(t *testing.T) {
	s, err := Open("testdata/robosuite.hdf5", "train")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if in := s.Info(); in.Episodes != 2 || in.Steps != 13 {
		t.Errorf("%d episodes of %d steps, want 2 of 13", in.Episodes, in.Steps)
	}
	if tab, err := s.Read(context.Background(), 1, table.Want{}); err != nil || tab.Name != "demo_10" {
		t.Errorf("the second is %s, %v", tab.Name, err)
	}
	if _, err := Open("testdata/robosuite.hdf5", "test"); err == nil || !strings.Contains(err.Error(), "no filter mask/test; it has train, valid") {
		t.Errorf("unknown filter: %v", err)
	}
	if _, err := Open("testdata/libero.hdf5", "train"); err == nil || !strings.Contains(err.Error(), "it has none") {
		t.Errorf("filter of a file without: %v", err)
	}
}

func TestWhatIsNoDemonstrationIsRefused(t *testing.T) {
	if _, err := Open("../hdf5/testdata/default.h5", ""); err == nil || !strings.Contains(err.Error(), "data/") {
		t.Errorf("another HDF5 file: %v", err)
	}
	b, err := os.ReadFile("testdata/robosuite.hdf5")
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/cut.hdf5"
	if err := os.WriteFile(path, b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, ""); err == nil || !strings.Contains(err.Error(), "cut.hdf5") {
		t.Errorf("half a file: %v", err)
	}
	s, err := Open("testdata/robosuite.hdf5", "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, tt := range []struct {
		want table.Want
		says string
	}{
		{table.Want{Columns: []string{"obs/none"}}, "demo_0"},
		{table.Want{Cameras: []string{"obs/robot0_eef_pos"}}, "[6 3] is that of no images"},
		{table.Want{Columns: []string{"obs"}}, "demo_0"},
	} {
		if _, err := s.Read(context.Background(), 0, tt.want); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v: %v", tt.want, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Read(ctx, 0, table.Want{Cameras: []string{"obs/agentview_image"}}); err == nil {
		t.Error("read after cancelling")
	}
}

func TestControllersOfBothAges(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       table.Control
		robots     string
	}{
		{"1.4", `{"env_kwargs": {"robots": "Panda", "controller_configs": {"type": "OSC_POSE", "output_max": [0.05,0.05,0.05,0.5,0.5,0.5], "control_delta": true}}}`,
			table.Control{Kind: "OSC_POSE", Scale: 0.05, Turn: 0.5}, "Panda"},
		{"absolute", `{"env_kwargs": {"robots": ["Panda"], "controller_configs": {"type": "OSC_POSE", "output_max": 0.05, "control_delta": false}}}`,
			table.Control{Kind: "OSC_POSE", Absolute: true, Scale: 0.05, Turn: 0.05}, "Panda"},
		{"1.5", `{"env_kwargs": {"robots": ["Panda", "Sawyer"], "controller_configs": {"type": "BASIC", "body_parts": {"right": {"type": "OSC_POSE", "input_type": "delta", "output_max": [0.1,0.1,0.1,0.2,0.2,0.2]}}}}}`,
			table.Control{Kind: "OSC_POSE", Scale: 0.1, Turn: 0.2}, "Panda, Sawyer"},
		{"joints", `{"env_kwargs": {"controller_configs": {"type": "JOINT_POSITION"}}}`, table.Control{Kind: "JOINT_POSITION"}, ""},
		{"uneven", `{"env_kwargs": {"controller_configs": {"type": "OSC_POSE", "output_max": [0.1,0.2,0.1]}}}`, table.Control{Kind: "OSC_POSE"}, ""},
		{"odd", `{"env_kwargs": {"robots": 7, "controller_configs": {"output_max": "x"}}}`, table.Control{}, ""},
	} {
		e, err := parse(tt.text)
		if got := e.Kwargs.Controller.control(); err != nil || got != tt.want || strings.Join(e.Kwargs.Robots, ", ") != tt.robots {
			t.Errorf("%s: got %+v of %v, %v; want %+v", tt.name, got, e.Kwargs.Robots, err, tt.want)
		}
	}
}

// A stranger's file is an error at worst.
func FuzzRead(f *testing.F) {
	for _, file := range []string{"testdata/robosuite.hdf5", "testdata/libero.hdf5"} {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := hdf5.New(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		s, err := from(file, "fuzz", "")
		if err != nil {
			return
		}
		defer s.Close()
		var w table.Want
		for _, c := range s.Info().Columns {
			w.Columns = append(w.Columns, c.Name)
		}
		for _, c := range s.Info().Cameras {
			w.Cameras = append(w.Cameras, c.Name)
		}
		w.Frame = func(f robot.Frame) (robot.Frame, error) {
			if len(f.Pix) != 3*f.W*f.H {
				t.Errorf("%d bytes of %dx%d pixels", len(f.Pix), f.W, f.H)
			}
			return f, nil
		}
		for i := range min(s.Info().Episodes, 3) {
			_, _ = s.Read(context.Background(), i, w)
		}
	})
}
