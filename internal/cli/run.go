package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/web"
	"github.com/rapport-rl/rapport/internal/wire"
)

// droppable says whether drop, if it is not empty, is a kind of checkpoint.
func droppable(drop string) error {
	if kinds := wire.Kinds(); drop != "" && !slices.Contains(kinds, drop) {
		return usageError{fmt.Errorf("--drop-checkpoint is %q; want one of %s", drop, strings.Join(kinds, ", "))}
	}
	return nil
}

func (a *app) runCmd() *cobra.Command {
	var resume bool
	var drop, page string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Fine-tune a policy: a whole session in this process",
		Long: `Fine-tune a policy on the visual reward: demonstrations, encoder, preferences,
cloning, evaluation, fine-tuning, evaluation, report. Everything is embedded.
Ctrl-C ends it cleanly at any moment; --resume goes on.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if drop != "" && !resume {
				return usageError{errors.New("--drop-checkpoint goes with --resume")}
			}
			if err := droppable(drop); err != nil {
				return err
			}
			if page != "" {
				if err := web.Try(page); err != nil {
					return err
				}
			}
			ctx := cmd.Context()
			bars := newProgress(a.stderr)
			defer bars.close()
			o, end := a.driving(bars)
			defer end()
			var s *wire.Session
			if resume {
				s, err = a.resume(cmd, o)
			} else {
				var c config.Config
				if c, err = a.load(); err != nil {
					return err
				}
				if err = a.pinned(c); err != nil {
					return err
				}
				s, err = wire.Create(ctx, c, o)
			}
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			a.keeps(wire.GoOn(s.Dir()))
			if drop != "" {
				if err := s.DropCheckpoint(ctx, drop); err != nil {
					return err
				}
			}
			if page == "" && s.Clicks() != "" {
				page = "127.0.0.1:0" // without a page nobody could click the plan
			}
			if page != "" {
				conn, name := s.Bus()
				w, err := a.serve(conn, name, s.Dir(), page)
				if err != nil {
					return err
				}
				defer w.Finish()
				s.ClickAt(w.ClicksURL())
			}
			res, err := s.Run(ctx)
			if err != nil {
				return err
			}
			bars.close()
			return a.print(res)
		},
	}
	cmd.Flags().BoolVar(&resume, "resume", false, "go on with the newest session, or with the one that name says, as its folder configures it; --set may change, for good, session.episodes, evaluate, checkpoint, orphan and realign, practice.hours and reminder, reward.success and classifier, robot.markers and moved, learner.device, encoder.onnx (the same file, elsewhere), and, for this start alone, guard.gate and guard.recover, teleop, perception, bus, robot.pace, and robot.ros.master, wait and again")
	cmd.Flags().StringVar(&drop, "drop-checkpoint", "", "with --resume: forget the newest checkpoint of a kind ("+strings.Join(wire.Kinds(), ", ")+"), where it is damaged")
	cmd.Flags().StringVar(&page, "dashboard", "", "show the session in a browser, at this address; the printed URL holds a token")
	cmd.Flags().Lookup("dashboard").NoOptDefVal = defaultPage
	return cmd
}

// resume goes on with a session. Where it lies is configured as it was.
func (a *app) resume(cmd *cobra.Command, o wire.Options) (*wire.Session, error) {
	where, err := a.lies()
	if err != nil {
		return nil, err
	}
	s, err := wire.Resume(cmd.Context(), where.Out, where.Name, a.environ, a.sets, o)
	if err != nil {
		return nil, err
	}
	return s, a.note(s.Dir())
}
