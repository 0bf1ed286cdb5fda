package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/starc"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/person"
)

// CompareConfig says what rewards are compared on, and how.
type CompareConfig struct {
	ReplayConfig          // Files may be datasets of others too
	Rewards      []string // NAME=KIND[:KEY=VALUE,...], beside the usual ones
	Bare         bool     // without the usual ones
	Columns      []byte   // YAML of a dataset.Map, for foreign datasets
	Discount     float64  // of STARC; 0: learner.gamma
	Every        int      // step between the frames that are held against the truth
	Saliency     int      // frames whose saliency is drawn into Out; 0: none
	Patches      int      // that a side of an image is cut into
	Of           string   // the recording whose saliency is drawn; "": the last one with frames
}

// Rated is an episode as each reward sees it.
type Rated struct {
	ID, File string
	Err      error
	Notes    []string
	Steps    int
	Rewards  [][]float64 // of each reward (T,), nil where it has nothing to say
	Distance []float64   // (T,) true, m; nil where it is not known
	Negative bool        // a person would rate the episode so, by its true end
	states   []float64   // (T+1,D) features and clock, for STARC
	acts     []float64   // (T,7)
	terminal bool
}

// Pair is how two rewards agree.
type Pair struct {
	A, B     int // in Comparison.Rewards
	Frames   int // that both rate
	Episodes int
	// Spearman's rank correlation of all frames, and of the episodes' returns; NaN
	// where there is none.
	PerFrame, PerReturn float64
	// STARC is the distance of both as reasons to act, on the logged transitions.
	STARC float64
}

// Judged is how a reward agrees with the simulator's truth, as RAPL's authors measure
// it: Spearman of reward and negated true distance to the goal in an episode, at every
// Every-th frame, averaged over episodes.
type Judged struct {
	Negative, All           float64 // NaN for none
	OfNegative, OfAll       int     // episodes behind them
	ReturnNegative, Returns float64 // Spearman of returns and final true distances, negated
}

// Comparison is what came out.
type Comparison struct {
	Session  string
	Rewards  []string
	About    []string // of each reward
	Episodes []Rated
	Pairs    []Pair
	Truth    []Judged // of each reward; nil where no episode has a truth
	Discount float64
	Every    int
	Salient  string // the recording that a saliency map was drawn of
}

