//go:build race && !long

package align

// raced says that the race detector is on, which allocates itself.
const raced = true
