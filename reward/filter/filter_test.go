package filter_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/reward/filter"
)

// steady are n demonstrations whose reward rises from about -1 to about 0 in 12 steps.
func steady(task string, n int) (out []filter.Item) {
	for k := range n {
		it := filter.Item{ID: fmt.Sprintf("%s-%02d", task, k), Task: task}
		for t := range 12 {
			it.Rewards = append(it.Rewards, -1+float64(t)/11+0.01*float64(k%5-2))
		}
		out = append(out, it)
	}
	return out
}

func of(t *testing.T, rows []filter.Row, id string) filter.Row {
	t.Helper()
	i := slices.IndexFunc(rows, func(r filter.Row) bool { return r.ID == id })
	if i < 0 {
		t.Fatalf("no row of %s", id)
	}
	return rows[i]
}

func review(t *testing.T, items []filter.Item, cfg filter.Config) []filter.Row {
	t.Helper()
	rows, err := filter.Review(items, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestTheLowestAreMarkedAndRecoveriesStay(t *testing.T) {
	items := steady("push", 20)
	for s := range 12 { // one stops half-way, one begins badly and ends well
		items[3].Rewards[s] = min(items[3].Rewards[s], -0.5)
		if s < 8 {
			items[4].Rewards[s] = -3
		}
	}
	// Another task, whose rewards are a hundred times as large, is another matter.
	other := steady("stack", 20)
	for i := range other {
		for s := range other[i].Rewards {
			other[i].Rewards[s] = 100*other[i].Rewards[s] - 500
		}
	}
	rows := review(t, append(items, other...), filter.Config{})
	if !slices.IsSortedFunc(rows, func(a, b filter.Row) int {
		if a.Score < b.Score {
			return -1
		}
		return 1
	}) {
		t.Error("the list is not sorted by score")
	}
	if r := of(t, rows, "push-03"); !r.Drop || r.Why != "low" {
		t.Errorf("what stops half-way: %+v", r)
	}
	if r := of(t, rows, "push-04"); r.Drop || !strings.Contains(r.Why, "ends well") {
		t.Errorf("what recovers: %+v", r)
	}
	n := 0
	for _, r := range rows {
		if r.Drop && r.Task == "push" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d of push are marked, want 1: the other of the lowest tenth recovers", n)
	}
}

func TestScoreByHand(t *testing.T) {
	var items []filter.Item
	for k, x := range []float64{-2, -1, 0, 1, 20} {
		items = append(items, filter.Item{ID: fmt.Sprint(k), Rewards: []float64{x, x, 0, 0}})
	}
	rows := review(t, items, filter.Config{Phases: 2})
	// Of the first phase the median is 0 and the median distance 1; the second is flat.
	unit := 1 / 1.4826
	for k, z := range []float64{-2 * unit, -unit, 0, unit, 3} {
		if r := of(t, rows, fmt.Sprint(k)); math.Abs(r.Score-z/3) > 1e-9 {
			t.Errorf("%d scores %v, want %v", k, r.Score, z/3)
		}
	}
}

func TestLengthCountsInNoScore(t *testing.T) {
	items := steady("push", 10)
	long := filter.Item{ID: "long", Task: "push"}
	for _, r := range items[2].Rewards {
		long.Rewards = append(long.Rewards, r, r, r)
	}
	rows := review(t, append(items, long), filter.Config{})
	if a, b := of(t, rows, "long"), of(t, rows, "push-02"); math.Abs(a.Score-b.Score) > 1e-9 {
		t.Errorf("three times as long scores %v, else %v", a.Score, b.Score)
	}
}

func TestConflictsWithWhatPeopleSaidAreMarked(t *testing.T) {
	items := steady("push", 20)
	for i := range items {
		items[i].Said = filter.Liked
		if i >= 10 {
			items[i].Said = filter.Disliked
			for s := range items[i].Rewards {
				items[i].Rewards[s] -= 1
			}
		}
	}
	items[0].Said, items[10].Said = filter.Disliked, filter.Liked // liked is 10, which is low, and disliked 0
	for s := range items[0].Rewards {
		items[0].Rewards[s] += 0.5
		items[10].Rewards[s] -= 0.5
	}
	rows := review(t, items, filter.Config{Quantile: -1})
	for _, r := range rows {
		if want := r.ID == "push-00" || r.ID == "push-10"; r.Drop != want {
			t.Errorf("%+v, want it dropped: %v", r, want)
		}
	}
	// Of too few nobody can tell.
	few := review(t, items[8:12], filter.Config{Quantile: -1})
	for _, r := range few {
		if r.Drop {
			t.Errorf("two of a kind are enough to drop %+v", r)
		}
	}
}

func TestListIsReadAsItWasWritten(t *testing.T) {
	items := steady("push", 20)
	for s := range items[3].Rewards {
		items[3].Rewards[s] -= 2
	}
	rows := review(t, items, filter.Config{})
	var b bytes.Buffer
	if err := filter.Write(&b, rows); err != nil {
		t.Fatal(err)
	}
	vs, err := filter.Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	if len(vs) != len(rows) {
		t.Fatalf("%d verdicts of %d rows", len(vs), len(rows))
	}
	for i, v := range vs {
		if v.ID != rows[i].ID || v.Drop != rows[i].Drop || v.Line != i+2 {
			t.Errorf("%+v was read, %+v written", v, rows[i])
		}
	}
	b.Reset()
	if err := filter.Markdown(&b, rows); err != nil || strings.Count(b.String(), "\n") != 22 || !strings.Contains(b.String(), "| drop |") {
		t.Errorf("as Markdown, %v:\n%s", err, b.String())
	}
}

func TestWrongListsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "head of the list",
		"a,b\n":                               "want episode and verdict",
		"episode,verdict\nx,maybe\n":          `line 2: the verdict on x is "maybe"; want keep or drop`,
		"episode,verdict\nx,keep\nx,drop\n":   "line 3: x has a verdict in line 2 already",
		"episode,verdict\nx,keep,more\n":      "wrong number of fields",
		"episode,verdict\n\"x,keep\n":         "quote",
		"verdict,note,episode\ndrop,\"a\nb\"": "wrong number of fields",
	} {
		if _, err := filter.Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want it to say %q", text, err, want)
		}
	}
	if vs, err := filter.Read(strings.NewReader("verdict,note,episode\ndrop,a,x\n")); err != nil || len(vs) != 1 || vs[0].ID != "x" || !vs[0].Drop {
		t.Errorf("columns moved: %v, %v", vs, err)
	}
	for want, cfg := range map[string]filter.Config{"quantile 1": {Quantile: 1}, "too few for 99": {Phases: 99}} {
		if _, err := filter.Review(steady("push", 3), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v", cfg, err)
		}
	}
	bad := steady("push", 3)
	bad[1].Rewards[5] = math.NaN()
	if _, err := filter.Review(bad, filter.Config{}); err == nil || !strings.Contains(err.Error(), "push-01") {
		t.Errorf("NaN: error %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("episode,verdict\nx,keep\n")
	f.Fuzz(func(t *testing.T, s string) {
		vs, err := filter.Read(strings.NewReader(s))
		if err != nil && vs != nil {
			t.Error("verdicts with an error")
		}
	})
}

// Where most are bad, their median is no measure of an end that is good.
func TestNoneOfABadMajorityEndsWell(t *testing.T) {
	items := steady("push", 20)
	for i := range 12 {
		for s := range items[i].Rewards {
			items[i].Rewards[s] -= 2 + 0.1*float64(i)
		}
	}
	rows := review(t, items, filter.Config{Quantile: 0.2})
	for i, r := range rows {
		if r.Drop != (i < 4) {
			t.Errorf("%d.: %+v", i+1, r)
		}
	}
}
