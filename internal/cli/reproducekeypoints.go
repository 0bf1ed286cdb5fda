package cli

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) reproduceKeypointsCmd() *cobra.Command {
	st := wire.KeypointStudy{Troubles: wire.Troubles()}
	cmd := &cobra.Command{
		Use:   "keypoints",
		Short: "Judge the tracking of points and their lifting into the room by the simulation's truth",
		Long: `Render demonstrations of both styles of every task with each of the seeds 0, 1, ...
from two cameras, track points of the boxes, the balls and the tool in them, and compare
with their true projections: as they are, with a board that crosses the view, with a
camera that sways and is knocked, in changing light, with things of the same colours in
the way, and with all of that. A table in Markdown goes to stdout.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if st.Seeds < 1 {
				return usageError{fmt.Errorf("--seeds is %d; want at least 1", st.Seeds)}
			}
			if err := wantSome("--tasks", st.Tasks); err != nil {
				return usageError{err}
			}
			for _, t := range st.Tasks {
				if !slices.Contains([]string{"group", "clutter", "reach"}, t) {
					return usageError{fmt.Errorf("--tasks names %q; want some of group, clutter, reach", t)}
				}
			}
			bars := newProgress(a.stderr)
			rs, err := wire.Keypoints(cmd.Context(), st, a.options(bars).Tell)
			bars.close()
			if err != nil {
				return err
			}
			return keypointTable(a.stdout, rs)
		},
	}
	cmd.Flags().IntVar(&st.Seeds, "seeds", 5, "how many seeds")
	cmd.Flags().StringSliceVar(&st.Tasks, "tasks", []string{"group", "clutter", "reach"}, "tasks: group, clutter, reach")
	return cmd
}

func keypointTable(w io.Writer, rs []wire.KeypointResult) error {
	fmt.Fprintln(w, "| trouble | points | error p50, px | p95, px | over 10 px | lost | found at the end | hidden, and tracked elsewhere | lifted p50, mm | p95, mm | two cameras p50, mm | p95, mm |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, r := range rs {
		share := func(n, of int) float64 { return 100 * float64(n) / float64(max(1, of)) }
		_, err := fmt.Fprintf(w, "| %s | %d | %.2f | %.2f | %.2f %% | %.2f %% | %.1f %% | %.1f %% of %d | %.1f | %.1f | %.1f | %.1f |\n", r.Trouble, r.Points,
			report.Quantile(r.Pixels, 0.5), report.Quantile(r.Pixels, 0.95), share(r.Wrong, len(r.Pixels)), share(r.Lost, r.Points),
			share(r.Again, r.Ends), share(r.Blind, r.Hidden), r.Hidden,
			1000*report.Quantile(r.Lift, 0.5), 1000*report.Quantile(r.Lift, 0.95), 1000*report.Quantile(r.Both, 0.5), 1000*report.Quantile(r.Both, 0.95))
		if err != nil {
			return err
		}
	}
	return nil
}
