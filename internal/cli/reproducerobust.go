package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/wire"
)

// robustRun is what rapport reproduce robust does.
type robustRun struct {
	ways   wayRun // whose sessions by KAGI's reward are disturbed
	starts int
	rolls  int
}

// robustLevel is a disturbance by its name.
type robustLevel struct {
	name string
	of   config.Disturb
}

// robustLevels are the rows of the table.
var robustLevels = []robustLevel{
	{"nothing", config.Disturb{}},
	{"camera shifted by 1 cm", config.Disturb{Camera: 0.01}},
	{"camera shifted by 2 cm", config.Disturb{Camera: 0.02}},
	{"camera shifted by 5 cm", config.Disturb{Camera: 0.05}},
	{"camera turned by 0.01 rad", config.Disturb{Turn: 0.01}},
	{"camera turned by 0.02 rad", config.Disturb{Turn: 0.02}},
	{"camera turned by 0.05 rad", config.Disturb{Turn: 0.05}},
	{"light less by 30 %", config.Disturb{Light: -0.3}},
	{"light more by 30 %", config.Disturb{Light: 0.3}},
	{"light more by 60 %", config.Disturb{Light: 0.6}},
	{"2 distractors", config.Disturb{Distractors: 2}},
	{"4 distractors", config.Disturb{Distractors: 4}},
	{"2 cm, 0.02 rad, light + 30 %, 4 distractors", config.Disturb{Camera: 0.02, Turn: 0.02, Light: 0.3, Distractors: 4}},
}

// robustPoint is how the session of a seed fared at a level.
type robustPoint struct {
	Level   string        `json:"level"`
	Success report.Share  `json:"success"`
	Sight   wire.Sighting `json:"sight"`
	// Settings are those of the session and of the evaluation.
	Settings settings `json:"settings"`
}

func (a *app) reproduceRobustCmd() *cobra.Command {
	r := robustRun{ways: wayRun{kinds: []string{"kagi"}, share: 1, steps: 1}}
	cmd := &cobra.Command{
		Use:   "robust",
		Short: "Judge policies, points and reward of KAGI under other views, light and distractors",
		Long: `Run a session by KAGI's reward with tracked points in the policy's input for each of
the seeds 1, 2, ..., as rapport reproduce kagi does, whose sessions in --to are taken. Then
disturb what is seen, one level after the other, and evaluate the fine-tuned policy on the
same fresh starts: the front camera shifted and turned, which its calibration does not know,
so that points are lifted by where it was; other light; boxes at the sides of the table.
With --set robot.markers=[docs/front.yaml] markers on the table tell where it is now.

A table in Markdown goes to stdout: success of all seeds with Wilson's 95 % interval, the
worst and the best seed; and, in rollouts of mixed quality, how many of the plan's points
were lost, how far beside their undisturbed places the others were seen (median and 95 %),
and Spearman's correlation of the dense reward with the true one. A file of each
task and seed is kept in --to, and what is in there is not made again; it is refused
where it was made with other settings.`,
		Example: `  rapport reproduce robust --seeds 3
  rapport eval --set robot.disturb.camera=0.02 --set robot.disturb.light=0.3   # one level, of any session`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.check(); err != nil {
				return usageError{err}
			}
			if err := a.settled(walked(map[string]string{
				"reward.kind": "it is KAGI's that is judged", "robot.disturb.": "the levels are the rows of the table",
			})); err != nil {
				return err
			}
			return a.robust(cmd.Context(), r)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&r.ways.tasks, "tasks", []string{"reach"}, "tasks that a plan comes with")
	r.ways.seeds.flag(cmd, "seeds", seedsUsage)
	f.IntVar(&r.starts, "starts", 100, "starts of an evaluation")
	f.IntVar(&r.rolls, "rollouts", 40, "rollouts of a level")
	f.StringVar(&r.ways.out, "to", "runs/reproduce-kagi", "folder of sessions and figures")
	return cmd
}

func (r *robustRun) check() error {
	if r.starts < 1 || r.rolls < 1 {
		return fmt.Errorf("--starts is %d and --rollouts %d; want at least 1 of each", r.starts, r.rolls)
	}
	return r.ways.check()
}

// robust makes what is missing and writes it up.
func (a *app) robust(ctx context.Context, r robustRun) error {
	points, err := eachSeed(r.ways.out, r.ways.tasks, r.ways.seeds, func(task string, seed int) ([]robustPoint, error) {
		return a.robustOf(ctx, r, task, seed)
	})
	if err != nil {
		return err
	}
	return r.markdown(a.stdout, points)
}

