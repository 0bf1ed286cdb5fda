package wire

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
)

func TestAReportTellsOfPeopleAndFaults(t *testing.T) {
	ctx := t.Context()
	st, err := store.Create(t.TempDir()+"/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s := &Session{store: st}
	if got, err := s.helped(ctx); err != nil || len(got) != 0 {
		t.Errorf("of a session that nobody touched: %v, error %v", got, err)
	}
	for i, ms := range [][]policy.Metric{{{Name: "human", Value: 7}, {Name: "resets", Value: 1}}, {{Name: "resets", Value: 2}}, {{Name: "human", Value: 5}, {Name: "resets", Value: 2}}} {
		if err := st.AddMetrics(ctx, "episode", uint64(i), ms); err != nil {
			t.Fatal(err)
		}
	}
	for _, cause := range []string{"stopped", "stale", "stopped"} {
		if _, err := st.AddFault(ctx, store.Fault{Cause: cause}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.helped(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := []report.Fact{
		{Name: "a person drove", Value: "12 steps of 2 online episodes"},
		{Name: "a person put the scene back", Value: "2 times, in both ways"},
		{Name: "held by faults", Value: "3 times: stopped 2, stale 1; see rapport fault --session " + s.Dir()},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
