package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset"
	"github.com/rapport-rl/rapport/policy/dataset/table"
	"github.com/rapport-rl/rapport/robot/record"
)

// OpenDataset opens demonstrations of any format for learning from them: a LeRobot
// folder, a robomimic file, or a session of ours.
func OpenDataset(ctx context.Context, path string, o dataset.Options) (*dataset.Reader, error) {
	o.Session = OpenSession
	return dataset.Open(ctx, path, o)
}

// InspectDataset says what the dataset at path holds.
func InspectDataset(path string, o dataset.Options) (dataset.Info, error) {
	o.Session = OpenSession
	return dataset.Inspect(path, o)
}

// OpenSession opens a session's folder as a dataset: its demonstrations, then what
// was collected, in the order in which they were added.
func OpenSession(dir string) (dataset.Session, error) {
	st, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	s := &past{st: st, info: dataset.Info{Path: dir, Format: "session"}}
	if err := s.list(); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return s, nil
}

// past is a session that others learn from.
type past struct {
	st   *store.Session
	info dataset.Info
	ids  []string
}

func (s *past) Info() dataset.Info { return s.info }
func (s *past) Close() error       { return s.st.Close() }

func (s *past) list() error {
	for _, origin := range []policy.Origin{policy.Demo, policy.Online} {
		rows, err := s.st.Episodes(context.Background(), origin)
		if err != nil {
			return err
		}
		for _, r := range rows {
			s.ids = append(s.ids, r.ID)
			s.info.Steps += r.Steps
		}
	}
	s.info.Episodes = len(s.ids)
	if len(s.ids) == 0 {
		return fmt.Errorf("wire: session %s holds no episodes", s.st.Dir())
	}
	// The first one that can be read tells of all; one that cannot is an error when
	// its turn comes.
	for _, id := range s.ids {
		rec, err := record.Read(s.file(id))
		if err != nil || len(rec.Ticks) < 2 {
			continue
		}
		a, b := rec.Ticks[0].State.Stamp, rec.Ticks[len(rec.Ticks)-1].State.Stamp
		if d := b.Sub(a).Seconds(); d > 0 {
			s.info.FPS = math.Round(1e3*float64(len(rec.Ticks)-1)/d) / 1e3
		}
		for _, f := range rec.Ticks[0].Frames {
			s.info.Cameras = append(s.info.Cameras, table.Camera{Name: f.Camera, Kind: "JPEG", W: f.W, H: f.H})
		}
		if len(s.info.Cameras) == 0 {
			s.info.Notes = append(s.info.Notes, "its episodes hold no frames")
		}
		break
	}
	return nil
}

func (s *past) file(id string) string {
	return filepath.Join(s.st.Dir(), "episodes", id+".mcap")
}

// Episode reads an episode, which the session's database knows, with its frames.
func (s *past) Episode(_ context.Context, i int) (policy.Episode, error) {
	e, err := s.st.Episode(s.ids[i])
	if err != nil {
		return e, err
	}
	rec, err := record.Read(s.file(s.ids[i]))
	if err != nil {
		return e, fmt.Errorf("wire: session %s: episode %s: %w", s.st.Dir(), s.ids[i], err)
	}
	for t := range min(len(rec.Ticks), len(e.Inputs)) {
		e.Inputs[t].Frames = slices.Clip(rec.Ticks[t].Frames)
	}
	return e, nil
}
