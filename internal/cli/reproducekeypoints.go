package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// tracked are the tasks whose points are known.
var tracked = []string{"group", "clutter", "reach", "stack", "almonds", "spatula", "cover"}

func (a *app) reproduceKeypointsCmd() *cobra.Command {
	st := wire.KeypointStudy{Troubles: wire.Troubles()}
	var tasks []string
	cmd := &cobra.Command{
		Use:   "keypoints",
		Short: "Judge the tracking of points and their lifting into the room by the simulation's truth",
		Long: `Render demonstrations of both styles of every task with each of the seeds 0, 1, ...
from two cameras, track points of its things and of the tool in them, and compare with
their true projections: as they are, with a board that crosses the view, with a
camera that sways and is knocked, in changing light, with things of the same colours in
the way, and with all of that. A table in Markdown goes to stdout. Of a session's settings
robot.render counts.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if st.Seeds < 1 {
				return usageError{fmt.Errorf("--seeds is %d; want at least 1", st.Seeds)}
			}
			if err := wantSome("--tasks", tasks); err != nil {
				return usageError{err}
			}
			for _, t := range tasks {
				if !slices.Contains(tracked, t) {
					return usageError{fmt.Errorf("--tasks names %q; want some of %s", t, strings.Join(tracked, ", "))}
				}
			}
			if err := a.refuse(besidesRender()); err != nil {
				return err
			}
			c, err := a.load()
			if err != nil {
				return err
			}
			if a.file != "" {
				fmt.Fprintf(a.stderr, "note: of %s robot.render alone counts here, which is %s\n", a.file, c.Robot.Render)
			}
			st.Render = tabletop.Render(c.Robot.Render)
			fmt.Fprintln(a.stdout, "| task | trouble | points | error p50, px | p95, px | over 10 px | lost | found at the end | hidden, and tracked elsewhere | lifted p50, mm | p95, mm | two cameras p50, mm | p95, mm |")
			fmt.Fprintln(a.stdout, "|---|---|---|---|---|---|---|---|---|---|---|---|---|")
			for _, task := range tasks {
				st.Task = task
				bars := newProgress(a.stderr)
				rs, err := wire.Keypoints(cmd.Context(), st, a.options(bars).Tell)
				bars.close()
				if err == nil {
					err = keypointRows(a.stdout, task, rs)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&st.Seeds, "seeds", 5, "how many seeds")
	cmd.Flags().StringSliceVar(&tasks, "tasks", tracked, "tasks, of those that points are known of")
	return cmd
}

// besidesRender are, for refuse, the keys that the study does not go by, but for those that no
// study does.
func besidesRender() map[string]string {
	how := map[string]string{}
	for _, key := range config.Keys() {
		if !config.Covers([]string{"robot.render", "name", "out", "bus.", "learner.device"}, key) {
			how[key] = "of a session's settings this study goes by robot.render alone"
		}
	}
	how["robot.task"], how["seed"] = "the tasks are those of --tasks", "the seeds are those of --seeds"
	return how
}

func keypointRows(w io.Writer, task string, rs []wire.KeypointResult) error {
	for _, r := range rs {
		share := func(n, of int) float64 { return 100 * float64(n) / float64(max(1, of)) }
		_, err := fmt.Fprintf(w, "| %s | %s | %d | %.2f | %.2f | %.2f %% | %.2f %% | %.1f %% | %.1f %% of %d | %.1f | %.1f | %.1f | %.1f |\n", task, r.Trouble, r.Points,
			report.Quantile(r.Pixels, 0.5), report.Quantile(r.Pixels, 0.95), share(r.Wrong, len(r.Pixels)), share(r.Lost, r.Points),
			share(r.Again, r.Ends), share(r.Blind, r.Hidden), r.Hidden,
			1000*report.Quantile(r.Lift, 0.5), 1000*report.Quantile(r.Lift, 0.95), 1000*report.Quantile(r.Both, 0.5), 1000*report.Quantile(r.Both, 0.95))
		if err != nil {
			return err
		}
	}
	return nil
}
