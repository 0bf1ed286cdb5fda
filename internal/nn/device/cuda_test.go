//go:build cgo && !purego

package device_test

import (
	"sync"

	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
)

// card is the card of this machine or, without one, an emulated one.
var card = sync.OnceValues(cudatest.Device)

// accelerated are the devices with memory of their own.
func accelerated() []device.Device {
	d, err := card()
	if err != nil {
		panic(err)
	}
	return []device.Device{d}
}
