package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"

	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/vlm"
	"github.com/rapport-rl/rapport/robot"
)

// planner is the model that writes waypoints.
type planner struct {
	model kagi.Model
	fell  func(error) // is told why the task's own plan is taken instead
	told  func(calls, hits int)

	find segmenter    // of what is offered marks; nil: by colour
	free func() error // frees find

	mu          sync.Mutex
	calls, hits int
	gave, none  int       // resets in which the model wrote waypoints, and in which it did not
	used        vlm.Usage // of the calls, all together
	silent      int       // resets in a row at which the endpoint did not answer
	rested      int       // resets since at which it was not asked, or might have been
}

// An endpoint that did not answer at patience resets in a row is asked at every askAgain-th
// alone until it answers: each asking of one that hangs takes two minutes, for which the
// arm stands still.
const (
	patience = 3
	askAgain = 10
)

// errRests says that the endpoint was not asked at a reset, whose answer is not kept either.
var errRests = errors.New("wire: the endpoint did not answer at the last resets, and is not asked at this one")

// rests says whether the endpoint is left alone at this reset.
func (pl *planner) rests() bool {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if pl.silent < patience {
		return false
	}
	pl.rested++
	return pl.rested%askAgain != 0
}

// resets so far: those that the model wrote waypoints for, and others.
func (pl *planner) resets() (gave, none int) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	return pl.gave, pl.none
}

// spent says what the calls took so far.
func (pl *planner) spent() string {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	switch {
	case pl.calls == 0 && pl.hits == 0:
		return "nobody was asked"
	case pl.calls == 0:
		return "all answers kept from before"
	}
	s := fmt.Sprintf("%d calls (%d tries, %d answers kept from before), %d tokens in and %d out, %.1f s a call", pl.calls, pl.used.Tries, pl.hits, pl.used.In, pl.used.Out, pl.used.Latency.Seconds()/float64(pl.calls))
	if pl.used.Cost > 0 {
		s += fmt.Sprintf(", cost %.4g", pl.used.Cost)
	}
	return s
}

type plannerKey struct{}

func withPlanner(ctx context.Context, p *planner) context.Context {
	return context.WithValue(ctx, plannerKey{}, p)
}

// unasked returns a context under which nobody is asked for waypoints.
func unasked(ctx context.Context) context.Context {
	return context.WithValue(withPlanner(ctx, nil), clickerKey{}, (*clicker)(nil))
}

var errNoPlanner = errors.New("wire: reward.kagi.source is vlm, but there is no endpoint; set RAPPORT_VLM_URL or RAPPORT_VLM_KEY, or take reward.kagi.source task")

// plannerOf is nil where no model is to be asked.
func plannerOf(ctx context.Context) *planner {
	p, _ := ctx.Value(plannerKey{}).(*planner)
	return p
}

// ask has the model write an episode's waypoints.
func (pl *planner) ask(ctx context.Context, p *pointer, obs robot.Observation) (legs []kagi.Leg, err error) {
	defer func() {
		pl.mu.Lock()
		defer pl.mu.Unlock()
		if err == nil {
			pl.gave++
		} else {
			pl.none++
		}
	}()
	rests := pl.rests()
	if rests {
		ctx = vlm.Recall(ctx)
	}
	b, things, err := p.board(ctx, obs)
	if err != nil {
		return nil, err
	}
	legs, use, err := kagi.Ask(ctx, pl.model, p.plan.Task, b)
	if rests && errors.Is(err, vlm.ErrUnknown) {
		return nil, errRests
	}
	err = pl.count(ctx, use, err)
	for _, k := range things {
		if slices.ContainsFunc(legs, func(l kagi.Leg) bool { return l.Point == k.Name }) {
			p.chosen = append(p.chosen, k)
		}
	}
	return legs, err
}

