package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// ReplayConfig says what is replayed, and how.
type ReplayConfig struct {
	Files   []string          // recordings, or folders of sessions
	Session string            // folder of the session whose encoder and reward see them; "": that of the first file
	Map     map[string]string // of a bag: topic by camera
	From    time.Duration     // of a bag, from its beginning
	To      time.Duration     // 0: to its end
	Speed   float64           // times the recorded pace; 0: as fast as possible
	Live    bool              // also score each prefix, as the live plot does
	Out     string            // folder for tables, curves and films; "": none are written
	Film    bool              // write films too
}

// Step is one row of a replay: what arriving at observation T is worth.
type Step struct {
	T       int // from 1; 0 is the reset, which is no doing of the policy
	Stamp   time.Time
	Reward  float64 // from the frames, or from the logged features where there are no frames
	Logged  float64 // NaN where none was logged
	Again   float64 // from the logged features; NaN where there are none
	Live    float64 // as the prefix that ends here gave it; NaN without ReplayConfig.Live
	Matched int     // frame of the expert
}

// Replayed is one recording as the session sees it.
type Replayed struct {
	ID, File string
	Err      error  // why it, or its end, is left out; Steps are what was whole
	Expert   string // the preferred video that it is nearest to
	Steps    []Step // (T,)
	Frames   int    // of all cameras
	Gaps     Gaps
	// Drift is the largest difference between a number of the logged features and
	// the same from the frames; NaN where one of them is missing.
	Drift    float64
	Encoder  string  // that made the logged features, "" if unknown
	Reward   string  // that made the logged rewards, "" if unknown
	Stored   float64 // the return in session.db; NaN where none is
	Metric   float64 // the return among its metrics; NaN where none is
	Features int     // how many observations have logged ones
	Lossless bool    // its frames are those that were scored
	Notes    []string

	way *waymap // nil where the reward has no waypoints
	// own: it lies in the folder of the session that judges it.
	own bool
	// earlier: its rewards are of an earlier version of the session's reward, which the session
	// keeps, and by which Again is, and framed (T,), of the frames.
	earlier bool
	framed  []float64
}

// Return is the sum of the rewards.
func (r *Replayed) Return() float64 {
	s := 0.0
	for _, x := range r.Steps {
		s += x.Reward
	}
	return s
}

// Replay is what was replayed.
type Replay struct {
	Session         string // folder
	Encoder, Reward string // SHA-256 of what saw and scored
	Takes           []Replayed
	Took            time.Duration
}

// Frames is how many frames were seen in all.
func (r *Replay) Frames() int {
	n := 0
	for i := range r.Takes {
		n += r.Takes[i].Frames
	}
	return n
}

