// Package perception turns camera frames into features: what rewards compare
// and policies act on.
package perception

import (
	"context"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// Keypoint is a tracked point in one camera's image.
type Keypoint struct {
	Name   string
	Camera string
	X, Y   float64 // pixels, origin at the top left corner's centre
	Score  float64 // 0 lost .. 1 certain
}

// Features is what an Extractor makes of the frames of one tick.
type Features struct {
	Stamp time.Time
	// Embed (D,) is the embedding; its layout is the extractor's own.
	Embed []float32
	// Keys (K,) are tracked keypoints, if the extractor tracks any.
	Keys []Keypoint
}

// Extractor turns the frames of one tick into features. Implementations are
// safe for use by several goroutines unless they say otherwise.
type Extractor interface {
	Extract(ctx context.Context, fs []robot.Frame) (Features, error)
}
