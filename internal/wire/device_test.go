//go:build cgo && !purego

package wire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
)

// emulated puts an emulated card into the machine until the test ends.
func emulated(t *testing.T) {
	t.Helper()
	dir, err := cudatest.Libs()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("RAPPORT_CUDA_LIBS", dir)
}

func TestLearnerDevice(t *testing.T) {
	learner := func(device string) config.Learner { return config.Learner{Device: device} }
	on, why, err := learnOn(learner("cpu"))
	if on != nil || why != nil || err != nil {
		t.Errorf("cpu: %v, %v, %v", on, why, err)
	}
	emulated(t)
	for _, kind := range []string{"auto", "cuda"} {
		if got, err := tryLearning(learner(kind)); err != nil || !strings.HasPrefix(got, "emulated card") {
			t.Errorf("%s with a card: %q, %v", kind, got, err)
		}
	}
	t.Setenv("EMULATOR_FAILS", "count")
	got, err := tryLearning(learner("auto"))
	if want := device.Default().Name() + "; no card: cuda: the driver sees no card"; err != nil || !strings.HasPrefix(got, want) {
		t.Errorf("auto without a card: %q, %v, want %q", got, err, want)
	}
	_, err = tryLearning(learner("cuda"))
	for _, want := range []string{"wire: learner.device is cuda: cuda: the driver sees no card", "learner.device: cpu"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("cuda without a card: %v, want %q", err, want)
		}
	}
}

// A card that is demanded is looked for before there is a folder, and before it is gone on with: then
// the processor does, too.
func TestACardThatIsNotThereIsToldAtOnce(t *testing.T) {
	emulated(t)
	c := tiny(t)
	c.Name, c.Learner.Device = "one", "cuda"
	s, err := Create(t.Context(), c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EMULATOR_FAILS", "count")
	_, err = Resume(t.Context(), c.Out, c.Name, nil, nil, byTheClock())
	wantErr(t, err, "learner.device is cuda", "learner.device: cpu")
	s, err = Resume(t.Context(), c.Out, c.Name, nil, []string{"learner.device=cpu"}, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if kept, err := asBegun(s.Dir()); err != nil || kept.Learner.Device != "cpu" {
		t.Errorf("the folder keeps %q, %v", kept.Learner.Device, err)
	}
	c.Name = "two"
	_, err = Create(t.Context(), c, byTheClock())
	wantErr(t, err, "learner.device is cuda")
	if _, err := os.Stat(filepath.Join(c.Out, c.Name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder is left (%v)", err)
	}
}

// What a learner keeps on a card is taken back on the processor, and the other way.
func TestLearnersGoOnOnTheOtherSide(t *testing.T) {
	ctx := t.Context()
	emulated(t)
	net, err := bc.NewNet(policytest.Arch(), rand.New(rand.NewPCG(1, 0)))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := net.Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	episodes := policytest.Demos(3, 1, [2]float64{0.12, -0.09})
	for name, sets := range map[string][]string{
		"rlpd":      {"learner.kind=rlpd", "learner.drm=2", "learner.noise=0.3"},
		"calql":     {"learner.kind=calql", "learner.residual=0.5"},
		"iql":       {"learner.kind=iql", "learner.replay.priority=0.6"},
		"ppo":       {"learner.kind=ppo", "learner.ppo.episodes=1", "learner.ppo.epochs=1"},
		"bc":        {"learner.kind=bc"},
		"diffusion": {"learner.kind=diffusion", "policy.diffusion.channels=[8]", "policy.diffusion.horizon=8", "policy.diffusion.exec=7", "policy.clone.batch=4"},
	} {
		t.Run(name, func(t *testing.T) {
			c := tiny(t)
			set(t, &c, append(sets, "learner.batch=8", "learner.warmup=2")...)
			from := rows
			if name == "diffusion" {
				c.Learner.Device = "cpu"
				if from, _, err = imitateChunks(ctx, c, policytest.View(), episodes, 2, func(int, int, string) {}); err != nil {
					t.Fatal(err)
				}
			}
			on := func(device string, checkpoint []byte) policy.Keeper {
				t.Helper()
				c.Learner.Device = device
				l, err := newKeeper(c, from, true, "")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = closeKeeper(l) })
				for i, e := range episodes {
					if i > 0 {
						e.Origin = policy.Online
					}
					if err := l.Add(ctx, e); err != nil {
						t.Fatal(err)
					}
				}
				if checkpoint != nil {
					if err := l.Restore(bytes.NewReader(checkpoint)); err != nil {
						t.Fatalf("%s takes nothing back: %v", device, err)
					}
				}
				return l
			}
			saved := func(l policy.Keeper) []byte {
				t.Helper()
				var b bytes.Buffer
				if err := l.Save(&b); err != nil {
					t.Fatal(err)
				}
				return b.Bytes()
			}
			for here, there := range map[string]string{"cuda": "cpu", "cpu": "cuda"} {
				l := on(here, nil)
				for range 2 {
					if _, err := l.Update(ctx); err != nil {
						t.Fatal(err)
					}
				}
				was := saved(l)
				next := on(there, was)
				if !bytes.Equal(saved(next), was) {
					t.Errorf("from %s to %s something is lost", here, there)
				}
				if _, err := next.Update(ctx); err != nil {
					t.Errorf("%s does not go on: %v", there, err)
				}
			}
		})
	}
}
