package cli

import (
	"bytes"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/reward/filter"
)

func (a *app) rewardFilterCmd() *cobra.Command {
	var fc filter.Config
	var out string
	cmd := &cobra.Command{
		Use:   "filter [RUN]",
		Short: "Which demonstrations had better not be cloned",
		Long: `Score the demonstrations of the session RUN (without it, the newest) by its newest
reward, phase by phase, and print them as a Markdown table, the lowest first. The
share --quantile of the lowest is marked "drop", but for those that go wrong and end
well, and so are those that the reward sees otherwise than people did who compared
them.

Nothing is deleted, and RUN stays as it is. The list is written to --out as CSV.
Look at it, change verdicts (keep, drop), and begin a session that clones the
rest (docs/filter.md):

  rapport run --set session.from=RUN --set demos.filter=review.csv`,
		Example: "  rapport reward filter runs/group-001 --quantile 0.2 -o review.csv",
		Args:    atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case !(fc.Quantile >= 0 && fc.Quantile < 1):
				return usageError{fmt.Errorf("--quantile is %v; want 0, for conflicts alone, to below 1", fc.Quantile)}
			case fc.Phases < 1 || fc.Phases > 100:
				return usageError{fmt.Errorf("--phases is %d; want 1 to 100", fc.Phases)}
			}
			if fc.Quantile == 0 {
				fc.Quantile = -1
			}
			if err := writable("--out", out); err != nil {
				return err
			}
			dir, err := a.session(args)
			if err != nil {
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			rows, what, err := wire.FilterDemos(cmd.Context(), dir, fc, a.environ, a.sets, a.options(bars))
			if err != nil {
				return err
			}
			var list bytes.Buffer
			if err := filter.Write(&list, rows); err != nil {
				return err
			}
			if err := wire.WriteNew(out, list.Bytes()); err != nil {
				return err
			}
			bars.close()
			dropped := 0
			for _, r := range rows {
				if r.Drop {
					dropped++
				}
			}
			fmt.Fprintf(a.stdout, "%s, by %s\n\n", dir, what)
			if err := filter.Markdown(a.stdout, rows); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "\n%d of %d marked to be left out: %s\n", dropped, len(rows), out)
			return err
		},
	}
	f := cmd.Flags()
	f.Float64Var(&fc.Quantile, "quantile", 0.1, "share of the demonstrations, of the lowest scores, that is marked")
	f.IntVar(&fc.Phases, "phases", 4, "of equal length that each is scored in")
	f.StringVarP(&out, "out", "o", "review.csv", "file to write, which must not be there yet")
	return cmd
}
