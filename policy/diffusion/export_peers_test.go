//go:build peers

package diffusion

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPeerExportedChain runs the exported chains in OpenCV, after the checker of
// ONNX's authors. Needs python3-onnx and python3-opencv.
func TestPeerExportedChain(t *testing.T) {
	for _, c := range exports() {
		t.Run(c.name, func(t *testing.T) {
			n := vivid(t, c.arch)
			var b bytes.Buffer
			if err := n.ExportONNX(&b, c.draw, About{Program: "test"}); err != nil {
				t.Fatal(err)
			}
			inputs, want := asked(t, n, c.draw, 4)
			path := filepath.Join(t.TempDir(), "policy")
			question, err := json.Marshal(inputs)
			if err != nil {
				t.Fatal(err)
			}
			for name, data := range map[string][]byte{".onnx": b.Bytes(), ".json": question} {
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
			var got []float32
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			alike(t, c.arch.View.Action, got, want)
		})
	}
}
