//go:build !race

package preference

const raced = false
