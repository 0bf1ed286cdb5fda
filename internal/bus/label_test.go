package bus_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/reward/label"
)

func pair(id, who string) label.Label {
	return label.Label{
		ID: id, Annotator: who, Stamp: time.Unix(1, 2).UTC(), Choice: label.Left,
		Query: label.Query{ID: "q" + id, Kind: label.Pair, Clips: []label.Clip{{Episode: "a"}, {Episode: "b"}}},
	}
}

func ids(ls []label.Label) (out []string) {
	for _, l := range ls {
		out = append(out, l.ID)
	}
	return out
}

func TestLabelsCrossTheBusOnce(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	near, far := srv.Conn().Book("s"), dial(t, srv.URL(), bus.Options{}).Book("s")
	for i, b := range []*bus.Book{far, near, far, near} {
		added, err := b.Append(within(t), pair(fmt.Sprint(i/2), "ann"))
		if err != nil || added != (i%2 == 0) {
			t.Errorf("append %d: added %v, %v", i, added, err)
		}
	}
	if _, err := far.Append(within(t), label.Label{ID: "x"}); err == nil {
		t.Error("what is no label was taken")
	}
	// What is no label, an id that the server has forgotten, a triplet of before
	// there was this format, and other kinds.
	again, err := label.Encode(pair("1", "ben"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct{ kind, id, data string }{
		{"label", "bad", `{"no":"label"}`}, {"label", "long ago", string(again)}, {"operator", "2", `{}`},
		{"label", "triplet-000003", `{"anchor":"a","better":"b","worse":"c"}`},
	} {
		if _, err := srv.Conn().Append(within(t), "s", e.kind, e.id, []byte(e.data)); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range map[string]*bus.Book{"near": near, "far": far} {
		ls, err := b.Labels(within(t))
		if want := []string{"0", "1", "triplet-000003"}; err != nil || !slices.Equal(ids(ls), want) {
			t.Fatalf("%s: got %v, %v; want %v", name, ids(ls), err, want)
		}
		if d := cmp.Diff(pair("1", "ann"), ls[1]); d != "" {
			t.Error(d)
		}
		if got := label.Triplets(ls); len(got) != 1 || got[0].Better.Episode != "b" || got[0].Annotator != "simulated" {
			t.Errorf("triplets %+v", got)
		}
	}
	next, err := far.Each(within(t), 1, false, func(label.Label) error { return nil })
	if err != nil || next != 7 {
		t.Errorf("the next place is %d, %v; want 7", next, err)
	}
	if _, err := srv.Conn().Book("a.b").Append(within(t), pair("1", "ann")); err == nil {
		t.Error("a session that cannot be named was written")
	}
	if ls, err := far.Labels(within(t)); err != nil || len(ls) != 3 {
		t.Errorf("%d labels, %v", len(ls), err)
	}
}
