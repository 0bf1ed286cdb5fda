//go:build !race

package pal

const raced = false
