package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) reproduceCmd() *cobra.Command {
	var seeds int
	cmd := &cobra.Command{
		Use:   "reproduce",
		Short: "Run the session with several seeds and print success with intervals",
		Long: `Run the configured session once for each of the seeds 1, 2, ... and print a
table in Markdown: success before and after on fresh seeds, and the mean over
the seeds with its 95 % interval by Student's t. Sessions that are there already are gone on
with, or read, so that an interrupted reproduction goes on too.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.load()
			if err != nil {
				return err
			}
			if seeds < 2 {
				return usageError{fmt.Errorf("--seeds is %d; want at least 2 for an interval", seeds)}
			}
			return a.reproduce(cmd.Context(), c, seeds)
		},
	}
	cmd.Flags().IntVar(&seeds, "seeds", 5, "how many seeds")
	return cmd
}

func (a *app) reproduce(ctx context.Context, c config.Config, seeds int) error {
	var before, after []float64
	var rows strings.Builder
	for seed := 1; seed <= seeds; seed++ {
		c.Seed = uint64(seed)
		c.Name = fmt.Sprintf("reproduce-%s-%d", c.Robot.Task, seed)
		fmt.Fprintf(a.stderr, "seed %d of %d\n", seed, seeds)
		res, err := a.once(ctx, c)
		if err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		before, after = append(before, 100*res.Before.Rate()), append(after, 100*res.After.Rate())
		fmt.Fprintf(&rows, "| %d | %d of %d | %d of %d |\n", seed, res.Before.Hits, res.Before.Of, res.After.Hits, res.After.Of)
	}
	b, bh := report.Interval(before)
	f, fh := report.Interval(after)
	fmt.Fprintf(a.stdout, "| seed | cloned | fine-tuned, %d episodes |\n|---|---|---|\n%s| mean | %.1f ± %.1f %% | %.1f ± %.1f %% |\n", c.Session.Episodes, rows.String(), b, bh, f, fh)
	return nil
}

// once runs a session, or goes on with it.
func (a *app) once(ctx context.Context, c config.Config) (res wire.Result, err error) {
	bars := newProgress(a.stderr)
	defer bars.close()
	o := a.options(bars)
	var s *wire.Session
	if _, e := os.Stat(filepath.Join(c.Out, c.Name, "session.db")); e == nil {
		s, err = wire.Reopen(ctx, c, o)
	} else {
		s, err = wire.Create(ctx, c, o)
	}
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Run(ctx)
}
