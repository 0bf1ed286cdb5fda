package store

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy/policytest"
)

// An episode of another session is kept beside those that count, under names that stay in their
// folder.
func TestEpisodesOfAnEarlierSessionAreKeptAside(t *testing.T) {
	s, err := Create(t.TempDir(), []byte("a: b\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e := policytest.Demos(1, 1, [2]float64{})[0]
	const name = "online-00000 of an arm"
	if err := s.Keep(name, e); err != nil {
		t.Fatal(err)
	}
	got, err := s.Kept(name)
	if err != nil || !reflect.DeepEqual(got.Trajectory(), e.Trajectory()) {
		t.Errorf("%s comes back otherwise: %v", name, err)
	}
	if rows, err := s.Episodes(t.Context(), e.Origin); err != nil || len(rows) > 0 {
		t.Errorf("%d episodes count, %v; want none", len(rows), err)
	}
	for _, bad := range []string{"", "..", "../" + name, "none", "a\x00b", strings.Repeat("long", 100)} {
		if _, err := s.Kept(bad); !errors.Is(err, ErrNone) {
			t.Errorf("%q: %v, want that there is none", bad, err)
		}
	}
	if err := s.Keep("../out", e); err == nil {
		t.Error("an episode was kept outside the folder")
	}
}
