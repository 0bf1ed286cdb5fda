package buffer

import "math/bits"

// ref names transition t of an episode.
type ref struct {
	*run
	t int
}

// side is one of the two pools that a batch is drawn from: transitions in the
// order of their arrival, in a ring. Place p of all that ever arrived is slot
// p mod len(refs), so that a transition keeps its slot while others go.
type side struct {
	refs        []ref  // a power of two
	first, last uint64 // place of the oldest transition, and behind the newest
	tree        sumTree
	weighed     bool // the tree is kept
}

func (s *side) len() int { return int(s.last - s.first) }

func (s *side) slot(place uint64) int { return int(place & uint64(len(s.refs)-1)) }

// at returns the i-th oldest transition.
func (s *side) at(i int) ref { return s.refs[s.slot(s.first+uint64(i))] }

// push appends a transition of the given priority.
func (s *side) push(x ref, priority float64) {
	if s.len() == len(s.refs) {
		s.resize(max(leastRing, 2*len(s.refs)))
	}
	i := s.slot(s.last)
	s.refs[i] = x
	s.last++
	if s.weighed {
		s.tree.set(i, priority)
	}
}

// resize gives the ring n slots, a power of two that holds what is there.
func (s *side) resize(n int) {
	refs := make([]ref, n)
	var leaves []float64
	if s.weighed {
		leaves = make([]float64, n)
	}
	for p := s.first; p < s.last; p++ {
		i := int(p & uint64(n-1))
		refs[i] = s.refs[s.slot(p)]
		if s.weighed {
			leaves[i] = s.tree.leaf(s.slot(p))
		}
	}
	s.refs = refs
	if s.weighed {
		s.tree = newSumTree(leaves)
	}
}

// drop removes the n oldest transitions.
func (s *side) drop(n int) {
	for range n {
		s.clear(s.first)
		s.first++
	}
	s.shrink()
}

// cut removes the n newest transitions.
func (s *side) cut(n int) {
	for range n {
		s.last--
		s.clear(s.last)
	}
	s.shrink()
}

// fits tells whether a ring of size slots is one that n transitions may be in.
func fits(size, n uint64) bool {
	return size&(size-1) == 0 && size >= n && (size <= leastRing || size < 8*n)
}

const leastRing = 64

func (s *side) shrink() {
	n := len(s.refs)
	for n > 0 && !fits(uint64(n), uint64(s.len())) {
		n /= 2
	}
	if n < len(s.refs) {
		s.resize(n)
	}
}

func (s *side) clear(place uint64) {
	i := s.slot(place)
	s.refs[i] = ref{}
	if s.weighed {
		s.tree.set(i, 0)
	}
}

// sumTree holds a number of each slot, and for each node above them the sum of
// its two children, so that a slot is drawn in proportion to its number in
// logarithmic time (Schaul et al. 2016, appendix B.2.1). Sums are always those
// of the children, not what was added to them: no error builds up, and equal
// numbers have equal sums.
type sumTree []float64 // node 1 is the root, node i has children 2i and 2i+1, slot s is node len/2+s

func newSumTree(leaves []float64) sumTree {
	t := make(sumTree, 2*len(leaves))
	copy(t[len(leaves):], leaves)
	for i := len(leaves) - 1; i > 0; i-- {
		t[i] = t[2*i] + t[2*i+1]
	}
	return t
}

func (t sumTree) total() float64 { return t[1] }

func (t sumTree) leaf(slot int) float64 { return t[len(t)/2+slot] }

func (t sumTree) set(slot int, v float64) {
	i := len(t)/2 + slot
	t[i] = v
	for i /= 2; i > 0; i /= 2 {
		t[i] = t[2*i] + t[2*i+1]
	}
}

// pick returns the slot in whose stretch of [0, total) u lies. It never returns
// a slot of zero, unless all are.
func (t sumTree) pick(u float64) int {
	i := 1
	for range bits.Len(uint(len(t)/2)) - 1 {
		i *= 2
		// Sums are rounded, so u may lie a little beyond the last of them.
		if u >= t[i] && t[i+1] > 0 {
			u -= t[i]
			i++
		}
	}
	return i - len(t)/2
}
