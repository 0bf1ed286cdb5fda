//go:build race

package align

// raced says that the race detector is on, which allocates itself.
const raced = true
