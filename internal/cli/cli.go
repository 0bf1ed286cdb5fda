// Package cli holds the commands of rapport. Main is all of the program except
// the process: arguments, environment and output come from outside, so that
// tests run whole commands:
//
//	code := cli.Main([]string{"config"}, os.Environ(), os.Stdout, os.Stderr)
//
// Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted or
// hung up on (the session is kept, and rapport run --resume goes on), 3 done, but a recording
// is damaged and some of it is lost (rapport bag).
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/config"
)

// The exit codes of Main.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// usageError marks what the user mends by other arguments or another
// configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// app is what the commands share.
type app struct {
	environ        []string
	stdout, stderr io.Writer
	log            *slog.Logger
	file           string
	sets           []string
	verbose        bool
	again          string // the command that goes on after an interrupt, or begins again
	kept           bool   // what was done is kept, and again goes on with it
	untold         bool   // it was said that a file does not tell its settings
	misread        bool   // what is set holds mistakes that were told
}

// Main runs the command that args name and returns the exit code. The first
// interrupt ends it cleanly, the second at once; a terminal that is closed ends it
// cleanly. Who reads stdout may go away.
func Main(args, environ []string, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer hangUps(cancel)()
	defer brokenPipes()()
	if f, ok := stderr.(*os.File); ok {
		p := &patient{file: f}
		defer p.flush()
		stderr = p
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from now on a second interrupt kills
	return run(ctx, args, environ, unread{stdout}, stderr)
}

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	a := &app{environ: environ, stdout: stdout, stderr: stderr, again: same}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	var loss lossError
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		how := "interrupted before it was done; begin again with: "
		if a.kept {
			how = "interrupted; what was done is kept, go on with: "
		}
		fmt.Fprintln(stderr, "rapport: "+how+a.again)
		return exitInterrupted
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "rapport: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "rapport: %v\n", err)
	if errors.As(err, &loss) {
		return exitLoss
	}
	return exitFailed
}

// same is the command that was given.
const same = "the same command"

// keeps says that an interrupt loses nothing from here on, and which command goes on.
func (a *app) keeps(again string) { a.again, a.kept = again, true }

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "rapport",
		Short:         "Fine-tune visuomotor robot policies from cameras and preferences",
		SilenceUsage:  true,
		SilenceErrors: true,
		// Without these, cobra's error for an unknown command could not be told
		// from a failure.
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("there is no command %q; see: rapport help", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun: func(*cobra.Command, []string) {
			level := slog.LevelWarn
			if a.verbose {
				level = slog.LevelDebug
			}
			a.log = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
		},
	}
	root.PersistentFlags().StringVarP(&a.file, "config", "c", "", "session file (see: rapport config)")
	root.PersistentFlags().StringArrayVar(&a.sets, "set", nil, "override a key, as robot.task=reach; may be repeated")
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "log what happens")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetHelpCommand(helpCmd())
	root.AddCommand(a.runCmd(), a.practiceCmd(), a.reproduceCmd(), a.configCmd(), a.pictureCmd(), a.evalCmd(), a.trainCmd(), a.dataCmd(), a.policyCmd(), a.doctorCmd(), a.replayCmd(), a.recordCmd())
	root.AddCommand(a.serveCmds()...)
	root.AddCommand(a.stopCmd(), a.faultCmd(), a.guardCmd())
	root.AddCommand(a.dashboardCmd())
	root.AddCommand(a.labelCmd())
	root.AddCommand(a.clicksCmd())
	root.AddCommand(a.bagCmd())
	root.AddCommand(a.pipelineCmd())
	root.AddCommand(a.rosCmds()...)
	root.AddCommand(a.rewardCmd())
	root.AddCommand(a.alignCmd())
	root.AddCommand(a.calibrateCmd())
	return root
}

// helpCmd is cobra's, which prints the general help for a command that there is not.
func helpCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Say what a command does",
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usageError{fmt.Errorf("there is no command %q; see: rapport help", strings.Join(args, " "))}
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		},
	}
}

// noArgs refuses arguments as wrong usage.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasSubCommands():
		return usageError{fmt.Errorf("there is no command %q in %s; see: rapport help%s", args[0], cmd.CommandPath(), strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()))}
	}
	wants := ""
	if f := cmd.Flags().Lookup("dashboard"); f != nil && f.Changed && f.NoOptDefVal != "" {
		wants = fmt.Sprintf("; an address wants an equals sign, as --dashboard=%s", args[0])
	}
	return usageError{fmt.Errorf("%s takes no arguments, and was given %q%s", cmd.CommandPath(), args[0], wants)}
}

// atMostOne refuses more than one argument as wrong usage.
func atMostOne(cmd *cobra.Command, args []string) error {
	if err := cobra.MaximumNArgs(1)(cmd, args); err != nil {
		return usageError{err}
	}
	return nil
}

// load reads the configuration that the flags name.
func (a *app) load() (config.Config, error) { return a.configured(config.Load) }

// pinned tells which lines of the file keep c from what its task has of its own.
func (a *app) pinned(c config.Config) error {
	if a.file == "" {
		return nil
	}
	return a.pins(c.Pinned(a.file, a.environ, a.sets), fmt.Sprintf("task %s with reward %s has its own", c.Robot.Task, c.Reward.Kind))
}

// pins tells which lines of the file keep general defaults where somebody has others.
func (a *app) pins(ps []config.Change, who string) error {
	var lines []string
	for _, p := range ps {
		lines = append(lines, fmt.Sprintf("%s (%s, and not %s)", p.Key, p.Is, p.Was))
	}
	if len(lines) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(a.stderr, "note: %s gives general defaults where %s; leave out, unless they are meant: %s\n", a.file, who, strings.Join(lines, ", "))
	return err
}

// lies reads where a session lies that is there, and how its bus is reached, and leaves what else is set to its own configuration.
func (a *app) lies() (config.Config, error) { return a.configured(config.Where) }

// finds is lies for who acknowledges a session's faults or looks at it: mistakes in what else is
// set are told, and hinder none of it.
func (a *app) finds() (config.Config, error) {
	c, err := a.configured(config.Whereabouts)
	if err != nil {
		return c, err
	}
	if _, err := anyhow(a.lies); err != nil {
		a.misread = true
		fmt.Fprintf(a.stderr, "rapport: %v\nrapport: this hinders nothing here: the session is found by what could be read\n", err)
	}
	return c, nil
}

func (a *app) configured(read func(file string, environ, sets []string) (config.Config, error)) (config.Config, error) {
	c, err := read(a.file, a.environ, a.sets)
	if err != nil {
		return c, usageError{err}
	}
	return c, nil
}

func (a *app) configCmd() *cobra.Command {
	resolved := false
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the commented default configuration",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			b := config.DefaultYAML()
			if resolved {
				c, err := a.load()
				if err != nil {
					return err
				}
				if b, err = c.YAML(); err != nil {
					return err
				}
			}
			_, err := a.stdout.Write(b)
			return err
		},
	}
	cmd.Flags().BoolVar(&resolved, "resolved", false, "print what file, environment and flags resolve to")
	return cmd
}
