// Package blas chooses the matrix kernels behind gonum's BLAS interface.
//
// Everything in package nn multiplies matrices through
// gonum.org/v1/gonum/blas/blas32. By default this package backs that interface
// with OpenBLAS, which is about eight times as fast as gonum's own Go code;
// built with -tags purego (or without cgo) it keeps gonum's. A command, and the
// TestMain of a package with large tests, call it once before anything else:
//
//	blas.Use()
//	blas.SetThreads(1) // one thread per learner: two fighting over a core are slower
package blas
