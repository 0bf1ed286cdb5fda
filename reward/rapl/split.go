package rapl

import (
	"fmt"
	"maps"
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
			perm := order
			order, cut = byPair(perm, cfg, clips)
			if cfg.Sides != nil && (cut < 1 || cut >= n) { // what was held out was taken back
				cfg.Sides = nil
				order, cut = byPair(perm, cfg, clips)
			}
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

// byPair puts those of an order to train on first, and says how many they are: their share, or
// a few more, such that none shares a pair with the others. Where cfg.Sides puts a pair it stays.
func byPair(order []int, cfg AlignConfig, clips func(i int) [3]string) ([]int, int) {
	size := map[string]int{}
	cut := int(math.Round(cfg.Train * float64(len(order))))
	for _, i := range order {
		p := pairOf(clips(i))
		size[p]++
		if held, ok := cfg.Sides[p]; ok && !held {
			cut--
		}
	}
	side, taken := map[string]bool{}, 0 // whether the pair is among the first
	var first, rest []int
	for _, i := range order {
		p := pairOf(clips(i))
		if held, ok := cfg.Sides[p]; ok {
			side[p] = !held
		} else if _, ok := side[p]; !ok {
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

// pairOf names the two clips that a triplet compares.
func pairOf(clips [3]string) string {
	return fmt.Sprintf("%q %q", min(clips[1], clips[2]), max(clips[1], clips[2]))
}

// sides are those of earlier alignments, and of this one.
func sides(earlier map[string]bool, train, held []int, clips func(i int) [3]string) map[string]bool {
	out := maps.Clone(earlier)
	if out == nil {
		out = map[string]bool{}
	}
	for _, i := range train {
		out[pairOf(clips(i))] = false
	}
	for _, i := range held {
		out[pairOf(clips(i))] = true
	}
	return out
}
