package rapl

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// split divides n triplets into those to train on and those that are held out, in
// random order. clips names the three clips of a triplet.
func split(rng *rand.Rand, n int, cfg AlignConfig, clips func(i int) [3]string) (train, held []int, err error) {
	order := rng.Perm(n)
	if !cfg.ByClip {
		cut := int(math.Round(cfg.Train * float64(n)))
		if cfg.ByPair {
			order, cut = byPair(order, cut, clips)
		}
		if cut < 1 || cut >= n {
			return nil, nil, fmt.Errorf("rapl: align: %d triplets are too few to train on %.0f%% and judge on the rest", n, 100*cfg.Train)
		}
		return order[:cut], order[cut:], nil
	}
	// Clip after clip goes to the held-out side, until the triplets wholly there
	// are their share of those wholly on one side.
	var names []string
	gone := map[string]bool{}
	for _, i := range order {
		for _, c := range clips(i) {
			if _, ok := gone[c]; !ok {
				gone[c] = false
				names = append(names, c)
			}
		}
	}
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names {
		gone[name] = true
		train, held = train[:0], held[:0]
		for _, i := range order {
			out := 0
			for _, c := range clips(i) {
				if gone[c] {
					out++
				}
			}
			switch out {
			case 0:
				train = append(train, i)
			case 3:
				held = append(held, i)
			}
		}
		if k := len(train) + len(held); len(held) > 0 && float64(len(held)) >= (1-cfg.Train)*float64(k) {
			break
		}
	}
	if len(train) == 0 || len(held) == 0 {
		return nil, nil, fmt.Errorf("rapl: align: %d triplets of %d clips cannot be split by clip: every clip meets every other; compare more clips, or split by triplet", n, len(names))
	}
	return train, held, nil
}

// byPair has the first of an order, cut of them or a few more, share no pair with the others.
func byPair(order []int, cut int, clips func(i int) [3]string) ([]int, int) {
	pair := func(i int) [2]string {
		c := clips(i)
		return [2]string{min(c[1], c[2]), max(c[1], c[2])}
	}
	size := map[[2]string]int{}
	for _, i := range order {
		size[pair(i)]++
	}
	side, taken := map[[2]string]bool{}, 0 // whether the pair is among the first
	var first, rest []int
	for _, i := range order {
		p := pair(i)
		if _, ok := side[p]; !ok {
			if side[p] = taken < cut; side[p] {
				taken += size[p]
			}
		}
		if side[p] {
			first = append(first, i)
		} else {
			rest = append(rest, i)
		}
	}
	return append(first, rest...), len(first)
}
