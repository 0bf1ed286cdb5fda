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