// count adds a call, and says so where its error is the one after which the endpoint is
// asked seldom.
func (pl *planner) count(ctx context.Context, use vlm.Usage, err error) error {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if use.Hit {
		pl.hits++
	} else {
		pl.calls++
		u := &pl.used
		u.Tries, u.In, u.Out, u.Cost, u.Latency = u.Tries+use.Tries, u.In+use.In, u.Out+use.Out, u.Cost+use.Cost, u.Latency+use.Latency
	}
	pl.told(pl.calls, pl.hits)
	switch {
	case ctx.Err() != nil || use.Hit: // tells nothing of the endpoint
	case errors.Is(err, vlm.ErrBusy):
		if pl.silent++; pl.silent == patience {
			err = fmt.Errorf("%w; so it was at %d resets in a row: from now on it is asked at every %dth alone, until it answers", err, patience, askAgain)
		}
	default:
		pl.silent, pl.rested = 0, 0
	}
	return err
}

// modelSaid is the folder of what a model answered, unless reward.kagi.cache names another.
func (s *Session) modelSaid() string { return saidIn(s.Dir()) }

func saidIn(dir string) string { return filepath.Join(dir, "vlm") }

// plan settles who writes the waypoints, says so, and returns the context under which
// it is asked.
func (s *Session) plan(ctx context.Context) (context.Context, error) {
	ctx = s.heeding(ctx)
	if !byWaypoints(s.cfg) {
		if s.Clicks() != "" { // of the points that the reward sees
			return s.clicked(ctx)
		}
		return ctx, nil
	}
	source, err := s.settled(ctx)
	if err != nil {
		return ctx, err
	}
	auto := s.cfg.Reward.KAGI.Source == "auto"
	switch {
	case source == "vlm" && s.vlm == nil && !auto:
		return ctx, errNoPlanner
	case source == "vlm" && s.vlm == nil:
		source = "task"
		s.log.Warn("waypoints: a model wrote those of this session so far, but there is no endpoint now, so that the task's plan is taken", "remedy", "stop, set RAPPORT_VLM_URL, RAPPORT_VLM_KEY and RAPPORT_VLM_MODEL as before, and "+GoOn(s.Dir()))
	case source == "task" && s.vlm != nil && auto && s.cfg.Reward.KAGI.Plan == "":
		s.log.Warn("waypoints: this session began with the task's plan, which is kept, though there is an endpoint now", "remedy", "begin another session for a model's waypoints")
	}
	sparse := "success told by the simulator's truth"
	switch s.cfg.Reward.KAGI.Sparse {
	case "classifier":
		sparse = "success told by a classifier"
	case "judge":
		sparse = "success told by a judge"
	case "none":
		sparse = "no success told"
	}
	if s.Clicks() != "" {
		s.log.Info("waypoints", "source", source, "sparse", s.cfg.Reward.KAGI.Sparse)
		return s.clicked(ctx)
	}
	if source == "task" || source == "clicks" {
		from := "that comes with task " + s.cfg.Robot.Task
		if f := s.cfg.Reward.KAGI.Plan; f != "" {
			from = f
		}
		s.log.Info("waypoints", "source", source, "plan", from, "sparse", s.cfg.Reward.KAGI.Sparse)
		s.tell("waypoints", 1, 1, fmt.Sprintf("source %s: the plan %s, no model is asked; %s", source, from, sparse))
		return ctx, nil
	}
	cache := cmp.Or(s.cfg.Reward.KAGI.Cache, s.modelSaid())
	m, err := s.vlm(cache)
	if err != nil {
		return ctx, err
	}
	find, free, err := openSegmenter(s.cfg)
	if err != nil {
		return ctx, err
	}
	who := cmp.Or(s.endpoint, "a model")
	s.log.Info("waypoints", "source", "vlm", "model", who, "cache", cache, "sparse", s.cfg.Reward.KAGI.Sparse)
	s.tell("waypoints", 1, 1, fmt.Sprintf("source vlm: %s is asked once a reset, which is shown its pictures; the task's plan stands in for it; %s", who, sparse))
	s.planner = &planner{model: m, find: find, free: free,
		fell: func(err error) {
			level := slog.LevelWarn
			if errors.Is(err, errRests) { // was told once
				level = slog.LevelDebug
			}
			s.log.Log(ctx, level, "waypoints: the model gave none, the task's plan is taken", "err", err)
		},
		told: func(calls, hits int) { s.log.Debug("waypoints: asked", "calls", calls, "kept", hits) },
	}
	return withPlanner(ctx, s.planner), nil
}
