package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// rewayed has a demonstration of an earlier session carry the waypoints that this session
// goes by: the plan's, from where the points were at its reset, or those that a model wrote.
func rewayed(e *policy.Episode, w ways, plan kagi.Plan) error {
	f := &e.Inputs[0].Features
	legs, ok := w.Demos[e.ID]
	switch {
	case ok:
	case w.Source == "vlm": // the same model wrote those that it has
		return nil
	default:
		for _, name := range moved(plan) {
			if _, _, ok := perception.Place(f.Keys, name); !ok {
				return fmt.Errorf("wire: session.from: %s does not tell where %q was, which the plan moves; want a plan of the points that were followed, or a session that begins afresh", e.ID, name)
			}
		}
		var err error
		if legs, err = plan.Fix(placesAt(plan, f.Keys)); err != nil {
			return fmt.Errorf("wire: session.from: %s: %w", e.ID, err)
		}
	}
	f.Keys = kagi.Tell(kagi.Untell(f.Keys), legs)
	return nil
}

// moved are the points that a plan's stages move or count from.
func moved(plan kagi.Plan) []string {
	var names []string
	for _, s := range plan.Stages {
		names = append(names, s.Point)
		for _, w := range s.Waypoints {
			if w.From != "" {
				names = append(names, w.From)
			}
		}
	}
	return names
}

// placesAt is where a plan's points are by an episode's first keys. One with a near counts as
// there where it was not seen: such episodes were begun once.
func placesAt(plan kagi.Plan, keys []perception.Keypoint) map[string][3]float64 {
	at := map[string][3]float64{}
	for _, k := range plan.Points {
		if p, ok := kagi.Place(keys, k.Name, ""); ok {
			at[k.Name] = p
		} else if k.Near != nil {
			at[k.Name] = *k.Near
		}
	}
	return at
}

// toldOf refuses a plan of points that the demonstrations of session.from do not tell of.
func toldOf(cfg, was config.Config) error {
	if !byWaypoints(cfg) || byClicks(cfg) {
		return nil
	}
	plan, err := planOf(cfg)
	if err != nil {
		return nil // told by readable
	}
	from := cfg.Session.From
	old, err := planOf(withClicks(was, from))
	if err != nil {
		return nil // rewayed tells by the demonstrations
	}
	for _, name := range moved(plan) {
		if !slices.ContainsFunc(old.Points, func(k kagi.Point) bool { return k.Name == name }) {
			return fmt.Errorf("wire: session.from: %sthe plan moves %q, or counts from it, which the demonstrations of %s do not tell of; want a plan of the points that were followed there, or a session that begins afresh", planKey(cfg), name, from)
		}
	}
	return nil
}

// sameWriter says whether a model wrote the waypoints of session.from as it would those of a
// session under cfg: of the same plan and marks.
func sameWriter(cfg config.Config) (bool, error) {
	from := cfg.Session.From
	was, err := asBegun(from)
	if err != nil {
		return false, fmt.Errorf("wire: session.from: %w", err)
	}
	source, err := sourceIn(from, was)
	w, k := was.Reward.KAGI, cfg.Reward.KAGI
	if err != nil || source != "vlm" || w.Marks != k.Marks || w.Points != k.Points {
		return false, err
	}
	if same, err := sameSegmenter(from, w, k); err != nil || !same {
		return false, err
	}
	old, err := planOf(was)
	if err != nil {
		return false, nil
	}
	plan, err := planOf(cfg)
	return reflect.DeepEqual(old, plan), err
}

// markable refuses to have a model choose anew, among what stands out, in demonstrations that
// were followed already.
func markable(cfg config.Config) error {
	if cfg.Session.From == "" || cfg.Reward.KAGI.Marks != "candidates" {
		return nil
	}
	same, err := sameWriter(cfg)
	if err == nil && !same {
		err = fmt.Errorf("wire: session.from: reward.kagi.marks is candidates, but the waypoints of the demonstrations of %s are of another source, plan or marks, and what a model would choose in them was not followed; want --set reward.kagi.marks=plan, or a session that begins afresh", cfg.Session.From)
	}
	return err
}

// reask has the model that writes this session's waypoints write those of the demonstrations of
// an earlier one, unless it did so there: it is shown their resets again, which simulation has
// by their seeds.
func (s *Session) reask(ctx context.Context, earlier *store.Session) (err error) {
	if !byWaypoints(s.cfg) {
		return nil
	}
	source, err := sourceIn(s.Dir(), s.cfg)
	if err != nil || source != "vlm" {
		return err
	}
	same, err := sameWriter(s.cfg)
	if err != nil || same {
		return err
	}
	c, err := asBegun(earlier.Dir())
	if err != nil {
		return fmt.Errorf("wire: session.from: %w", err)
	}
	if real(c) { // markers on its table are none on the simulated one
		c.Robot.Markers = nil
	}
	c.Robot.Kind, c.Robot.Disturb, c.Reward = "sim", config.Disturb{}, s.cfg.Reward
	world, err := newWorld(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	table, ok := world.(*tabletop.World)
	if !ok {
		return errFlat
	}
	p, err := trackSim(c, table)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	rows, err := s.store.Episodes(ctx, policy.Demo)
	if err != nil {
		return err
	}
	w := ways{Source: source, Demos: map[string][]kagi.Leg{}}
	for i, r := range rows {
		e, err := s.store.Episode(r.ID)
		if err != nil {
			return err
		}
		obs, err := table.ResetWay(ctx, e.Seed, wayOf(c))
		if err != nil {
			return err
		}
		if p.cams, err = p.open(); err != nil {
			return err
		}
		p.forget()
		p.last = placesAt(p.plan, e.Inputs[0].Features.Keys)
		if w.Demos[e.ID], err = p.legs(ctx, obs); err != nil {
			return fmt.Errorf("wire: session.from: %s: %w", e.ID, err)
		}
		s.tell("waypoints", i+1, len(rows), "of the demonstrations of "+s.cfg.Session.From)
	}
	return s.keepWays(w)
}

// inheritedWays are what demonstrations of session.from are to carry, and the plan for those that
// no model wrote for.
func (s *Session) inheritedWays() (w ways, plan kagi.Plan, err error) {
	if w, err = readWays(s.Dir()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return w, plan, err
	}
	if w.Source, err = sourceIn(s.Dir(), s.cfg); err != nil {
		return w, plan, err
	}
	plan, err = planOf(s.cfg)
	return w, plan, err
}
