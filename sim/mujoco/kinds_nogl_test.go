//go:build nogl

package mujoco

import (
	"errors"
	"testing"
)

func kinds() []Kind { return []Kind{Auto, Raster} }

func TestNoGL(t *testing.T) {
	m := load(t, "push.xml")
	if _, err := NewRenderer(m, Size{8, 8}, Lean, EGL); !errors.Is(err, ErrNoGL) {
		t.Errorf("got %v, want ErrNoGL", err)
	}
}
