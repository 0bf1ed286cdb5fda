package cli

import "github.com/spf13/cobra"

// rewardCmd is what there is to ask of rewards.
func (a *app) rewardCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reward",
		Short: "Compare rewards, draw, explain and align them",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.rewardCompareCmd(), a.rewardPlotCmd())
	cmd.AddCommand(a.rewardExplainCmd(), a.rewardAlignCmd())
	cmd.AddCommand(a.rewardClassifierCmd(), a.rewardJudgeCmd())
	cmd.AddCommand(a.rewardFilterCmd(), a.rewardProbeCmd())
	return cmd
}
