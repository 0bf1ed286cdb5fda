package preference_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/preference"
)

func TestLabelsBecomePairs(t *testing.T) {
	a, b, c := label.Clip{Episode: "a"}, label.Clip{Episode: "b"}, label.Clip{Episode: "c"}
	query := func(k label.Kind, cs ...label.Clip) label.Query { return label.Query{ID: "q", Kind: k, Clips: cs} }
	ls := []label.Label{
		{ID: "1", Annotator: "ann", Query: query(label.Pair, a, b), Choice: label.Right, Tags: []string{"smooth"}},
		{ID: "2", Annotator: "ann", Query: query(label.Pair, a, b), Choice: label.Unsure},
		{ID: "3", Annotator: "bob", Query: query(label.Triplet, a, b, c), Choice: label.Left},
		{ID: "4", Annotator: "bob", Query: query(label.Ranking, a, b, c), Places: []int{2, 1, 2}},
		{ID: "5", Annotator: "bob", Query: query(label.Segments, c), Marks: []label.Mark{{From: 0, To: 2, Good: true}, {From: 5, To: 6}}},
		{ID: "6", Annotator: "ann", Query: query(label.Pair, b, c), Choice: label.Tie},
		{ID: "7", Annotator: "ann", Query: query(label.Pair, a, c), Choice: label.Left},
		{ID: "8", Annotator: "ann", Retracts: "7"},
	}
	asked := map[string]int{}
	embed := func(c label.Clip) (preference.Clip, error) {
		name := fmt.Sprintf("%s%d-%d", c.Episode, c.From, c.To)
		asked[name]++
		return preference.Clip{Name: name, D: 1, Embed: []float32{1}}, nil
	}
	axes, err := preference.FromLabels(ls[:1], embed, preference.Options{Axes: []string{"safe", "smooth"}})
	if err != nil || !slices.Equal(axes[0].Axes, []preference.Verdict{preference.Unknown, preference.Second}) {
		t.Errorf("an answer for the reason smooth: %+v, %v", axes, err)
	}
	for _, tt := range []struct {
		o    preference.Options
		want []string
	}{
		{preference.Options{Anchored: true}, []string{
			"ann a0-0 b0-0 second", "bob b0-0 c0-0 first", "bob a0-0 c0-0 first",
			"bob a0-0 b0-0 second", "bob a0-0 c0-0 tie", "bob b0-0 c0-0 first",
			"bob c0-2 c5-6 first", "ann b0-0 c0-0 tie"}},
		{preference.Options{}, []string{
			"ann a0-0 b0-0 second",
			"bob a0-0 b0-0 second", "bob a0-0 c0-0 tie", "bob b0-0 c0-0 first",
			"bob c0-2 c5-6 first", "ann b0-0 c0-0 tie"}},
	} {
		clear(asked)
		ps, err := preference.FromLabels(ls, embed, tt.o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range ps {
			got = append(got, fmt.Sprint(p.Annotator, " ", p.A.Name, " ", p.B.Name, " ", p.Verdict))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%+v:\n got %q\nwant %q", tt.o, got, tt.want)
		}
		for name, n := range asked {
			if n != 1 {
				t.Errorf("%s was embedded %d times", name, n)
			}
		}
	}
	gone := errors.New("gone")
	if _, err := preference.FromLabels(ls, func(label.Clip) (preference.Clip, error) { return preference.Clip{}, gone }, preference.Options{}); !errors.Is(err, gone) || !strings.Contains(err.Error(), "label 1") {
		t.Errorf("an episode that is gone: %v", err)
	}
	if _, err := preference.FromLabels([]label.Label{{ID: "1"}}, embed, preference.Options{}); err == nil {
		t.Error("a label without an annotator was read")
	}
}

// Who says the opposite of the same two clips has said nothing, on each aspect apart; who says the
// same again has said it once.
func TestContradictionsBecomeNoPairs(t *testing.T) {
	said := func(id, who string, choice label.Choice, tags ...string) label.Label {
		return label.Label{ID: id, Annotator: who, Choice: choice, Tags: tags, Query: label.Query{ID: "q" + id, Kind: label.Pair, Clips: []label.Clip{{Episode: "a"}, {Episode: "b"}}}}
	}
	embed := func(c label.Clip) (preference.Clip, error) {
		return preference.Clip{Name: c.Episode, D: 1, Embed: []float32{1}}, nil
	}
	for _, tt := range []struct {
		ls   []label.Label
		axes []string
		want string
	}{
		{[]label.Label{said("1", "ann", label.Left), said("2", "ann", label.Right)}, nil, "[]"},
		{[]label.Label{said("1", "ann", label.Left), said("2", "bob", label.Right)}, nil, "[ann first [] bob second []]"},
		{[]label.Label{said("1", "ann", label.Left), said("2", "ann", label.Right), said("3", "ann", label.Right)}, nil, "[ann second []]"},
		{[]label.Label{said("1", "ann", label.Left), said("2", "ann", label.Left)}, nil, "[ann first []]"},
		{[]label.Label{said("1", "ann", label.Left, "safe"), said("2", "ann", label.Right, "smooth")}, []string{"safe", "smooth"}, "[ann unknown [first unknown] ann unknown [unknown second]]"},
		{[]label.Label{said("1", "ann", label.Left, "safe"), said("2", "ann", label.Right, "safe")}, []string{"safe", "smooth"}, "[]"},
	} {
		ps, err := preference.FromLabels(tt.ls, embed, preference.Options{Axes: tt.axes})
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, p := range ps {
			got = append(got, fmt.Sprint(p.Annotator, " ", p.Verdict, " ", p.Axes))
		}
		if s := fmt.Sprint(got); s != tt.want {
			t.Errorf("of %d answers about two clips: got %s, want %s", len(tt.ls), s, tt.want)
		}
	}
}

func TestClipsAreCopiedAndChecked(t *testing.T) {
	fs := []perception.Features{{Embed: []float32{1, 2}}, {Embed: []float32{3, 4}}}
	c, err := preference.ClipOf("x", fs)
	if err != nil || c.Len() != 2 || !slices.Equal(c.Frame(1), []float32{3, 4}) {
		t.Errorf("clip %+v, %v", c, err)
	}
	fs[1].Embed = []float32{3}
	if _, err := preference.ClipOf("x", fs); err == nil || !strings.Contains(err.Error(), "frame 1") {
		t.Errorf("frames of different widths: %v", err)
	}
	if _, err := preference.ClipOf("x", nil); err == nil {
		t.Error("a clip without frames")
	}
	if n := (preference.Clip{}).Len(); n != 0 {
		t.Errorf("an empty clip has %d frames", n)
	}
}

func TestNamesOfChoices(t *testing.T) {
	for _, m := range allTies {
		b, err := m.MarshalText()
		var back preference.Ties
		if err != nil || back.UnmarshalText(b) != nil || back != m {
			t.Errorf("%v reads back as %v; %v", m, back, err)
		}
	}
	for _, r := range []preference.Return{preference.Sum, preference.Mean} {
		b, err := r.MarshalText()
		var back preference.Return
		if err != nil || back.UnmarshalText(b) != nil || back != r {
			t.Errorf("%v reads back as %v; %v", r, back, err)
		}
	}
	var ties preference.Ties
	var ret preference.Return
	if ties.UnmarshalText([]byte("x")) == nil || ret.UnmarshalText([]byte("x")) == nil {
		t.Error("an unknown name was read")
	}
	if _, err := preference.Ties(9).MarshalText(); err == nil {
		t.Error("no such model of ties was written")
	}
	if _, err := preference.Return(9).MarshalText(); err == nil {
		t.Error("no such return was written")
	}
}
