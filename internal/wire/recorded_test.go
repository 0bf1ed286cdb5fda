package wire

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
	arms "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
)

// stamped writes an episode of ticks at some times, in milliseconds.
func stamped(t *testing.T, path string, info record.Info, ms ...int) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := record.Create(path, info)
	if err != nil {
		t.Fatal(err)
	}
	for i, at := range ms {
		tick := record.Tick{State: robot.State{Stamp: time.UnixMilli(int64(at)).UTC(), EE: robot.Pose{Q: [4]float64{1}}},
			Frames: []robot.Frame{{Camera: "front", Seq: uint64(i), W: 64, H: 64, Pix: make([]byte, 3*64*64)}}}
		if err := w.Tick(tick); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// every is n times, so many milliseconds apart.
func every(ms, n int) (out []int) {
	for i := range n {
		out = append(out, ms*i)
	}
	return out
}

// configured writes the configuration of a session on an arm over ROS at a rate.
func configured(t *testing.T, dir, rate string) {
	t.Helper()
	c := tiny(t)
	set(t, &c, "robot.kind=ros", "session.from=runs/reach-001", "robot.ros.rate="+rate)
	b, err := config.Encode(c)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.yaml"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What is commanded is of a tick: episodes of other ticks are refused before a session begins, in
// place of being taken tick for tick.
func TestEpisodesOfAnotherRateAreNoRecordings(t *testing.T) {
	dir := t.TempDir()
	configured(t, dir, "40")
	if err := os.WriteFile(filepath.Join(dir, database), nil, 0o644); err != nil { // else it is no session
		t.Fatal(err)
	}
	held := append(every(50, 20), 5000, 5050)
	for name, tt := range map[string]struct {
		home   string
		origin policy.Origin
		ms     []int
		want   string
	}{
		"as a session's":           {"", policy.Online, every(50, 20), ""},
		"twice as fast":            {"", policy.Online, every(25, 20), "its moves are of 40 ticks a second, and a session over recordings makes 20"},
		"half as fast":             {"", policy.Demo, every(100, 20), "its moves are of 10 ticks a second"},
		"held for a while":         {"", policy.Online, held, ""},
		"states at 30 Hz":          {"", policy.Online, []int{0, 33, 100, 133, 200, 233, 300, 333, 400, 433, 500}, ""},
		"without stamps":           {"", policy.Online, make([]int, 10), ""},
		"of a session at 40":       {dir, policy.Online, every(50, 20), "its moves are of 40 ticks a second"},
		"its demonstrations at 20": {dir, policy.Demo, every(50, 20), ""},
	} {
		if tt.home == "" {
			tt.home = t.TempDir()
		}
		path := stamped(t, filepath.Join(tt.home, "episodes", strings.ReplaceAll(name, " ", "-")+".mcap"), record.Info{ID: "e", Origin: uint8(tt.origin)}, tt.ms...)
		c := tiny(t)
		set(t, &c, "robot.kind=bag", "robot.bag.files=["+path+"]", "robot.bag.preferred=["+path+"]")
		if _, err := sources(c); tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), path+": "+tt.want)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestAPolicyTunedAtAnotherRateIsToldWhenEvaluated(t *testing.T) {
	dir := t.TempDir()
	for rate, want := range map[string]string{"40": "ticks_a_second=20 tuned_at=40", "20": ""} {
		configured(t, dir, rate)
		var log bytes.Buffer
		s := &Session{cfg: tiny(t), log: slog.New(slog.NewTextHandler(&log, nil))}
		if s.tuned(dir); !strings.Contains(log.String(), want) || want == "" && log.Len() > 0 {
			t.Errorf("tuned at %s: %q, want %q", rate, log.String(), want)
		}
	}
}

func TestEpisodesOfTwoRatesAreToldWhenLearnedFrom(t *testing.T) {
	of := func(o policy.Origin, ms int) policy.Episode {
		e := policy.Episode{Origin: o}
		for _, at := range every(ms, 20) {
			e.Inputs = append(e.Inputs, policy.Input{State: robot.State{Stamp: time.UnixMilli(int64(at))}})
		}
		return e
	}
	es := []policy.Episode{of(policy.Demo, 50), of(policy.Demo, 50), of(policy.Online, 25)}
	if got := rates(es, 40); !strings.Contains(got, "demonstrations are of 20 ticks a second, and of what was collected 40") {
		t.Error(got)
	}
	es[2] = of(policy.Online, 51)
	if got := rates(es, 20); got != "" {
		t.Error(got)
	}
	if got := rates(es[:2], 20); got != "" {
		t.Error(got)
	}
}

// An episode that ended by itself does so among recordings, unless it is cut at the horizon.
func TestRecordingsKeepTheirEnd(t *testing.T) {
	path := stamped(t, filepath.Join(t.TempDir(), "e.mcap"), record.Info{ID: "e", Terminal: true}, every(50, 11)...)
	c := tiny(t)
	for horizon, want := range map[int]bool{20: true, 10: true, 9: false} {
		c.Robot.Horizon = horizon
		s := source{path: path, ours: true}
		n := 0
		_, err := s.episodes(t.Context(), c, func(e policy.Episode) error {
			if n++; e.Terminal != want || e.Len() != min(10, horizon) {
				t.Errorf("horizon %d: terminal %v after %d steps, want %v", horizon, e.Terminal, e.Len(), want)
			}
			return nil
		})
		if n != 1 || err != nil {
			t.Errorf("%d episodes, %v", n, err)
		}
	}
}

// Files of before do not tell that an episode ended by itself, and a configuration that lies about is
// no session's, whichever folder one is in.
func TestAnEpisodesSessionIsAskedForItsEnd(t *testing.T) {
	c := tiny(t)
	dir := filepath.Join(t.TempDir(), "s")
	st, err := founded(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	e := policy.Episode{ID: "online-00000", Origin: policy.Online, Terminal: true, Rewards: make([]float64, 10), Applied: make([]robot.Command, 10), By: make([]robot.Source, 10), Version: make([]uint64, 10), Inputs: make([]policy.Input, 11)}
	if _, err := st.AddEpisode(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "episodes", e.ID+".mcap")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	stamped(t, path, record.Info{ID: e.ID, Origin: uint8(policy.Online)}, every(50, 11)...)
	t.Chdir(filepath.Dir(path))
	for _, p := range []string{path, filepath.Base(path)} {
		s := source{path: p, ours: true}
		if _, err := s.episodes(t.Context(), c, func(e policy.Episode) error {
			if !e.Terminal {
				t.Errorf("%s: it counts as cut off", p)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	stray := t.TempDir()
	if err := os.WriteFile(filepath.Join(stray, "config.yaml"), []byte("robot: {kind: ros, ros: {rate: 40}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	alone := stamped(t, filepath.Join(stray, "episodes", "a.mcap"), record.Info{ID: "a", Origin: uint8(policy.Online)}, every(50, 11)...)
	rec, err := record.Read(alone)
	if err != nil {
		t.Fatal(err)
	}
	if err := keepsPace(c, alone, rec); err != nil {
		t.Error(err)
	}
}

func TestMovesThatNoPolicyCanExpressAreTold(t *testing.T) {
	dir := t.TempDir()
	flat := bagOf(t, filepath.Join(dir, "flat.bag"), nil, frontLens)
	up := bagOf(t, filepath.Join(dir, "up.bag"), func(i int, s *arms.FrankaState) { s.OTEE[14] = 0.3 + 0.002*float64(i) }, frontLens)
	c := tiny(t)
	set(t, &c, "robot.kind=bag", "robot.bag.files=["+flat+", "+up+"]", "robot.bag.preferred=["+up+"]", "robot.horizon=100", "policy.axes=[x, y]")
	const what = "of 58 moves are along other axes, or further, than policy.axes (x, y) and policy.scale"
	doctor, err := tryRecordings(t.Context(), c)
	if err != nil || !strings.Contains(doctor, flat+" 58 steps, ") || !strings.Contains(doctor, up+" 58 steps (") || !strings.Contains(doctor, what) {
		t.Errorf("doctor: %s, %v", doctor, err)
	}
	var log bytes.Buffer
	s := &Session{cfg: c, log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})), tell: func(string, int, int, string) {}}
	if _, err := s.recordings(t.Context()); err != nil || strings.Count(log.String(), what) != 1 {
		t.Errorf("%v, log:\n%s", err, log.String())
	}
}
