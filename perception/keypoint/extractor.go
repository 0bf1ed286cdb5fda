package keypoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/robot"
)

// Extractor fills Features.Keys beside what another extractor embeds. A frame whose
// number is not above the one before begins an episode, whose points Start names. It is
// used by one goroutine, and frames must come in order.
type Extractor struct {
	Inner   perception.Extractor // none: keys alone
	Tracker *Tracker
	// Start is asked for the points at the first frames of an episode. None of them, or
	// no Start, is an episode without keys.
	Start func(ctx context.Context, fs []robot.Frame) ([]perception.Keypoint, error)

	seq   uint64
	begun bool
}

// Extract embeds and tracks.
func (x *Extractor) Extract(ctx context.Context, fs []robot.Frame) (perception.Features, error) {
	var f perception.Features
	if len(fs) == 0 {
		return f, errors.New("keypoint: extract: no frames")
	}
	f.Stamp = fs[0].Stamp
	if x.Inner != nil {
		var err error
		if f, err = x.Inner.Extract(ctx, fs); err != nil {
			return f, err
		}
	}
	fresh := !x.begun || fs[0].Seq <= x.seq
	x.seq, x.begun = fs[0].Seq, true
	if fresh {
		return f, x.begin(ctx, fs, &f)
	}
	keys, err := x.Tracker.Track(fs)
	if err != nil && !errors.Is(err, ErrBegin) {
		return f, err
	}
	f.Keys = keys
	return f, nil
}

func (x *Extractor) begin(ctx context.Context, fs []robot.Frame, f *perception.Features) error {
	if x.Start == nil {
		return x.Tracker.Close()
	}
	ps, err := x.Start(ctx, fs)
	if err != nil {
		x.begun = false
		return fmt.Errorf("keypoint: start of an episode: %w", err)
	}
	if err := x.Tracker.Begin(fs, ps); err != nil {
		x.begun = false
		return err
	}
	for _, p := range ps {
		p.Score = 1
		f.Keys = append(f.Keys, p)
	}
	return nil
}

// Hand is a point of the arm itself, which needs no tracking: the joints tell where the
// tool is, and a calibrated camera where that is seen.
type Hand struct {
	Name string
	At   [3]float64 // in the tool's frame, m; zero: the tool centre point
}

// Keys are where cams see it while the tool is at tool. What is behind a camera or
// outside its image has a Score of 0; what stands before the hand is not known.
func (h Hand) Keys(cams []Camera, tool robot.Pose) []perception.Keypoint {
	at := Camera{OnHand: true, Pose: robot.Pose{P: h.At, Q: [4]float64{1}}}
	p := at.At(tool).Pose.P
	ks := make([]perception.Keypoint, len(cams))
	for i, c := range cams {
		c = c.At(tool)
		px, ok := c.Project(p)
		ks[i] = perception.Keypoint{Name: h.Name, Camera: c.Name, X: px[0], Y: px[1]}
		if ok && c.Inside(px) {
			ks[i].Score = 1
		}
	}
	return ks
}
