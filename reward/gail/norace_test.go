//go:build !race

package gail_test

const slow = false
