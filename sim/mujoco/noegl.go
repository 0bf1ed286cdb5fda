//go:build nogl

package mujoco

import "fmt"

const preferred = Raster

func newEGL(*Model, Size, Quality) (painter, error) {
	return nil, fmt.Errorf("%w: this program was built with -tags nogl", ErrNoGL)
}
