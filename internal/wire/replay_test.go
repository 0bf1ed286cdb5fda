package wire

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/robot/ros"
)

func TestGapsOfFrames(t *testing.T) {
	at := func(ms ...int) (out []time.Time) {
		for _, m := range ms {
			out = append(out, time.UnixMilli(int64(m)))
		}
		return out
	}
	for name, tt := range map[string]struct {
		stamps [][]time.Time // by camera
		want   Gaps
	}{
		"none":                 {[][]time.Time{at(0, 50, 100, 150)}, Gaps{Longest: 50 * time.Millisecond}},
		"one is missing":       {[][]time.Time{at(0, 50, 150, 200, 250)}, Gaps{Missing: 1, Longest: 100 * time.Millisecond}},
		"one is seen twice":    {[][]time.Time{at(0, 50, 50, 100, 150)}, Gaps{Stale: 1, Longest: 50 * time.Millisecond}},
		"two cameras of rates": {[][]time.Time{at(0, 50, 100, 150), at(0, 10, 20, 40)}, Gaps{Missing: 1, Longest: 50 * time.Millisecond}},
		"a single frame":       {[][]time.Time{at(7)}, Gaps{}},
	} {
		g := gapCounter{}
		for i, stamps := range tt.stamps {
			for _, s := range stamps {
				g.count([]robot.Frame{{Camera: string(rune('a' + i)), Stamp: s}})
			}
		}
		if d := cmp.Diff(tt.want, g.gaps()); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

func TestSpeedIsThatOfTheRecording(t *testing.T) {
	var waits []time.Duration
	now := time.UnixMilli(0)
	p := &projector{rc: ReplayConfig{Speed: 2}, now: func() time.Time { return now }, after: func(d time.Duration) <-chan time.Time {
		waits = append(waits, d)
		now = now.Add(d)
		c := make(chan time.Time, 1)
		c <- time.Time{}
		return c
	}}
	w := watcher{p: p}
	// Time that stands or goes back is not waited for.
	for _, tt := range []struct{ stamp, work int64 }{{1000, 10}, {1050, 130}, {1250, 0}, {1250, 0}, {1240, 0}, {1290, 0}} {
		if err := w.pace(t.Context(), time.UnixMilli(tt.stamp)); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Duration(tt.work) * time.Millisecond)
	}
	// 25 ms after the first, of which 10 were worked; then there is nothing to wait for until 145.
	if d := cmp.Diff([]time.Duration{15 * time.Millisecond}, waits); d != "" {
		t.Error(d)
	}
	waits = nil
	if err := w.pace(t.Context(), time.UnixMilli(1350)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]time.Duration{20 * time.Millisecond}, waits); d != "" {
		t.Error(d)
	}
	if now.Sub(time.UnixMilli(0)) != 175*time.Millisecond {
		t.Errorf("350 ms at twice the pace took %v", now.Sub(time.UnixMilli(0)))
	}
	p.after = func(time.Duration) <-chan time.Time { return nil }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.pace(ctx, time.UnixMilli(5000)); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted wait: %v", err)
	}
}

// featured is a footage of features alone.
type featured struct {
	footage
	embed []float32
}

func (n featured) Each(_ context.Context, f func(record.Tick) error) error {
	for i, x := range n.embed {
		if err := f(record.Tick{State: robot.State{Stamp: time.UnixMilli(int64(i + 1))}, Embed: []float32{x}}); err != nil {
			return err
		}
	}
	return nil
}

// last pays what is seen at a step's end.
type last struct{}

func (last) Score(_ context.Context, dst []float64, traj []perception.Features) error {
	for i := range dst {
		dst[i] = float64(traj[i+1].Embed[0])
	}
	return nil
}

// What is watched as it runs is watched once, of a recording without frames, too.
func TestLiveRewardsOfLoggedFeatures(t *testing.T) {
	w := watcher{p: &projector{rc: ReplayConfig{Live: true}, parts: parts{scorer: last{}}}, out: &Replayed{}, gaps: gapCounter{}}
	if err := w.see(t.Context(), featured{embed: []float32{1, 2, 3, 4, 5}}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]float64{2, 3, 4, 5}, w.lives); d != "" {
		t.Error(d)
	}
	if err := w.judge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, st := range w.out.Steps {
		if st.Live != st.Reward {
			t.Errorf("step %d: live %g, in the end %g", st.T, st.Live, st.Reward)
		}
	}
}

