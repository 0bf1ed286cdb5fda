//go:build peers && cgo && !purego

package rlpd_test

import (
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device/cuda"
	"github.com/rapport-rl/rapport/internal/pace"
)

// BenchmarkPeerCard is BenchmarkPeerTorch on an NVIDIA card, by wall time, beside
// PyTorch on the same one. Ours draws its batch besides.
func BenchmarkPeerCard(b *testing.B) {
	d, err := cuda.Open(cuda.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	l := onNoise(b, d)
	peer := pace.Start(b, "testdata/pace.py", "cuda")
	pace.Compare(b, pace.Case{Ours: func() { update(b, l); d.Sync() }, Times: round, Theirs: func() float64 { return peer.Ask("step") }, Pairs: 11, Wall: true})
}
