package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
)

// The policies of a session that Evaluate knows by name.
const (
	Cloned = "cloned"
	Tuned  = "tuned"
)

// Trial is one evaluated episode.
type Trial struct {
	N       int     // counts the evaluation's starts from 0
	Seed    uint64  // of its start
	Success bool    // by the simulator's truth
	Return  float64 // sum of the session's visual reward
	// Preferred and Undesired tell how it was done, by the truth, in tasks where
	// people care (Evaluation.Styled).
	Preferred, Undesired bool
	// CutOff is by the guard, which held the arm: it counts as a failure, and what came
	// before is in no Return.
	CutOff bool
}

// Evaluation is how a policy did.
type Evaluation struct {
	Dir    string // the session's folder
	Policy string // what was evaluated, in words
	Trials []Trial
	Styled bool // the task has preferred and undesired ways
}

// Success is the share of the trials that did the task.
func (e Evaluation) Success() report.Share {
	s := report.Share{Of: len(e.Trials)}
	for _, t := range e.Trials {
		if t.Success {
			s.Hits++
		}
	}
	return s
}

// CutOff counts the starts that the guard cut off.
func (e Evaluation) CutOff() (n int) {
	for _, t := range e.Trials {
		if t.CutOff {
			n++
		}
	}
	return n
}

// judged are the keys, and those that end in a dot their groups, that may be
// other for an evaluation than when the session began: not what the policy was made for.
// encoder.onnx may lie elsewhere, if it is the same file (sameONNX).
var judged = slices.Concat([]string{"name", "out", "seed", "guard.", "bus.", "session.", "policy.diffusion.draws", "policy.diffusion.eta", "policy.diffusion.sampler.", "encoder.onnx"}, robotBut("robot.task", "robot.world"))

// robotBut are the keys of robot without some.
func robotBut(fixed ...string) []string {
	return slices.DeleteFunc(config.Keys(), func(k string) bool { return !strings.HasPrefix(k, "robot.") || slices.Contains(fixed, k) })
}

