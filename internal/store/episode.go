package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// safe ids are file names that stay in their folder.
var safe = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// Recorder writes an episode's file while it runs, frames included.
type Recorder struct {
	w *record.Writer
}

// Record begins the file of an episode, which must not be stored yet. What a
// predecessor that died left of the same episode is replaced.
func (s *Session) Record(id string, seq, seed uint64, origin policy.Origin) (*Recorder, error) {
	if !safe.MatchString(id) {
		return nil, fmt.Errorf("store: episode id %q is no file name", id)
	}
	path := s.path(id)
	if stored, err := s.stored(context.Background(), id); err != nil || stored {
		return nil, errors.Join(err, fmt.Errorf("store: episode %s is stored in %s already; an episode is recorded once", id, s.dir))
	}
	// A whole file without a row: its writer died between the two.
	if err := ignoreGone(os.Remove(path)); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s.mu.Lock()
	made, lossless := s.made, s.lossless
	s.mu.Unlock()
	w, err := record.Create(path, record.Info{ID: id, Seq: seq, Seed: seed, Origin: uint8(origin), Encoder: made[0], Reward: made[1]})
	if err != nil {
		return nil, err
	}
	if lossless {
		w.Lossless()
	}
	s.mu.Lock()
	s.recorded[id] = true
	s.mu.Unlock()
	return &Recorder{w}, nil
}

// Tick adds an observation and the features of its frames.
func (r *Recorder) Tick(obs robot.Observation, version uint64, f perception.Features) error {
	return r.w.Tick(tick(obs, version, f))
}

func tick(obs robot.Observation, version uint64, f perception.Features) record.Tick {
	t := record.Tick{State: obs.State, Frames: obs.Frames, Applied: obs.Applied, By: obs.By, Version: version, Embed: f.Embed, Seen: f.Stamp}
	for _, k := range f.Keys {
		t.Keys = append(t.Keys, record.Keypoint(k))
	}
	return t
}

// Finish adds the rewards, and whether the episode ended by itself, and makes the file
// durable; AddEpisode then counts it.
func (r *Recorder) Finish(rewards []float64, terminal bool) error {
	err := r.w.Rewards(rewards)
	if err == nil && terminal {
		err = r.w.Terminal()
	}
	return errors.Join(err, r.w.Close())
}

// Abort removes the file.
func (r *Recorder) Abort() error { return r.w.Abort() }

func (s *Session) path(id string) string { return filepath.Join(s.dir, "episodes", id+".mcap") }

// AddEpisode stores an episode for good, and reports false for an id that is
// stored already. An episode without a file of Record gets one without frames;
// a file that holds something else than e, but for e.Terminal, is replaced if a
// writer that died left it, and an error if it is of this session.
func (s *Session) AddEpisode(ctx context.Context, e policy.Episode) (added bool, err error) {
	if err := e.Validate(); err != nil {
		return false, fmt.Errorf("store: %w", err)
	}
	if !safe.MatchString(e.ID) {
		return false, fmt.Errorf("store: episode id %q is no file name", e.ID)
	}
	if what := unfit(e); what != "" {
		return false, fmt.Errorf("store: episode %s: %s is not finite", e.ID, what)
	}
	if stored, err := s.stored(ctx, e.ID); err != nil || stored {
		return false, err
	}
	if err := s.settle(e); err != nil {
		return false, err
	}
	var sum sql.NullFloat64
	if e.Rewards != nil {
		sum.Valid = true
		for _, r := range e.Rewards {
			sum.Float64 += r
		}
	}
	res, err := s.db.ExecContext(ctx, "INSERT INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
		e.ID, int64(e.Seq), int(e.Origin), strconv.FormatUint(e.Seed, 10), e.Len(), sum, e.Terminal, filepath.Base(s.path(e.ID)))
	if err != nil {
		return false, s.fault("store episode "+e.ID, err)
	}
	rows, err := res.RowsAffected()
	return rows > 0, err
}

// Copy stores an episode of another session for good, its file byte for byte, frames
// included, and reports false for an id that is stored already.
func (s *Session) Copy(ctx context.Context, from *Session, id string) (added bool, err error) {
	e, err := from.Episode(id)
	if err != nil {
		return false, err
	}
	if stored, err := s.stored(ctx, id); err != nil || stored {
		return false, err
	}
	b, err := os.ReadFile(from.path(id))
	if err != nil {
		return false, fmt.Errorf("store: copy episode %s: %w", id, err)
	}
	if err := writeFile(s.path(id), b); err != nil {
		return false, err
	}
	return s.AddEpisode(ctx, e)
}

func (s *Session) stored(ctx context.Context, id string) (bool, error) {
	var n int
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM episodes WHERE id = ?", id).Scan(&n); err != nil {
		return false, s.fault("look for episode "+id, err)
	}
	return n > 0, nil
}

