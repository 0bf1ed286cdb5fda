//go:build cgo && !purego

package device_test

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/nn/device/cuda"
	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
)

// folder holds the emulator's libraries while the tests run.
var folder string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "rapport-cuda-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	folder = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// card is the card of this machine or, without one, an emulated one.
var card = sync.OnceValues(func() (*cuda.Device, error) {
	d, err := cuda.Open(cuda.Config{})
	if err == nil {
		return d, nil
	}
	if err := cudatest.Build(folder); err != nil {
		return nil, err
	}
	return cuda.Open(cuda.Config{Libs: []string{folder}})
})

// accelerated are the devices with memory of their own.
func accelerated() []device.Device {
	d, err := card()
	if err != nil {
		panic(err)
	}
	return []device.Device{d}
}
