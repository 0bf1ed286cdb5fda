package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/reward/label"
)

func pair(id, who string, c label.Choice) label.Label {
	return label.Label{
		ID: id, Annotator: who, Stamp: time.Unix(1, 2).UTC(), Choice: c, Tags: []string{"smooth"}, Took: time.Second,
		Query: label.Query{ID: "q" + id, Kind: label.Pair, Why: "random", Clips: []label.Clip{{Episode: "a", To: 9, Cameras: []string{"front"}}, {Episode: "b"}}},
	}
}

func TestLabelsAreKeptAsTheyWereSaid(t *testing.T) {
	s, dir := create(t)
	ctx := t.Context()
	want := []label.Label{pair("1", "ann", label.Left), pair("2", "ben", label.Tie), {ID: "3", Annotator: "ann", Retracts: "1", Stamp: time.Unix(3, 0).UTC()}}
	for _, l := range want {
		if added, err := s.Append(ctx, l); err != nil || !added {
			t.Fatalf("%s: %v, %v", l.ID, added, err)
		}
	}
	if added, err := s.Append(ctx, pair("1", "ann", label.Right)); err != nil || added {
		t.Errorf("an id was taken twice: %v, %v", added, err)
	}
	if _, err := s.Append(ctx, label.Label{ID: "4"}); err == nil {
		t.Error("what is no label was stored")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// No other program changes them either.
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "session.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"UPDATE preferences SET annotator = 'eve'", "DELETE FROM preferences WHERE id = '1'"} {
		if _, err := db.Exec(q); err == nil || !strings.Contains(err.Error(), "a label is never") {
			t.Errorf("%s: %v, want a refusal", q, err)
		}
	}
	for _, q := range []string{
		"INSERT OR REPLACE INTO preferences (id, kind, annotator, stamp_ns, data) VALUES ('1', 'pair', 'eve', 0, '{}')",
		"INSERT OR REPLACE INTO preferences VALUES (2, 'other', 'pair', 'eve', 0, '{}')",
	} {
		if _, err := db.Exec(q); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Open(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	got, err := s.Labels(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := label.Standing(got); len(got) != 1 || got[0].ID != "2" {
		t.Errorf("%v stand, want 2", got)
	}
}

func TestLabelsOfSeveralAtOnceAreAllKept(t *testing.T) {
	const each = 20
	s, _ := create(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	added := 0
	for who := range 4 {
		wg.Go(func() {
			for i := range each {
				// Two and two say the same.
				ok, err := s.Append(t.Context(), pair(fmt.Sprintf("%d-%d", who/2, i), "ann", label.Left))
				if err != nil {
					t.Error(err)
				}
				if ok {
					mu.Lock()
					added++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if ls, err := s.Labels(t.Context()); err != nil || len(ls) != 2*each || added != 2*each {
		t.Errorf("%d labels, %d told as added, %v; want %d", len(ls), added, err, 2*each)
	}
}

func TestLabelsOfOlderSessionsAreTakenOver(t *testing.T) {
	s, dir := create(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "session.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`DROP TABLE preferences;
		CREATE TABLE labels (n INTEGER PRIMARY KEY AUTOINCREMENT, stamp_ns INTEGER NOT NULL, annotator TEXT NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL);
		INSERT INTO labels (stamp_ns, annotator, kind, data) VALUES
			(1000000002, 'simulated', 'triplet', '{"anchor":"demo-00001","better":"demo-00002","worse":"demo-00003"}'),
			(2000000000, 'simulated', 'triplet', '{"anchor":"demo-00001","better":"demo-00004","worse":"demo-00002"}')`)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for life := range 2 { // the second finds them taken over
		if s, err = store.Open(dir); err != nil {
			t.Fatal(err)
		}
		ls, err := s.Labels(t.Context())
		if err != nil || len(ls) != 2 {
			t.Fatalf("life %d: %d labels, %v; want 2", life, len(ls), err)
		}
		l := ls[0]
		if l.ID != "triplet-000000" || l.Annotator != "simulated" || !l.Stamp.Equal(time.Unix(1, 2)) {
			t.Errorf("got %+v", l)
		}
		x := label.Triplets(ls)
		if len(x) != 2 || x[1].Anchor.Episode != "demo-00001" || x[1].Better.Episode != "demo-00004" || x[1].Worse.Episode != "demo-00002" {
			t.Errorf("triplets %+v", x)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamagedLabelsAreNamed(t *testing.T) {
	s, dir := create(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "session.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec("INSERT INTO preferences (id, kind, annotator, stamp_ns, data) VALUES ('1', 'pair', 'ann', 0, '{}')")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Open(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, err := s.Labels(t.Context()); !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "row 1") {
		t.Errorf("got %v, want ErrCorrupt and the row", err)
	}
}
