package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
)

// bagEpisodes plays a recording of somebody else: observations at control ticks, and
// the commands that its log holds. Where the state or a camera was silent for a second,
// an episode ends, and another begins when it is back.
func bagEpisodes(ctx context.Context, path string, topics map[string]string, add func(policy.Episode) error) (notes []string, err error) {
	m, notes, err := bagMapping(path, topics, true)
	if err != nil {
		return notes, fmt.Errorf("wire: convert %s: %w", path, err)
	}
	more, err := (&stretch{id: recordingID(path), add: add}).play(ctx, path, m)
	if notes = append(notes, more...); err != nil {
		return notes, fmt.Errorf("wire: convert %s: %w", path, err)
	}
	return notes, nil
}

// recordingID names a recording by its file.
func recordingID(path string) string {
	return strings.TrimSuffix(filepath.Base(filepath.Clean(path)), filepath.Ext(path))
}

// bagMapping guesses which topic of a recording is which; topics overrule it. If alone, named
// cameras stand in for all that were guessed.
func bagMapping(path string, topics map[string]string, alone bool) (m bag.Mapping, notes []string, err error) {
	b, err := bag.Open(path, bag.Options{})
	if err != nil {
		return m, nil, err
	}
	m, reasons := bag.Guess(b.Info())
	if err := b.Close(); err != nil {
		return m, nil, err
	}
	if len(topics) == 0 {
		for _, r := range reasons {
			notes = append(notes, path+": taken for "+r)
		}
	}
	named := map[string]bool{} // topics of cameras
	for n, topic := range topics {
		if !slices.Contains(config.NoCameras(), n) {
			named[topic] = true
		}
	}
	m.Cameras = slices.DeleteFunc(m.Cameras, func(c bag.Camera) bool { return alone && len(named) > 0 || named[c.Topic] })
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		if err := m.Set(name + "=" + topics[name]); err != nil {
			return m, notes, err
		}
	}
	return m, notes, nil
}

// stretch is a piece of a recording without silence.
type stretch struct {
	id  string
	n   int // episodes so far
	e   policy.Episode
	add func(policy.Episode) error
	// fit, if set, makes frames what a session wants of them.
	fit func([]robot.Frame) ([]robot.Frame, error)
	// limit is the most steps that are taken of a stretch; 0: all are.
	limit int
	over  int // steps beyond limit
}

// play hands over the episodes of the recording at path.
func (s *stretch) play(ctx context.Context, path string, m bag.Mapping) (notes []string, err error) {
	k, err := bag.NewBackend(path, bag.BackendConfig{Map: m})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	obs, err := k.Reset(ctx)
	for {
		switch {
		case err == nil:
			if err := s.take(obs); err != nil {
				return notes, err
			}
		case errors.Is(err, io.EOF):
			if err := s.end(); err != nil {
				return notes, err
			}
			if d := k.Damage(); !d.None() {
				notes = append(notes, path+": damage: "+d.String())
			}
			if s.n == 0 {
				return notes, errors.New("there are never two observations that follow each other")
			}
			if s.n > 1 {
				notes = append(notes, fmt.Sprintf("%s: the arm or a camera was silent, so that it is %d episodes", path, s.n))
			}
			if s.over > 0 {
				notes = append(notes, fmt.Sprintf("%s: %d steps lie beyond robot.horizon, %d steps, and are left out", path, s.over, s.limit))
			}
			return notes, nil
		case errors.Is(err, robot.ErrStale):
			if err := s.end(); err != nil {
				return notes, err
			}
		default:
			return notes, err
		}
		obs, err = k.Step(ctx, robot.Command{})
	}
}

func (s *stretch) take(o robot.Observation) (err error) {
	t := len(s.e.Inputs)
	if s.limit > 0 && t > s.limit {
		s.over++
		return nil
	}
	if s.fit != nil {
		if o.Frames, err = s.fit(o.Frames); err != nil {
			return err
		}
	}
	s.e.Inputs = append(s.e.Inputs, policy.Input{Step: t, State: o.State, Frames: o.Frames})
	if t > 0 {
		s.e.Applied, s.e.By, s.e.Version = append(s.e.Applied, o.Applied), append(s.e.By, o.By), append(s.e.Version, 0)
	}
	return nil
}

func (s *stretch) end() error {
	e := s.e
	s.e = policy.Episode{}
	if len(e.Inputs) < 2 {
		return nil
	}
	s.n++
	e.ID, e.Seq, e.Origin = s.id, uint64(s.n-1), policy.Demo
	if s.n > 1 {
		e.ID = fmt.Sprintf("%s-%d", s.id, s.n)
	}
	return s.add(e)
}
