// Package encoder turns camera frames into embeddings, by a small network that
// is trained here from demonstrations alone, or by any backbone exported to
// ONNX.
//
// Conv finds keypoints: each camera's image goes through convolutions whose
// last channels, under a spatial softmax, point at one place each (the deep
// spatial autoencoder of Finn et al. 2016, arXiv:1509.06113). It learns which
// places to point at by redrawing the image from them (as Jakab et al. 2018,
// arXiv:1806.07823, with a drawing of the arm made from its own joint angles),
// so small things that move get keypoints without any label:
//
//	enc, report, err := encoder.Train(ctx, data, encoder.Default(), nil)
//	f, err := enc.Extract(ctx, obs.Frames)
//
// ONNX runs a pretrained backbone instead, which needs no training and sees
// less of small objects.
package encoder

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
)

// ErrCamera says that a configured camera is missing among the frames.
var ErrCamera = errors.New("encoder: camera missing")

// Camera is one view that an encoder looks at.
type Camera struct {
	Name string
	// Crop is cut out of the image before it is scaled: x, y, width, height in
	// pixels; all zero takes the whole image.
	Crop [4]int
}

// pick finds c's frame among fs and prepares it.
func (c Camera) pick(fs []robot.Frame, w, h int) (robot.Frame, error) {
	for _, f := range fs {
		if f.Camera == c.Name {
			return vision.Prepare{Crop: c.Crop, W: w, H: h}.Apply(f)
		}
	}
	return robot.Frame{}, fmt.Errorf("%w: no frame of %q among %d", ErrCamera, c.Name, len(fs))
}

func validCameras(cs []Camera) error {
	if len(cs) == 0 {
		return errors.New("encoder: no camera configured")
	}
	seen := map[string]bool{}
	for _, c := range cs {
		if c.Name == "" || seen[c.Name] {
			return fmt.Errorf("encoder: camera name %q is empty or used twice", c.Name)
		}
		seen[c.Name] = true
		if err := (vision.Prepare{Crop: c.Crop}).Validate(); err != nil {
			return fmt.Errorf("encoder: camera %q: %w", c.Name, err)
		}
	}
	return nil
}

// Batch extracts the features of many ticks, each as Extract would alone, on
// up to workers goroutines.
func Batch(ctx context.Context, x perception.Extractor, ticks [][]robot.Frame, workers int) ([]perception.Features, error) {
	out := make([]perception.Features, len(ticks))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, workers))
	for i, fs := range ticks {
		g.Go(func() error {
			f, err := x.Extract(ctx, fs)
			if err != nil {
				return fmt.Errorf("encoder: tick %d: %w", i, err)
			}
			out[i] = f
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}
