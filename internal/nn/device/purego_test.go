//go:build !cgo || purego

package device_test

import "github.com/rapport-rl/rapport/internal/nn/device"

func accelerated() []device.Device { return nil }
