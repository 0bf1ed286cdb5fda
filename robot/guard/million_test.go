//go:build !race || long

package guard_test

// steps is how many commands each of rapid's 100 cases sends: a million in all.
const steps = 10_000
