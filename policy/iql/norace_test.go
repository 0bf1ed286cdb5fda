//go:build !race

package iql_test

const slow = false
