//go:build peers

package bc_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rapport-rl/rapport/policy/bc"
)

// TestPeerExportedPolicy runs the exported policies in OpenCV, after the checker
// of ONNX's authors. Needs python3-onnx and python3-opencv.
func TestPeerExportedPolicy(t *testing.T) {
	for _, c := range exports() {
		t.Run(c.name, func(t *testing.T) {
			net, ps := exported(t, c.arch)
			var file bytes.Buffer
			if err := net.ExportONNX(&file, bc.About{Program: "test", Version: ps.Version, Rate: 20}); err != nil {
				t.Fatal(err)
			}
			parts, want := commands(t, c.arch.View, ps, 20)
			path := filepath.Join(t.TempDir(), "policy")
			asked, err := json.Marshal(map[string]any{"inputs": parts})
			if err != nil {
				t.Fatal(err)
			}
			for name, data := range map[string][]byte{".onnx": file.Bytes(), ".json": asked} {
				if err := os.WriteFile(path+name, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-B", "testdata/export.py", path)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("Debian's python3-onnx and python3-opencv: %v\n%s", err, stderr.String())
			}
			var got [][]float32
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			same(t, got, want)
		})
	}
}
