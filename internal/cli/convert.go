package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
)

// dataExportCmd writes a session for other programs.
func (a *app) dataExportCmd() *cobra.Command {
	var lerobot, mcap bool
	var c wire.ConvertConfig
	cmd := &cobra.Command{
		Use:   "export (--lerobot | --mcap) SESSION OUT",
		Short: "Write a session for LeRobot or for Foxglove",
		Long: `Write the episodes of a session's folder into the folder OUT, which must be empty
or new: as a LeRobot v3.0 dataset, or as MCAP files of Foxglove's messages, one an
episode, with keypoints and rewards drawn on the images (docs/replaying.md). Where only
some episodes have rewards, as in an alignment, a LeRobot dataset has none, and it is said.`,
		Example: `  rapport data export --lerobot runs/group-001 group-lerobot --task "group the cubes"
  rapport data export --mcap runs/group-001 group-foxglove`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if lerobot == mcap {
				return usageError{errors.New("say for whom: --lerobot or --mcap")}
			}
			if len(args) != 2 {
				return usageError{fmt.Errorf("%d arguments; want the session's folder and the folder to write to", len(args))}
			}
			if !wire.SessionAt(args[0]) {
				return fmt.Errorf("%s is no session's folder; for anything else see: rapport data convert", args[0])
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			if mcap {
				n, left, err := wire.ExportMCAP(cmd.Context(), args[0], args[1], a.options(bars))
				if err != nil {
					a.restart(args[1], "another")
					return err
				}
				bars.close()
				fmt.Fprintf(a.stdout, "%s: %d episodes for Foxglove\n", args[1], n)
				return errors.Join(left...)
			}
			c.In, c.Out = args[:1], args[1]
			return a.convert(cmd, c, bars)
		},
	}
	cmd.Flags().BoolVar(&lerobot, "lerobot", false, "write a LeRobot v3.0 dataset")
	cmd.Flags().BoolVar(&mcap, "mcap", false, "write MCAP files for Foxglove")
	cmd.Flags().StringVar(&c.Task, "task", "", "what the arm was to do, for LeRobot")
	cmd.Flags().BoolVar(&c.Images, "images", false, "keep frames as PNG, bit for bit, instead of as films, for LeRobot")
	return cmd
}

// dataConvertCmd makes a dataset of recordings of any format.
func (a *app) dataConvertCmd() *cobra.Command {
	var c wire.ConvertConfig
	var topics []string
	var columns string
	cmd := &cobra.Command{
		Use:   "convert IN... OUT",
		Short: "Make a LeRobot v3.0 dataset of sessions, bags and other datasets",
		Long: `Write all episodes of IN into the folder OUT, which must be empty or new, as one
LeRobot v3.0 dataset, which rapport train policy --offline takes. Each IN is a
session's folder, an episode of one, a LeRobot folder, a robomimic file, or a bag
(.bag, .mcap, rosbag2), which becomes one episode. What cannot be read is left
out and told, with exit code 1. Where only some episodes have rewards, the dataset
has none, and it is said.`,
		Example: `  rapport data convert monday.bag tuesday.bag week --map wrist=/camera/color/image_raw
  rapport train policy --offline week --set learner.kind=bc --set policy.sees=pixels`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usageError{fmt.Errorf("%d arguments; want what to convert, and the folder to write to", len(args))}
			}
			if !(c.FPS >= 0 && c.FPS <= 1000) {
				return usageError{fmt.Errorf("--fps is %v; want the rate of the ticks, or 0", c.FPS)}
			}
			var err error
			if c.Topics, err = topicMap(topics, true); err != nil {
				return usageError{err}
			}
			if c.Columns, err = readMap("--columns", columns); err != nil {
				return err
			}
			c.In, c.Out = args[:len(args)-1], args[len(args)-1]
			bars := newProgress(a.stderr)
			defer bars.close()
			return a.convert(cmd, c, bars)
		},
	}
	cmd.Flags().StringVar(&c.Task, "task", "", "what the arm was to do")
	cmd.Flags().BoolVar(&c.Images, "images", false, "keep frames as PNG, bit for bit, instead of as films")
	cmd.Flags().Float64Var(&c.FPS, "fps", 0, "rate of what does not say it; 0 goes by the stamps")
	cmd.Flags().StringArrayVar(&topics, "map", nil, "a camera of a bag, or states, joints, gripper, target, pose, and its topic, as wrist=/camera/color/image_raw; target= takes out what would be guessed; may be repeated")
	cmd.Flags().StringVar(&columns, "columns", "", "YAML file that says what the columns of a foreign dataset mean (docs/datasets.md)")
	return cmd
}

func (a *app) convert(cmd *cobra.Command, c wire.ConvertConfig, bars *progress) error {
	out, err := wire.Convert(cmd.Context(), c, a.options(bars))
	if err != nil {
		a.restart(c.Out, "another")
		return err
	}
	bars.close()
	for _, n := range out.Notes {
		fmt.Fprintln(a.stderr, "note:", n)
	}
	fmt.Fprintf(a.stdout, "%s: %d episodes, %d steps as LeRobot v3.0\n", c.Out, out.Episodes, out.Steps)
	return errors.Join(out.Left...)
}
