package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/wire"
)

// practiceRun is what rapport reproduce practice does.
type practiceRun struct {
	seeds seedSpan
	tasks []string
	apart bool
	out   string
}

// practiceWays are the directions, in the order of figures.
var practiceWays = [2]string{"forward", "backward"}

// practiceFate is what came of a session.
type practiceFate struct {
	Before report.Share `json:"before"`
	After  report.Share `json:"after"`
}

// practicePoint is what came of a task with one seed, there and back.
type practicePoint struct {
	Practised [2]practiceFate  `json:"practised"`
	Apart     *[2]practiceFate `json:"apart,omitempty"` // a person before every episode
	Resets    int              `json:"resets"`          // by a person while they practised
	Episodes  int              `json:"episodes"`        // of both ways
	Settings  settings         `json:"settings"`
}

func (a *app) reproducePracticeCmd() *cobra.Command {
	r := practiceRun{}
	cmd := &cobra.Command{
		Use:   "practice",
		Short: "Compare practice without a person with sessions that a person resets",
		Long: `For every task and each of the seeds 1, 2, ... practise it and its undoing in turns by
KAGI's reward (rapport practice), and, with --apart, run two sessions that begin from the
same demonstrations and clones, one of each way, before each of whose episodes somebody
puts the scene where it belongs.

A table in Markdown goes to stdout: success of the cloned policy, after practice and
after such sessions, in the mean over the seeds with its 95 % interval by Student's t,
and how often a person put the scene back. Sessions and a file of each task and seed go
to --to. What is in there already is read and not made again, and refused where it was
made with other settings; what was interrupted is gone on with.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.check(); err != nil {
				return usageError{err}
			}
			if err := a.settled(walked(map[string]string{
				"reward.kind": "it is KAGI's that is practised by", "robot.way": "both ways are walked", "practice.mate": "each way is the other's",
			})); err != nil {
				return err
			}
			return a.practices(cmd.Context(), r)
		},
	}
	f := cmd.Flags()
	r.seeds.flag(cmd, "seeds", seedsUsage)
	f.StringSliceVar(&r.tasks, "tasks", []string{"stack", "almonds", "spatula", "cover"}, "tasks with a way back")
	f.BoolVar(&r.apart, "apart", false, "run sessions of each way alone besides, which a person resets")
	f.StringVar(&r.out, "to", "runs/reproduce-practice", "folder of sessions and figures")
	return cmd
}

func (r *practiceRun) check() error {
	if err := wantSome("--tasks", r.tasks); err != nil {
		return err
	}
	for _, t := range r.tasks {
		if !(config.Config{Robot: config.Robot{Task: t}}).HasWayBack() {
			return fmt.Errorf("--tasks names %q, which is not undone in simulation; want some of stack, almonds, spatula, cover", t)
		}
	}
	return nil
}

// config is that of the practice of a task and seed.
func (r practiceRun) config(a *app, task string, seed int) (config.Config, error) {
	c, err := config.Load(a.file, a.environ, append([]string{
		"robot.task=" + task, "seed=" + strconv.Itoa(seed), "reward.kind=kagi", "session.record=false",
	}, a.sets...))
	if err != nil {
		return c, usageError{err}
	}
	c = unattended(c)
	c.Out, c.Name = r.out, fmt.Sprintf("%s-%d", task, seed)
	return c, c.Validate()
}

// alone is that of a session of one way that begins where the practice of c began.
func (r practiceRun) alone(c config.Config, way int) config.Config {
	c.Session.From = filepath.Join(c.Out, c.Name)
	c.Name += "-apart"
	if practiceWays[way] == "backward" {
		return wire.WayBack(c)
	}
	c.Robot.Way = practiceWays[way]
	return c
}

// practices makes what is missing and writes it up.
func (a *app) practices(ctx context.Context, r practiceRun) error {
	points, err := eachSeed(r.out, r.tasks, r.seeds, func(task string, seed int) (practicePoint, error) {
		return a.practiceOf(ctx, r, task, seed)
	})
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(r.markdown(points))
	return err
}

// practiceOf is one task and seed, read from its file or made.
func (a *app) practiceOf(ctx context.Context, r practiceRun, task string, seed int) (p practicePoint, err error) {
	file := fileOf(r.out, task, seed)
	have, err := found(file, &p)
	if err != nil {
		return p, err
	}
	c, err := r.config(a, task, seed)
	if err != nil {
		return p, err
	}
	own, _ := r.config(&app{}, task, seed) // nothing is made with these
	now := settingsOf(c, own, nil)
	if have {
		if err := a.madeSo(file, p.Settings, now, own); err != nil {
			return p, err
		}
	} else {
		fmt.Fprintf(a.stderr, "practice of %s, seed %d of %v\n", task, seed, r.seeds)
		if p, err = a.practise(ctx, c); err != nil {
			return p, err
		}
		p.Settings = now
		if err := keep(file, p); err != nil {
			return p, err
		}
	}
	if !r.apart || p.Apart != nil {
		return p, nil
	}
	var fates [2]practiceFate
	for way, name := range practiceWays {
		fmt.Fprintf(a.stderr, "%s %s alone, seed %d of %v\n", task, name, seed, r.seeds)
		res, err := a.once(ctx, r.alone(c, way))
		if err != nil {
			return p, fmt.Errorf("%s alone: %w", name, err)
		}
		fates[way] = practiceFate{res.Before, res.After}
	}
	p.Apart = &fates
	return p, keep(file, p)
}

// practise is the practice of c, begun or gone on with.
func (a *app) practise(ctx context.Context, c config.Config) (p practicePoint, err error) {
	bars := newProgress(a.stderr)
	defer bars.close()
	_, missing := os.Stat(filepath.Join(c.Out, c.Name, "session.db"))
	o, end := a.driving(bars)
	defer end()
	res, err := wire.Practice(ctx, c, missing == nil, o)
	if err != nil {
		return p, err
	}
	p.Practised = [2]practiceFate{{res.Forward.Before, res.Forward.After}, {res.Backward.Before, res.Backward.After}}
	p.Resets = res.Resets
	for _, dir := range []string{res.Forward.Dir, res.Backward.Dir} {
		outcomes, err := wire.Outcomes(ctx, dir)
		if err != nil {
			return p, err
		}
		p.Episodes += len(outcomes)
	}
	return p, nil
}

func (r practiceRun) markdown(points map[string][]practicePoint) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "| task | way | cloned | practised | each way alone, reset by a person |\n|---|---|---|---|---|\n")
	for _, task := range r.tasks {
		for way, name := range practiceWays {
			var before, after, apart []float64
			for _, p := range points[task] {
				before = append(before, 100*p.Practised[way].Before.Rate())
				after = append(after, 100*p.Practised[way].After.Rate())
				if p.Apart != nil {
					apart = append(apart, 100*p.Apart[way].After.Rate())
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", task, name, meanOf(before), meanOf(after), meanOf(apart))
		}
	}
	fmt.Fprintln(&b)
	for _, task := range r.tasks {
		var resets, episodes []string
		for _, p := range points[task] {
			resets, episodes = append(resets, strconv.Itoa(p.Resets)), append(episodes, strconv.Itoa(p.Episodes))
		}
		fmt.Fprintf(&b, "%s: a person put the scene back %s times in %s episodes, by seed\n", task, strings.Join(resets, ", "), strings.Join(episodes, ", "))
	}
	return b.Bytes()
}

// meanOf is the mean of percentages with its interval; of none a dash.
func meanOf(xs []float64) string {
	if len(xs) == 0 {
		return "–"
	}
	m, h := report.Interval(xs)
	return interval(m, h, 1) + " %"
}