// robustOf are the levels of one task and seed, read from its file or made.
func (a *app) robustOf(ctx context.Context, r robustRun, task string, seed int) ([]robustPoint, error) {
	c, err := r.ways.config(a, task, "kagi", seed)
	if err != nil {
		return nil, err
	}
	marked := ""
	if len(c.Robot.Markers) > 0 {
		marked = "-markers"
	}
	file := fileOf(r.ways.out, "robust-"+task+marked, seed)
	now, own, err := r.ways.settings(a, task, "kagi", seed)
	if err != nil {
		return nil, err
	}
	now["--starts"], now["--rollouts"] = strconv.Itoa(r.starts), strconv.Itoa(r.rolls)
	var have []robustPoint
	if _, err := found(file, &have); err != nil {
		return nil, err
	}
	for i, p := range have {
		if i >= len(robustLevels) || p.Level != robustLevels[i].name {
			return nil, fmt.Errorf("%s: level %d is %q, which is none of this version's; remove it, and it is made again", file, i+1, p.Level)
		}
		if err := a.madeSo(file, p.Settings, now, own); err != nil {
			return nil, err
		}
	}
	missing := robustLevels[len(have):]
	if len(missing) == 0 {
		return have, nil
	}
	fmt.Fprintf(a.stderr, "%s, seed %d of %v\n", task, seed, r.ways.seeds)
	began, err := r.ways.begin(c, task, seed, nil)
	if err != nil {
		return nil, err
	}
	res, err := a.once(ctx, began)
	if err != nil {
		return nil, err
	}
	bars := newProgress(a.stderr)
	defer bars.close()
	o := a.options(bars)
	var ds []config.Disturb
	for _, l := range missing {
		ds = append(ds, l.of)
	}
	sights, err := wire.Sight(ctx, c, r.rolls, ds, o.Tell)
	if err != nil {
		return nil, err
	}
	for i, l := range missing {
		ev, err := wire.Evaluate(ctx, res.Dir, wire.Tuned, r.starts, a.environ, append(l.sets(), markers(c)), o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
		have = append(have, robustPoint{l.name, ev.Success(), sights[i], now})
		if err := keep(file, have); err != nil {
			return nil, err
		}
	}
	return have, nil
}

// sets are the level's settings.
func (l robustLevel) sets() []string {
	return []string{
		fmt.Sprintf("robot.disturb.camera=%g", l.of.Camera), fmt.Sprintf("robot.disturb.turn=%g", l.of.Turn),
		fmt.Sprintf("robot.disturb.light=%g", l.of.Light), fmt.Sprintf("robot.disturb.distractors=%d", l.of.Distractors),
	}
}

// markers are those of c as a setting: the session may have been made without.
func markers(c config.Config) string {
	return "robot.markers=[" + strings.Join(c.Robot.Markers, ", ") + "]"
}

// markdown writes a row for each task and level.
func (r robustRun) markdown(w io.Writer, points map[string][][]robustPoint) error {
	var b strings.Builder
	b.WriteString("| task | disturbed by | success | 95 %, Wilson | worst and best seed | points lost | seen beside, mm: median, 95 % | reward and true reward, Spearman |\n|---|---|---|---|---|---|---|---|\n")
	for _, task := range r.ways.tasks {
		for i, l := range robustLevels {
			var won, lost report.Share
			var rates, beside, follows []float64
			for _, seed := range points[task] {
				p := seed[i]
				won.Hits, won.Of = won.Hits+p.Success.Hits, won.Of+p.Success.Of
				lost.Hits, lost.Of = lost.Hits+p.Sight.Lost, lost.Of+p.Sight.Points
				rates = append(rates, 100*p.Success.Rate())
				for _, m := range p.Sight.Beside {
					beside = append(beside, 1000*m)
				}
				if len(p.Sight.Follows) > 0 {
					mean, _ := report.Interval(p.Sight.Follows)
					follows = append(follows, mean)
				}
			}
			lo, hi := won.Wilson()
			seen, followed := "–", "–"
			if len(beside) > 0 {
				seen = fmt.Sprintf("%.1f, %.1f", report.Quantile(beside, 0.5), report.Quantile(beside, 0.95))
			}
			if len(follows) > 0 {
				mean, half := report.Interval(follows)
				followed = interval(mean, half, 2)
			}
			fmt.Fprintf(&b, "| %s | %s | %d of %d | %.0f to %.0f %% | %.0f, %.0f %% | %.1f %% | %s | %s |\n", task, l.name,
				won.Hits, won.Of, 100*lo, 100*hi, slices.Min(rates), slices.Max(rates), 100*lost.Rate(), seen, followed)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
