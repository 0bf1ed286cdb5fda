package wire

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// Rollouts of an alignment have no rewards, and its demonstrations have: the dataset has none,
// and says so, in place of half of the episodes and an error.
func TestEpisodesWithAndWithoutRewardsBecomeOneDataset(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "cup-001"), filepath.Join(dir, "lerobot")
	st, err := store.Create(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	recorded(t, st, "demo-00000", 0, policy.Demo, 3, false)
	recorded(t, st, "demo-00001", 1, policy.Demo, 3, false)
	e := recorded(t, st, "demo-00002", 2, policy.Demo, 3, true)
	e.ID, e.Seq, e.Origin, e.Rewards = "rollout-00000", 3, policy.Online, nil
	rec, err := st.Record(e.ID, e.Seq, e.Seed, e.Origin)
	if err != nil {
		t.Fatal(err)
	}
	for i, in := range e.Inputs {
		obs := robot.Observation{State: in.State, Frames: in.Frames}
		if i > 0 {
			obs.Applied, obs.By = e.Applied[i-1], e.By[i-1]
		}
		if err := rec.Tick(obs, 3, perception.Features{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := rec.Finish(nil, e.Terminal); err != nil {
		t.Fatal(err)
	}
	if _, err := st.AddEpisode(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := Convert(t.Context(), ConvertConfig{In: []string{in}, Out: out, Images: true}, quietly())
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(got.Notes, "\n")
	if got.Episodes != 4 || len(got.Left) != 0 || !strings.Contains(notes, "3 episodes have rewards, and 1 have none (rollout-00000): rewards are left out of all") {
		t.Errorf("%d episodes, left %v, notes %s", got.Episodes, got.Left, notes)
	}
	r, err := OpenDataset(t.Context(), out, dataset.Options{NoFrames: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	if err := r.Each(t.Context(), func(e policy.Episode) error {
		if n++; e.Rewards != nil {
			t.Errorf("%s has rewards", e.ID)
		}
		return nil
	}); err != nil || n != 4 {
		t.Errorf("%d episodes, %v", n, err)
	}
	// Where all have some they stay.
	some := filepath.Join(dir, "some")
	if _, err := Convert(t.Context(), ConvertConfig{In: []string{filepath.Join(in, "episodes", "demo-00000.mcap"), filepath.Join(in, "episodes", "demo-00001.mcap")}, Out: some, Images: true}, quietly()); err != nil {
		t.Fatal(err)
	}
	w, err := OpenDataset(t.Context(), some, dataset.Options{NoFrames: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if e, err := w.Next(t.Context()); err != nil || e.Rewards == nil {
		t.Errorf("rewards of all were lost: %v, %v", e.Rewards, err)
	}
}

// An episode's file alone keeps how it ended, one of before files told it too: its last action and
// reward are lost where it counts as cut off.
func TestAnEpisodesFileKeepsItsEnd(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "cup-001")
	st, err := store.Create(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	recorded(t, st, "demo-00000", 0, policy.Demo, 3, true)
	old := recorded(t, st, "demo-00001", 1, policy.Demo, 3, true)
	// As it was written once.
	file := filepath.Join(in, "episodes", old.ID+".mcap")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w, err := record.Create(file, record.Info{ID: old.ID, Seq: old.Seq, Seed: old.Seed, Origin: uint8(old.Origin)})
	if err != nil {
		t.Fatal(err)
	}
	for i, in := range old.Inputs {
		tick := record.Tick{State: in.State, Frames: in.Frames}
		if i > 0 {
			tick.Applied, tick.By, tick.Version = old.Applied[i-1], old.By[i-1], old.Version[i-1]
		}
		if err := w.Tick(tick); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Rewards(old.Rewards), w.Close(), st.Close()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"demo-00000", "demo-00001"} {
		out := filepath.Join(dir, id)
		if _, err := Convert(t.Context(), ConvertConfig{In: []string{filepath.Join(in, "episodes", id+".mcap")}, Out: out, Images: true}, quietly()); err != nil {
			t.Fatal(err)
		}
		r, err := OpenDataset(t.Context(), out, dataset.Options{NoFrames: true})
		if err != nil {
			t.Fatal(err)
		}
		e, err := r.Next(t.Context())
		if err != nil || !e.Terminal || e.Len() != 3 || e.Rewards[2] != 3 {
			t.Errorf("%s: terminal %v, rewards %v, %v", id, e.Terminal, e.Rewards, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The map of a foreign dataset is none of the session beside it, whose rate --fps does not change
// either.
func TestSessionsAreConvertedBesideForeignDatasets(t *testing.T) {
	dir := t.TempDir()
	session := func(name, episode string) string {
		t.Helper()
		in := filepath.Join(dir, name)
		st, err := store.Create(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		recorded(t, st, episode, 0, policy.Demo, 3, false)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		return in
	}
	foreign := filepath.Join(dir, "foreign")
	if _, err := Convert(t.Context(), ConvertConfig{In: []string{session("other", "demo-00001")}, Out: foreign, Images: true}, quietly()); err != nil {
		t.Fatal(err)
	}
	own := session("own", "demo-00000")
	out := filepath.Join(dir, "both")
	got, err := Convert(t.Context(), ConvertConfig{In: []string{own, foreign}, Out: out, Images: true, FPS: 20, Columns: []byte("cameras: [{key: observation.images.front, name: front}]")}, quietly())
	if err != nil {
		t.Fatal(err)
	}
	if got.Episodes != 2 || len(got.Left) > 0 {
		t.Errorf("%d episodes, left %v", got.Episodes, got.Left)
	}
	if in, err := InspectDataset(out, dataset.Options{}); err != nil || in.FPS != 10 {
		t.Errorf("%v a second, %v, want 10", in.FPS, err)
	}
	// A map of the session's own cameras still chooses among them.
	got, err = Convert(t.Context(), ConvertConfig{In: []string{own}, Out: filepath.Join(dir, "named"), Images: true, Columns: []byte("cameras: [{key: front, name: side}]")}, quietly())
	if err != nil || got.Episodes != 1 {
		t.Fatal(got, err)
	}
	if in, err := InspectDataset(filepath.Join(dir, "named"), dataset.Options{}); err != nil || len(in.Cameras) != 1 || in.Cameras[0].Name != "observation.images.side" {
		t.Errorf("%+v, %v", in.Cameras, err)
	}
}
