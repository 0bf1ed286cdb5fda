//go:build !race || long

package pal

const raced = false
