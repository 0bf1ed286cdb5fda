//go:build cgo && !purego

package blas

// The declaration below is OpenBLAS's own; stating it here keeps its header,
// whose place differs between distributions, out of the build. The netlib
// package leaves linking to the environment, so the library is named here.

/*
#cgo LDFLAGS: -lopenblas
void openblas_set_num_threads(int num_threads);
*/
import "C"

import (
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/netlib/blas/netlib"
)

// Name says which kernels Use switches in.
const Name = "openblas"

// Use switches OpenBLAS in, for float32 and float64, for the whole process.
// Call it before the first multiplication.
func Use() {
	blas32.Use(netlib.Implementation{})
	blas64.Use(netlib.Implementation{})
}

// SetThreads sets how many threads one multiplication may use, process-wide.
// Sums are split by it: results are bit-equal only at the same number.
func SetThreads(n int) {
	if n < 1 {
		panic("blas: SetThreads: fewer than one thread")
	}
	C.openblas_set_num_threads(C.int(n))
}
