package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/record"
	rosarm "github.com/rapport-rl/rapport/robot/ros/arm"
	arms "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// lens is a camera of a bag, at 20 Hz for a time.
type lens struct {
	topic, encoding string
	from, to        time.Duration
}

var frontLens = lens{"/front/image_raw", "bgr8", 0, time.Hour}

// bagOf writes three seconds of an arm at 100/6 Hz and of cameras. alter may alter the i-th state.
func bagOf(t *testing.T, path string, alter func(i int, s *arms.FrankaState), lenses ...lens) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := bag.Create(path, bag.WriteOptions{Compression: "none", Chunk: 2000})
	if err != nil {
		t.Fatal(err)
	}
	b := &bagger{t, w}
	start := time.Unix(1000, 0).UTC()
	state := &bag.Connection{Topic: rosarm.StateTopic}
	var conns []*bag.Connection
	for i, l := range lenses {
		conns = append(conns, &bag.Connection{ID: uint32(i + 1), Topic: l.topic})
	}
	for ms := range 3000 {
		since := time.Duration(ms) * time.Millisecond
		at := start.Add(since)
		if ms%60 == 0 {
			s := arms.FrankaState{RobotMode: arms.Move, OTEE: [16]float64{0: 1, 5: 1, 10: 1, 12: 0.3 + float64(ms)*1e-5, 15: 1}}
			s.Header.Stamp = at
			if alter != nil {
				alter(ms/60, &s)
			}
			say(b, state, at, &s)
		}
		for i, l := range lenses {
			if ms%50 == 0 && since >= l.from && since < l.to {
				n := map[string]uint32{"bgr8": 3, "16UC1": 2}[l.encoding]
				m := std.Image{Width: 16, Height: 8, Encoding: l.encoding, Step: 16 * n, Data: bytes.Repeat([]byte{byte(ms / 50)}, int(16*8*n))}
				m.Header.Stamp = at
				say(b, conns[i], at, &m)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// shortened is a copy of a file without its last third.
func shortened(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.bag")
	if err := os.WriteFile(cut, b[:len(b)*2/3], 0o600); err != nil {
		t.Fatal(err)
	}
	return cut
}

// glance sees the first pixel of each camera, and pays by it.
type glance struct{}

func (glance) Dim() int { return 1 }
func (glance) Extract(_ context.Context, fs []robot.Frame) (perception.Features, error) {
	f := perception.Features{Stamp: fs[0].Stamp}
	for _, x := range fs {
		f.Embed = append(f.Embed, float32(x.Pix[0]))
	}
	return f, nil
}
func (glance) Score(_ context.Context, dst []float64, traj []perception.Features) error {
	for i := range dst {
		dst[i] = float64(traj[i+1].Embed[0])
	}
	return nil
}

// shown is what replays make of recordings, by a session with cameras.
func shownTo(t *testing.T, cameras string, files ...string) []Replayed {
	t.Helper()
	c := tiny(t)
	set(t, &c, "robot.cameras=["+cameras+"]")
	st, err := store.Create(filepath.Join(t.TempDir(), "judge"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	s := &Session{cfg: c, store: st}
	_, reels, err := (ReplayConfig{Files: files, Session: st.Dir()}).reels()
	if err != nil {
		t.Fatal(err)
	}
	if reels, err = s.listed(t.Context(), reels); err != nil {
		t.Fatal(err)
	}
	p := projector{s: s, parts: parts{eyes: glance{}, scorer: glance{}}}
	var out []Replayed
	for _, r := range reels {
		out = append(out, p.show(t.Context(), r))
	}
	return out
}

const oneCamera = "{name: front, width: 64, height: 64}"

func TestRewardsAreComparedByWhatIsWholeOfABag(t *testing.T) {
	cut := shortened(t, bagOf(t, filepath.Join(t.TempDir(), "a.bag"), nil, frontLens))
	r, err := bagReel(cut, ReplayConfig{})
	if err != nil {
		t.Fatal(err)
	}
	film, err := r.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer film.Close()
	cfg := tiny(t)
	set(t, &cfg, "robot.cameras=["+oneCamera+"]")
	c := comparer{s: &Session{cfg: cfg}, parts: parts{eyes: glance{}, scorer: glance{}}, encoder: "ours"}
	e, err := c.exhibit(t.Context(), film)
	if err != nil {
		t.Fatal(err)
	}
	if n := e.Len(); n < 30 || n > 45 || e.torn == nil || !strings.Contains(e.torn.Error(), "damage: ") {
		t.Errorf("%d steps, damage %v; want about two thirds of 59", n, e.torn)
	}
	// A reward with an encoder of its own sees as much of it.
	n := 0
	if err := e.film.Each(t.Context(), func(record.Tick) error { n++; return nil }); err != nil || n != len(e.traj) {
		t.Errorf("shown again, it has %d observations, error %v; want %d", n, err, len(e.traj))
	}
}

func TestReplayJudgesWhatIsWholeOfABag(t *testing.T) {
	cut := shortened(t, bagOf(t, filepath.Join(t.TempDir(), "a.bag"), nil, frontLens))
	got := shownTo(t, oneCamera, cut)[0]
	if n := len(got.Steps); n < 30 || n > 45 {
		t.Errorf("%d steps, want about two thirds of 59", n)
	}
	if got.Err == nil || !strings.Contains(got.Err.Error(), "damage: ") || !strings.Contains(strings.Join(got.Notes, "\n"), "damage: ") {
		t.Errorf("error %v, notes %q; want the damage", got.Err, got.Notes)
	}
	// A film of it is made to its end.
	r, err := bagReel(cut, ReplayConfig{})
	if err != nil {
		t.Fatal(err)
	}
	film, err := r.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := (untorn{film}).Each(t.Context(), func(record.Tick) error { n++; return nil }); err != nil || n != len(got.Steps)+1 {
		t.Errorf("%d frames of a film, %v", n, err)
	}
}

func TestReplayLooksAtTheCamerasOfItsSession(t *testing.T) {
	path := bagOf(t, filepath.Join(t.TempDir(), "a.bag"), nil, frontLens, lens{"/wrist/image_raw", "bgr8", 2 * time.Second, time.Hour}, lens{"/thermal/image_raw", "16UC1", 0, time.Hour})
	got := shownTo(t, oneCamera, path)[0]
	notes := strings.Join(got.Notes, "\n")
	if got.Err != nil || len(got.Steps) != 59 || !strings.Contains(notes, "camera wrist (/wrist/image_raw) is left out") {
		t.Errorf("%d steps, want 59: %v, %s", len(got.Steps), got.Err, notes)
	}
	got = shownTo(t, oneCamera+", {name: wrist, width: 64, height: 64}", path)[0]
	notes = strings.Join(got.Notes, "\n")
	if got.Err != nil || len(got.Steps) != 19 || !strings.Contains(notes, "the first 40 ticks are left out: camera wrist (/wrist/image_raw) begins 2s after") {
		t.Errorf("%d steps, want 19: %v, %s", len(got.Steps), got.Err, notes)
	}
	path = bagOf(t, filepath.Join(t.TempDir(), "b.bag"), nil, frontLens, lens{"/wrist/image_raw", "bgr8", 0, 500 * time.Millisecond})
	got = shownTo(t, oneCamera+", {name: wrist, width: 64, height: 64}", path)[0]
	notes = strings.Join(got.Notes, "\n")
	// Its last frame is of 0.45 s, so that it is older than 2 s from 2.5 s on.
	if got.Err != nil || len(got.Steps) != 59 || !strings.Contains(notes, "camera wrist (/wrist/image_raw) was silent for more than 2s, first from 1970-01-01T00:16:40.450Z on: in 10 ticks") {
		t.Errorf("%d steps, want 59: %v, %s", len(got.Steps), got.Err, notes)
	}
}

func TestABagThatCannotBeReadLeavesTheRestToReplay(t *testing.T) {
	dir := t.TempDir()
	zero := filepath.Join(dir, "zero.bag")
	if err := os.WriteFile(zero, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := shownTo(t, oneCamera, zero, bagOf(t, filepath.Join(dir, "blind.bag"), nil), bagOf(t, filepath.Join(dir, "a.bag"), nil, frontLens))
	if len(got) != 3 || got[0].Err == nil || got[0].ID != "zero" || got[1].Err == nil || got[2].Err != nil || len(got[2].Steps) != 59 {
		t.Errorf("%+v", got)
	}
	if _, _, err := (ReplayConfig{Files: []string{zero}, Session: dir}).reels(); err == nil {
		t.Error("nothing can be read, and nobody says so")
	}
}

// converted is what becomes of recordings, and the rate of the dataset.
func converted(t *testing.T, in ...string) (Converted, float64) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	got, err := Convert(t.Context(), ConvertConfig{In: in, Out: dir, Images: true}, quietly())
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		FPS float64 `json:"fps"`
	}
	b, err := os.ReadFile(filepath.Join(dir, "meta", "info.json"))
	if err == nil {
		err = json.Unmarshal(b, &info)
	}
	if err != nil {
		t.Fatal(err)
	}
	return got, info.FPS
}

// The state comes at 100/6 Hz, so that its stamps repeat, and the arm's clock is slow.
func TestDatasetOfABagHasTheRateOfTheTicks(t *testing.T) {
	slow := func(i int, s *arms.FrankaState) {
		s.Header.Stamp = time.Unix(1000, 0).Add(time.Duration(i) * 26 * time.Millisecond)
	}
	got, fps := converted(t, bagOf(t, filepath.Join(t.TempDir(), "a.bag"), slow, frontLens))
	if fps != 20 || got.Steps != 58 || len(got.Left) > 0 || strings.Contains(strings.Join(got.Notes, "\n"), "apart") {
		t.Errorf("%v frames a second, %d steps, %v, %q", fps, got.Steps, got.Left, got.Notes)
	}
}

func TestConvertTellsOfSilence(t *testing.T) {
	dir := t.TempDir()
	dies := bagOf(t, filepath.Join(dir, "dies.bag"), nil, frontLens, lens{"/wrist/image_raw", "bgr8", 0, 500 * time.Millisecond})
	late := bagOf(t, filepath.Join(dir, "late.bag"), nil, frontLens, lens{"/wrist/image_raw", "bgr8", 2 * time.Second, time.Hour})
	got, _ := converted(t, dies, late)
	notes := strings.Join(got.Notes, "\n")
	for _, want := range []string{"dies.bag: 29 ticks are left out", "first /wrist/image_raw", "camera wrist at 1970-01-01 00:16:41.5", "late.bag: the first 40 ticks are left out: /wrist/image_raw begins 2s after"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in\n%s", want, notes)
		}
	}
	if got.Steps != 29+18 {
		t.Errorf("%d steps", got.Steps)
	}
}

func TestConvertLeavesOutACameraThatItCannotRead(t *testing.T) {
	path := bagOf(t, filepath.Join(t.TempDir(), "a.bag"), nil, frontLens, lens{"/thermal/image_raw", "16UC1", 0, time.Hour})
	got, _ := converted(t, path)
	if got.Steps != 58 || len(got.Left) > 0 || !strings.Contains(strings.Join(got.Notes, "\n"), "/thermal/image_raw is left out, since its pictures cannot be read") {
		t.Errorf("%d steps, %v, %q", got.Steps, got.Left, got.Notes)
	}
	// Where a person names it, it is told.
	_, err := Convert(t.Context(), ConvertConfig{In: []string{path}, Out: filepath.Join(t.TempDir(), "out"), Images: true, Topics: map[string]string{"hot": "/thermal/image_raw"}}, quietly())
	if err == nil || !strings.Contains(err.Error(), "16UC1") {
		t.Error(err)
	}
}

// An episode is held whole, in raw pictures: one that there is no memory for costs itself, and not the process.
func TestConvertLeavesOutABagThatThereIsNoMemoryFor(t *testing.T) {
	dir := t.TempDir()
	long := bagOf(t, filepath.Join(dir, "long.bag"), nil, frontLens)
	short := bagOf(t, filepath.Join(dir, "short.bag"), nil, lens{frontLens.topic, frontLens.encoding, 0, time.Second})
	c := ConvertConfig{In: []string{long, short}, Out: filepath.Join(dir, "out"), Images: true, Memory: 16 * 8 * 3 * 40}
	got, err := Convert(t.Context(), c, quietly())
	if err != nil || got.Episodes != 1 || len(got.Left) != 1 || !strings.Contains(got.Left[0].Error(), "long.bag: the pictures of its episode take more than") || !strings.Contains(got.Left[0].Error(), "rapport bag convert --from") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestConvertCountsADamagedBagAmongWhatIsLeft(t *testing.T) {
	got, _ := converted(t, shortened(t, bagOf(t, filepath.Join(t.TempDir(), "a.bag"), nil, frontLens)))
	if got.Episodes != 1 || got.Steps < 30 || len(got.Left) != 1 || !strings.Contains(got.Left[0].Error(), "damage: ") {
		t.Errorf("%+v", got)
	}
}

func TestConvertGoesOnAfterWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	var in []string
	for name, b := range map[string]string{"zero.bag": "", "head.bag": "#ROSBAG V2.0\n", "text.txt": "no recording", "zero.hdf5": ""} {
		in = append(in, filepath.Join(dir, name))
		if err := os.WriteFile(in[len(in)-1], []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := bagOf(t, filepath.Join(dir, "a.bag"), nil, frontLens)
	got, _ := converted(t, append(slices.Sorted(slices.Values(in)), good)...)
	if got.Episodes != 1 || got.Steps != 58 || len(got.Left) != len(in) {
		t.Errorf("%+v", got)
	}
	for _, err := range got.Left {
		if !strings.Contains(err.Error(), dir) {
			t.Errorf("%v names no file", err)
		}
	}
}

func TestConvertTakesAFolderWhoseRecorderDied(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "night")
	bagOf(t, filepath.Join(dir, "night_0.mcap"), nil, frontLens)
	if got, _ := converted(t, dir); got.Steps != 58 || len(got.Left) > 0 {
		t.Errorf("%+v", got)
	}
	if rosbag2(t.TempDir()) {
		t.Error("an empty folder is a recording")
	}
	episodes := filepath.Join(t.TempDir(), "run", "episodes")
	bagOf(t, filepath.Join(episodes, "demo-00000.mcap"), nil)
	if err := os.WriteFile(filepath.Join(filepath.Dir(episodes), database), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if rosbag2(episodes) {
		t.Error("the episodes of a session are a recording of somebody else")
	}
}

// A number that is none costs the episode that it is in, not the session.
func TestRecordingWithANumberThatIsNoneIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	good := bagOf(t, filepath.Join(dir, "good.bag"), nil, frontLens)
	nan := bagOf(t, filepath.Join(dir, "nan.bag"), func(i int, s *arms.FrankaState) {
		if i == 10 {
			s.Q[3] = math.NaN()
		}
	}, frontLens)
	more := bagOf(t, filepath.Join(dir, "more.bag"), nil, frontLens)
	const what = "an episode of 58 steps is left out: the state of /franka_state_controller/franka_states at 1970-01-01T00:16:40.600Z, step 12, is not finite"

	c := tiny(t)
	set(t, &c, "robot.kind=bag", "robot.bag.files=["+good+", "+nan+", "+more+"]", "robot.bag.preferred=["+good+", "+nan+"]", "robot.horizon=100")
	doctor, err := tryRecordings(t.Context(), c)
	if err != nil || !strings.Contains(doctor, nan+" 0 steps ("+what+")") || !strings.Contains(doctor, more+" 58 steps") {
		t.Errorf("doctor: %s, %v", doctor, err)
	}
	var log bytes.Buffer
	s := &Session{cfg: c, log: slog.New(slog.NewTextHandler(&log, nil)), tell: func(string, int, int, string) {}}
	demos, err := s.recordings(t.Context())
	if err != nil || len(demos) != 2 || demos[1].episode.ID != "log-00001-more" || !strings.Contains(log.String(), "nan.bag: "+what) {
		t.Errorf("%d episodes, %v, log:\n%s", len(demos), err, log.String())
	}
	for _, d := range demos {
		if i := slices.IndexFunc(d.episode.Inputs, func(in policy.Input) bool { return !finite(in.State.Q[:]) }); i >= 0 {
			t.Errorf("%s: state %d is not finite", d.episode.ID, i)
		}
	}
	set(t, &c, "robot.bag.preferred=["+nan+"]")
	s.cfg = c
	if _, err := s.recordings(t.Context()); err == nil || !strings.Contains(err.Error(), "robot.bag.preferred") {
		t.Errorf("nothing is preferred: %v", err)
	}
	set(t, &c, "robot.bag.files=["+nan+"]")
	s.cfg = c
	if _, err := s.recordings(t.Context()); err == nil || !strings.Contains(err.Error(), "rapport doctor") {
		t.Errorf("nothing is left: %v", err)
	}
	if _, err := tryRecordings(t.Context(), c); err == nil || !strings.Contains(err.Error(), what) {
		t.Errorf("doctor of nothing: %v", err)
	}
	got, _ := converted(t, nan, good)
	if got.Episodes != 1 || len(got.Left) != 1 || !strings.Contains(got.Left[0].Error(), what) || strings.Contains(strings.Join(got.Notes, "\n"), "not finite") {
		t.Errorf("%+v", got)
	}
}

func TestDoctorTellsOfDamage(t *testing.T) {
	c := tiny(t)
	cut := shortened(t, bagOf(t, filepath.Join(t.TempDir(), "a.bag"), nil, frontLens))
	set(t, &c, "robot.kind=bag", "robot.bag.files=["+cut+"]", "robot.bag.preferred=["+cut+"]", "robot.horizon=100")
	if got, err := tryRecordings(t.Context(), c); err != nil || !strings.Contains(got, "steps (the recording is not whole, damage: ") {
		t.Errorf("%s, %v", got, err)
	}
}

// Pictures that are squeezed are told of where what sees them learned elsewhere.
func TestDoctorTellsOfPicturesOfAnotherShape(t *testing.T) {
	wide := bagOf(t, filepath.Join(t.TempDir(), "a.bag"), nil, frontLens)
	const what = "a.bag 58 steps (the pictures of camera front, 16x8, are brought to another shape, 64x64, "
	for _, tt := range []struct {
		sets []string
		told bool
	}{
		{[]string{"session.from=runs/a"}, true},
		{[]string{"session.from=runs/a", "robot.cameras=[{name: front, width: 64, height: 32}]"}, false},
		{[]string{"robot.bag.preferred=[" + wide + "]"}, false}, // whose encoder learns from these
	} {
		c := tiny(t)
		set(t, &c, append(tt.sets, "robot.kind=bag", "robot.bag.files=["+wide+"]", "robot.horizon=100")...)
		if got, err := tryRecordings(t.Context(), c); err != nil || strings.Contains(got, what) != tt.told {
			t.Errorf("%v: %s, %v", tt.sets, got, err)
		}
	}
}
