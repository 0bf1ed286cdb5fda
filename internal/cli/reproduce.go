package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/whole"
	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) reproduceCmd() *cobra.Command {
	var seeds seedSpan
	var steps int
	var offline []string
	cmd := &cobra.Command{
		Use:   "reproduce",
		Short: "Run the session with several seeds and print success with intervals",
		Long: `Run the configured session once for each of the seeds 1, 2, ..., or of those
of a span as 4-5, and print a table in Markdown: success before and after on
fresh seeds, and the mean over the seeds with its 95 % interval by Student's t.
Sessions that are there already are gone on with, or read, so that an interrupted
reproduction goes on too, and one that machines shared is put together.

--offline bc,iql trains a policy of each of these kinds on the demonstrations of
every session alone besides, and evaluates it on the same seeds.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.settled(map[string]string{
				"seed": "the seeds are those of --seeds", "name": "sessions are named by task, learner, reward and seed",
			}); err != nil {
				return err
			}
			c, err := a.load()
			if err != nil {
				return err
			}
			if err := trainable(c, steps, offline); err != nil {
				return usageError{err}
			}
			if err := a.reproduce(cmd.Context(), c, seeds); err != nil || len(offline) == 0 {
				return err
			}
			return a.reproduceOffline(cmd.Context(), c, seeds, steps, offline)
		},
	}
	cmd.AddCommand(a.reproduceRAPLCmd())
	cmd.AddCommand(a.reproduceXMagicalCmd())
	cmd.AddCommand(a.reproduceKeypointsCmd())
	cmd.AddCommand(a.reproduceKAGICmd())
	cmd.AddCommand(a.reproduceRobustCmd())
	cmd.AddCommand(a.reproducePracticeCmd())
	cmd.AddCommand(a.reproduceAlignCmd())
	seeds.flag(cmd, "seeds", seedsUsage)
	cmd.Flags().StringSliceVar(&offline, "offline", nil, "kinds of learners to train on the demonstrations alone, as bc,iql")
	cmd.Flags().IntVar(&steps, "steps", 5000, "gradient steps of --offline")
	return cmd
}

// trainable refuses what --offline cannot train, before the sessions that it learns from run.
func trainable(c config.Config, steps int, kinds []string) error {
	if steps < 1 {
		return fmt.Errorf("--steps is %d; want at least 1", steps)
	}
	for _, kind := range kinds {
		d := c
		d.Learner.Kind = kind
		if err := d.Validate(); err != nil {
			return fmt.Errorf("--offline names %s: %w", kind, err)
		}
		if kind == "ppo" {
			return errors.New("--offline names ppo, which learns from what its own policy does alone; want some of bc, iql, calql, rlpd, diffusion")
		}
	}
	return wantOnce("--offline", kinds)
}

// apart refuses a session that began otherwise than c, whose figures would be printed as those of c.
func apart(c config.Config) error {
	other, err := wire.Otherwise(c)
	if err != nil || len(other) == 0 {
		return err
	}
	var was []string
	for _, ch := range other {
		was = append(was, fmt.Sprintf("%s %s, not %s", ch.Key, ch.Was, ch.Is))
	}
	return fmt.Errorf("%s began with %s; leave it so, or keep these apart with --set out=FOLDER", filepath.Join(c.Out, c.Name), strings.Join(was, "; "))
}

func (a *app) reproduce(ctx context.Context, c config.Config, seeds seedSpan) error {
	for seed := range seeds.all() { // before any of them runs for hours
		c.Seed, c.Name = uint64(seed), reproduced(c, seed)
		if err := apart(c); err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
	}
	var before, after []float64
	var rows strings.Builder
	for seed := range seeds.all() {
		c.Seed = uint64(seed)
		c.Name = reproduced(c, seed)
		fmt.Fprintf(a.stderr, "seed %d of %v\n", seed, seeds)
		res, err := a.once(ctx, c)
		if err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		before, after = append(before, 100*res.Before.Rate()), append(after, 100*res.After.Rate())
		fmt.Fprintf(&rows, "| %d | %d of %d | %d of %d |\n", seed, res.Before.Hits, res.Before.Of, res.After.Hits, res.After.Of)
	}
	b, bh := report.Interval(before)
	f, fh := report.Interval(after)
	fmt.Fprintf(a.stdout, "| seed | cloned | fine-tuned, %d episodes |\n|---|---|---|\n%s| mean | %s %% | %s %% |\n", c.Session.Episodes, rows.String(), interval(b, bh, 1), interval(f, fh, 1))
	return nil
}

// reproduced names the session of a seed.
func reproduced(c config.Config, seed int) string {
	name := "reproduce-" + c.Robot.Task
	if c.Learner.Kind != "rlpd" {
		name += "-" + c.Learner.Kind
	}
	if c.Policy.Sees != "features" {
		name += "-" + c.Policy.Sees
	}
	if c.Reward.Kind != "rapl" {
		name += "-" + c.Reward.Kind
	}
	return fmt.Sprintf("%s-%d", name, seed)
}

// reproduceOffline trains each kind on the demonstrations of every session.
func (a *app) reproduceOffline(ctx context.Context, c config.Config, seeds seedSpan, steps int, kinds []string) error {
	rates := make([][]float64, len(kinds))
	var rows strings.Builder
	for seed := range seeds.all() {
		dir := filepath.Join(c.Out, reproduced(c, seed))
		fmt.Fprintf(&rows, "| %d |", seed)
		for i, kind := range kinds {
			fmt.Fprintf(a.stderr, "%s offline, seed %d of %v\n", kind, seed, seeds)
			won, err := a.offline(ctx, dir, kind, steps, c.Session.Evaluate)
			if err != nil {
				return fmt.Errorf("%s offline, seed %d: %w", kind, seed, err)
			}
			rates[i] = append(rates[i], 100*won.Rate())
			fmt.Fprintf(&rows, " %d of %d |", won.Hits, won.Of)
		}
		rows.WriteString("\n")
	}
	fmt.Fprintf(a.stdout, "\n| seed | %s |\n|---|%s\n%s| mean |", strings.Join(kinds, " | "), strings.Repeat("---|", len(kinds)), rows.String())
	for _, r := range rates {
		mean, half := report.Interval(r)
		fmt.Fprintf(a.stdout, " %s %% |", interval(mean, half, 1))
	}
	_, err := fmt.Fprintln(a.stdout)
	return err
}

// offline trains on the demonstrations of a session, and evaluates.
func (a *app) offline(ctx context.Context, dir, kind string, steps, evaluate int) (won report.Share, err error) {
	bars := newProgress(a.stderr)
	defer bars.close()
	o := a.options(bars)
	sets := append(slices.Clone(a.sets), "learner.kind="+kind)
	t, err := wire.TrainOffline(ctx, dir, true, steps, a.environ, sets, o)
	if err != nil {
		return won, err
	}
	file := filepath.Join(dir, "offline-"+kind+".safetensors")
	if err := whole.Write(file, t.Params.Data); err != nil {
		return won, err
	}
	ev, err := wire.Evaluate(ctx, dir, file, evaluate, a.environ, nil, o)
	return ev.Success(), err
}

// unattended has a simulated arm go on by itself: nobody is there to acknowledge what a policy
// did to it.
func unattended(c config.Config) config.Config {
	if c.Robot.Kind == "sim" && c.Guard.Recover.MaxPerHour == 0 {
		c.Guard.Recover = config.Unattended()
	}
	return c
}

// once runs a session, or goes on with it.
func (a *app) once(ctx context.Context, c config.Config) (res wire.Result, err error) {
	c = unattended(c)
	bars := newProgress(a.stderr)
	defer bars.close()
	o, end := a.driving(bars)
	defer end()
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
