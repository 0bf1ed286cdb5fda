package label

// Settle takes several answers of one annotator about the same two clips for what they said
// most often: where nothing was, their answers contradict each other, and say nothing. What
// is left is in the order in which each two clips were first compared.
func Settle(orders []Order) []Order {
	type pair struct{ who, x, y string }
	const first, second, neither, ways = 0, 1, 2, 3 // by name, which is better
	said := map[pair]*[ways][]Order{}
	var pairs []pair
	for _, o := range orders {
		p, way := pair{o.Annotator, o.Better.Name(), o.Worse.Name()}, first
		if p.x > p.y {
			p.x, p.y, way = p.y, p.x, second
		}
		if o.Tie {
			way = neither
		}
		if said[p] == nil {
			said[p] = &[ways][]Order{}
			pairs = append(pairs, p)
		}
		said[p][way] = append(said[p][way], o)
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
