package cli

import (
	"encoding/csv"
	"errors"
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
			var rows *os.File
			if table != "" { // before anything runs whose result would be lost
				if rows, err = newTable(table); err != nil {
					return err
				}
				defer func() { err = errors.Join(err, rows.Close()) }()
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			ev, err := wire.Evaluate(cmd.Context(), dir, which, seeds, a.environ, a.sets, a.options(bars))
			if err != nil {
				if rows != nil && !pipe(table) {
					err = errors.Join(err, os.Remove(table))
				}
				return err
			}
			bars.close()
			by, err := wire.Searched(dir, a.environ, a.sets)
			err = errors.Join(err, printEvaluation(a.stdout, ev, by))
			if rows != nil {
				err = errors.Join(err, writeTrials(rows, ev))
			}
			return err
		},
	}
	cmd.Flags().IntVar(&seeds, "seeds", 100, "how many starts")
	cmd.Flags().StringVar(&which, "policy", wire.Tuned, "tuned (the newest), cloned, or a file of parameters")
	cmd.Flags().StringVar(&table, "csv", "", "file to write a row a start to, which must not be there yet")
	return cmd
}

// session is the folder that args name, or the newest session's.
func (a *app) session(args []string) (string, error) {
	if len(args) > 0 {
		return args[0], a.unread(args[0])
	}
	c, err := a.lies()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(c.Out, c.Name)
	if c.Name == "" {
		if dir, err = wire.Newest(c.Out); err != nil {
			return "", err
		}
	}
	return dir, a.unread(dir)
}

// unread says that the session in dir goes by its own settings, where a file of others was named,
// and refuses one that is none. Its values need not go together, as where a --set is left out.
func (a *app) unread(dir string) error {
	if a.file == "" {
		return nil
	}
	if _, err := config.Where(a.file, nil, nil); err != nil {
		return usageError{err}
	}
	return a.note(dir)
}

// note is unread for a session that was found by a file, of which only that counted.
func (a *app) note(dir string) error {
	if a.file == "" {
		return nil
	}
	_, err := fmt.Fprintf(a.stderr, "note: %s goes by the settings of its own folder, and by none of %s; change some by --set\n", dir, a.file)
	return err
}

// printEvaluation tells how a policy did whose chunks were searched for so; "": they were not.
func printEvaluation(w io.Writer, ev wire.Evaluation, searched string) error {
	cut := ""
	if n := ev.CutOff(); n > 0 {
		cut = fmt.Sprintf("cut off  %d of %d by the guard: failures, which have no return\n", n, len(ev.Trials))
	}
	if searched != "" {
		searched = fmt.Sprintf("searched by the critic, %s\n", searched)
	}
	_, err := fmt.Fprintf(w, "\nsession  %s\npolicy   %s\n%ssuccess  %v\n%s%sreturn   %s\n", ev.Dir, ev.Policy, searched, ev.Success(), cut, printStyles(ev), printReturn(ev))
	return err
}

// printReturn tells the mean of the starts that have a return: 0, the best that there is, would
// make a policy that is cut off seem good.
func printReturn(ev wire.Evaluation) string {
	var returns []float64
	for _, t := range ev.Trials {
		if !t.CutOff {
			returns = append(returns, t.Return)
		}
	}
	mean, half := report.Interval(returns)
	said := fmt.Sprintf("%.3f, 95 %% interval %.3f to %.3f", mean, mean-half, mean+half)
	switch len(returns) {
	case len(ev.Trials):
		return said
	case 0:
		return "none"
	case 1:
		return fmt.Sprintf("%.3f, of the start that was not cut off", mean)
	}
	return fmt.Sprintf("%s, of the %d starts that were not cut off", said, len(returns))
}

// pipe says whether rows go to somebody who reads them at once, as /dev/stdout does.
func pipe(path string) bool {
	st, err := os.Stat(path)
	return err == nil && !st.Mode().IsRegular() && !st.IsDir()
}

// newTable begins a file for writeTrials.
func newTable(path string) (*os.File, error) {
	if pipe(path) {
		return os.OpenFile(path, os.O_WRONLY, 0)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("--csv: %s is there already; remove it, or write to another file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("--csv: %w; name a file in a folder that is there and can be written to", err)
	}
	return f, nil
}

func writeTrials(to io.Writer, ev wire.Evaluation) error {
	w := csv.NewWriter(to)
	rows := [][]string{{"start", "seed", "success", "return", "cut_off"}}
	if ev.Styled {
		rows[0] = append(rows[0], "preferred", "undesired")
	}
	for _, t := range ev.Trials {
		ret := "" // of what was cut off
		if !t.CutOff {
			ret = strconv.FormatFloat(t.Return, 'g', -1, 64)
		}
		row := []string{strconv.Itoa(t.N), strconv.FormatUint(t.Seed, 10), strconv.FormatBool(t.Success), ret, strconv.FormatBool(t.CutOff)}
		if ev.Styled {
			row = append(row, strconv.FormatBool(t.Preferred), strconv.FormatBool(t.Undesired))
		}
		rows = append(rows, row)
	}
	return w.WriteAll(rows)
}
