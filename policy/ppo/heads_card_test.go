//go:build cgo && !purego

package ppo

import (
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
)

// The heads of a large batch are more than a pass brings back by itself.
func TestHeadsOfALargeBatchOnACard(t *testing.T) {
	n, err := bc.NewNet(policytest.Arch(), rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	wild(4, n)
	const B = 4097 // of 4 numbers
	x := make([]float32, B*n.Dim())
	for i := range x {
		x[i] = float32(i%7) / 7
	}
	want, got := make([]float32, 4*B), make([]float32, 4*B)
	newHeads(n, B, nil).all(want, x, nil)
	newHeads(n, B, cudatest.Open(t)).all(got, x, nil)
	for i, w := range want {
		if d := got[i] - w; !(d < 1e-4 && d > -1e-4) {
			t.Fatalf("number %d is %v on the card, %v on the processor", i, got[i], w)
		}
	}
}
