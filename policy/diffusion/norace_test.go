//go:build !race

package diffusion

const slow = false
