//go:build peers

package vision

import (
	"os/exec"
	"testing"
)

// Exports networks from Debian's PyTorch and compares what OpenCV makes of
// them. Needs python3-torch.
func TestNetAgreesWithFreshExports(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		kind  string
		batch int
	}{{"tiny", 3}, {"fixed", 1}, {"resnet", 1}, {"resnet", 3}} {
		if out, err := exec.Command("/usr/bin/python3", "testdata/tiny.py", dir, c.kind).CombinedOutput(); err != nil {
			t.Fatalf("export %s: %v\n%s", c.kind, err, out)
		}
		agrees(t, dir, c.kind, c.batch, 1e-4)
	}
}
