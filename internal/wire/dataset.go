package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
// was collected, in the order in which they were added, with the rewards that the session
// learns from.
func OpenSession(dir string) (dataset.Session, error) {
	s, err := openPast(dir)
	if err != nil {
		return nil, err
	}
	if err := s.list(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openPast is OpenSession without the list.
func openPast(dir string) (*past, error) {
	st, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	s := &past{st: st, info: dataset.Info{Path: dir, Format: "session"}}
	s.pays(context.Background())
	return s, nil
}

// past is a session that others learn from.
type past struct {
	st   *store.Session
	info dataset.Info
	ids  []string
	// pay gives an episode the session's rewards, where files may have older ones; nil: they have these.
	pay  func(context.Context, *policy.Episode) error
	done func() error // with pay
	owed error        // why the session's rewards cannot be made; files' are none of them
}

func (s *past) Info() dataset.Info { return s.info }
func (s *past) Close() (err error) {
	if s.done != nil {
		err = s.done()
	}
	return errors.Join(err, s.st.Close())
}

// pays finds out what the session pays its episodes.
func (s *past) pays(ctx context.Context) {
	anew, err := s.st.Marked(ctx, markRealigned)
	if err != nil {
		s.owed = err
		return
	}
	dir := s.st.Dir()
	if _, err := configIn(dir); err != nil && anew == "" {
		return // no more is known than the files tell
	}
	c, err := asBegun(dir)
	if err != nil {
		s.owed = err
		return
	}
	of := &Session{cfg: withClicks(c, dir), name: filepath.Base(dir), store: s.st, tell: func(string, int, int, string) {}, log: slog.New(slog.DiscardHandler)}
	pay, done, err := of.paying(ctx)
	if s.owed = err; err == nil { // else it is done already
		s.pay, s.done = pay, done
	}
}

// reward gives an episode, as it is stored, the rewards that its session learns from, or none
// where they cannot be made.
func (s *past) reward(ctx context.Context, e *policy.Episode) error {
	err := s.owed
	if err == nil && s.pay != nil {
		err = s.pay(ctx, e)
	}
	if err != nil {
		e.Rewards = nil
	}
	return err
}

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
func (s *past) Episode(ctx context.Context, i int) (policy.Episode, error) {
	e, err := s.st.Episode(s.ids[i])
	if err != nil {
		return e, err
	}
	if err := s.reward(ctx, &e); err != nil && ctx.Err() != nil {
		return e, ctx.Err()
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
