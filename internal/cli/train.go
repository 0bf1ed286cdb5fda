package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) trainCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "train",
		Short: "Train from what was recorded, without an arm",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.trainPolicyCmd())
	return cmd
}

func (a *app) trainPolicyCmd() *cobra.Command {
	var from, out, columns string
	var steps int
	var demosOnly bool
	cmd := &cobra.Command{
		Use:   "policy --offline PATH",
		Short: "Train a policy on recorded episodes alone",
		Long: `Train a policy without an arm, on the episodes of a session's folder, the
demonstrations and what was collected online alike, or on those of a LeRobot
folder or a robomimic file, and write its parameters to a file.

--set learner.kind=iql (or calql, rlpd, bc, diffusion) says how. policy.sees=pixels takes the
frames instead of the encoder's features, as other formats want. What the
columns of those mean is guessed, as rapport data info tells, or said by --map.`,
		Example: `  rapport train policy --offline runs/group-001 --set learner.kind=iql -o iql.safetensors
  rapport eval runs/group-001 --policy iql.safetensors
  rapport train policy --offline data/lift --set learner.kind=bc --set policy.sees=pixels --set 'policy.axes=[x, y, z, grip]'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == "" {
				return usageError{errors.New("--offline is missing: name what to learn from, as --offline runs/group-001")}
			}
			if steps < 1 || steps > 100_000_000 {
				return usageError{fmt.Errorf("--steps is %d; want 1 to 100000000", steps)}
			}
			if err := writable("--out", out); err != nil {
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			t, err := a.trainPolicy(cmd.Context(), from, columns, demosOnly, steps, a.options(bars))
			if err != nil {
				return err
			}
			bars.close()
			for _, n := range t.Notes {
				fmt.Fprintln(a.stderr, "note:", n)
			}
			if err := wire.WriteNew(out, t.Params.Data); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "\nlearned from  %d episodes, %d transitions\n", t.Episodes, t.Rows)
			for _, m := range t.Metrics {
				fmt.Fprintf(a.stdout, "%-13s %.4g\n", m.Name, m.Value)
			}
			_, err = fmt.Fprintf(a.stdout, "parameters    %s\n", out)
			return err
		},
	}
	cmd.Flags().StringVar(&from, "offline", "", "session's folder, LeRobot folder or robomimic file to learn from")
	cmd.Flags().StringVar(&columns, "map", "", "YAML file that says what the columns of a foreign dataset mean (docs/datasets.md)")
	cmd.Flags().StringVarP(&out, "out", "o", "policy.safetensors", "file to write, which must not be there yet")
	cmd.Flags().BoolVar(&demosOnly, "demos-only", false, "leave out what the policy of a session collected")
	cmd.Flags().IntVar(&steps, "steps", 5000, "gradient steps")
	return cmd
}

func (a *app) trainPolicy(ctx context.Context, from, columns string, demosOnly bool, steps int, o wire.Options) (wire.Trained, error) {
	if wire.SessionAt(from) {
		if columns != "" {
			return wire.Trained{}, usageError{errors.New("--map is for foreign datasets; a session says itself what it holds")}
		}
		if err := a.unread(from); err != nil {
			return wire.Trained{}, err
		}
		return wire.TrainOffline(ctx, from, demosOnly, steps, a.environ, a.sets, o)
	}
	if demosOnly {
		return wire.Trained{}, usageError{errors.New("--demos-only is for sessions; a dataset does not tell what a policy collected")}
	}
	c, err := a.load()
	if err != nil {
		return wire.Trained{}, err
	}
	m, err := readMap("--map", columns)
	if err != nil {
		return wire.Trained{}, err
	}
	return wire.TrainImported(ctx, from, c, m, steps, o)
}

// readMap reads the file of a flag that says what columns mean; none if path is empty.
func readMap(flag, path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", flag, err)}
	}
	return b, nil
}

func (a *app) dataCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "data",
		Short: "Look at recorded demonstrations",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var columns string
	info := &cobra.Command{
		Use:   "info PATH",
		Short: "Say what a dataset holds and what its columns are taken to mean",
		Long: `Say what a LeRobot folder, a robomimic file or a session holds, and what its
columns are taken to mean, as YAML that --map takes after being mended.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := a.load(); err != nil { // which is read here for its mistakes alone
				return err
			}
			m, err := readMap("--map", columns)
			if err != nil {
				return err
			}
			in, err := wire.InspectImported(cmd.Context(), args[0], m)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.stdout, in.Info)
			for _, n := range in.Notes {
				fmt.Fprintln(a.stdout, "guessed:", n)
			}
			if len(in.Map) > 0 {
				fmt.Fprintf(a.stdout, "\n%s", in.Map)
			}
			return in.Err
		},
	}
	info.Flags().StringVar(&columns, "map", "", "YAML file that says what columns mean")
	cmd.AddCommand(info, a.dataExportCmd(), a.dataConvertCmd())
	return cmd
}
