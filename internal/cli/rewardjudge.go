package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/reward/judge"
	"github.com/rapport-rl/rapport/reward/vlm"
)

func (a *app) rewardJudgeCmd() *cobra.Command {
	var j judge.Judge
	var precision float64
	cmd := &cobra.Command{
		Use:   "judge [RUN] --task TEXT",
		Short: "Measure a vision-language model as a judge of success",
		Long: `Ask a vision-language model of every marked frame of the session RUN (without it, the
newest) whether --task is true of it, more than once, and print its precision and
recall. A judge below --precision is refused. The endpoint is that of RAPPORT_VLM_URL,
RAPPORT_VLM_KEY and RAPPORT_VLM_MODEL, and has the seconds of RAPPORT_VLM_DEADLINE (60)
for a try; answers are kept in vlm-answers.jsonl in the session's folder, and a judge
that is not refused in judge.json, for sessions that begin from this one with
reward.kagi.sparse judge (docs/kagi.md). Frames are marked by rapport reward classifier
collect (docs/success.md).`,
		Example: `  rapport reward judge runs/group-001 --task "the two red blocks touch each other"`,
		Args:    atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(j.Task) == "" {
				return usageError{errors.New(`--task is missing: write a sentence that is true when the task is done, as --task "the cup stands on the plate"`)}
			}
			if j.Times < 1 {
				return usageError{fmt.Errorf("--times is %d; want 1 at least", j.Times)}
			}
			if err := wantPrecision(precision); err != nil {
				return usageError{err}
			}
			dir, err := a.session(args)
			if err != nil {
				return err
			}
			conf := vlm.FromEnv(a.getenv)
			conf.Log = a.log
			c, err := vlm.New(conf)
			if err != nil {
				return err
			}
			j.Model = judge.Over(c)
			bars := newProgress(a.stderr)
			defer bars.close()
			bars.step("judge", 1, 1, conf.String()+" is shown the marked frames")
			rep, calls, err := wire.MeasureJudge(cmd.Context(), dir, j, c.Model(), precision, a.environ, a.sets, a.options(bars))
			bars.close()
			if err != nil && !errors.Is(err, judge.ErrPrecision) {
				return err
			}
			_, wrong := fmt.Fprintf(a.stdout, "%s: %s; %d calls of %v\n", dir, rep, calls, conf)
			return errors.Join(err, wrong)
		},
	}
	f := cmd.Flags()
	f.StringVar(&j.Task, "task", "", "sentence that is true when the task is done")
	f.IntVar(&j.Times, "times", 3, "how often the same is asked; more than half must say yes")
	f.Float64Var(&precision, "precision", 0.9, "least precision on the marked frames; below it the judge is refused")
	return cmd
}
