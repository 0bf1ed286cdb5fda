// Package seed makes of one seed many that have nothing to do with each other, so
// that whatever is drawn depends on where it is used and on nothing else.
//
//	rng := rand.NewPCG(seed.Mix(run^seed.Mix(episode)), seed.Mix(step))
package seed

// Mix is SplitMix64's step and finaliser (Steele, Lea, Flood 2014, "Fast splittable
// pseudorandom number generators", figure 13): seeds that differ in one bit come
// out differing in about half of them.
func Mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
