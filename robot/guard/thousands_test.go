//go:build race && !long

package guard_test

// steps is how many commands each of rapid's 100 cases sends: fewer than without the race detector, under which each
// takes ten times as long.
const steps = 500
