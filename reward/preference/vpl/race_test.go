//go:build race

package vpl

// raced says that the race detector, which allocates, is watching.
const raced = true
