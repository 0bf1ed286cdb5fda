package label

import (
	"fmt"
	"slices"
	"testing"
)

func said(id string, k Kind, clips ...string) Label {
	q := ask(k, clips...)
	q.ID = "q" + id
	return Label{ID: id, Query: q, Annotator: "ann"}
}

func chose(c Choice, l Label) Label { l.Choice = c; return l }

func (o Order) show() string {
	s := fmt.Sprintf("%s>%s", o.Better.Episode, o.Worse.Episode)
	if o.Tie {
		s = fmt.Sprintf("%s=%s", o.Better.Episode, o.Worse.Episode)
	}
	for _, c := range []Clip{o.Better, o.Worse} {
		if c.To > 0 {
			s += fmt.Sprintf(" %d:%d", c.From, c.To)
		}
	}
	return o.Label + " " + s
}

func TestTrainersGetWhatWasDecided(t *testing.T) {
	ranking := said("5", Ranking, "a", "b", "c")
	ranking.Places = []int{2, 1, 2}
	marked := said("6", Segments, "a")
	marked.Marks = []Mark{{0, 2, true}, {3, 5, false}, {6, 9, true}}
	ls := []Label{
		chose(Left, said("1", Pair, "a", "b")), chose(Right, said("2", Pair, "a", "b")),
		chose(Tie, said("3", Pair, "a", "b")), chose(Unsure, said("4", Pair, "a", "b")),
		ranking, marked,
		chose(Right, said("7", Triplet, "x", "a", "b")), chose(Unsure, said("8", Triplet, "x", "a", "b")), chose(Tie, said("9", Triplet, "x", "a", "b")),
		chose(Left, said("10", Pair, "a", "b")), {ID: "11", Annotator: "ann", Retracts: "10"},
	}
	var got []string
	for _, o := range Pairs(ls) {
		got = append(got, o.show())
	}
	want := []string{"1 a>b", "2 b>a", "3 a=b", "5 b>a", "5 a=c", "5 b>c", "6 a>a 0:2 3:5", "6 a>a 6:9 3:5"}
	if !slices.Equal(got, want) {
		t.Errorf("pairs %q, want %q", got, want)
	}
	got = nil
	for _, x := range Triplets(ls) {
		got = append(got, x.Anchor.Episode+" "+x.show())
	}
	if want := []string{"x 7 b>a", "x 9 a=b"}; !slices.Equal(got, want) {
		t.Errorf("triplets %q, want %q", got, want)
	}
}
