package rapl

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestNoPairLiesOnBothSides(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var clips [][3]string
	for i := range 20 {
		for a := range 6 { // the same two beside six anchors
			two := [2]string{fmt.Sprint("x", i), fmt.Sprint("y", i)}
			clips = append(clips, [3]string{fmt.Sprint(a), two[a%2], two[1-a%2]})
		}
	}
	at := func(i int) [3]string { return clips[i] }
	train, held, err := split(rng, len(clips), AlignConfig{Train: 0.7, ByPair: true}, at)
	if err != nil || len(train)+len(held) != len(clips) || len(train) != 84 {
		t.Errorf("%d to train on and %d held out of %d, %v; want 84", len(train), len(held), len(clips), err)
	}
	learned := map[string]bool{}
	for _, i := range train {
		learned[min(clips[i][1], clips[i][2])] = true
	}
	for _, i := range held {
		if learned[min(clips[i][1], clips[i][2])] {
			t.Fatalf("%v is held out, and learned from beside another anchor", clips[i])
		}
	}
	// Pairs of their own are split as triplets are.
	for i := range clips {
		clips[i] = [3]string{"a", fmt.Sprint("b", i), fmt.Sprint("c", i)}
	}
	one, _, _ := split(rand.New(rand.NewPCG(2, 2)), len(clips), AlignConfig{Train: 0.7}, at)
	two, _, err := split(rand.New(rand.NewPCG(2, 2)), len(clips), AlignConfig{Train: 0.7, ByPair: true}, at)
	if err != nil || !slices.Equal(one, two) {
		t.Errorf("the split of pairs of their own is another: %v", err)
	}
}

// What was held out stays so when more is said, and what was learned from is not held out.
func TestPairsStayOnTheirSides(t *testing.T) {
	var clips [][3]string
	for i := range 40 {
		clips = append(clips, [3]string{"a", fmt.Sprint("b", i), fmt.Sprint("c", i)})
	}
	at := func(i int) [3]string { return clips[i] }
	cfg := AlignConfig{Train: 0.7, ByPair: true}
	was := map[int]bool{}
	for _, n := range []int{10, 20, 40} {
		train, held, err := split(rand.New(rand.NewPCG(3, 3)), n, cfg, at)
		if err != nil || len(train) != n*7/10 || len(train)+len(held) != n {
			t.Fatalf("%d to train on and %d held out of %d, %v; want 70 %%", len(train), len(held), n, err)
		}
		for out, ids := range map[bool][]int{false: train, true: held} {
			for _, i := range ids {
				if then, ok := was[i]; ok && then != out {
					t.Errorf("of %d, %v was held out: %v, and is: %v", n, clips[i], then, out)
				}
				was[i] = out
			}
		}
		cfg.Sides = sides(cfg.Sides, train, held, at)
	}
	for p, out := range cfg.Sides { // as if all that was held out had been taken back
		if out {
			delete(cfg.Sides, p)
			clips = slices.DeleteFunc(clips, func(c [3]string) bool { return pairOf(c) == p })
		}
	}
	if train, held, err := split(rand.New(rand.NewPCG(3, 3)), len(clips), cfg, at); err != nil || len(held) == 0 {
		t.Errorf("without what was held out, %d to train on and %d held out, %v", len(train), len(held), err)
	}
}

func TestAPairStaysHeldOutBesideAnotherAnchor(t *testing.T) {
	clips := [][3]string{{"a", "b", "c"}, {"a", "d", "e"}, {"another", "c", "b"}, {"another", "f", "g"}}
	cfg := AlignConfig{Train: 0.7, ByPair: true, Sides: map[string]bool{pairOf(clips[0]): true, pairOf(clips[1]): false}}
	for seed := range uint64(10) {
		_, held, err := split(rand.New(rand.NewPCG(seed, 0)), len(clips), cfg, func(i int) [3]string { return clips[i] })
		slices.Sort(held)
		if err != nil || !slices.Equal(held, []int{0, 2}) {
			t.Errorf("held out are %v, %v; want [0 2]", held, err)
		}
	}
}

func TestNoClipLiesOnBothSides(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var clips [][3]string
	for range 150 {
		p := rng.Perm(30)
		clips = append(clips, [3]string{fmt.Sprint(p[0]), fmt.Sprint(p[1]), fmt.Sprint(p[2])})
	}
	at := func(i int) [3]string { return clips[i] }
	train, held, err := split(rng, len(clips), AlignConfig{Train: 0.7, ByClip: true}, at)
	if err != nil {
		t.Fatal(err)
	}
	side := map[string]int{}
	for n, ids := range [][]int{train, held} {
		for _, i := range ids {
			for _, c := range clips[i] {
				if was, ok := side[c]; ok && was != n {
					t.Fatalf("clip %s is on both sides", c)
				}
				side[c] = n
			}
		}
	}
	share := float64(len(held)) / float64(len(held)+len(train))
	t.Logf("%d to train on, %d held out, of %d", len(train), len(held), len(clips))
	if share < 0.3 || share > 0.6 || len(train) < 5 {
		t.Errorf("%d to train on and %d held out, want about 70%% to 30%%", len(train), len(held))
	}
	// Clips in groups of their own cost no triplet.
	for i := range clips {
		clips[i] = [3]string{fmt.Sprint("a", i), fmt.Sprint("b", i), fmt.Sprint("c", i)}
	}
	train, held, err = split(rng, 20, AlignConfig{Train: 0.7, ByClip: true}, at)
	if err != nil || len(train) < 1 || len(held) < 1 {
		t.Errorf("%d to train on and %d held out, %v", len(train), len(held), err)
	}
	// One clip in all of them leaves nothing to hold out.
	for i := range clips {
		clips[i][0] = "anchor"
	}
	if _, _, err := split(rng, 20, AlignConfig{Train: 0.7, ByClip: true}, at); err == nil || !strings.Contains(err.Error(), "cannot be split by clip") {
		t.Errorf("got %v", err)
	}
}
