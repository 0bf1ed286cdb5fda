package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) simCmd() *cobra.Command {
	var onROS bool
	r := wire.Rates{States: 30, Jacobian: 1000, FPS: 30}
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Be a simulated Franka arm to other programs, in real time",
		Long: `Be the simulated arm of robot.task behind the topics, services and actions of a
real one (franka_ros, franka_gripper, serl_franka_controllers, cameras as
realsense2_camera has them), until interrupted:

  rapport sim --ros --set robot.task=reach &
  rapport run --set robot.kind=ros --set robot.task=reach --set session.from=runs/reach-001 \
    --set 'robot.ros.start.at=[0.42, 0, 0.12]' --set robot.ros.again=/rapport/reset --set guard.gate=off

A ROS master is started within this process where none answers at
robot.ros.master (or ROS_MASTER_URI). The service /rapport/reset puts the world
back, with the integer parameter /rapport/seed as its seed where that is set.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !onROS {
				return usageError{errors.New("how others reach the arm is not said; want --ros")}
			}
			c, err := a.load()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			err = wire.Simulate(ctx, c, r, a.options(bars), func(master string, own bool, start [3]float64) {
				whose := "that ran already"
				if own {
					whose = "within this process"
				}
				fmt.Fprintf(a.stdout, "master  %s, %s\ntask    %s, which starts at [%g, %g, %g]\nready\n", master, whose, c.Robot.Task, start[0], start[1], start[2])
			})
			if errors.Is(err, context.DeadlineExceeded) && limit > 0 || errors.Is(err, context.Canceled) {
				return nil // that is how it ends
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&onROS, "ros", false, "over ROS 1")
	cmd.Flags().Float64Var(&r.States, "states", r.States, "messages a second of franka_states; franka_ros's default, below which no session runs well: 100 is better")
	cmd.Flags().Float64Var(&r.Jacobian, "jacobian", r.Jacobian, "messages a second of franka_jacobian")
	cmd.Flags().Float64Var(&r.FPS, "fps", r.FPS, "images a second of each camera")
	cmd.Flags().DurationVar(&limit, "for", 0, "end after this long; 0: when interrupted")
	return cmd
}

func (a *app) recoverCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "recover",
		Short: "Have a real arm leave a reflex, after you have looked at it",
		Long: `Have the arm on ROS leave a reflex, or a user stop that was released again
(/franka_control/error_recovery). Nothing else in Rapport does so: look at the arm
first, and free it. Afterwards it holds where it is.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.load()
			if err != nil {
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			if err := wire.Recover(cmd.Context(), c, a.options(bars)); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.stdout, "the arm has recovered, and holds where it is")
			return err
		},
	}
}

// rosCmds are the commands that speak ROS.
func (a *app) rosCmds() []*cobra.Command { return []*cobra.Command{a.simCmd(), a.recoverCmd()} }