// Left lists the errors of what was left out.
func (c *Comparison) Left() []error {
	var errs []error
	for i := range c.Episodes {
		if err := c.Episodes[i].Err; err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// CompareRewards has several rewards rate recordings, and says how they agree with each other
// and with the truth. Nothing in the session's folder changes.
func CompareRewards(ctx context.Context, cc CompareConfig, environ, sets []string, o Options) (out Comparison, err error) {
	if cc.Every < 1 {
		return out, fmt.Errorf("wire: every %d-th frame cannot be held against the truth; want 1 or more", cc.Every)
	}
	dir, reels, others, err := cc.sources()
	if err == nil {
		err = cc.fits(ctx, reels, others)
	}
	if err != nil {
		return out, err
	}
	s, err := visit(dir, judged, "a comparison", environ, sets, o)
	if err != nil {
		return out, err
	}
	known := guests{open: []*Session{s}, what: "a comparison", o: o}
	defer func() { err = errors.Join(err, known.close()) }()
	out.Session, out.Discount, out.Every = dir, cc.Discount, cc.Every
	if out.Discount == 0 {
		out.Discount = cmp.Or(s.cfg.Learner.Gamma, starc.DefaultDiscount)
	}
	p, err := s.lenders(ctx)
	if err != nil {
		return out, err
	}
	b := &bench{s: s, parts: p, log: s.log, visit: known.visit}
	specs := cc.Rewards
	if !cc.Bare {
		specs = append(usualRivals(p), specs...)
	}
	rivals, err := b.rivals(ctx, specs)
	if err != nil {
		return out, err
	}
	if len(rivals) == 0 {
		return out, errors.New("wire: no reward is named; want some by --reward, as soft=rapl:gamma=1")
	}
	for _, r := range rivals {
		out.Rewards, out.About = append(out.Rewards, r.name), append(out.About, r.what)
	}
	if len(reels) > 0 {
		if reels, err = s.listed(ctx, reels); err != nil {
			return out, err
		}
	}
	c := comparer{cc: cc, s: s, parts: p, rivals: rivals, out: &out}
	renew, done, err := s.renewingKept(ctx)
	if err != nil {
		return out, err
	}
	c.renew = renew
	defer func() { err = errors.Join(err, c.past.close(), done()) }()
	if c.encoder, _, err = s.makers(ctx); err != nil {
		return out, err
	}
	s.tell("rate", 0, len(reels), "")
	for i, r := range reels {
		if err := c.reel(ctx, r); err != nil {
			return out, err
		}
		s.tell("rate", i+1, len(reels), r.id)
	}
	for _, path := range others {
		if err := c.dataset(ctx, path); err != nil {
			return out, err
		}
	}
	if err := c.agree(); err != nil {
		return out, err
	}
	if cc.Out == "" {
		return out, nil
	}
	if err := os.MkdirAll(cc.Out, 0o755); err != nil {
		return out, fmt.Errorf("wire: %w", err)
	}
	if err := out.write(cc.Out); err != nil { // first: rating took longer than drawing may fail
		return out, err
	}
	return out, c.salience(ctx)
}

// comparer rates one recording after the other.
type comparer struct {
	cc      CompareConfig
	s       *Session
	parts   parts
	rivals  []rival
	encoder string // SHA-256 of the session's
	past    reliver
	renew   func(*policy.Episode) error // nil: what is recorded counts
	out     *Comparison
	shown   *exhibit // whose saliency is to be drawn
}

// reel rates a recording; one that cannot be is accounted for.
func (c *comparer) reel(ctx context.Context, r reel) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	rated := Rated{ID: r.id, File: r.file, Err: r.err}
	if r.err == nil {
		film, err := r.open(ctx)
		rated.Err = err
		if film != nil {
			defer film.Close()
			if t, ok := film.(*tape); ok && r.over {
				t.rec.Info.Terminal = true
			}
			if id := film.Info().ID; id != "" {
				rated.ID = id
			}
			if err := c.rate(ctx, film, &rated); err != nil {
				rated.Rewards = nil // what some rewards gave is none to compare
				rated.Err = errors.Join(rated.Err, fmt.Errorf("wire: compare %s: %w", r.file, err))
			}
		}
	}
	c.out.Episodes = append(c.out.Episodes, rated)
	return ctx.Err()
}

// rate has all rivals rate what is on a film.
func (c *comparer) rate(ctx context.Context, film footage, out *Rated) error {
	e, err := c.exhibit(ctx, film)
	if err != nil {
		return err
	}
	// Of the others a file may be torn, or of no episode that the session counts.
	if c.renew != nil && policy.Origin(film.Info().Origin) == policy.Demo && same(out.File, c.s.episodeFile(out.ID)) {
		if e.traj, err = c.s.renewed(c.renew, out.ID, e.traj); err != nil {
			return err
		}
	}
	if out.Notes = film.Notes(); e.torn != nil {
		out.Err = errors.Join(out.Err, fmt.Errorf("wire: compare %s: %w", out.File, e.torn))
	}
	e.id, out.Steps = out.ID, e.Len()
	if e.truth, err = c.past.truths(ctx, out.File, film.Info(), e.ticks); err != nil && !errors.Is(err, errStranger) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e.truth = nil
		out.Notes = append(out.Notes, fmt.Sprintf("no truth: %v", err))
	}
	out.Distance = told(e, func(t sim.Truth) float64 { return t.Distance })
	out.Negative = e.truth != nil && person.Rate(e.truth) == person.Negative
	for _, r := range c.rivals {
		xs, err := r.rate(ctx, e)
		if r.points && unplaced(e, err) {
			out.Notes = append(out.Notes, fmt.Sprintf("the reward %s goes by tracked points, which are not recorded here", r.name))
			xs, err = nil, nil
		}
		if err != nil {
			return fmt.Errorf("reward %s: %w", r.name, err)
		}
		if xs != nil && (len(xs) != e.Len() || !finite(xs)) {
			return fmt.Errorf("reward %s gives %d numbers for %d steps, or some that are none", r.name, len(xs), e.Len())
		}
		out.Rewards = append(out.Rewards, xs)
	}
	out.remember(e, film.Info().Terminal)
	_, stream := film.(*bagTape)
	framed := stream || slices.ContainsFunc(e.ticks, func(t record.Tick) bool { return len(t.Frames) > 0 })
	if framed && (c.cc.Of == "" || c.cc.Of == out.ID) {
		c.shown = e
	}
	return nil
}

