//go:build !cgo || purego

// Package cuda computes on an NVIDIA card. This build cannot: it was made without
// cgo.
package cuda

import (
	"errors"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// Config says where the libraries are.
type Config struct {
	Libs  []string
	Wait  bool
	NoDNN bool
}

// Device is no device of this build's.
type Device struct{ device.Accelerator }

// Close has nothing to give back.
func (*Device) Close() error { return nil }

// Check has nothing to compare.
func (*Device) Check() error { return nil }

// Notes has nothing to tell.
func (*Device) Notes() []string { return nil }

// Open says that this build has no CUDA.
func Open(Config) (*Device, error) {
	return nil, errors.New("cuda: this program was built without cgo, or with -tags purego; build it with cgo, or learn on the processor with learner.device: cpu")
}
