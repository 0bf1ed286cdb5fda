package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
)

// bagEpisode plays a recording of somebody else as one episode: observations at
// control ticks, and the commands that its log holds.
func bagEpisode(ctx context.Context, path string, topics map[string]string) (e policy.Episode, notes []string, err error) {
	fail := func(err error) (policy.Episode, []string, error) {
		return e, notes, fmt.Errorf("wire: convert %s: %w", path, err)
	}
	b, err := bag.Open(path, bag.Options{})
	if err != nil {
		return fail(err)
	}
	m, reasons := bag.Guess(b.Info())
	names := topicNames(b.Info())
	if err := b.Close(); err != nil {
		return fail(err)
	}
	for _, r := range reasons {
		notes = append(notes, path+": "+r)
	}
	mapTopics(&m, topics)
	if m.States == "" && m.Joints == "" {
		return fail(fmt.Errorf("no topic of the arm's state is known; name one, as --map states=/franka_state_controller/franka_states or joints=/joint_states; it has %s", names))
	}
	k, err := bag.NewBackend(path, bag.BackendConfig{Map: m})
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	id := strings.TrimSuffix(filepath.Base(filepath.Clean(path)), filepath.Ext(path))
	e = policy.Episode{ID: id, Origin: policy.Demo}
	obs, err := k.Reset(ctx)
	for t := 0; ; t++ {
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fail(fmt.Errorf("tick %d: %w", t, err))
		}
		// The backend may use its frames again.
		var fs []robot.Frame
		for _, f := range obs.Frames {
			f.Pix = slices.Clone(f.Pix)
			fs = append(fs, f)
		}
		e.Inputs = append(e.Inputs, policy.Input{Step: t, State: obs.State, Frames: fs})
		if t > 0 {
			e.Applied, e.By, e.Version = append(e.Applied, obs.Applied), append(e.By, obs.By), append(e.Version, 0)
		}
		obs, err = k.Step(ctx, robot.Command{})
	}
	if len(e.Inputs) < 2 {
		return fail(fmt.Errorf("%d observations, want two at least", len(e.Inputs)))
	}
	return e, notes, e.Validate()
}

// mapTopics puts the user's topics over what was guessed.
func mapTopics(m *bag.Mapping, topics map[string]string) {
	places := map[string]*string{"states": &m.States, "joints": &m.Joints, "gripper": &m.Gripper, "target": &m.Target, "pose": &m.Pose}
	var cams []bag.Camera
	for name, topic := range topics {
		if p, ok := places[name]; ok {
			*p = topic
			continue
		}
		cams = append(cams, bag.Camera{Name: name, Topic: topic})
	}
	if len(cams) > 0 {
		slices.SortFunc(cams, func(a, b bag.Camera) int { return strings.Compare(a.Name, b.Name) })
		m.Cameras = cams
	}
}
