//go:build !nogl

package mujoco

import (
	"errors"
	"strings"
	"testing"
)

func kinds() []Kind { return []Kind{EGL, Raster} }

func TestMissingEGL(t *testing.T) {
	m := load(t, "push.xml")
	for lib, want := range map[string]string{
		"libEGL-absent.so.1": "libEGL-absent.so.1",    // no such library
		"libm.so.6":          "is not an EGL library", // another library
	} {
		t.Setenv("RAPPORT_EGL", lib)
		_, err := NewRenderer(m, Size{8, 8}, Lean, EGL)
		if !errors.Is(err, ErrNoGL) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "install") {
			t.Errorf("%s: got %v, want ErrNoGL with the cause and a remedy", lib, err)
		}
	}
}

// Both renderers draw the same scene: they differ at edges, where EGL's curves
// are polygons, and in shades by its light per vertex.
func TestRasterAgreesWithEGL(t *testing.T) {
	m := load(t, "shapes.xml")
	d := world(t, m)
	if err := d.Forward(); err != nil {
		t.Fatal(err)
	}
	var image [2][]byte
	for i, k := range []Kind{EGL, Raster} {
		image[i] = draw(t, m, d, Size{160, 120}, Video, k, 0)
	}
	far, sum := 0, 0
	for i := range image[0] {
		diff := max(int(image[0][i]), int(image[1][i])) - min(int(image[0][i]), int(image[1][i]))
		sum += diff
		if diff > 24 {
			far++
		}
	}
	if n := len(image[0]); far > n*2/100 || sum > 4*n {
		t.Errorf("got %d of %d values more than 24 apart, mean difference %.1f; want at most 2 %% and 4", far, n, float64(sum)/float64(n))
	}
}