func TestFullQueueDropsAndCounts(t *testing.T) {
	e := &ear{limit: 100, ready: make(chan struct{}, 1)}
	for range 4 {
		e.hear(ros.Raw{Payload: make([]byte, 40)})
	}
	if n := len(e.take()); n != 2 || e.dropped.Load() != 2 {
		t.Errorf("%d messages wait and %d are dropped, want 2 and 2", n, e.dropped.Load())
	}
	// One alone is taken, however large, or a topic would never be heard.
	e.hear(ros.Raw{Payload: make([]byte, 400)})
	if n := len(e.take()); n != 1 {
		t.Errorf("%d messages wait", n)
	}
}

func TestCheckSaysWhy(t *testing.T) {
	nan := math.NaN()
	good := func() Replayed {
		return Replayed{ID: "e", File: "e.mcap", Encoder: "E", Reward: "R", Drift: nan, Stored: -3, Metric: nan,
			Steps: []Step{{T: 1, Reward: -1, Logged: -1, Again: -1}, {T: 2, Reward: -2, Logged: -2, Again: -2}}}
	}
	for name, tt := range map[string]struct {
		change func(*Replayed)
		want   string // "" is none
	}{
		"good":                 {func(*Replayed) {}, ""},
		"within the tolerance": {func(r *Replayed) { r.Steps[1].Logged += 0.9e-6 }, ""},
		"beyond it":            {func(r *Replayed) { r.Steps[1].Logged += 1.1e-6 }, "reward of step 2"},
		"NaN comes out":        {func(r *Replayed) { r.Steps[0].Again, r.Steps[1].Again = nan, nan }, "no features and rewards"},
		"a rollout, never scored": {func(r *Replayed) {
			r.ID, r.Steps[0].Logged, r.Steps[1].Logged, r.Steps[1].Again = "rollout-00001", nan, nan, nan
		}, ""},
		"a rollout that was scored":  {func(r *Replayed) { r.ID, r.Steps[0].Again, r.Steps[1].Again = "rollout-00001", nan, nan }, "no features and rewards"},
		"an episode without rewards": {func(r *Replayed) { r.Steps[0].Logged, r.Steps[1].Logged = nan, nan }, "no features and rewards"},
		"another return":             {func(r *Replayed) { r.Stored = -3.1 }, "table episodes"},
		"another metric":             {func(r *Replayed) { r.Metric = -3.1 }, "metrics"},
		"another encoder":            {func(r *Replayed) { r.Encoder = "X" }, "with the encoder X"},
		"another reward":             {func(r *Replayed) { r.Reward = "X" }, "name its own session"},
		"its own of before, gone":    {func(r *Replayed) { r.Reward, r.own = "X", true }, "its session runs/a learned anew since"},
		"its own of before, kept":    {func(r *Replayed) { r.Reward, r.own, r.earlier = "X", true, true }, ""},
		"of before, frames count too": {func(r *Replayed) {
			r.Reward, r.earlier, r.Drift, r.Lossless, r.framed = "X", true, 0, true, []float64{-1, -7}
		}, "from its frames the reward of step 2"},
		"of before, another encoder":  {func(r *Replayed) { r.Encoder, r.Reward, r.earlier = "X", "X", true }, "with the encoder X"},
		"of an older version":         {func(r *Replayed) { r.Encoder, r.Reward = "", "" }, ""},
		"JPEG may differ":             {func(r *Replayed) { r.Drift = 0.5; r.Steps[0].Reward = -7 }, ""},
		"frames without loss may not": {func(r *Replayed) { r.Drift, r.Lossless = 0.5, true; r.Steps[0].Reward = -7 }, "from its frames the reward of step 1"},
		"it could not be read":        {func(r *Replayed) { *r = Replayed{ID: r.ID, Err: errors.New("damaged")} }, "damaged"},
	} {
		one := good()
		tt.change(&one)
		r := Replay{Session: "runs/a", Encoder: "E", Reward: "R", Takes: []Replayed{one, good()}}
		v := r.Check()
		switch err := v.Err(); {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
		if old := name == "of an older version"; (v.Unnamed > 0) != old {
			t.Errorf("%s: %d episodes do not say what made their numbers", name, v.Unnamed)
		}
	}
	empty := Replay{}
	if v := empty.Check(); v.Err() == nil {
		t.Error("nothing was found to be the same")
	}
}
