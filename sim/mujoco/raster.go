package mujoco

import "errors"

func newRaster(*Model, Size, Quality) (painter, error) { return nil, errors.New("mujoco: raster") }
