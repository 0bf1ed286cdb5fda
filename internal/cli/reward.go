package cli

import "github.com/spf13/cobra"

// rewardCmd is what there is to ask of rewards.
func (a *app) rewardCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reward",
		Short: "Compare rewards, and draw them",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.rewardCompareCmd(), a.rewardPlotCmd())
	return cmd
}
