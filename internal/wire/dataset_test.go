package wire

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset"
	"github.com/rapport-rl/rapport/robot"
)

// recorded stores an episode with a frame at every step, and returns it.
func recorded(t *testing.T, st *store.Session, id string, seq uint64, origin policy.Origin, steps int, terminal bool) policy.Episode {
	t.Helper()
	rec, err := st.Record(id, seq, 7, origin)
	if err != nil {
		t.Fatal(err)
	}
	e := policy.Episode{ID: id, Seq: seq, Seed: 7, Origin: origin, Terminal: terminal}
	for i := range steps + 1 {
		obs := robot.Observation{State: robot.State{Stamp: time.Unix(0, int64(i)*1e8).UTC(), EE: robot.Pose{P: [3]float64{float64(i)}, Q: [4]float64{1}}},
			Frames: []robot.Frame{{Camera: "front", Seq: uint64(i), W: 16, H: 8, Pix: bytes.Repeat([]byte{byte(20*i + 10*int(seq))}, 3*16*8)}}}
		if i > 0 {
			obs.Applied, obs.By = robot.Command{Grip: 0.5}, robot.ByHuman
			e.Applied, e.By, e.Version = append(e.Applied, obs.Applied), append(e.By, obs.By), append(e.Version, 3)
			e.Rewards = append(e.Rewards, float64(i))
		}
		e.Inputs = append(e.Inputs, policy.Input{Step: i, State: obs.State, Frames: obs.Frames})
		if err := rec.Tick(obs, 3, perception.Features{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := rec.Finish(e.Rewards, terminal); err != nil {
		t.Fatal(err)
	}
	if added, err := st.AddEpisode(t.Context(), e); err != nil || !added {
		t.Fatal(added, err)
	}
	return e
}

func TestSessionIsADataset(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lift-001")
	st, err := store.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	online := recorded(t, st, "ep-00000", 0, policy.Online, 4, true)
	demo := recorded(t, st, "demo-00000", 1, policy.Demo, 3, false)
	if _, err := OpenDataset(t.Context(), dir, dataset.Options{}); !errors.Is(err, store.ErrInUse) {
		t.Errorf("while it runs: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	in, err := InspectDataset(dir, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if in.Format != "session" || in.Episodes != 2 || in.Steps != 7 || in.FPS != 10 || len(in.Cameras) != 1 || in.Cameras[0].W != 16 {
		t.Errorf("info %+v", in)
	}
	r, err := OpenDataset(t.Context(), dir, dataset.Options{Map: dataset.Map{Cameras: []dataset.Camera{{Key: "front", Name: "side", W: 8, H: 4}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []policy.Episode
	if err := r.Each(t.Context(), func(e policy.Episode) error { got = append(got, e); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("%d episodes, want the demonstration and what was collected", len(got))
	}
	for k, want := range []policy.Episode{demo, online} {
		e := got[k]
		if e.ID != want.ID || e.Terminal != want.Terminal || e.Origin != want.Origin || e.Len() != want.Len() || e.Return() != want.Return() || e.By[0] != robot.ByHuman {
			t.Errorf("got %s: terminal %t, origin %d, %d steps, return %v", e.ID, e.Terminal, e.Origin, e.Len(), e.Return())
		}
		for i := range e.Inputs {
			f := e.Inputs[i].Frames
			if len(f) != 1 || f[0].Camera != "side" || f[0].W != 8 || f[0].H != 4 {
				t.Fatalf("step %d has the frames %v", i, f)
			}
			if d := int(f[0].Pix[0]) - int(want.Inputs[i].Frames[0].Pix[0]); d < -3 || d > 3 { // what JPEG leaves of a flat grey
				t.Errorf("step %d is %d grey, want %d", i, f[0].Pix[0], want.Inputs[i].Frames[0].Pix[0])
			}
		}
	}
}

func TestDamagedEpisodesOfASessionAreLeftOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lift-002")
	st, err := store.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	recorded(t, st, "demo-00000", 0, policy.Demo, 3, false)
	recorded(t, st, "demo-00001", 1, policy.Demo, 3, false)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "episodes", "demo-00000.mcap"), 100); err != nil {
		t.Fatal(err)
	}
	read := func(skip bool) (n int, left []dataset.Left, err error) {
		r, err := OpenDataset(t.Context(), dir, dataset.Options{SkipBad: skip})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		err = r.Each(context.Background(), func(policy.Episode) error { n++; return nil })
		return n, r.Left(), err
	}
	if _, _, err := read(false); err == nil || !strings.Contains(err.Error(), "demo-00000") {
		t.Errorf("without SkipBad: %v", err)
	}
	if n, left, err := read(true); n != 1 || len(left) != 1 || left[0].Episode != 0 || err != nil {
		t.Errorf("%d episodes, left out %v, %v", n, left, err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if st, err = store.Create(empty, nil); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDataset(t.Context(), empty, dataset.Options{}); err == nil || !strings.Contains(err.Error(), "no episodes") {
		t.Errorf("empty session: %v", err)
	}
}
