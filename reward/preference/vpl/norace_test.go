//go:build !race

package vpl

const raced = false
