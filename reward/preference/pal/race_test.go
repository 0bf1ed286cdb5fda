//go:build race && !long

package pal

// raced says that the race detector, which allocates, is watching.
const raced = true
