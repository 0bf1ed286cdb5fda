package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset"
	"github.com/rapport-rl/rapport/policy/view"
)

// corpus is recorded episodes to learn from.
type corpus struct {
	view     view.Config
	episodes []policy.Episode
	notes    []string // what the user should know of them
}

// SessionAt says whether there is a session's folder at path.
func SessionAt(path string) bool {
	_, err := os.Stat(filepath.Join(path, database))
	return err == nil
}

// TrainImported is TrainOffline on the demonstrations of a LeRobot folder or a
// robomimic file, as configured by c. What its columns mean is in the YAML of a
// dataset.Map, columns, where guesses do not do. Policies see its cameras, scaled to
// the size of the first of robot.cameras, and the place of the tool.
func TrainImported(ctx context.Context, path string, c config.Config, columns []byte, steps int, o Options) (t Trained, err error) {
	if _, err := InspectDataset(path, dataset.Options{}); err != nil {
		return t, err
	}
	if !pixels(c) {
		return t, fmt.Errorf("wire: policy.sees is %q, but %s holds frames and no features of an encoder of ours; take --set policy.sees=pixels", c.Policy.Sees, path)
	}
	if err := offline(c); err != nil {
		return t, err
	}
	data, err := imported(ctx, path, c, columns, o.Tell)
	if err != nil {
		return t, err
	}
	return train(ctx, c, data, steps, o.Tell)
}

// Imported says what a dataset holds and how it is understood.
type Imported struct {
	Info  dataset.Info
	Map   []byte // YAML; nil where it is not understood
	Notes []string
	Err   error // why it is not understood
}

// InspectImported opens the dataset at path and looks at it.
func InspectImported(ctx context.Context, path string, columns []byte) (Imported, error) {
	m, err := columnsOf(columns)
	if err != nil {
		return Imported{}, err
	}
	info, err := InspectDataset(path, dataset.Options{Map: m})
	if err != nil {
		return Imported{}, err
	}
	in := Imported{Info: info}
	if SessionAt(path) {
		return in, nil
	}
	r, err := OpenDataset(ctx, path, dataset.Options{Map: m})
	if err != nil {
		in.Err = err
		return in, nil
	}
	for _, p := range r.Guessed() {
		in.Notes = append(in.Notes, p.String())
	}
	in.Map, err = config.Encode(r.Map())
	return in, errors.Join(err, r.Close())
}

func columnsOf(b []byte) (dataset.Map, error) {
	var m dataset.Map
	if err := config.Decode(b, &m); err != nil {
		return m, fmt.Errorf("wire: what the columns mean: %w", err)
	}
	return m, nil
}

// drifts is the share by which a dataset's rate may differ from a session's untold, as that of
// an export's episodes may.
const drifts = 0.02

// imported reads a dataset whole.
func imported(ctx context.Context, path string, c config.Config, columns []byte, tell Progress) (data corpus, err error) {
	m, err := columnsOf(columns)
	if err != nil {
		return data, err
	}
	r, err := OpenDataset(ctx, path, dataset.Options{Map: m})
	if err != nil {
		return data, err
	}
	m = r.Map()
	rate := r.Info().FPS   // 0 where it does not say
	guessed := r.Guessed() // which to the second reader are given
	if err := r.Close(); err != nil {
		return data, err
	}
	if len(m.Cameras) == 0 {
		return data, fmt.Errorf("wire: %s has no cameras, and a policy learns from frames here", path)
	}
	size := c.Robot.Cameras[0]
	for i := range m.Cameras {
		if cam := &m.Cameras[i]; cam.W == 0 && cam.H == 0 {
			cam.W, cam.H = size.Width, size.Height
		}
		data.view.Cameras = append(data.view.Cameras, view.Camera{Name: m.Cameras[i].Name, W: m.Cameras[i].W, H: m.Cameras[i].H})
	}
	cams := data.view.Cameras
	data.view = viewConfig(c, 0)
	// Episodes are of any length, so there is no clock to see.
	data.view.Cameras, data.view.Horizon = cams, 0
	r, err = OpenDataset(ctx, path, dataset.Options{Map: m, SkipBad: true, Progress: func(done, total int) {
		tell("read", done, total, "")
	}})
	if err != nil {
		return data, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	moves := moves{of: data.view.Action}
	err = r.Each(ctx, func(e policy.Episode) error {
		data.episodes = append(data.episodes, e)
		moves.add(e)
		return nil
	})
	if err != nil {
		return data, err
	}
	for _, p := range guessed {
		data.notes = append(data.notes, p.String())
	}
	// A policy commands so much a tick, whatever a tick is.
	if here := 1 / period(c).Seconds(); rate > 0 && math.Abs(rate/here-1) > drifts {
		key := ""
		if real(c) {
			key = " (robot.ros.rate)"
		}
		data.notes = append(data.notes, fmt.Sprintf("its moves are of %.4g ticks a second, and a session here makes %.4g%s: the policy moves the arm %.3g times as fast as was demonstrated", rate, here, key, here/rate))
	}
	for _, l := range r.Left() {
		data.notes = append(data.notes, "left out "+l.String())
	}
	if n := moves.note(c); n != "" {
		data.notes = append(data.notes, n)
	}
	if len(data.episodes) == 0 {
		return data, fmt.Errorf("wire: %s: no episode could be read:\n%s", path, strings.Join(data.notes, "\n"))
	}
	return data, nil
}
