//go:build race

package gail_test

// slow says that the race detector runs, under which learning takes too long.
const slow = true
