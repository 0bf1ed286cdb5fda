package wire

import (
	"errors"
	"testing"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/robot"
)

// What people said of an earlier session's online episodes is never taken for what the new
// session did under the same name; of its demonstrations, which are copied, it counts.
func TestWhatWasSaidOfAnEarlierSessionsEpisodesStaysTheirs(t *testing.T) {
	ctx := t.Context()
	begun := func(name string, ids ...string) *Session {
		c := tiny(t)
		c.Name = name
		s, err := Create(ctx, c, quietly())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		for _, id := range ids {
			ep := policy.Episode{ID: id, Applied: make([]robot.Command, 2), By: make([]robot.Source, 2), Version: make([]uint64, 2), Inputs: make([]policy.Input, 3)}
			if id == "demo-00000" {
				ep.Origin = policy.Demo
			}
			if _, err := s.store.AddEpisode(ctx, ep); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	one, two := begun("one", "demo-00000", "online-00000", "online-00001"), begun("two", "demo-00000", "online-00000")
	pair := label.Query{ID: "q", Kind: label.Pair, Clips: []label.Clip{{Episode: "demo-00000"}, {Episode: "online-00000"}}}
	for _, l := range []label.Label{
		{ID: "a", Annotator: "ann", Choice: label.Left, Query: pair},
		{ID: "b", Annotator: "ben", Choice: label.Left, Query: pair},
		{ID: "undo-b", Annotator: "ben", Retracts: "b", Query: pair},
	} {
		if _, err := one.store.Append(ctx, l); err != nil {
			t.Fatal(err)
		}
	}
	if err := two.inheritLabels(ctx, one.store); err != nil {
		t.Fatal(err)
	}
	a, err := two.opinions(ctx, taste{})
	if err != nil || len(a.order) != 1 || a.order[0].Better.Episode != "demo-00000" || a.order[0].Worse.Episode != "online-00000 of one" {
		t.Fatalf("opinions %+v, error %v", a, err)
	}
	if ls, err := one.store.Labels(ctx); err != nil || ls[0].Query.Clips[1].Episode != "online-00000" {
		t.Errorf("the earlier session's labels are %+v, error %v", ls, err)
	}
	find := func(episode string, in ...*store.Session) error {
		lib := library{in, &sight{}, map[string]rapl.Video{}, map[string][]perception.Features{}}
		_, err := lib.video(label.Clip{Episode: episode, From: 5, To: 6}) // which no episode has
		return err
	}
	for _, tt := range []struct {
		episode string
		in      []*store.Session
		missing bool
	}{
		{"online-00000 of one", []*store.Session{two.store}, true},
		{"online-00000 of one", []*store.Session{two.store, one.store}, false},
		{"online-00001 of one", []*store.Session{two.store, one.store}, false},
		{"online-00000", []*store.Session{two.store}, false},
		{"demo-00000", []*store.Session{two.store, one.store}, false},
	} {
		if err := find(tt.episode, tt.in...); err == nil || errors.Is(err, store.ErrNone) != tt.missing {
			t.Errorf("%s in %d sessions: %v; want it missing: %v", tt.episode, len(tt.in), err, tt.missing)
		}
	}
}
