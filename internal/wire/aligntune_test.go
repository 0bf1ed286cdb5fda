package wire

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
	"github.com/rapport-rl/rapport/policy/diffusion"
)

// Every aligner is made of the policies that the configuration says it takes, and of
// no others.
func TestAlignersTakeTheirPolicies(t *testing.T) {
	for process, kind := range map[string]diffusion.Kind{"diffusion": diffusion.Diffusion, "flow": diffusion.Flow} {
		arch := aligntest.Arch()
		arch.Process.Kind = kind
		net, err := diffusion.NewNet(arch, rand.New(rand.NewPCG(1, 2)))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range config.Aligners() {
			tuned, err := align.Tune(net, align.Config{Draw: diffusion.Draw{Steps: 2, Eta: 1}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = aligner(tuned, config.Align{Aligner: name, Beta: 0.1})
			if takes := slices.Contains(config.AlignersOf(process), name); takes != (err == nil) {
				t.Errorf("%s of a %s: error %v, want one: %t", name, process, err, !takes)
			}
		}
	}
	_, err := aligner(nil, config.Align{Aligner: "sft"})
	wantErr(t, err, `align.aligner is "sft"`, "seppo")
}

// A flow goes the whole way, and its aligners learn from ranked rollouts.
func TestFlowsAreAligned(t *testing.T) {
	c := tinyAlign(t)
	c.Policy.Diffusion.Process, c.Align.Aligner, c.Align.Rounds, c.Align.By = "flow", "flow-dpo", 2, "labels"
	dir, err := BeginAlign(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := steps(t.Context(), t, dir, nil, nil, AlignSteps()...); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rwr", "seppo"} {
		notes, err := steps(t.Context(), t, dir, []string{"align.aligner=" + name}, nil, AlignTune)
		if err != nil || len(notes) != 1 || !strings.HasPrefix(notes[0], name+", round") {
			t.Errorf("%s: %q, %v", name, notes, err)
		}
	}
	_, err = steps(t.Context(), t, dir, []string{"align.aligner=prdp"}, nil, AlignTune)
	wantErr(t, err, "align.aligner is prdp", "want one of flow-dpo, rwr, seppo")
}
