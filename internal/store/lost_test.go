package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/store"
)

func TestWhatASessionLeftIsNotOverwritten(t *testing.T) {
	for name, lose := range map[string]func(s *store.Session, dir string) error{
		"1 episode": func(s *store.Session, dir string) error {
			_, err := s.AddEpisode(t.Context(), episode(1))
			return err
		},
		"1 checkpoint": func(s *store.Session, dir string) error {
			return s.SaveCheckpoint(t.Context(), "learner", 1, []byte("good"))
		},
		"the journal": func(s *store.Session, dir string) error {
			return os.MkdirAll(filepath.Join(dir, "nats", "jetstream"), 0o755)
		},
	} {
		s, dir := create(t)
		if err := errors.Join(lose(s, dir), s.Close(), os.Remove(filepath.Join(dir, "session.db"))); err != nil {
			t.Fatal(err)
		}
		for what, do := range map[string]func() (*store.Session, error){
			"create": func() (*store.Session, error) { return store.Create(dir, []byte("seed: 2\n")) },
			"open":   func() (*store.Session, error) { return store.Open(dir) },
		} {
			_, err := do()
			if !errors.Is(err, store.ErrLost) || !strings.Contains(err.Error(), dir+" holds "+name) || !strings.Contains(err.Error(), "from a copy, or choose another name") {
				t.Errorf("%s of a folder with %s, without its database: %v", what, name, err)
			}
		}
		if b, err := os.ReadFile(filepath.Join(dir, "config.yaml")); err != nil || string(b) != "seed: 1\n" {
			t.Errorf("config %q, %v", b, err)
		}
	}
	// One that was only begun holds nothing.
	s, dir := create(t)
	if err := errors.Join(s.Close(), os.Remove(filepath.Join(dir, "session.db"))); err != nil {
		t.Fatal(err)
	}
	s, err := store.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}

func TestEmptyDatabaseBesideEpisodesIsNoUnfinishedOne(t *testing.T) {
	s, dir := create(t)
	db := filepath.Join(dir, "session.db")
	if err := errors.Join(s.Close(), os.Truncate(db, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(dir); err == nil || !strings.Contains(err.Error(), "never finished") {
		t.Errorf("without episodes: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "episodes", "demo-00000.mcap"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"with SQLite's header", "empty"} { // an earlier look may have written the header
		if what == "empty" {
			if err := os.Truncate(db, 0); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := store.Open(dir); !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "holds 1 episode; bring it back from a copy") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if st, err := os.Stat(db); err != nil || st.Size() != 0 {
		t.Errorf("the file was written to: %v, %v", st.Size(), err)
	}
}