// Left lists the errors of what was left out.
func (r *Replay) Left() []error {
	var errs []error
	for i := range r.Takes {
		if err := r.Takes[i].Err; err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// ReplayFiles runs the session's encoder and reward over recordings. A recording
// that is damaged is accounted for in its Replayed, and the rest goes on.
func ReplayFiles(ctx context.Context, rc ReplayConfig, environ, sets []string, o Options) (out Replay, err error) {
	began := o.Now()
	dir, reels, err := rc.reels()
	if err != nil {
		return out, err
	}
	s, err := visit(dir, judged, "a replay", environ, sets, o)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	out.Session = dir
	p, err := s.judges(ctx)
	if err != nil {
		return out, err
	}
	if out.Encoder, out.Reward, err = s.makers(ctx); err != nil {
		return out, err
	}
	if reels, err = s.listed(ctx, reels); err != nil {
		return out, err
	}
	pr := projector{rc: rc, s: s, parts: p, now: o.Now, after: o.After, experts: map[string][]robot.Frame{}, filmed: map[string]bool{}, encoder: out.Encoder, newest: out.Reward, earlier: map[string]reward.Scorer{}}
	defer func() { err = errors.Join(err, pr.past.close()) }()
	s.tell("replay", 0, len(reels), "")
	for i, r := range reels {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		t := pr.show(ctx, r)
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		out.Takes = append(out.Takes, t)
		note := fmt.Sprintf("%s return %.3f", t.ID, t.Return())
		if len(t.Steps) == 0 {
			note = t.ID + " not replayed"
		}
		s.tell("replay", i+1, len(reels), note)
	}
	out.Took = o.Now().Sub(began)
	if rc.Out != "" {
		return out, out.write(rc.Out)
	}
	return out, nil
}

// judges are the encoder and the reward of a session, which need no policy.
func (s *Session) judges(ctx context.Context) (parts, error) {
	var p parts
	var err error
	if p.eyes, err = s.openEyes(ctx, nil); err != nil {
		return p, s.unready(err)
	}
	if p.taste, err = s.newestTaste(ctx); err != nil {
		return p, s.unready(err)
	}
	if p.taste.kind() == "truth" {
		return p, errNoTruth
	}
	p.scorer, err = p.taste.scorer()
	return p, err
}

func (s *Session) unready(err error) error {
	if errors.Is(err, store.ErrNone) {
		return fmt.Errorf("%w; a session judges recordings once its preferences are learned: go on with it by %s, or name another by --session", err, GoOn(s.Dir()))
	}
	return err
}

// projector shows recordings to a session's judges.
type projector struct {
	rc      ReplayConfig
	s       *Session
	parts   parts
	now     func() time.Time
	after   func(time.Duration) <-chan time.Time
	experts map[string][]robot.Frame // a frame a step, by the expert's name
	filmed  map[string]bool          // names of films
	past    reliver                  // of episodes in simulation, whose cameras it places
	encoder string                   // its SHA-256
	newest  string                   // SHA-256 of the reward
	earlier map[string]reward.Scorer // of rewards of before, by their SHA-256; nil: not kept
}

// batch is how many observations are embedded side by side.
const batch = 16

// show replays one recording.
func (p *projector) show(ctx context.Context, r reel) Replayed {
	out := Replayed{ID: r.id, File: r.file, Drift: math.NaN(), Stored: r.stored, Metric: r.metric}
	if r.err != nil {
		out.Err = r.err
		return out
	}
	film, err := r.open(ctx)
	if film == nil {
		out.Err = err
		return out
	}
	out.Err = err // of what follows its whole part
	defer film.Close()
	if id := film.Info().ID; id != "" {
		out.ID = id
	}
	out.Encoder, out.Reward = film.Info().Encoder, film.Info().Reward
	out.own = same(filepath.Dir(r.file), filepath.Join(p.s.Dir(), "episodes"))
	w := watcher{p: p, out: &out, gaps: gapCounter{}}
	if out.Encoder == "" || out.Encoder == p.encoder { // what another one saw, a reward may not even fit
		if w.by, err = p.before(ctx, out.Reward); err != nil {
			out.Err = errors.Join(out.Err, err)
			return out
		}
		out.earlier = w.by != nil
	}
	if err := w.see(ctx, film); err != nil {
		out.Err = errors.Join(out.Err, fmt.Errorf("wire: replay %s: %w", r.file, err))
		var torn tornError
		if !errors.As(err, &torn) {
			return out
		}
		film = untorn{film} // it is told
	}
	out.Notes, out.Lossless = film.Notes(), film.Lossless()
	if err := w.judge(ctx, film.Rewards()); err != nil {
		out.Err = errors.Join(out.Err, fmt.Errorf("wire: replay %s: %w", r.file, err))
		return out
	}
	if p.rc.Out != "" && p.rc.Film && w.framed {
		if err := p.film(ctx, film, &out); err != nil {
			out.Err = errors.Join(out.Err, fmt.Errorf("wire: film of %s: %w", r.file, err))
		}
	}
	return out
}

// untorn is a film that ends where it is torn.
type untorn struct{ footage }

func (u untorn) Each(ctx context.Context, f func(record.Tick) error) error {
	err := u.footage.Each(ctx, f)
	var torn tornError
	if errors.As(err, &torn) {
		return nil
	}
	return err
}

// before is the reward of that SHA-256, where it is an earlier version of the session's that is
// kept; else nil. An alignment learns its reward again and again, and what was recorded until
// then names the one that it was scored by.
func (p *projector) before(ctx context.Context, sum string) (reward.Scorer, error) {
	if sum == "" || sum == p.newest {
		return nil, nil
	}
	if by, ok := p.earlier[sum]; ok {
		return by, nil
	}
	b, err := p.s.store.Checkpoint(ctx, kindReward, sum)
	if errors.Is(err, store.ErrNone) {
		p.earlier[sum] = nil
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t, err := decodeTaste(b)
	if err != nil {
		return nil, err
	}
	if t.kind() == "truth" {
		return nil, nil // which no recording holds
	}
	by, err := t.scorer()
	if err != nil {
		return nil, err
	}
	p.earlier[sum] = by
	return by, nil
}
