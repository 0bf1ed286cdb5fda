package query_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/label/query"
)

// answer is what somebody to whom larger numbers, in tens, are better says of two.
func answer(n int, x, y string) label.Label {
	l := label.Label{ID: fmt.Sprint("l", n), Annotator: "ann", Choice: label.Tie, Query: label.Query{ID: fmt.Sprint("q", n), Kind: label.Pair, Clips: []label.Clip{{Episode: x}, {Episode: y}}}}
	tens := func(s string) int { v, _ := strconv.Atoi(s); return v / 10 }
	if tens(x) > tens(y) {
		l.Choice = label.Left
	} else if tens(x) < tens(y) {
		l.Choice = label.Right
	}
	return l
}

// Of twenty answers about sixty episodes of six worths more than twice as much follows by the
// root as by chance (2.9 times), and each asks about an episode that is new.
func TestRoot(t *testing.T) {
	var episodes []string
	for i := range 60 {
		episodes = append(episodes, fmt.Sprint(i))
	}
	const seeds = 20
	byRoot, byChance := 0, 0
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var rooted, random []label.Label
		asked := map[string]bool{}
		for n := range 20 {
			two := rng.Perm(60)[:2]
			random = append(random, answer(n, episodes[two[0]], episodes[two[1]]))
			x, y := episodes[two[0]], episodes[two[1]]
			root, rest, ok := query.Root("ann", episodes, rooted)
			if ok != (n > 0) {
				t.Fatalf("after %d answers there is a root: %v", n, ok)
			}
			if ok {
				x, y = root.Episode, rest[rng.IntN(len(rest))]
				if asked[y] || !asked[x] {
					t.Fatalf("question %d is of %s, which was asked about: %v, and the root %s: %v", n, y, asked[y], x, asked[x])
				}
			}
			asked[x], asked[y] = true, true
			rooted = append(rooted, answer(n, x, y))
		}
		root, _, _ := query.Root("ann", episodes, rooted)
		top := 0
		for id := range asked {
			v, _ := strconv.Atoi(id)
			top = max(top, v)
		}
		if v, _ := strconv.Atoi(root.Episode); v/10 != top/10 {
			t.Errorf("seed %d: the root is %d, of up to %d", seed, v, top)
		}
		byRoot += len(label.Follow(label.Pairs(rooted)))
		byChance += len(label.Follow(label.Pairs(random)))
	}
	t.Logf("%d comparisons of twenty answers by the root, %d by chance", byRoot/seeds, byChance/seeds)
	if byRoot < 2*byChance {
		t.Errorf("%d comparisons follow by the root, %d by chance", byRoot, byChance)
	}
}

func TestRootAtTheEnds(t *testing.T) {
	said := []label.Label{answer(0, "30", "10"), answer(1, "30", "20")}
	if _, _, ok := query.Root("ben", []string{"10", "20", "30"}, said); ok {
		t.Error("what ann said gives ben a root")
	}
	if _, _, ok := query.Root("ann", []string{"10", "20"}, said); ok {
		t.Error("an episode that is gone is a root")
	}
	root, rest, ok := query.Root("ann", []string{"10", "20", "30", "40"}, said)
	if !ok || root.Episode != "30" || !slices.Equal(rest, []string{"40"}) {
		t.Errorf("got %v %v %v, want 30 and 40", root, rest, ok)
	}
	if _, _, ok = query.Root("ann", []string{"10", "20", "30"}, said); ok {
		t.Error("something is left after the last")
	}
	// What they could not tell is not asked again, nor what they took back known.
	unsure := answer(2, "30", "40")
	unsure.Choice = label.Unsure
	if _, rest, ok = query.Root("ann", []string{"10", "20", "30", "40", "50"}, append(said, unsure)); !ok || !slices.Equal(rest, []string{"50"}) {
		t.Errorf("got %v %v, want 50", rest, ok)
	}
	undo := answer(3, "30", "20")
	undo.Retracts, undo.Choice = "l1", ""
	if _, rest, ok = query.Root("ann", []string{"10", "20", "30"}, append(said, undo)); !ok || !slices.Equal(rest, []string{"20"}) {
		t.Errorf("got %v %v, want 20", rest, ok)
	}
}
