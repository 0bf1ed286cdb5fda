// Package arch holds tests of the house itself: which room may import which,
// who is the one importer of a foreign library, who may ask the wall clock, and
// that no learner can reach simulated ground truth. It has no code to call:
//
//	go test ./internal/arch
package arch
