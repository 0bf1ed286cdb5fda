package label

// Settle takes several answers of one annotator about the same two clips for what they said
// most often: where nothing was, their answers contradict each other, and say nothing. What
// is left is in the order in which each two clips were first compared.
func Settle(orders []Order) []Order {
	type pair struct{ who, x, y string }
	of := func(o Order) (p pair, turned bool) {
		x, y := o.Better.Name(), o.Worse.Name()
		if x > y {
			return pair{o.Annotator, y, x}, true
		}
		return pair{o.Annotator, x, y}, false
	}
	const ways = 3 // the first by name is better, the second, or neither
	way := func(o Order) int {
		switch _, turned := of(o); {
		case o.Tie:
			return 2
		case turned:
			return 1
		}
		return 0
	}
	said := map[pair]*[ways][]Order{}
	var pairs []pair
	for _, o := range orders {
		p, _ := of(o)
		if said[p] == nil {
			said[p] = &[ways][]Order{}
			pairs = append(pairs, p)
		}
		w := way(o)
		said[p][w] = append(said[p][w], o)
	}
	var out []Order
	for _, p := range pairs {
		most, shared := 0, false
		for w := 1; w < ways; w++ {
			switch n, best := len(said[p][w]), len(said[p][most]); {
			case n > best:
				most, shared = w, false
			case n == best:
				shared = true
			}
		}
		if !shared {
			out = append(out, said[p][most][0])
		}
	}
	return out
}