// Evaluate runs a policy of the session in dir without exploration on seeds
// starts that neither demonstrations nor learning have seen: the first of them
// are those that the session was judged by. which is Tuned, Cloned or a file of
// parameters; environ and sets may change what the world is like, as
// robot.timestep and seed. Nothing in dir changes.
func Evaluate(ctx context.Context, dir, which string, seeds int, environ, sets []string, o Options) (ev Evaluation, err error) {
	s, err := visit(dir, judged, "an evaluation", environ, sets, o)
	if err != nil {
		return ev, err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	p, err := s.made(ctx)
	if errors.Is(err, store.ErrNone) {
		return ev, fmt.Errorf("%w; a session is evaluated once its demonstrations are cloned: go on with it by %s", err, GoOn(dir))
	}
	if err != nil {
		return ev, err
	}
	ev.Dir, ev.Styled = dir, styled(s.cfg)
	params, what, err := s.params(ctx, p, which)
	if err != nil {
		return ev, err
	}
	ev.Policy = what
	if which == Tuned {
		s.tuned(dir)
	}
	// A file may be of a policy that sees something else than the session's.
	v, _, err := viewOf(params)
	if err != nil {
		return ev, err
	}
	if has := pointNames(s.cfg); len(v.Keys) > 0 && !slices.Equal(v.Keys, has) {
		return ev, fmt.Errorf("wire: %s: the policy sees the points %s, and task %s has %s; an evaluation can change neither the task nor the plan", dir, enumerated(v.Keys), s.cfg.Robot.Task, enumerated(has))
	}
	if ctx, err = s.telling(s.heeding(ctx)); err != nil {
		return ev, err
	}
	if ctx, err = s.searching(ctx); err != nil {
		return ev, err
	}
	s.tell("evaluate", 0, seeds, "")
	ends, err := evaluate(ctx, s.cfg, evaluation, p.eyes, p.scorer, v, params, seeds, func(done int, note string) { s.tell("evaluate", done, seeds, note) })
	if err != nil {
		return ev, err
	}
	for i, e := range ends {
		ev.Trials = append(ev.Trials, Trial{N: i, Seed: draw(s.cfg.Seed, evaluation, i), Success: e.success, Return: e.ret, Preferred: e.preferred, Undesired: e.undesired, CutOff: e.cut})
	}
	return ev, nil
}

// tuned warns where the session in dir tuned its policy at another rate than it is evaluated at: it
// commands so much a tick, whatever a tick is.
func (s *Session) tuned(dir string) {
	was, err := asBegun(dir)
	if err != nil {
		return // visit read it
	}
	if then, now := 1/period(was).Seconds(), 1/period(s.cfg).Seconds(); math.Abs(now/then-1) > drifts {
		s.log.Warn("the policy was tuned at another rate; it moves the arm at another speed now", "ticks_a_second", now, "tuned_at", then)
	}
}

// Wrong is an error that is mended by other values of what was set.
type Wrong struct{ error }

func (w Wrong) Unwrap() error { return w.error }

// visit opens the session in dir to look at it, without a bus. other are the keys
// that may have other values for what than when the session began.
func visit(dir string, other []string, what string, environ, sets []string, o Options) (*Session, error) {
	if _, err := os.Stat(filepath.Join(dir, database)); err != nil {
		return nil, fmt.Errorf("wire: %s is no session's folder (%w); name one, as runs/group-001", dir, err)
	}
	was, err := asBegun(dir)
	if err != nil {
		return nil, err
	}
	now, err := configOf(dir, environ, sets)
	if err != nil {
		return nil, Wrong{err}
	}
	moved, err := movedFiles(dir, rooted(was), rooted(now))
	if err != nil {
		return nil, Wrong{err}
	}
	other = slices.Concat(other, moved)
	var fixed []error
	for _, c := range rooted(now).Changes(rooted(was)) {
		if !config.Covers(other, c.Key) {
			fixed = append(fixed, fmt.Errorf("wire: %s: %v when the session began; %s cannot change it", dir, c, what))
		}
	}
	if err := errors.Join(fixed...); err != nil {
		return nil, Wrong{err}
	}
	st, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Session{cfg: withClicks(now, dir), name: filepath.Base(dir), store: st, hang: func() {}, tell: o.Tell, log: o.Log, now: o.Now, after: o.After}, nil
}

// params reads the parameters that which names, and says in words what they are.
func (s *Session) params(ctx context.Context, p parts, which string) (policy.Params, string, error) {
	switch which {
	case Cloned:
		mark, err := s.store.Marked(ctx, markPolicy)
		if what := takenPolicy(mark); what != "" {
			return p.clone, "as the session began: " + what, err
		}
		return p.clone, "cloned from the demonstrations", err
	case Tuned:
		v, b, err := s.latest(ctx, kindTuned)
		if errors.Is(err, store.ErrNone) {
			return policy.Params{}, "", fmt.Errorf("wire: %s holds no fine-tuned policy yet: %w; go on with it by %s, or evaluate --policy %s", s.Dir(), err, GoOn(s.Dir()), Cloned)
		}
		if err != nil {
			return policy.Params{}, "", err
		}
		return policy.Params{Version: v + 1, Data: b}, fineTuned(s.Dir(), v, b), nil
	}
	b, err := os.ReadFile(which)
	if errors.Is(err, fs.ErrNotExist) {
		return policy.Params{}, "", fmt.Errorf("wire: the policy %q is neither %s nor %s nor a file of parameters", which, Tuned, Cloned)
	}
	if err != nil {
		return policy.Params{}, "", fmt.Errorf("wire: parameters: %w", err)
	}
	ps := policy.Params{Version: 1, Data: b}
	v, _, err := viewOf(ps)
	if err != nil {
		return policy.Params{}, "", fmt.Errorf("wire: %s holds no parameters of a policy: %w; want %s, %s, or a file as one of checkpoints/tuned-* of a session, or one that rapport train policy wrote", which, err, Tuned, Cloned)
	}
	if v.Embed > 0 {
		err = s.sameEncoder(ctx, which, b)
	}
	return ps, which, err
}

// Newest is the folder of the session below out that was begun last.
func Newest(out string) (string, error) {
	name, err := newest(out)
	return filepath.Join(out, name), err
}
