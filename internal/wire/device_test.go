//go:build cgo && !purego

package wire

import (
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
)

func TestLearnerDevice(t *testing.T) {
	learner := func(device string) config.Learner { return config.Learner{Device: device} }
	on, why, err := learnOn(learner("cpu"))
	if on != nil || why != nil || err != nil {
		t.Errorf("cpu: %v, %v, %v", on, why, err)
	}
	dir := t.TempDir()
	if err := cudatest.Build(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RAPPORT_CUDA_LIBS", dir)
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
