package bc_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
)

// Where the goal is only the picture shows.
func TestCloneReachesTheGoalThatItSees(t *testing.T) {
	demos := policytest.Demos(40, 1, [2]float64{})
	net, p, err := bc.Train(t.Context(), bc.Config{Arch: policytest.PixelArch(), Steps: 600, Batch: 32, HeldOut: 0.2, Seed: 1}, demos, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !(p.Best < 0.12) { // the demonstrator's hands shake
		t.Errorf("the loss on held-out frames is %v", p.Best)
	}
	ps := encoded(t, net)
	got, err := policytest.Success(t.Context(), ps)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v of the goals reached, held-out loss %v", got, p.Best)
	if got < 0.8 {
		t.Errorf("%v of the goals that are seen are reached, want 0.8", got)
	}
	again, err := bc.Decode(ps)
	if err != nil {
		t.Fatal(err)
	}
	if b := encoded(t, again); !bytes.Equal(b.Data, ps.Data) {
		t.Error("what was decoded is encoded to other bytes")
	}
	// Blind, the same network does not know where to go.
	blind := net.Clone()
	for _, w := range blind.Eye().Params() {
		clear(w.Data)
	}
	if b, err := policytest.Success(t.Context(), encoded(t, blind)); err != nil || b > got/2 {
		t.Errorf("blind it reaches %v, %v", b, err)
	}
}

func TestPixelsAreRefused(t *testing.T) {
	net, err := bc.NewNet(policytest.PixelArch(), rand.New(rand.NewPCG(1, 0)))
	if err != nil {
		t.Fatal(err)
	}
	ps := encoded(t, net)
	pi, err := bc.NewPolicy(bc.PolicyConfig{View: policytest.PixelView()})
	if err != nil {
		t.Fatal(err)
	}
	if err := pi.Load(ps); err != nil {
		t.Fatal(err)
	}
	if _, err := pi.Act(t.Context(), policy.Input{}); err == nil || !strings.Contains(err.Error(), `no frame of camera "top"`) {
		t.Errorf("a tick without frames: %v", err)
	}
	demos := policytest.Demos(2, 1, [2]float64{})
	demos[1].Inputs[3].Frames = nil
	if _, _, err := bc.Train(t.Context(), bc.Config{Arch: policytest.PixelArch(), Steps: 1}, demos, nil); err == nil || !strings.Contains(err.Error(), "step 3 has no frame") {
		t.Errorf("a demonstration without a frame: %v", err)
	}
	tight := policytest.PixelArch()
	tight.Trunk.Strides = []int{2, 2, 2, 2}
	if _, err := bc.NewNet(tight, rand.New(rand.NewPCG(1, 0))); err == nil || !strings.Contains(err.Error(), "too small") {
		t.Errorf("more convolutions than pixels: %v", err)
	}

	alone := policytest.PixelArch()
	alone.View.Place, alone.View.Horizon = nil, 0
	if _, err := bc.NewNet(alone, rand.New(rand.NewPCG(1, 0))); err == nil || !strings.Contains(err.Error(), "no number beside") {
		t.Errorf("frames alone: %v", err)
	}

	// A file that claims a trunk of terabytes does not get the memory for it.
	huge := policytest.PixelArch()
	huge.View.Cameras[0].W, huge.View.Cameras[0].H = 2000, 2000
	huge.Trunk.Channels, huge.Trunk.Latent, huge.Trunk.Strides = 1000, 4000, []int{1}
	arch, err := json.Marshal(huge)
	if err != nil {
		t.Fatal(err)
	}
	ts, meta, err := nn.Decode(ps.Data)
	if err != nil {
		t.Fatal(err)
	}
	meta["arch"] = string(arch)
	data, err := nn.Encode(ts, meta)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bc.Decode(policy.Params{Data: data}); err == nil || !strings.Contains(err.Error(), "numbers, but") {
		t.Errorf("a claim of %.0e numbers: %v", huge.Trunk.Count(huge.View.Cameras), err)
	}
}
