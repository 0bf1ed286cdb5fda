//go:build !cgo || purego

package device

// Default is the fastest device that this build has.
func Default() Device { return Portable{} }

// SetThreads has no effect on gonum's products, which follow GOMAXPROCS.
func SetThreads(n int) {
	if n < 1 {
		panic("device: SetThreads: fewer than one thread")
	}
}
