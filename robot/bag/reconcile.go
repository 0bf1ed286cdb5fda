package bag

import (
	"cmp"
	"slices"
)

// sum is a checksum of messages that does not depend on their order.
func sum(es []entry) (s uint64) {
	for _, e := range es {
		x := uint64(e.time)*0x9e3779b97f4a7c15 ^ uint64(e.at)<<32 ^ uint64(e.conn)
		x ^= x >> 29
		s += x * 0xbf58476d1ce4e5b9
	}
	return s
}

// reconcile returns the messages on which a chunk and its index agree, in the order
// of the file, and those of the index that are missing. read looks for a message
// at an offset; shifted says that offsets of both do not mean the same. Messages
// of connections that the index does not have at all are believed: a record of it
// may be missing.
func reconcile(es, ix []entry, shifted bool, read func(at uint32) (entry, bool)) (agreed, missing []entry) {
	found := map[uint32]entry{}
	for _, e := range es {
		found[e.at] = e
	}
	byPlace := func(a, b entry) int { return cmp.Compare(a.at, b.at) }
	slices.SortFunc(ix, byPlace)
	told := map[uint32]bool{}  // connections
	taken := map[uint32]bool{} // places
	for _, x := range ix {
		told[x.conn], taken[x.at] = true, true
	}
	for _, e := range es {
		if !told[e.conn] && !taken[e.at] {
			agreed = append(agreed, e)
		}
	}
	for i, x := range ix {
		e, ok := found[x.at]
		if !ok && !shifted {
			e, ok = read(x.at)
		}
		// A length that is damaged makes a message reach into the next.
		overlaps := i+1 < len(ix) && !shifted && uint64(e.off)+uint64(e.size) > uint64(ix[i+1].at)
		if !ok || e.time != x.time || e.conn != x.conn || overlaps {
			missing = append(missing, x)
			continue
		}
		agreed = append(agreed, e)
	}
	slices.SortFunc(agreed, byPlace)
	return append(es[:0], agreed...), missing
}
