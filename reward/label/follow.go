package label

// Follow returns what was decided of pairs (Settle), in that order, and then what follows from
// it for each annotator apart: what beats a clip beats whatever that beats, and whatever is alike to
// it (Hwang et al. 2023, SeqRank, NeurIPS 36, whose trees of trajectories augment preferences
// so; the ties are ours). Of ties there is one at most in a chain, since small differences add
// up. What would follow both ways does not, nor is anything added about two clips that were
// compared. An order that follows has no Label.
func Follow(orders []Order) []Order {
	var out []Order
	var whose []string
	by := map[string][]Order{}
	for _, o := range Settle(orders) {
		if !o.Tie {
			out = append(out, o)
		}
		if by[o.Annotator] == nil {
			whose = append(whose, o.Annotator)
		}
		by[o.Annotator] = append(by[o.Annotator], o)
	}
	for _, who := range whose {
		out = append(out, follow(by[who])...)
	}
	return out
}

// follow is what follows from one person's orders, by the clips as they were first seen.
func follow(orders []Order) (out []Order) {
	at := map[string]int{}
	var clips []Clip
	place := func(c Clip) int {
		name := c.Name()
		i, ok := at[name]
		if !ok {
			i = len(clips)
			at[name] = i
			clips = append(clips, c)
		}
		return i
	}
	var beats, alike [][]int // of each clip
	said := map[[2]int]bool{}
	for _, o := range orders {
		x, y := place(o.Better), place(o.Worse)
		for len(beats) < len(clips) {
			beats, alike = append(beats, nil), append(alike, nil)
		}
		said[[2]int{x, y}], said[[2]int{y, x}] = true, true
		if o.Tie {
			alike[x], alike[y] = append(alike[x], y), append(alike[y], x)
		} else {
			beats[x] = append(beats[x], y)
		}
	}
	n := len(clips)
	less := make([][]bool, n) // than each, with a tie at most on the way
	for x := range n {
		// Where a walk came to, having beaten something or not, and crossed a tie or not.
		const won, tied = 1, 2
		type state struct{ clip, how int }
		reached := make([][won + tied + 1]bool, n)
		walk := []state{{clip: x}}
		less[x] = make([]bool, n)
		for len(walk) > 0 {
			s := walk[len(walk)-1]
			walk = walk[:len(walk)-1]
			if reached[s.clip][s.how] {
				continue
			}
			reached[s.clip][s.how] = true
			if s.how&won != 0 {
				less[x][s.clip] = true
			}
			for _, y := range beats[s.clip] {
				walk = append(walk, state{y, s.how | won})
			}
			if s.how&tied == 0 {
				for _, y := range alike[s.clip] {
					walk = append(walk, state{y, s.how | tied})
				}
			}
		}
	}
	for x := range n {
		for y := range n {
			if x != y && less[x][y] && !less[y][x] && !said[[2]int{x, y}] {
				out = append(out, Order{Better: clips[x], Worse: clips[y], Annotator: orders[0].Annotator})
			}
		}
	}
	return out
}

// Best is the clip that beats most others and is beaten by fewest (Copeland's score), by what
// one person said and what follows; of equal ones the first. ok is false before any comparison.
func Best(orders []Order) (best Clip, ok bool) {
	score := map[string]int{}
	for _, o := range Follow(orders) {
		score[o.Better.Name()]++
		score[o.Worse.Name()]--
	}
	for _, o := range orders {
		for _, c := range []Clip{o.Better, o.Worse} {
			if !ok || score[c.Name()] > score[best.Name()] {
				best, ok = c, true
			}
		}
	}
	return best, ok
}
