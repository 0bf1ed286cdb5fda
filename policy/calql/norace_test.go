//go:build !race

package calql_test

const slow = false
