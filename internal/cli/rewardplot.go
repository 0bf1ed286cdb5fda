package cli

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) rewardPlotCmd() *cobra.Command {
	pc := wire.PlotConfig{Of: "tool", Cells: 21}
	var area []float64
	cmd := &cobra.Command{
		Use:   "plot [RUN]",
		Short: "Draw a session's rewards over the table, as heat maps",
		Long: `Draw what the last step of an episode of the session RUN (without it, the newest)
would have been worth, had the tool been elsewhere over the table, or with --of an
object: the episode is lived through again in the simulator, the thing is put to
each place of a grid at a fixed height, and the rewards see the frame.

Without --reward these are the session's own reward and the simulator's truth; with
it the kinds that rapport reward compare has. A CSV is written beside the PNG.`,
		Example: `  rapport reward plot runs/reach-001 --out reach.png
  rapport reward plot runs/group-001 --of box2 --cells 31 --reward rapl=rapl --reward frozen=frozen --reward truth=truth --out box2.png`,
		Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case pc.Out == "" || !strings.HasSuffix(pc.Out, ".png"):
				return usageError{fmt.Errorf("--out is %q; want the name of a PNG file", pc.Out)}
			case pc.Cells < 2 || pc.Cells > 201:
				return usageError{fmt.Errorf("--cells is %d; want 2 to 201", pc.Cells)}
			case area != nil && len(area) != 4:
				return usageError{fmt.Errorf("--area is %v; want x and y from, x and y to, as 0.4,-0.2,0.7,0.2", area)}
			}
			if !cmd.Flags().Changed("height") {
				pc.Height = math.NaN()
			}
			if area != nil {
				pc.Area = (*[4]float64)(area)
			}
			dir, err := a.session(args)
			if err == nil {
				table := strings.TrimSuffix(pc.Out, ".png") + ".csv" // which is written beside it
				err = wire.Vacant(pc.Out, table)
			}
			if err != nil {
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			p, err := wire.PlotRewards(cmd.Context(), dir, pc, a.environ, a.sets, a.options(bars))
			if err != nil {
				return err
			}
			bars.close()
			fmt.Fprintf(a.stdout, "session  %s\nepisode  %s, at its end, with %s elsewhere at %.3f m\n", p.Session, p.Episode, p.Of, p.Height)
			t := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
			for _, m := range p.Maps {
				at, best := m.Best()
				fmt.Fprintf(t, "%s\t%s\tat most %.4g, at x %.3f, y %.3f\n", m.Reward, m.About, best, at[0], at[1])
			}
			if err := t.Flush(); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "written  %s\n", pc.Out)
			return err
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&pc.Rewards, "reward", nil, "a reward to draw, as soft=rapl:gamma=1; may be repeated")
	f.StringVar(&pc.Of, "of", pc.Of, "what is moved: tool, or an object, as box1 or ball")
	f.StringVar(&pc.Episode, "episode", "", "whose end it is moved at; the last one without it")
	f.Float64Var(&pc.Height, "height", 0, "m; without it, where the thing stands")
	f.IntVar(&pc.Cells, "cells", pc.Cells, "of a side of the map")
	f.Float64SliceVar(&area, "area", nil, "x and y from, x and y to, m; without it the guard's workspace")
	f.StringVarP(&pc.Out, "out", "o", "", "PNG file to write, with a CSV beside it; neither may be there yet")
	return cmd
}
