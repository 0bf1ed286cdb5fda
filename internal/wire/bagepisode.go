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

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
)

// bagEpisodes plays a recording of somebody else: observations at control ticks, and
// the commands that its log holds. Where the state or a camera was silent for a second,
// an episode ends, and another begins when it is back.
func bagEpisodes(ctx context.Context, path string, topics map[string]string, add func(policy.Episode) error) (notes []string, err error) {
	fail := func(err error) ([]string, error) {
		return notes, fmt.Errorf("wire: convert %s: %w", path, err)
	}
	b, err := bag.Open(path, bag.Options{})
	if err != nil {
		return fail(err)
	}
	m, reasons := bag.Guess(b.Info())
	if err := b.Close(); err != nil {
		return fail(err)
	}
	if len(topics) == 0 {
		for _, r := range reasons {
			notes = append(notes, path+": taken for "+r)
		}
	}
	// Named cameras stand in for all that were guessed.
	if slices.ContainsFunc(slices.Collect(maps.Keys(topics)), func(n string) bool {
		return !slices.Contains([]string{"states", "joints", "gripper", "target", "pose"}, n)
	}) {
		m.Cameras = nil
	}
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		if err := m.Set(name + "=" + topics[name]); err != nil {
			return fail(err)
		}
	}
	k, err := bag.NewBackend(path, bag.BackendConfig{Map: m})
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	p := stretch{id: strings.TrimSuffix(filepath.Base(filepath.Clean(path)), filepath.Ext(path)), add: add}
	obs, err := k.Reset(ctx)
	for {
		switch {
		case err == nil:
			p.take(obs)
		case errors.Is(err, io.EOF):
			if err := p.end(); err != nil {
				return fail(err)
			}
			if d := k.Damage(); !d.None() {
				notes = append(notes, path+": damage: "+d.String())
			}
			if p.n == 0 {
				return fail(errors.New("there are never two observations that follow each other"))
			}
			if p.n > 1 {
				notes = append(notes, fmt.Sprintf("%s: the arm or a camera was silent, so that it is %d episodes", path, p.n))
			}
			return notes, nil
		case errors.Is(err, robot.ErrStale):
			if err := p.end(); err != nil {
				return fail(err)
			}
		default:
			return fail(err)
		}
		obs, err = k.Step(ctx, robot.Command{})
	}
}

// stretch is a piece of a recording without silence.
type stretch struct {
	id  string
	n   int // episodes so far
	e   policy.Episode
	add func(policy.Episode) error
}

func (s *stretch) take(o robot.Observation) {
	t := len(s.e.Inputs)
	s.e.Inputs = append(s.e.Inputs, policy.Input{Step: t, State: o.State, Frames: o.Frames})
	if t > 0 {
		s.e.Applied, s.e.By, s.e.Version = append(s.e.Applied, o.Applied), append(s.e.By, o.By), append(s.e.Version, 0)
	}
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
