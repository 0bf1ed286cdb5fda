package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// filmed writes an episode's file of 4 steps whose features are x, without any where
// x is nil.
func filmed(t *testing.T, path string, x []float32) {
	t.Helper()
	w, err := record.Create(path, record.Info{ID: strings.TrimSuffix(filepath.Base(path), ".mcap")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		at := time.Unix(1, int64(i)*5e7).UTC()
		tick := record.Tick{State: robot.State{Stamp: at}, Embed: x, Frames: []robot.Frame{{Camera: "front", Seq: uint64(i), Stamp: at, W: 8, H: 8, Pix: make([]byte, 3*64)}}}
		if err := w.Tick(tick); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// cinema is a session's folder with episodes of features.
func cinema(t *testing.T, xs ...[]float32) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cinema-001")
	st, err := store.Create(dir, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for i, x := range xs {
		filmed(t, filepath.Join(dir, "episodes", fmt.Sprintf("demo-%05d.mcap", i)), x)
	}
	return dir
}

func TestClipsAreWholeEpisodesAndRecordings(t *testing.T) {
	dir := cinema(t, nil, nil)
	other := filepath.Join(t.TempDir(), "other.mcap")
	filmed(t, other, nil)
	c, err := NewClips(dir, []string{other}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "episodes", "online-00000.mcap.part"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	filmed(t, filepath.Join(dir, "episodes", "online-00001.mcap"), nil) // while people look
	ids, err := c.Episodes(t.Context())
	if want := []string{"demo-00000", "demo-00001", "online-00001", "other"}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("got %v, %v; want %v", ids, err, want)
	}
	for _, id := range ids {
		fs, err := c.Frames(t.Context(), id)
		if err != nil || len(fs) != 5 || len(fs[4]) != 1 || fs[4][0].Format != "jpeg" || fs[4][0].Camera != "front" {
			t.Errorf("%s: %v, %v", id, fs, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "episodes", "demo-00001.mcap"), []byte("no film"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Frames(t.Context(), "demo-00001"); err == nil {
		t.Error("a damaged file was shown")
	}
	same := filepath.Join(t.TempDir(), "demo-00000.mcap")
	filmed(t, same, nil)
	for want, files := range map[string][]string{
		"rename it":           {same},
		"label it by itself":  {dir},
		"no such file":        {"nowhere.bag"},
		"would be called oth": {other, other},
	} {
		if _, err := NewClips(dir, files, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", files, err, want)
		}
	}
}

func TestColdBookLeavesTheFolderFree(t *testing.T) {
	dir := cinema(t)
	b := ColdBook(dir)
	l := label.Label{ID: "l", Annotator: "ann", Stamp: time.Unix(1, 0).UTC(), Choice: label.Tie,
		Query: label.Query{ID: "q", Kind: label.Pair, Clips: []label.Clip{{Episode: "a"}, {Episode: "b"}}}}
	for i := range 2 {
		if added, err := b.Append(t.Context(), l); err != nil || added != (i == 0) {
			t.Errorf("added %v, %v", added, err)
		}
	}
	st, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Labels(t.Context()); !errors.Is(err, store.ErrInUse) {
		t.Errorf("in a session that runs: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if ls, err := b.Labels(t.Context()); err != nil || len(ls) != 1 {
		t.Errorf("%v, %v", ls, err)
	}
}

func TestInformedAsksWhatItCannotForetell(t *testing.T) {
	// People like the first feature, as six answers show; of the second nothing is known.
	dir := cinema(t, []float32{0, 0}, []float32{1, 0}, []float32{2, 0}, []float32{3, 0}, []float32{0, 3}, nil, []float32{0, 0})
	clips, err := NewClips(dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(kind label.Kind, ids ...int) label.Query {
		q := label.Query{ID: fmt.Sprint(ids), Kind: kind}
		for _, i := range ids {
			q.Clips = append(q.Clips, label.Clip{Episode: fmt.Sprintf("demo-%05d", i)})
		}
		return q
	}
	var ls []label.Label
	for i, p := range [][2]int{{1, 0}, {2, 0}, {3, 0}, {3, 1}, {2, 1}, {3, 2}, {1, 0}, {3, 0}} {
		ls = append(ls, label.Label{ID: fmt.Sprint(i), Annotator: "ann", Query: ask(label.Pair, p[0], p[1]), Choice: label.Left})
	}
	s := NewInformed(clips, rand.NewPCG(1, 2))
	for _, tt := range []struct {
		name string
		qs   []label.Query
		ls   []label.Label
		want int
		why  string
	}{
		{"alike, known, unknown", []label.Query{ask(label.Pair, 0, 6), ask(label.Pair, 3, 0), ask(label.Pair, 4, 0)}, ls, 2, "information"},
		{"without features", []label.Query{ask(label.Pair, 5, 0), ask(label.Pair, 0, 1)}, ls, 1, "information"},
		{"none with features", []label.Query{ask(label.Pair, 5, 0), ask(label.Pair, 1, 5)}, nil, 0, "random, since"},
		{"a triplet of two alike", []label.Query{ask(label.Triplet, 0, 1, 1), ask(label.Triplet, 0, 1, 4)}, nil, 1, "information"},
		{"ranking", []label.Query{ask(label.Ranking, 0, 1, 2)}, ls, 0, "random"},
	} {
		i, why, gain, err := s.Choose(t.Context(), tt.qs, tt.ls)
		if err != nil || i != tt.want || !strings.HasPrefix(why, tt.why) || (why == "information") != (gain > 0) {
			t.Errorf("%s: got %d because of %q, %v bits, %v; want %d", tt.name, i, why, gain, err, tt.want)
		}
	}
}
