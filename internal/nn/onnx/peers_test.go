//go:build peers

package onnx

import (
	"os/exec"
	"testing"
)

// TestPeerTorchExports compares networks of full width, exported now by Debian's
// PyTorch. Needs python3-torch. 1e-4: sums of up to 4,608 terms through 18
// layers.
func TestPeerTorchExports(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"resnet18", "vits"} {
		t.Run(name, func(t *testing.T) {
			if out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-B", "testdata/models.py", dir, name).CombinedOutput(); err != nil {
				t.Fatalf("Debian's python3-torch: %v\n%s", err, out)
			}
			torch(t, dir, name, false, 1e-4)
		})
	}
}
