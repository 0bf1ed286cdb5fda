package label

import (
	"testing"
	"time"
)

func ask(k Kind, clips ...string) Query {
	q := Query{ID: "q", Kind: k}
	for _, c := range clips {
		q.Clips = append(q.Clips, Clip{Episode: c})
	}
	return q
}

func TestWhatIsNoLabelIsRefused(t *testing.T) {
	ok := func(l Label) Label {
		l.ID, l.Annotator, l.Stamp = "l", "ann", time.Unix(1, 0)
		return l
	}
	for _, tt := range []struct {
		name string
		l    Label
		good bool
	}{
		{"pair", ok(Label{Query: ask(Pair, "a", "b"), Choice: Tie}), true},
		{"triplet", ok(Label{Query: ask(Triplet, "a", "b", "c"), Choice: Left}), true},
		{"ranking with a tie", ok(Label{Query: ask(Ranking, "a", "b", "c"), Places: []int{1, 2, 2}}), true},
		{"segments", ok(Label{Query: ask(Segments, "a"), Marks: []Mark{{0, 3, true}, {3, 5, false}}}), true},
		{"nothing marked", ok(Label{Query: ask(Segments, "a")}), true},
		{"taken back", ok(Label{Retracts: "k"}), true},
		{"no annotator", Label{ID: "l", Query: ask(Pair, "a", "b"), Choice: Left}, false},
		{"no id", Label{Annotator: "ann", Query: ask(Pair, "a", "b"), Choice: Left}, false},
		{"a pair of three", ok(Label{Query: ask(Pair, "a", "b", "c"), Choice: Left}), false},
		{"no choice", ok(Label{Query: ask(Pair, "a", "b")}), false},
		{"another choice", ok(Label{Query: ask(Pair, "a", "b"), Choice: "both"}), false},
		{"a place too many", ok(Label{Query: ask(Ranking, "a", "b"), Places: []int{1, 2, 3}}), false},
		{"place 0", ok(Label{Query: ask(Ranking, "a", "b"), Places: []int{0, 1}}), false},
		{"marks that overlap", ok(Label{Query: ask(Segments, "a"), Marks: []Mark{{0, 3, true}, {2, 5, false}}}), false},
		{"an empty mark", ok(Label{Query: ask(Segments, "a"), Marks: []Mark{{3, 3, true}}}), false},
		{"taken back and answered", ok(Label{Retracts: "k", Choice: Left}), false},
		{"another kind", ok(Label{Query: ask("vote", "a", "b"), Choice: Left}), false},
		{"a clip of nothing", ok(Label{Query: ask(Pair, "a", ""), Choice: Left}), false},
	} {
		if err := tt.l.Validate(); (err == nil) != tt.good {
			t.Errorf("%s: %v, want an error: %v", tt.name, err, !tt.good)
		}
	}
}

func TestATakenBackLabelDoesNotStand(t *testing.T) {
	ls := []Label{
		{ID: "1", Annotator: "ann"}, {ID: "2", Annotator: "ben"},
		{ID: "3", Annotator: "ann", Retracts: "1"},
		{ID: "4", Annotator: "ann", Retracts: "2"}, // not hers
		{ID: "5", Annotator: "ann"},
	}
	got := Standing(ls)
	if len(got) != 2 || got[0].ID != "2" || got[1].ID != "5" {
		t.Errorf("%v stand, want 2 and 5", got)
	}
}
