//go:build !race

package rlpd_test

const slow = false
