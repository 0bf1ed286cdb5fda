package label_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/reward/label"
)

// orders reads "a>b a~c" as what one person said; "ben:b>c" is by another.
func orders(said string) (out []label.Order) {
	for _, s := range strings.Fields(said) {
		who, what, ok := strings.Cut(s, ":")
		if !ok {
			who, what = "ann", s
		}
		out = append(out, label.Order{Better: label.Clip{Episode: what[:1]}, Worse: label.Clip{Episode: what[2:]}, Tie: what[1] == '~', Annotator: who})
	}
	return out
}

func TestFollow(t *testing.T) {
	for _, tc := range []struct{ name, said, want string }{
		{"nothing", "", ""},
		{"one answer", "a>b", "a>b"},
		{"a chain", "a>b b>c c>d", "a>b b>c c>d a>c a>d b>d"},
		{"alike to the worse", "a>b b~c", "a>b a>c"},
		{"alike to the better", "a~b b>c", "b>c a>c"},
		{"one tie in a chain", "a>b b~c c>d", "a>b c>d a>c a>d b>d"},
		{"of two ties neither end", "a~b b~c c>d", "c>d b>d"},
		{"ties alone", "a~b b~c", ""},
		{"a root", "r>x r>y r~g r~h", "r>x r>y g>x h>x g>y h>y"},
		{"in a circle", "a>b b>c c>a", "a>b b>c c>a"},
		{"said otherwise", "a>b b>c c~a", "a>b b>c"},
		{"people apart", "a>b ben:b>c", "a>b ben:b>c"},
	} {
		got := map[string]bool{}
		for _, o := range label.Follow(orders(tc.said)) {
			s := o.Better.Episode + ">" + o.Worse.Episode
			if o.Annotator != "ann" {
				s = o.Annotator + ":" + s
			}
			if got[s] || o.Tie {
				t.Errorf("%s: %s twice, or a tie", tc.name, s)
			}
			got[s] = true
		}
		want := map[string]bool{}
		for _, s := range strings.Fields(tc.want) {
			want[s] = true
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", tc.name, got, want)
		}
	}
}

// Stretches of one episode are clips of their own, whatever cameras showed them.
func TestFollowTellsStretchesApart(t *testing.T) {
	early, late := label.Clip{Episode: "a", To: 5}, label.Clip{Episode: "a", From: 5, To: 9}
	seen := early
	seen.Cameras = []string{"front"}
	got := label.Follow([]label.Order{{Better: late, Worse: early}, {Better: seen, Worse: label.Clip{Episode: "b"}}})
	if len(got) != 3 || got[2].Better.From != 5 || got[2].Worse.Episode != "b" {
		t.Errorf("got %+v", got)
	}
}

// What follows from answers that never err is so, where those who are alike for
// somebody are nearer than half of what he tells apart.
func TestWhatFollowsIsSo(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	more := 0
	for range 200 {
		worth := map[string]float64{}
		for i := range 12 {
			worth[fmt.Sprint(i)] = float64(rng.IntN(4)) + 0.2*rng.Float64()
		}
		var said []label.Order
		for range 15 {
			x, y := fmt.Sprint(rng.IntN(12)), fmt.Sprint(rng.IntN(12))
			if worth[x] < worth[y] {
				x, y = y, x
			}
			if x != y {
				said = append(said, label.Order{Better: label.Clip{Episode: x}, Worse: label.Clip{Episode: y}, Tie: worth[x]-worth[y] < 0.5})
			}
		}
		all := label.Follow(said)
		more += len(all)
		for _, o := range said {
			if !o.Tie {
				more--
			}
		}
		for _, o := range all {
			if worth[o.Better.Episode]-worth[o.Worse.Episode] < 0.5 {
				t.Fatalf("%v follows from %v, of %v", o, said, worth)
			}
		}
	}
	if more < 1000 {
		t.Errorf("%d follow in 200 trials of 15 answers, want 1000 or more", more)
	}
}

func TestBest(t *testing.T) {
	for said, want := range map[string]string{"a~b": "a", "a>b": "a", "a~b c>a": "c", "a>b b~c a~d": "a", "a>b b>c c>a": "a", "a>b c>a": "c", "b>a c>a c>b": "c"} {
		if got, ok := label.Best(orders(said)); !ok || got.Episode != want {
			t.Errorf("%s: got %v %v, want %s", said, got, ok, want)
		}
	}
	if _, ok := label.Best(nil); ok {
		t.Error("of nothing there is a best")
	}
}

func BenchmarkFollow(b *testing.B) {
	// 400 random answers about 200 clips, a tenth of them ties.
	rng := rand.New(rand.NewPCG(1, 2))
	var said []label.Order
	for range 400 {
		x, y := rng.IntN(200), rng.IntN(200)
		said = append(said, label.Order{Better: label.Clip{Episode: fmt.Sprint(max(x, y))}, Worse: label.Clip{Episode: fmt.Sprint(min(x, y))}, Tie: math.Abs(float64(x-y)) < 10})
	}
	said = slices.DeleteFunc(said, func(o label.Order) bool { return o.Better.Episode == o.Worse.Episode })
	for b.Loop() {
		label.Follow(said)
	}
}
