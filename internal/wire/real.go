package wire

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot/record"
	rosarm "github.com/rapport-rl/rapport/robot/ros/arm"
)

// reportReal fills in what a session on a real arm has to show: nothing of
// success, since nobody measured it, but its own first and last episodes.
func (s *Session) reportReal(ctx context.Context, p parts, r *report.Report) error {
	rows, err := s.store.Episodes(ctx, policy.Online)
	if err != nil {
		return err
	}
	r.Summary = fmt.Sprintf("On an arm over ROS, from the encoder, reward and %s of %s: fine-tuned for %d episodes on %s. "+
		"Success was not measured: on a real arm only people can tell it, so the curve below is the reward's alone.", itsPolicy(s.cfg), s.cfg.Session.From, len(rows), paid(s.cfg))
	for _, name := range []string{"camera_to_command_p50_ms", "camera_to_command_p99_ms", "frame_age_p99_ms", "ticks", "missed_ticks", "stale_sensors"} {
		ps, err := s.store.Metric(ctx, "episode", name)
		if err != nil {
			return err
		}
		if len(ps) > 0 {
			r.Facts = append(r.Facts, report.Fact{Name: name, Value: fmt.Sprintf("%.4g", ps[len(ps)-1].Value)})
		}
	}
	if len(rows) == 0 || !s.cfg.Session.Record {
		return nil
	}
	for _, at := range []struct {
		what string
		id   string
	}{{"First episode", rows[0].ID}, {"Last episode", rows[len(rows)-1].ID}} {
		t, err := s.seen(at.id)
		if err != nil {
			return err
		}
		if len(t.frames[0]) == 0 {
			continue // they lie in the actor's folder
		}
		sh, err := t.sheet("")
		if err != nil {
			return err
		}
		sh.Caption = at.what + ", " + at.id + " (success was not measured)"
		r.Sheets = append(r.Sheets, sh)
		if r.Reward, err = s.explain(ctx, p, t); err != nil {
			return err
		}
	}
	return nil
}

// seen is a recorded episode as a take.
func (s *Session) seen(id string) (t take, err error) {
	if t.episode, err = s.store.Episode(id); err != nil {
		return t, err
	}
	rec, err := record.Read(filepath.Join(s.Dir(), "episodes", id+".mcap"))
	if err != nil {
		return t, err
	}
	for i := range rec.Ticks {
		t.frames = append(t.frames, rec.Ticks[i].Frames)
	}
	return t, nil
}

// listen is how long an examination counts messages.
const listen = 2 * time.Second

// examineROS surveys the arm's topics, which moves nothing.
func examineROS(ctx context.Context, c config.Config, o Options) (fs []Finding) {
	n, err := openNode(ctx, c, "rapport_doctor", o.Log)
	if err != nil {
		return []Finding{{What: "ROS master", Err: err}}
	}
	defer n.Close()
	ls, err := rosarm.Survey(ctx, n, rosConfig(c, o.Log), listen)
	for _, l := range ls {
		fs = append(fs, Finding{l.What, l.Detail, l.Err})
	}
	if err != nil {
		fs = append(fs, Finding{What: "ROS topics", Err: err})
	}
	return fs
}

// tryROS opens the arm as a session would, which moves nothing, and looks once.
func tryROS(ctx context.Context, c config.Config) (detail string, err error) {
	a, err := openArm(ctx, c, evaluation, nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	obs, err := a.ros.Look(ctx)
	if err != nil {
		return "", err
	}
	detail = fmt.Sprintf("%s over ROS, tool at %.3f %.3f %.3f m:", c.Robot.ROS.ArmID, obs.State.EE.P[0], obs.State.EE.P[1], obs.State.EE.P[2])
	for _, f := range obs.Frames {
		detail += fmt.Sprintf(" %s %dx%d", f.Camera, f.W, f.H)
	}
	seen, err := a.survey(c)
	return detail + seen, err
}
