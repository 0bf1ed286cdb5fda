package wire

import (
	"context"
	"fmt"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/robot"
)

const keySegmenter = "reward.kagi.segmenter"

// segmenter finds the things that a model is offered marks on.
type segmenter interface {
	Masks(ctx context.Context, f robot.Frame) ([]keypoint.Mask, error)
}

// openSegmenter loads the network of reward.kagi.segmenter; without one things are found by
// colour. The function returned frees it.
func openSegmenter(c config.Config) (segmenter, func() error, error) {
	path := c.Reward.KAGI.Segmenter
	if path == "" {
		return keypoint.Segments{}, func() error { return nil }, nil
	}
	s, err := keypoint.OpenSegmenter(path)
	if err != nil {
		return nil, nil, fmt.Errorf("wire: %s: %w", keySegmenter, mislaid(keySegmenter, "FILE", err))
	}
	return s, s.Net.Close, nil
}

// segmented refuses a segmenter that cannot be used before a folder is made.
func segmented(c config.Config) error {
	if !byWaypoints(c) {
		return nil
	}
	_, free, err := openSegmenter(c)
	if err != nil {
		return err
	}
	return free()
}

// sameSegmenter says whether the session in dir, configured as was, finds things as one under
// now does.
func sameSegmenter(dir string, was, now config.KAGI) (bool, error) {
	if was.Segmenter == "" || now.Segmenter == "" {
		return was.Segmenter == now.Segmenter, nil
	}
	sums, err := keptFiles(dir)
	if err != nil {
		return false, err
	}
	sum, err := fileSum(keySegmenter, now.Segmenter)
	return sums[keySegmenter] == sum, err
}
