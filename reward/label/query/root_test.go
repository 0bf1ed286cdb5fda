package query_test

import (
	"fmt"
	"math"
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
	byRoot, byChance, twice := 0, 0, 0
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var rooted, random []label.Label
		asked := map[string]bool{}
		for n := range 20 {
			two := rng.Perm(60)[:2]
			random = append(random, answer(n, episodes[two[0]], episodes[two[1]]))
			x, y := episodes[two[0]], episodes[two[1]]
			with, rest, ok := query.Root("ann", episodes, rooted)
			if ok != (n > 0) {
				t.Fatalf("after %d answers there is a root: %v", n, ok)
			}
			switch {
			case len(with) == 2:
				x, y = with[0].Episode, with[1].Episode
				twice++
			case ok:
				x, y = with[0].Episode, rest[rng.IntN(len(rest))]
				if asked[y] || !asked[x] {
					t.Fatalf("question %d is of %s, which was asked about: %v, and the root %s: %v", n, y, asked[y], x, asked[x])
				}
			}
			asked[x], asked[y] = true, true
			rooted = append(rooted, answer(n, x, y))
		}
		root, _ := label.Best(label.Pairs(rooted))
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
	t.Logf("%d comparisons of twenty answers by the root, %d by chance; of %d questions %d were asked again", byRoot/seeds, byChance/seeds, 20*seeds, twice)
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
	with, rest, ok := query.Root("ann", []string{"10", "20", "30", "40"}, said)
	if !ok || len(with) != 1 || with[0].Episode != "30" || !slices.Equal(rest, []string{"40"}) {
		t.Errorf("got %v %v %v, want 30 and 40", with, rest, ok)
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

// What made a root of one who had no equal is asked again, the other way round, and once.
func TestTheRootIsDoubted(t *testing.T) {
	all := []string{"10", "20", "30", "31", "40", "50"}
	said := []label.Label{answer(0, "30", "10"), answer(1, "31", "30"), answer(2, "40", "30")}
	with, rest, ok := query.Root("ann", all, said)
	if !ok || len(with) != 2 || with[0].Episode != "30" || with[1].Episode != "40" || !slices.Equal(rest, []string{"20", "50"}) {
		t.Fatalf("got %v %v %v, want 30 and 40", with, rest, ok)
	}
	for name, gone := range map[string][]string{"the root": {"10", "20", "30"}, "what it beat": {"10", "20", "40"}} {
		if with, _, ok := query.Root("ann", gone, said); ok != (name != "the root") || len(with) > 1 {
			t.Errorf("without %s: %v %v", name, with, ok)
		}
	}
	if _, _, ok := query.Root("ann", all[:5], append(said, answer(3, "40", "20"))); !ok {
		t.Error("with no episode left, what is doubtful is not asked")
	}
	for _, tc := range []struct {
		choice label.Choice
		root   string
	}{{label.Right, "40"}, {label.Left, "30"}, {label.Unsure, "40"}, {label.Tie, "30"}} {
		l := answer(3, "30", "40")
		l.Choice = tc.choice
		if with, _, ok := query.Root("ann", all, append(slices.Clone(said), l)); !ok || len(with) != 1 || with[0].Episode != tc.root {
			t.Errorf("after %s: %v %v, want %s alone", tc.choice, with, ok, tc.root)
		}
	}
	// Where the root beat nothing but what had beaten nothing, hardly anything follows.
	if with, _, ok := query.Root("ann", all, []label.Label{answer(0, "30", "31"), answer(1, "40", "30")}); !ok || len(with) != 1 {
		t.Errorf("got %v %v", with, ok)
	}
	// A ranking's own order is one answer: its second did not beat its third before.
	ranked := label.Label{ID: "l", Annotator: "ann", Places: []int{3, 1, 2}, Query: label.Query{ID: "q", Kind: label.Ranking, Clips: []label.Clip{{Episode: "10"}, {Episode: "30"}, {Episode: "20"}}}}
	if with, _, ok := query.Root("ann", all, []label.Label{ranked}); !ok || len(with) != 1 || with[0].Episode != "30" {
		t.Errorf("got %v %v", with, ok)
	}
	if with, _, ok := query.Root("ann", all, []label.Label{ranked, answer(1, "40", "30")}); !ok || len(with) != 2 {
		t.Errorf("got %v %v, want 30 and 40", with, ok)
	}
}

// Of a person who errs in 17 of 100 answers about two ways, what follows is right in 92 of 100
// comparisons since the root is doubted, and in 82 where it is not; fewer than 75 are in 8 of
// 100 trials, and in 28 (300 trials; 60 here).
func TestDoubtBearsErrors(t *testing.T) {
	const noise, trials = 0.1, 60
	worth := func(id string) float64 {
		switch v, _ := strconv.Atoi(id); {
		case v < 17:
			return 0
		case v < 56:
			return -0.16
		default:
			return -0.3 - 0.01*float64(v)
		}
	}
	var episodes []string
	for i := range 60 {
		episodes = append(episodes, fmt.Sprint(i))
	}
	shares := func(doubting bool) (mean, few float64) {
		for trial := range uint64(trials) {
			rng := rand.New(rand.NewPCG(trial, 2))
			var said []label.Label
			for n := range 20 {
				two := rng.Perm(60)
				x, y := episodes[two[0]], episodes[two[1]]
				with, rest, ok := query.Root("ann", episodes, said)
				switch {
				case ok && len(with) == 2 && doubting:
					x, y = with[0].Episode, with[1].Episode
				case ok:
					root, _ := label.Best(label.Pairs(said))
					x, y = root.Episode, rest[rng.IntN(len(rest))]
				}
				l := answer(n, x, y)
				switch d := worth(x) - worth(y); {
				case d == 0:
					l.Choice = label.Tie
				case rng.Float64() < 1/(1+math.Exp(-d/noise)):
					l.Choice = label.Left
				default:
					l.Choice = label.Right
				}
				said = append(said, l)
			}
			right, of := 0, 0
			for _, o := range label.Follow(label.Pairs(said)) {
				switch d := worth(o.Better.Episode) - worth(o.Worse.Episode); {
				case d > 0:
					right++
					of++
				case d < 0:
					of++
				}
			}
			share := float64(right) / float64(max(of, 1))
			mean += share / trials
			if share < 0.75 {
				few += 1.0 / trials
			}
		}
		return mean, few
	}
	mean, few := shares(true)
	trusting, wrong := shares(false)
	t.Logf("right are %.3f, below 0.75 in %.3f of the trials; trusting %.3f, %.3f", mean, few, trusting, wrong)
	if mean < 0.88 || mean < trusting+0.06 || few > wrong/2 {
		t.Errorf("right are %.3f, below 0.75 in %.3f of the trials; trusting %.3f, %.3f", mean, few, trusting, wrong)
	}
}
