package wire

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/reward/judge"
	"github.com/rapport-rl/rapport/reward/kagi"
)

// examined is what the doctor finds wrong with a session's own parts, for which it needs no arm.
func examined(t *testing.T, c config.Config, o Options) error {
	t.Helper()
	var errs []error
	for _, f := range examineSession(t.Context(), c, o) {
		errs = append(errs, f.Err)
	}
	if keyed(c) {
		_, err := tryWaypoints(c, o)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// The doctor fails of what the session would be refused for at once, and says who is asked.
func TestTheDoctorSaysWhatASessionIsRefusedFor(t *testing.T) {
	c := tiny(t)
	first, gone := filepath.Join(c.Out, "first"), filepath.Join(c.Out, "gone")
	for _, name := range []string{"first", "whole"} {
		st, err := founded(filepath.Join(c.Out, name), c)
		if err == nil && name == "whole" {
			err = errors.Join(st.Mark(t.Context(), "prepared", "yes"), keepJudge(st, measuredJudge{Model: "stub"}))
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	o := quietly()
	asked := o
	asked.VLM, asked.Endpoint = func(string) (kagi.Model, error) { return nil, nil }, "stub at 127.0.0.1"
	asked.Judge = func() (judge.Model, string, error) { return nil, "stub", nil }
	kagi := func(source, sparse string) func(*config.Config) {
		return func(c *config.Config) {
			c.Reward.Kind, c.Reward.KAGI.Source, c.Reward.KAGI.Sparse = "kagi", source, sparse
		}
	}
	for name, tt := range map[string]struct {
		set  func(*config.Config)
		o    Options
		want string // "": all is well
	}{
		"nothing asked for":    {func(*config.Config) {}, o, ""},
		"alike":                {func(c *config.Config) { c.Session.From = first }, o, ""},
		"another task":         {func(c *config.Config) { c.Session.From, c.Robot.Task = first, "group" }, o, "want --set 'robot.task=reach'"},
		"no such session":      {func(c *config.Config) { c.Session.From = first + "-2" }, o, "is no session's folder"},
		"nothing to filter":    {func(c *config.Config) { c.Demos.Filter = "list.csv" }, o, "session.from is empty"},
		"no critic":            {func(c *config.Config) { c.Learner.Kind, c.Policy.Diffusion.Sampler.Kind = "diffusion", "fk" }, o, "has no critic to search by"},
		"no classifier":        {kagi("task", "classifier"), o, firstClassifier},
		"a judge not measured": {func(c *config.Config) { kagi("task", "judge")(c); c.Session.From = first }, asked, "none was measured in session.from"},
		"no judge":             {kagi("task", "judge"), o, errNoJudge.Error()},
		"no endpoint":          {kagi("vlm", "none"), o, errNoPlanner.Error()},
		"an endpoint":          {kagi("vlm", "none"), asked, ""},
		"the task's plan":      {kagi("task", "none"), o, ""},
		"no such plan":         {func(c *config.Config) { kagi("task", "none")(c); c.Reward.KAGI.Plan = "none.json" }, o, "none.json"},
		"too few episodes":     {func(c *config.Config) { c.Learner.Kind, c.Learner.PPO.Episodes = "ppo", 2 }, o, "want at least session.episodes 5"},
		// What a session that goes on, or one of several processes, is not refused for.
		"goes on without the one before": {func(c *config.Config) { c.Name, c.Session.From, c.Demos.Filter = "whole", gone, "list.csv" }, o, ""},
		"goes on by its own judge":       {func(c *config.Config) { kagi("task", "judge")(c); c.Name, c.Session.From = "whole", gone }, asked, ""},
		"goes on with few episodes":      {func(c *config.Config) { c.Name, c.Learner.Kind, c.Learner.PPO.Episodes = "whole", "ppo", 2 }, o, ""},
		"is not prepared yet":            {func(c *config.Config) { c.Name, c.Session.From = "first", gone }, o, "is no session's folder"},
		"the learner's alone": {func(c *config.Config) {
			c.Bus.URL, c.Session.From, c.Demos.Filter = "nats://learner:4222", gone, "list.csv"
		}, o, ""},
		"the learner's own": {func(c *config.Config) {
			c.Bus.URL, c.Session.From, c.Robot.Task = "nats://learner:4222", first, "group"
		}, o, "want --set 'robot.task=reach'"},
	} {
		c := c
		tt.set(&c)
		err := examined(t, c, tt.o)
		if tt.want == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if tt.want != "" {
			wantErr(t, err, tt.want)
		}
	}
	kagi("auto", "none")(&c)
	for _, tt := range []struct {
		plan, clicks string
		o            Options
		want         string
	}{
		{o: o, want: "the plan of the task"},
		{o: asked, want: "stub at 127.0.0.1 is asked once a reset; where it gives none, the plan of the task"},
		{o: asked, plan: "plans/reach.json", want: "plans/reach.json"},
		{o: asked, clicks: "clicks", want: "clicked when the session begins"},
	} {
		c := c
		c.Reward.KAGI.Plan = tt.plan
		if tt.clicks != "" {
			c.Reward.KAGI.Source = tt.clicks
		}
		if got, err := tryWaypoints(c, tt.o); got != tt.want || err != nil {
			t.Errorf("waypoints: %q, %v; want %q", got, err, tt.want)
		}
	}
	if _, err := os.Stat(filepath.Join(c.Out, "reach-001")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the doctor left a folder: %v", err)
	}
}
