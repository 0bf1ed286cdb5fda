package arm

import "time"

// align picks one image of each camera such that all show about the same
// instant: the newest one of which every camera has an image. stamps[i] are those
// of camera i's latest images, oldest first and at least one. It returns an index
// into each and how far apart the picked ones are.
//
// Cameras are not synchronised, so two at 30 Hz are up to 17 ms apart at best;
// taking the newest of each makes that up to 33 ms.
func align(stamps [][]time.Time) (pick []int, spread time.Duration) {
	if len(stamps) == 0 {
		return nil, 0
	}
	ref := newest(stamps[0])
	for _, s := range stamps[1:] {
		if t := newest(s); t.Before(ref) {
			ref = t
		}
	}
	pick = make([]int, len(stamps))
	var first, last time.Time
	for i, s := range stamps {
		best := 0
		for k, t := range s {
			if t.Sub(ref).Abs() <= s[best].Sub(ref).Abs() {
				best = k
			}
		}
		pick[i] = best
		if t := s[best]; i == 0 {
			first, last = t, t
		} else if t.Before(first) {
			first = t
		} else if t.After(last) {
			last = t
		}
	}
	return pick, last.Sub(first)
}

func newest(s []time.Time) time.Time { return s[len(s)-1] }
