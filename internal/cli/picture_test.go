package cli

import (
	"bytes"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPicture(t *testing.T) {
	l := newLab(t)
	out := filepath.Join(l.dir, "arm.jpg")
	l.must("picture", "--ticks", "2", "--width", "64", "--height", "48", "-o", out)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	c, err := jpeg.DecodeConfig(bytes.NewReader(b))
	if err != nil || c.Width != 64 || c.Height != 48 {
		t.Errorf("a picture of %dx%d, %v", c.Width, c.Height, err)
	}
	if code, said := l.run(t.Context(), &console{}, "picture", "--width", "3"); code != exitUsage || !strings.Contains(said, "--width") {
		t.Errorf("three pixels: exit code %d: %s", code, said)
	}
}
