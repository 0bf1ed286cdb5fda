package label

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLinesComeBack(t *testing.T) {
	ranking := said("2", Ranking, "a", "b")
	ranking.Places, ranking.Tags, ranking.Took = []int{1, 1}, []string{"smooth", "späße"}, 3*time.Second
	marked := said("3", Segments, "a")
	marked.Marks = []Mark{{0, 2, true}}
	marked.Query.Clips[0].Cameras = []string{"front", "wrist"}
	want := []Label{chose(Left, said("1", Pair, "a", "b")), ranking, marked, {ID: "4", Annotator: "ann", Retracts: "1", Stamp: time.Unix(5, 6).UTC()}}
	var b bytes.Buffer
	if err := Write(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(strings.NewReader("\n" + b.String() + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := Write(failing{}, want); !errors.Is(err, errFull) {
		t.Errorf("got %v, want the writer's error", err)
	}
	if err := Write(&b, []Label{{}}); err == nil {
		t.Error("what is no label was written")
	}
	if _, err := Encode(Label{ID: "1", Annotator: "a\xff", Retracts: "2"}); err == nil {
		t.Error("what is not UTF-8 was written")
	}
}

type failing struct{}

var errFull = errors.New("full")

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestBadLinesAreNamed(t *testing.T) {
	good := `{"id":"1","query":{"id":"q","kind":"pair","clips":[{"episode":"a"},{"episode":"b"}]},"choice":"left","annotator":"ann","stamp":"2026-01-02T03:04:05Z"}`
	for name, tt := range map[string]struct{ line, want string }{
		"unknown field": {strings.Replace(good, `"choice"`, `"choise"`, 1), "choise"},
		"no label":      {strings.Replace(good, "left", "up", 1), `choice "up"`},
		"two values":    {good + good, "more than one"},
		"cut off":       {good[:40], "unexpected EOF"},
		"not UTF-8":     {strings.Replace(good, "ann", "\xff", 1), "UTF-8"},
		"too long":      {strings.Repeat("x", maxLine+1), "after line 1"},
		"negative time": {strings.Replace(good, `"annotator"`, `"took_ns":-1,"annotator"`, 1), "took"},
	} {
		ls, err := Read(strings.NewReader(good + "\n" + tt.line + "\n"))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%s: got %v, want it to say %q and the line", name, err, tt.want)
		}
		if len(ls) != 1 {
			t.Errorf("%s: %d labels before it, want 1", name, len(ls))
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"id":"1","query":{"id":"q","kind":"pair","clips":[{"episode":"a","to":3},{"episode":"b","cameras":["front"]}],"gain":0.5},"choice":"left","tags":["x"],"annotator":"ann","stamp":"2026-01-02T03:04:05.5+02:00","took_ns":7}`))
	f.Add([]byte(`{"id":"2","query":{"id":"q","kind":"ranking","clips":[{"episode":"a"},{"episode":"b"}]},"places":[2,1],"annotator":"ann","stamp":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"id":"3","query":{"id":"q","kind":"segments","clips":[{"episode":"a"}]},"marks":[{"from":1,"to":2,"good":true}],"annotator":"ann","stamp":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte("{\"id\":\"4\",\"query\":{\"id\":\"\",\"kind\":\"\",\"clips\":null},\"retracts\":\"1\",\"annotator\":\"ann\",\"stamp\":\"0001-01-01T00:00:00Z\"}\n\n"))
	f.Add([]byte(`{"anchor":"a","better":"b","worse":"c"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		ls, _ := Read(bytes.NewReader(b))
		var out bytes.Buffer
		if err := Write(&out, ls); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := Read(bytes.NewReader(out.Bytes()))
		if err != nil || !cmp.Equal(ls, again) {
			t.Fatalf("%v\n%s", err, cmp.Diff(ls, again))
		}
		for _, id := range []string{"1", "triplet-000001"} { // as a journal's entry
			if l, err := DecodeEntry(id, time.Unix(0, 0), b); err == nil && l.Validate() != nil {
				t.Fatalf("took %+v", l)
			}
		}
		Pairs(ls)
		Triplets(ls)
		if a := Agree(ls); a.Share < 0 || a.Share > 1 || a.Alpha > 1 {
			t.Fatalf("agreement %+v", a)
		}
	})
}
