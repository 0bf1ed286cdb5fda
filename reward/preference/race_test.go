//go:build race

package preference

// raced says that the race detector, which allocates, is watching.
const raced = true
