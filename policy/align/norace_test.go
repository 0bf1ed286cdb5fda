//go:build !race || long

package align

const raced = false
