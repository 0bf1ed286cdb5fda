//go:build peers

package rlpd_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/pace"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/rlpd"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

// BenchmarkPeerTorch takes the processor time of a step of soft actor-critic from
// pixels beside Debian's PyTorch in alternating pairs, and reports the median of
// the ratios. One thread each; ours draws its batch besides.
func BenchmarkPeerTorch(b *testing.B) {
	l := onNoise(b, nil)
	peer := pace.Start(b, "testdata/pace.py")
	pace.Compare(b, pace.Case{Ours: func() { update(b, l) }, Times: round, Theirs: func() float64 { return peer.Ask("step") }, Pairs: 11})
}

// round is how many steps an Update is.
const round = 8

// onNoise is a learner of 64 frames of 84x84 a step that has two episodes of noise.
func onNoise(b *testing.B, on device.Device) *rlpd.Learner {
	const side, B = 84, 64
	v := view.Config{
		Place: []int{0, 1, 2}, Span: 1, Fingers: true, Horizon: 50,
		Cameras: []view.Camera{{Name: "front", W: side, H: side}},
		Action:  view.Action{Axes: []int{0, 1, 2, 3, 4, 5}, Scale: 1, Turn: 1, MoveGrip: true},
	}
	l, err := rlpd.New(rlpd.Config{Arch: bc.Arch{View: v, Hidden: []int{256, 256}}, Batch: B, UTD: 1, Round: round, Critics: 10, Seed: 1, Device: on}, nil)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 0))
	for _, from := range []policy.Origin{policy.Demo, policy.Online} {
		e := policy.Episode{ID: fmt.Sprint(from), Origin: from}
		for t := range 51 {
			pix := make([]byte, 3*side*side)
			for i := range pix {
				pix[i] = byte(rng.IntN(256))
			}
			e.Inputs = append(e.Inputs, policy.Input{Step: t, Frames: []robot.Frame{{Camera: "front", W: side, H: side, Pix: pix}}})
			if t == 50 {
				break
			}
			var c robot.Command
			for i := range c.Delta {
				c.Delta[i] = 2*rng.Float64() - 1
			}
			e.Applied, e.By, e.Version = append(e.Applied, c), append(e.By, robot.ByPolicy), append(e.Version, 1)
			e.Rewards = append(e.Rewards, rng.NormFloat64())
		}
		if err := l.Add(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	return l
}
