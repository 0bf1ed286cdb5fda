package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot/record"
)

// footage is an open recording. Each may be called again, for a second showing.
type footage interface {
	Info() record.Info
	// Each hands over the observations in order.
	Each(ctx context.Context, f func(record.Tick) error) error
	Rewards() []float64 // logged (T,); nil for none
	Notes() []string    // what should be known of it, once Each has returned
	Lossless() bool     // frames are as they were recorded
	Close() error
}

// reel is a recording before it is opened.
type reel struct {
	id, file       string
	open           func(ctx context.Context) (footage, error) // what is whole, beside the error
	err            error                                      // it cannot be there
	folder         string                                     // of a session: list it
	bag            *bagTape                                   // of somebody else
	stored, metric float64
	over           bool // it ended by itself, by its session; older files do not tell
}

// reels finds what the files are, and the session that judges them. One that cannot be read
// is told in its turn, unless none can.
func (rc ReplayConfig) reels() (session string, rs []reel, err error) {
	if len(rc.Files) == 0 {
		return "", nil, errors.New("wire: nothing to replay: name recordings, or the folder of a session")
	}
	session = rc.Session
	var bad []error
	for _, path := range rc.Files {
		st, err := os.Stat(path)
		if err != nil {
			return "", nil, fmt.Errorf("wire: %w", err)
		}
		home := ""
		switch {
		case st.IsDir() && SessionAt(path):
			home = path
			rs = append(rs, reel{folder: path})
		case IsEpisode(path):
			home = filepath.Dir(filepath.Dir(filepath.Clean(path)))
			rs = append(rs, episodeReel(path))
		default:
			r, err := bagReel(path, rc)
			if err != nil {
				r = reel{id: recordingID(path), file: path, stored: math.NaN(), metric: math.NaN(), err: err}
				bad = append(bad, err)
			}
			rs = append(rs, r)
		}
		if session == "" && home != "" && SessionAt(home) {
			session = home
		}
	}
	if len(bad) == len(rs) {
		return "", nil, errors.Join(bad...)
	}
	if session == "" {
		return "", nil, fmt.Errorf("wire: %s belongs to no session; say whose encoder and reward are to see it, as --session runs/group-001", rc.Files[0])
	}
	return session, rs, nil
}

// IsEpisode says whether a file is an episode of a session, whole or not, by its name
// and place or its contents.
func IsEpisode(path string) bool {
	name := strings.TrimSuffix(path, ".part")
	if filepath.Ext(name) != ".mcap" {
		return false
	}
	if filepath.Base(filepath.Dir(path)) == "episodes" && SessionAt(filepath.Dir(filepath.Dir(filepath.Clean(path)))) {
		return true
	}
	rec, err := record.ReadNumbers(path)
	return err == nil || errors.Is(err, record.ErrTruncated) && len(rec.Ticks) > 0
}

func episodeReel(path string) reel {
	id := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".part"), ".mcap")
	return reel{id: id, file: path, stored: math.NaN(), metric: math.NaN(), open: func(context.Context) (footage, error) {
		rec, err := record.Read(path)
		if err != nil && len(rec.Ticks) == 0 {
			return nil, fmt.Errorf("wire: replay: %w", err)
		}
		if err != nil {
			err = fmt.Errorf("wire: replay: %w", err)
		}
		return &tape{rec}, err
	}}
}

// tape is an episode of ours in memory.
type tape struct{ rec record.Recording }

func (t *tape) Info() record.Info  { return t.rec.Info }
func (t *tape) Rewards() []float64 { return t.rec.Rewards }
func (t *tape) Notes() []string    { return nil }
func (t *tape) Lossless() bool     { return t.rec.Lossless }
func (t *tape) Close() error       { return nil }

func (t *tape) Each(ctx context.Context, f func(record.Tick) error) error {
	for _, tick := range t.rec.Ticks {
		if err := errors.Join(ctx.Err(), f(tick)); err != nil {
			return err
		}
	}
	return nil
}

// listed puts the episodes of folders in their place, those of the judging session
// with what its database says of them. Of bags it looks at its own cameras alone.
func (s *Session) listed(ctx context.Context, rs []reel) ([]reel, error) {
	rows, err := s.rows(ctx)
	if err != nil {
		return nil, err
	}
	var out []reel
	known := func(r reel) reel {
		if row, ok := rows[r.id]; ok && same(r.file, s.episodeFile(r.id)) {
			r.stored, r.metric, r.over = row.stored, row.metric, row.over
		}
		return r
	}
	var cams []string
	for _, c := range s.cfg.Robot.Cameras {
		cams = append(cams, c.Name)
	}
	for _, r := range rs {
		if r.bag != nil {
			r.bag.only(cams)
		}
		if r.folder == "" {
			out = append(out, known(r))
			continue
		}
		files, err := filepath.Glob(filepath.Join(r.folder, "episodes", "*.mcap*"))
		if err != nil {
			return nil, fmt.Errorf("wire: %w", err)
		}
		slices.Sort(files)
		for _, f := range files {
			if e := episodeReel(f); strings.HasSuffix(f, ".mcap") || strings.HasSuffix(f, ".mcap.part") {
				out = append(out, known(e))
			}
		}
		if !same(r.folder, s.Dir()) {
			continue
		}
		// What the database counts must be there.
		var missing []string
		for id := range rows {
			if _, err := os.Stat(s.episodeFile(id)); err != nil {
				missing = append(missing, id)
			}
		}
		slices.Sort(missing)
		for _, id := range missing {
			out = append(out, reel{id: id, file: s.episodeFile(id), stored: rows[id].stored, metric: rows[id].metric,
				err: fmt.Errorf("wire: replay: %s is missing, though session.db counts it; bring it back from a copy", s.episodeFile(id))})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("wire: %s holds no episodes yet", rs[0].folder)
	}
	return out, nil
}

func (s *Session) episodeFile(id string) string {
	return filepath.Join(s.Dir(), "episodes", id+".mcap")
}

func same(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// counted is what the database says of an episode.
type counted struct {
	stored, metric float64
	over           bool
}

func (s *Session) rows(ctx context.Context) (map[string]counted, error) {
	out := map[string]counted{}
	returns, err := s.store.Metric(ctx, "episode", "return")
	if err != nil {
		return nil, err
	}
	ids, err := explorations(ctx, s.store)
	if err != nil {
		return nil, err
	}
	byStep := map[string]float64{}
	for _, p := range returns {
		byStep[at(ids, p.Step)] = p.Value
	}
	for _, origin := range []policy.Origin{policy.Demo, policy.Online} {
		rows, err := s.store.Episodes(ctx, origin)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			c := counted{stored: r.Return, metric: math.NaN(), over: r.Terminal}
			if v, ok := byStep[r.ID]; ok {
				c.metric = v
			}
			out[r.ID] = c
		}
	}
	return out, nil
}
