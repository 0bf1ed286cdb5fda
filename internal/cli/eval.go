package cli

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) evalCmd() *cobra.Command {
	var seeds int
	var which, table string
	cmd := &cobra.Command{
		Use:   "eval [SESSION]",
		Short: "Evaluate a session's policy on fresh seeds: success and return, with intervals",
		Long: `Run a policy of the session in the folder SESSION (without it, the newest) on
starts that neither demonstrations nor learning have seen, without exploration,
and print success by the simulator's truth with its 95 % interval (Wilson), and
the return by the session's visual reward with its own (Student's t).

--set seed=7 gives other starts, --set robot.timestep=0.001 a finer physics,
--set robot.disturb.camera=0.02 a camera that was moved, and robot.disturb.turn,
.light and .distractors likewise; rapport reproduce robust walks through them.`,
		Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if seeds < 2 || seeds > 100_000 {
				return usageError{fmt.Errorf("--seeds is %d; want 2 to 100000", seeds)}
			}
			dir, err := a.session(args)
			if err != nil {
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			ev, err := wire.Evaluate(cmd.Context(), dir, which, seeds, a.environ, a.sets, a.options(bars))
			if err != nil {
				return err
			}
			bars.close()
			if table != "" {
				if err := writeTrials(table, ev); err != nil {
					return err
				}
			}
			return printEvaluation(a.stdout, ev)
		},
	}
	cmd.Flags().IntVar(&seeds, "seeds", 100, "how many starts")
	cmd.Flags().StringVar(&which, "policy", wire.Tuned, "tuned (the newest), cloned, or a file of parameters")
	cmd.Flags().StringVar(&table, "csv", "", "file to write a row a start to")
	return cmd
}

// session is the folder that args name, or the newest session's.
func (a *app) session(args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	c, err := config.Load(a.file, a.environ, a.sets)
	if err != nil {
		return "", usageError{err}
	}
	if c.Name != "" {
		return filepath.Join(c.Out, c.Name), nil
	}
	return wire.Newest(c.Out)
}

func printEvaluation(w io.Writer, ev wire.Evaluation) error {
	var returns []float64
	for _, t := range ev.Trials {
		returns = append(returns, t.Return)
	}
	mean, half := report.Interval(returns)
	cut := ""
	if n := ev.CutOff(); n > 0 {
		cut = fmt.Sprintf("cut off  %d of %d by the guard: failures, of return 0\n", n, len(ev.Trials))
	}
	_, err := fmt.Fprintf(w, "\nsession  %s\npolicy   %s\nsuccess  %v\n%s%sreturn   %.3f, 95 %% interval %.3f to %.3f\n", ev.Dir, ev.Policy, ev.Success(), cut, printStyles(ev), mean, mean-half, mean+half)
	return err
}

func writeTrials(path string, ev wire.Evaluation) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	rows := [][]string{{"start", "seed", "success", "return", "cut_off"}}
	if ev.Styled {
		rows[0] = append(rows[0], "preferred", "undesired")
	}
	for _, t := range ev.Trials {
		row := []string{strconv.Itoa(t.N), strconv.FormatUint(t.Seed, 10), strconv.FormatBool(t.Success), strconv.FormatFloat(t.Return, 'g', -1, 64), strconv.FormatBool(t.CutOff)}
		if ev.Styled {
			row = append(row, strconv.FormatBool(t.Preferred), strconv.FormatBool(t.Undesired))
		}
		rows = append(rows, row)
	}
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
