//go:build race

package ppo_test

// slow says that the race detector, under which kernels take ten times as long,
// is on: learning is then shown by one seed.
const slow = true
