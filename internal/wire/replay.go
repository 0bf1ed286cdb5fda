package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"time"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/encoder"
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
	_, b, err := s.latest(ctx, kindReward)
	if err != nil {
		return p, s.unready(err)
	}
	if p.taste, err = decodeTaste(b); err != nil {
		return p, err
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

// watcher makes the features of one recording.
type watcher struct {
	p      *projector
	by     reward.Scorer // that the logged rewards are of, where it is not the newest one
	out    *Replayed
	gaps   gapCounter
	framed bool
	seen   []perception.Features // from the frames
	logged []perception.Features
	stamps []time.Time
	live   running
	fed    int // features that live was given
	lives  []float64
	buf    []float64
	ticks  []record.Tick // not embedded yet
	first  time.Time     // stamp of what was shown first
	began  time.Time     // when that was
}

// see reads the recording to its end.
func (w *watcher) see(ctx context.Context, f footage) error {
	if w.p.rc.Live {
		var err error
		if w.live, err = runningOf(w.p.parts.scorer); err != nil {
			return err
		}
	}
	// One at a time where somebody watches.
	size := batch
	if w.p.rc.Live || w.p.rc.Speed > 0 {
		size = 1
	}
	err := f.Each(ctx, func(t record.Tick) error {
		if err := w.pace(ctx, t.State.Stamp); err != nil {
			return err
		}
		w.ticks = append(w.ticks, t)
		if len(w.ticks) < size {
			return nil
		}
		return w.embed(ctx)
	})
	var torn tornError
	if err == nil || errors.As(err, &torn) { // what came before the damage counts
		if e := w.embed(ctx); e != nil {
			err = e
		}
	}
	w.out.Gaps = w.gaps.gaps()
	return err
}

// pace waits until the recorded time has passed, in which seeing and scoring take their part.
func (w *watcher) pace(ctx context.Context, stamp time.Time) error {
	if w.p.rc.Speed <= 0 {
		return nil
	}
	if w.first.IsZero() {
		w.first, w.began = stamp, w.p.now()
		return nil
	}
	due := w.began.Add(time.Duration(float64(stamp.Sub(w.first)) / w.p.rc.Speed))
	if d := due.Sub(w.p.now()); d > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.p.after(d):
		}
	}
	return nil
}

// embed makes the features of the ticks that wait.
func (w *watcher) embed(ctx context.Context) error {
	if len(w.ticks) == 0 {
		return nil
	}
	frames := make([][]robot.Frame, len(w.ticks))
	none := 0
	for i, t := range w.ticks {
		frames[i] = t.Frames
		if len(t.Frames) == 0 {
			none++
		}
		w.gaps.count(t.Frames)
		w.out.Frames += len(t.Frames)
		w.stamps = append(w.stamps, t.State.Stamp)
		if t.Embed != nil {
			w.logged = append(w.logged, perception.Features{Stamp: t.Seen, Embed: t.Embed, Keys: keysOf(t.Keys)})
		}
	}
	w.framed = w.framed || none < len(frames)
	if w.framed && none > 0 {
		return fmt.Errorf("%d of %d observations have no frames, others have: the recording is of two kinds", none, len(frames))
	}
	if w.framed {
		fs, err := encoder.Batch(ctx, w.p.parts.eyes, frames, runtime.GOMAXPROCS(0))
		if errors.Is(err, encoder.ErrCamera) {
			return fmt.Errorf("%w; the session's encoder was made for it: of a bag, say which topic it is by --map NAME=TOPIC", err)
		}
		if err != nil {
			return err
		}
		for i := range fs {
			fs[i].Keys = keysOf(w.ticks[i].Keys)
		}
		w.seen = append(w.seen, fs...)
	}
	w.ticks = w.ticks[:0]
	if w.live == nil {
		return nil
	}
	fs := w.seen
	if !w.framed {
		fs = w.logged
	}
	for _, f := range fs[w.fed:] {
		w.fed++
		if err := w.live.Add(f); err != nil {
			return err
		}
		if n := w.live.Len(); n > 0 {
			w.buf = append(w.buf[:0], make([]float64, n)...)
			w.live.Rewards(w.buf)
			w.lives = append(w.lives, w.buf[n-1])
		}
	}
	return nil
}

// judge scores what was seen beside what was logged.
func (w *watcher) judge(ctx context.Context, logged []float64) error {
	n := len(w.stamps)
	again := w.logged
	if len(again) != n {
		again = nil
	}
	w.out.Features = len(w.logged)
	traj := w.seen
	if !w.framed {
		traj = again
	}
	switch {
	case n < 2:
		return fmt.Errorf("%d observations, want two at least for a reward", n)
	case traj == nil:
		return errors.New("it holds neither frames nor features for each observation, so there is nothing to score")
	}
	e, err := explain(ctx, w.p.parts.scorer, traj)
	if err != nil {
		return err
	}
	w.out.Expert = e.Name
	if w.out.way, err = waymapOf(w.p.parts.scorer, traj); err != nil {
		return err
	}
	second := make([]float64, n-1)
	switch {
	case again == nil:
		for i := range second {
			second[i] = math.NaN()
		}
	case !w.framed:
		copy(second, e.Rewards)
	default:
		// Features of another encoder may not even fit this reward.
		if err := w.p.parts.scorer.Score(ctx, second, again); err != nil {
			return fmt.Errorf("logged features: %w", err)
		}
		w.out.Drift = drift(w.seen, again)
	}
	if w.by != nil && again != nil {
		if err := w.by.Score(ctx, second, again); err != nil {
			return fmt.Errorf("logged features: %w", err)
		}
	}
	if w.by != nil && w.framed {
		w.out.framed = make([]float64, n-1)
		if err := w.by.Score(ctx, w.out.framed, traj); err != nil {
			return err
		}
	}
	for t := range n - 1 {
		st := Step{T: t + 1, Stamp: w.stamps[t+1], Reward: e.Rewards[t], Again: second[t], Matched: e.Match[t], Logged: math.NaN(), Live: math.NaN()}
		if len(logged) == n-1 {
			st.Logged = logged[t]
		}
		if len(w.lives) == n-1 {
			st.Live = w.lives[t]
		}
		w.out.Steps = append(w.out.Steps, st)
	}
	return nil
}

// drift is the largest difference of a number of the features.
func drift(a, b []perception.Features) float64 {
	top := 0.0
	for t := range a {
		if len(a[t].Embed) != len(b[t].Embed) {
			return math.Inf(1)
		}
		for i, x := range a[t].Embed {
			top = max(top, math.Abs(float64(x)-float64(b[t].Embed[i])))
		}
	}
	return top
}