// settle makes sure that the file of e holds e.
func (s *Session) settle(e policy.Episode) error {
	path := s.path(e.ID)
	_, err := os.Stat(path)
	if err == nil {
		var got policy.Episode
		if got, err = load(path); err == nil && digest(got) == digest(e) {
			return nil
		}
		s.mu.Lock()
		mine := s.recorded[e.ID]
		s.mu.Unlock()
		if mine {
			return errors.Join(fmt.Errorf("store: %s does not hold the episode that was added; remove it to store that one without frames", path), err)
		}
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("store: %w", err)
	}
	s.mu.Lock()
	made := s.made
	s.mu.Unlock()
	return write(path, e, made)
}

// write makes the file of an episode that was not recorded while it ran.
func write(path string, e policy.Episode, made [2]string) error {
	w, err := record.Create(path, record.Info{ID: e.ID, Seq: e.Seq, Seed: e.Seed, Origin: uint8(e.Origin), Terminal: e.Terminal, Encoder: made[0], Reward: made[1]})
	if err != nil {
		return err
	}
	for t, in := range e.Inputs {
		obs, version := robot.Observation{State: in.State}, uint64(0)
		if t > 0 {
			obs.Applied, obs.By, version = e.Applied[t-1], e.By[t-1], e.Version[t-1]
		}
		if err := w.Tick(tick(obs, version, in.Features)); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	if err := errors.Join(w.Rewards(e.Rewards), w.Close()); err != nil {
		return errors.Join(err, w.Abort())
	}
	return nil
}

// Row is an episode's line in the database.
type Row struct {
	ID     string
	Seq    uint64
	Origin policy.Origin
	Steps  int
	Return float64 // 0 for an unlabelled episode
	// Terminal is the database's word: the files of recorded episodes did not have it once.
	Terminal bool
}

// Episodes lists the stored episodes of an origin in the order they were added.
func (s *Session) Episodes(ctx context.Context, origin policy.Origin) ([]Row, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, seq, steps, coalesce(return, 0), terminal FROM episodes WHERE origin = ? ORDER BY rowid", int(origin))
	if err != nil {
		return nil, s.fault("list episodes", err)
	}
	defer rows.Close()
	var out []Row
	for rows.Next() {
		r := Row{Origin: origin}
		if err := rows.Scan(&r.ID, &r.Seq, &r.Steps, &r.Return, &r.Terminal); err != nil {
			return nil, s.fault("list episodes", err)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// Episode reads a stored episode back, bit for bit as it was added. ErrNone says
// that none of this id is stored.
func (s *Session) Episode(id string) (policy.Episode, error) {
	var terminal bool
	err := s.db.QueryRow("SELECT terminal FROM episodes WHERE id = ?", id).Scan(&terminal)
	if errors.Is(err, sql.ErrNoRows) {
		return policy.Episode{}, fmt.Errorf("%w: episode %q in %s", ErrNone, id, s.dir)
	}
	if err != nil {
		return policy.Episode{}, s.fault("look for episode "+id, err)
	}
	e, err := load(s.path(id))
	if err != nil {
		return e, fmt.Errorf("%w; bring the file back from a copy, or begin a session anew", err)
	}
	e.Terminal = terminal
	return e, nil
}

// Frames puts the frames of e's file, as JPEG left them, into its inputs.
func (s *Session) Frames(e *policy.Episode) error {
	path := s.path(e.ID)
	rec, err := record.Read(path)
	if err != nil {
		return fmt.Errorf("%w: %w; bring the file back from a copy, or begin a session anew", ErrCorrupt, err)
	}
	if len(rec.Ticks) != len(e.Inputs) {
		return fmt.Errorf("%w: %s has %d ticks, but the episode has %d; bring the file back from a copy, or begin a session anew", ErrCorrupt, path, len(rec.Ticks), len(e.Inputs))
	}
	for t := range e.Inputs {
		e.Inputs[t].Frames = rec.Ticks[t].Frames
	}
	return nil
}

func load(path string) (policy.Episode, error) {
	rec, err := record.ReadNumbers(path)
	if err != nil {
		return policy.Episode{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	e := policy.Episode{ID: rec.Info.ID, Seq: rec.Info.Seq, Origin: policy.Origin(rec.Info.Origin), Seed: rec.Info.Seed,
		Terminal: rec.Info.Terminal, Rewards: rec.Rewards}
	for t, tick := range rec.Ticks {
		f := perception.Features{Stamp: tick.Seen, Embed: tick.Embed}
		for _, k := range tick.Keys {
			f.Keys = append(f.Keys, perception.Keypoint(k))
		}
		e.Inputs = append(e.Inputs, policy.Input{Step: t, State: tick.State, Features: f})
		if t > 0 {
			e.Applied = append(e.Applied, tick.Applied)
			e.By = append(e.By, tick.By)
			e.Version = append(e.Version, tick.Version)
		}
	}
	if err := e.Validate(); err != nil {
		return e, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	return e, nil
}
