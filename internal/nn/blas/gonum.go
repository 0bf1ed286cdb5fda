//go:build !cgo || purego

package blas

// Name says which kernels Use switches in.
const Name = "gonum"

// Use keeps gonum's own kernels.
func Use() {}

// SetThreads has no effect on gonum's kernels, which follow GOMAXPROCS.
func SetThreads(n int) {
	if n < 1 {
		panic("blas: SetThreads: fewer than one thread")
	}
}
