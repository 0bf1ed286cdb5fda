package wire

import (
	"embed"
	"errors"
	"fmt"
	"slices"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// plans are those of the simulated tasks, found by colour.
//
//go:embed plans/*.json
var plans embed.FS

// keyed says whether episodes carry tracked points.
func keyed(c config.Config) bool { return byWaypoints(c) || c.Reward.Sees != "features" }

// byWaypoints says whether the reward is progress along waypoints.
func byWaypoints(c config.Config) bool { return c.Reward.Kind == "kagi" }

// unpaid says whether the points of the plan are seen, and nothing is paid for its waypoints.
func unpaid(c config.Config) bool { return keyed(c) && !byWaypoints(c) }

// planOf is the configured plan, or the task's.
func planOf(c config.Config) (kagi.Plan, error) {
	if f := c.Reward.KAGI.Plan; f != "" {
		p, err := kagi.Load(f)
		if err != nil {
			if c.Reward.KAGI.Source != "clicks" { // whose plan may be yet to be clicked
				err = mislaid("reward.kagi.plan", "FILE", err)
			}
			err = fmt.Errorf("wire: reward.kagi.plan: %w", err)
		}
		return p, err
	}
	name := c.Robot.Task
	if wayOf(c) == tabletop.Backward {
		name += "-back"
	}
	b, err := plans.ReadFile("plans/" + name + ".json")
	if err != nil {
		return kagi.Plan{}, fmt.Errorf("wire: reward.kagi.plan is empty and no plan comes with task %s; write one (docs/kagi.md) and name it", name)
	}
	return kagi.Decode(b)
}

// readable refuses files of points, cameras and markers that cannot be read or do not fit
// the session, before a folder is made for it.
func readable(c config.Config) error {
	_, err := landmarkFiles(c)
	if keyed(c) && real(c) {
		_, err2 := calibrated(c)
		err = errors.Join(err, err2)
	}
	return errors.Join(planned(c), err)
}

// planned is readable of the plan alone, all that a learner without an arm needs. A session that
// was begun goes on with a plan that would be refused of a new one.
func planned(c config.Config) error {
	if !keyed(c) || byClicks(c) {
		return nil
	}
	plan, err := planOf(c)
	if err != nil {
		return err
	}
	if err := fits(plan, c); err != nil || !byWaypoints(c) {
		return err
	}
	if err := segmented(c); err != nil {
		return err
	}
	if err := plan.Onward(c.Reward.KAGI.Tolerance); err != nil {
		return fmt.Errorf("wire: %s%w", planKey(c), err)
	}
	return nil
}

// fits refuses a plan whose points the session's cameras cannot see.
func fits(plan kagi.Plan, c config.Config) error {
	if plan.Camera != "" {
		return fmt.Errorf("wire: %sthe plan is in pixels of camera %s, but the session knows where its cameras are; want places in the base frame", planKey(c), plan.Camera)
	}
	for _, k := range plan.Points {
		if !k.Hand && !slices.ContainsFunc(c.Robot.Cameras, func(r config.Camera) bool { return r.Name == k.Camera }) {
			return fmt.Errorf("wire: %sthe plan's point %s is seen by camera %q, which robot.cameras does not have", planKey(c), k.Name, k.Camera)
		}
	}
	return nil
}

// planKey names the file that a plan is from, for errors.
func planKey(c config.Config) string {
	if f := c.Reward.KAGI.Plan; f != "" {
		return "reward.kagi.plan: " + f + ": "
	}
	return ""
}

// seenKeys are the points whose places the policy sees, in the plan's order. The
// hand is not among them: Place has it.
func seenKeys(c config.Config) []string {
	if !c.Policy.Keys || !keyed(c) {
		return nil
	}
	return pointNames(c)
}

// pointNames are the points of the plan but the hand, in its order.
func pointNames(c config.Config) []string {
	p, err := planOf(c)
	if err != nil {
		return nil // told by Session.kagi
	}
	var names []string
	for _, k := range p.Points {
		if !k.Hand {
			names = append(names, k.Name)
		}
	}
	return names
}

// kagi is the reward's configuration. An episode carries its waypoints itself; the
// plan is for those that do not.
func (s *Session) kagi() (*kagi.Config, error) {
	p, err := planOf(s.cfg)
	if err != nil {
		return nil, err
	}
	k := s.cfg.Reward.KAGI
	c := &kagi.Config{Plan: &p, Form: kagi.Form(k.Form), Tolerance: k.Tolerance, Top: k.Top, Potential: k.Potential, Gamma: s.cfg.Learner.Gamma}
	return c, c.Validate()
}
