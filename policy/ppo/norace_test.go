//go:build !race

package ppo_test

const slow = false