// unplaced says whether a recording carries no points, or not those that a reward that gave err
// goes by.
func unplaced(e *exhibit, err error) bool {
	unseen := (*kagi.Unseen)(nil)
	return errors.Is(err, errUnplaced) || errors.As(err, &unseen) ||
		!slices.ContainsFunc(e.traj, func(f perception.Features) bool { return len(f.Keys) > 0 })
}

// exhibit reads a film: with the features that this session's encoder made of it when
// it was recorded, or else by showing it to the encoder now.
func (c *comparer) exhibit(ctx context.Context, film footage) (*exhibit, error) {
	e := &exhibit{film: film, logged: film.Rewards()}
	keep := func(t record.Tick) { e.ticks = append(e.ticks, t) }
	if _, stream := film.(*bagTape); stream {
		// A bag may be longer than memory.
		keep = func(t record.Tick) { t.Frames = nil; e.ticks = append(e.ticks, t) }
	}
	var rep Replayed
	w := watcher{p: &projector{s: c.s, parts: c.parts}, out: &rep, gaps: gapCounter{}}
	if film.Info().Encoder == c.encoder {
		if err := film.Each(ctx, func(t record.Tick) error { keep(t); return nil }); err != nil {
			return nil, err
		}
		for _, t := range e.ticks {
			if t.Embed == nil {
				e.traj, e.ticks = nil, nil // cut short, or of before features were kept
				break
			}
			e.traj = append(e.traj, perception.Features{Stamp: t.Seen, Embed: t.Embed, Keys: keysOf(t.Keys)})
		}
	}
	if e.traj == nil {
		err := w.see(ctx, tee{film, keep})
		if torn := (tornError{}); errors.As(err, &torn) {
			e.torn, e.film, err = torn, untorn{film}, nil
		}
		if err != nil {
			return nil, err
		}
		e.traj = w.seen
	}
	if len(e.traj) < 2 {
		return nil, fmt.Errorf("%d observations that could be rated, want two at least: it holds too few frames, and no features of this session's encoder", len(e.traj))
	}
	return e, nil
}

// tee is a film of which each tick is also kept.
type tee struct {
	footage
	keep func(record.Tick)
}

func (t tee) Each(ctx context.Context, f func(record.Tick) error) error {
	return t.footage.Each(ctx, func(tick record.Tick) error {
		t.keep(tick)
		return f(tick)
	})
}

// remember keeps of an episode what STARC needs.
func (r *Rated) remember(e *exhibit, terminal bool) {
	r.terminal = terminal
	for t, f := range e.traj {
		for _, x := range f.Embed {
			r.states = append(r.states, float64(x))
		}
		r.states = append(r.states, float64(t)/math.Max(1, float64(e.Len())))
		if t > 0 {
			r.acts = append(r.acts, e.ticks[t].Applied.Delta[:]...)
			r.acts = append(r.acts, e.ticks[t].Applied.Grip)
		}
	}
}
