package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/web"
	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/reward/kagi/click"
)

func (a *app) clicksCmd() *cobra.Command {
	listen := defaultPage
	cmd := &cobra.Command{
		Use:   "clicks FOLDER",
		Short: "Click a plan of waypoints on the arm's first pictures, in a browser",
		Long: `Click a plan for reward.kind kagi on the pictures of a reset, in a browser: the
things that matter, and the places that they are to go through. The printed URL
holds a token, without which nobody sees or saves anything.

The simulated arm is reset once, as it is configured, and stands still. The plan is
written to FOLDER/plan.json beside its pictures, and the command ends. A session with
reward.kagi.source clicks and no plan has the same page (docs/kagi.md), and an arm over
ROS has it there alone: what stops an arm is its session's.`,
		Example: `  rapport clicks reach --set robot.task=reach
  rapport run --set robot.task=reach --set reward.kind=kagi --set reward.kagi.source=clicks --set reward.kagi.plan=reach/plan.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("name the folder for the plan and its pictures, as: rapport clicks reach")}
			}
			c, err := a.load()
			if err != nil {
				return err
			}
			if c.Robot.Kind == "ros" { // no desk stops it here, and rapport stop does not find it
				return usageError{errors.New("robot.kind is ros: without a session no stop would reach the arm while it is reset; click in a session instead: reward.kind kagi with reward.kagi.source clicks")}
			}
			f := click.Folder(args[0])
			w, err := web.Start(web.Options{Session: args[0], Listen: listen, Clicks: f, Log: a.log})
			if err != nil {
				return err
			}
			defer w.Close()
			if err := a.opens(w, "clicks  ", w.ClicksURL()); err != nil {
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			if err := wire.ClickPlan(cmd.Context(), c, f, a.options(bars)); err != nil {
				return err
			}
			bars.close()
			_, err = fmt.Fprintf(a.stdout, "plan    %s\n", f.PlanFile())
			return err
		},
	}
	cmd.Flags().StringVar(&listen, "listen", listen, "address; port 0 picks a free one; beyond loopback the token crosses the network unencrypted")
	return cmd
}
