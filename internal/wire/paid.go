package wire

import (
	"fmt"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
)

// imitates says whether the learner goes by no reward.
func imitates(c config.Config) bool { return c.Learner.Kind == "bc" || c.Learner.Kind == "diffusion" }

// paid says what a session's learner is rewarded for, for its report.
func paid(c config.Config) string {
	switch {
	case imitates(c):
		return "what people show, by imitation; rewards are recorded only"
	case c.Reward.Kind == "truth":
		return "the simulator's true reward"
	case !byWaypoints(c):
		return "the visual reward alone"
	}
	switch c.Reward.KAGI.Sparse {
	case "truth":
		if real(c) {
			return "progress along waypoints alone, since nobody tells success"
		}
		return "progress along waypoints and success by the simulator's word"
	case "classifier":
		return "progress along waypoints and success by a classifier's word"
	case "judge":
		return "progress along waypoints and success by a judge's word"
	}
	return "progress along waypoints alone"
}

// clonedFrom says what a session's policy was cloned from, for its report, of so many
// demonstrations in its folder, some of which were left out.
func clonedFrom(c config.Config, shown, out int) string {
	switch from := c.Session.From; {
	case from == "":
		return fmt.Sprintf("cloned from %d good and %d bad demonstrations", c.Demos.Good, c.Demos.Bad)
	case c.Demos.Filter != "":
		return fmt.Sprintf("from the encoder and reward of %s, cloned anew from %d of its %d demonstrations", from, shown-out, shown)
	default:
		return fmt.Sprintf("from the encoder, reward and %s of %s, with its %d demonstrations", itsPolicy(c), from, shown)
	}
}

// heard says what of the success that a report shows the learner was told.
func heard(c config.Config) string {
	ends := c.Session.End == "success"
	switch {
	case logged(c) || real(c): // where none is shown
		return ""
	case imitates(c) && ends:
		return "The learner imitates and is told no return. Episodes end on success, by who tells it."
	case imitates(c):
		return "The learner imitates and is told no return. Where success is shown, it is what the simulator knows of it, read by this report only."
	case c.Reward.Kind == "truth", byWaypoints(c) && c.Reward.KAGI.Sparse == "truth":
		if ends {
			return "The learner is told this return, of which the simulator's word is a part: success is paid 0 and ends an episode. The success that is shown is by the same word."
		}
		return "The learner is told this return, of which the simulator's word is a part. The success that is shown is by the same word."
	case witnessed(c):
		return fmt.Sprintf("The learner is told this return, in which success is a %s's word. Where success is shown, it is what the simulator knows of it, read by this report only.", c.Reward.KAGI.Sparse)
	case ends:
		return "The learner is told the visual return alone, and episodes end on success by the simulator's word, which is the success that is shown."
	}
	return "The learner is told the visual return alone. Where success is shown, it is ground truth, read by this report only."
}

// waypointFacts says who wrote the waypoints; nothing under other rewards.
func (s *Session) waypointFacts() []report.Fact {
	if !byWaypoints(s.cfg) {
		return nil
	}
	from := "the plan that comes with the task"
	if f := s.cfg.Reward.KAGI.Plan; f != "" {
		from = "the plan " + f
	}
	if s.planner == nil {
		return []report.Fact{{Name: "waypoints", Value: from + "; no model was asked"}}
	}
	gave, fell := s.planner.resets()
	return []report.Fact{{Name: "waypoints", Value: fmt.Sprintf("a vision-language model's%s in %d resets that this process asked about; in %d it gave none, and %s stood in; %s", s.whose(), gave, fell, from, s.planner.spent())}}
}

// whose is the model that is asked and its host, in brackets.
func (s *Session) whose() string {
	if s.endpoint == "" {
		return ""
	}
	return " (" + s.endpoint + ")"
}
