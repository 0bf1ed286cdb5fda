package view_test

import (
	"os"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/onnx"
	"github.com/rapport-rl/rapport/policy/view"
)

// The document's table has a row for every input that an exported policy may have.
func TestDocumentListsTheInputsOfExportedPolicies(t *testing.T) {
	doc, err := os.ReadFile("../../docs/onnx.md")
	if err != nil {
		t.Fatal(err)
	}
	v := view.Config{Embed: 2, Place: []int{0, 1, 2}, Span: 1, Keys: []string{"ball"}, Heading: true, Fingers: true, Horizon: 9}
	n := 0
	v.Export(onnx.NewBuilder("view"), 0, func(input, _ string) {
		n++
		if row := "| `" + strings.Replace(input, "ball", "NAME", 1) + "` |"; !strings.Contains(string(doc), row) {
			t.Errorf("docs/onnx.md has no row %s", row)
		}
	})
	if n != 6 {
		t.Errorf("%d inputs, want 6", n)
	}
}
