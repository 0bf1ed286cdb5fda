package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/record"
	rosarm "github.com/rapport-rl/rapport/robot/ros/arm"
)

// page is one observation of a recording.
type page struct {
	state   robot.State
	frames  []robot.Frame
	applied robot.Command // that led here
	// seen is what an encoder made of the frames when they were recorded; nil of a
	// recording that knows none.
	seen *perception.Features
}

// features are what the eyes make of the page's frames or, without either, what
// was recorded.
func (p *page) features(ctx context.Context, eyes perception.Extractor) (perception.Features, error) {
	switch {
	case eyes != nil && len(p.frames) > 0:
		f, err := eyes.Extract(ctx, p.frames)
		if p.seen != nil {
			f.Keys = p.seen.Keys
		}
		return f, err
	case p.seen != nil:
		return *p.seen, nil
	case eyes == nil && len(p.frames) > 0:
		return perception.Features{Stamp: p.state.Stamp}, nil // for a policy that sees frames
	}
	return perception.Features{}, errors.New("there is nothing that the policy could see: no frames, and no features were recorded")
}

// playback calls see with each observation of a recording: one of ours, or a bag
// as a backend plays it, with the topics of robot.ros. A tornError says that it is not whole;
// what is whole of it was seen.
func playback(ctx context.Context, c config.Config, file string, see func(page) error) error {
	var mine error
	if filepath.Ext(file) == ".mcap" {
		rec, err := record.Read(file)
		if err == nil {
			return turn(rec, see)
		}
		if errors.Is(err, record.ErrTruncated) && len(rec.Ticks) > 0 {
			if e := turn(rec, see); e != nil {
				return e
			}
			return tornError{err}
		}
		mine = err // an MCAP file of somebody else's?
	}
	if err := playBag(ctx, c, file, see); err != nil {
		return errors.Join(mine, err)
	}
	return nil
}

func turn(rec record.Recording, see func(page) error) error {
	for i := range rec.Ticks {
		t := &rec.Ticks[i]
		f := perception.Features{Stamp: t.Seen, Embed: t.Embed}
		for _, k := range t.Keys {
			f.Keys = append(f.Keys, perception.Keypoint(k))
		}
		if err := see(page{t.State, t.Frames, t.Applied, &f}); err != nil {
			return err
		}
	}
	return nil
}

func playBag(ctx context.Context, c config.Config, file string, see func(page) error) (err error) {
	m, err := bagTopics(c, file)
	if err != nil {
		return err
	}
	b, err := bag.NewBackend(file, bag.BackendConfig{Period: period(c), Map: m})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	obs, err := b.Reset(ctx)
	for ; ; obs, err = b.Step(ctx, robot.Command{}) {
		switch {
		case errors.Is(err, io.EOF):
			var torn error
			if d := b.Damage(); harmed(d) {
				torn = fmt.Errorf("the recording is not whole, damage: %s", d)
			}
			for _, u := range b.Unread() {
				torn = errors.Join(torn, errors.New(u.String()))
			}
			if torn != nil {
				return tornError{torn}
			}
			return nil
		case errors.Is(err, robot.ErrStale):
			continue // a gap, which the recording goes on after
		case err != nil:
			return err
		}
		p := page{state: obs.State, applied: obs.Applied}
		for i, f := range obs.Frames {
			cam := c.Robot.Cameras[i]
			f, err := vision.Resize(f, cam.Width, cam.Height)
			if err != nil {
				return fmt.Errorf("camera %s: %w", cam.Name, err)
			}
			p.frames = append(p.frames, f)
		}
		if err := see(p); err != nil {
			return err
		}
	}
}

// bagTopics are the topics of the session's arm, or of its recordings, as they stand in
// a recording.
// Without fingers' or target's the tool's own motion counts.
func bagTopics(c config.Config, file string) (bag.Mapping, error) {
	if logged(c) {
		m, _, err := bagSource(c, file)
		return m, err
	}
	m := bag.Mapping{States: rosarm.StateTopic}
	b, err := bag.Open(file, bag.Options{})
	if err != nil {
		return m, err
	}
	has := map[string]bool{}
	for _, t := range b.Info().Topics {
		has[t.Name] = true
		switch t.Name {
		case rosarm.FingerTopic:
			m.Gripper = t.Name
		case rosarm.PoseTopic:
			m.Target = t.Name
		}
	}
	if err := b.Close(); err != nil {
		return m, err
	}
	for _, cam := range c.Robot.Cameras {
		for _, t := range c.Robot.ROS.Cameras {
			if t.Name != cam.Name {
				continue
			}
			if full := "/" + t.Topic; !has[t.Topic] && has[full] { // as a node completes it
				t.Topic = full
			}
			m.Cameras = append(m.Cameras, bag.Camera{Name: cam.Name, Topic: t.Topic})
		}
	}
	return m, nil
}
