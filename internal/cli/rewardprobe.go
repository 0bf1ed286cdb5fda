package cli

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/reward/probe"
)

func (a *app) rewardProbeCmd() *cobra.Command {
	pc := wire.ProbeConfig{Config: probe.Config{Frames: 3, Others: 8, Leaps: 2, Steps: 20, Patches: 8}}
	cmd := &cobra.Command{
		Use:   "probe [RUN]",
		Short: "What the reward loves most, and where in the picture",
		Long: `Audit the newest reward of the session RUN (without it, the newest session) against
shortcuts: from those of its recorded frames that the reward likes least, climb the
reward by changing pixels, within what real frames show, and say in which part of the
picture it rises. That should be what the task is about; a corner, a lamp or a shadow
there is something that a policy may learn to please instead of doing the task.

The picture has a row for each frame: of each camera the frame, what it became, how
much every pixel changed, and in red where the reward rose (docs/probe.md).`,
		Example: "  rapport reward probe runs/group-001",
		Args:    atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case pc.Frames < 1 || pc.Frames > 24:
				return usageError{fmt.Errorf("--frames is %d; want 1 to 24", pc.Frames)}
			case pc.Steps < 1 || pc.Steps > 1000:
				return usageError{fmt.Errorf("--steps is %d; want 1 to 1000", pc.Steps)}
			case pc.Patches < 2 || pc.Patches > 32:
				return usageError{fmt.Errorf("--patches is %d; want 2 to 32", pc.Patches)}
			case pc.Out != "" && !strings.HasSuffix(pc.Out, ".png"):
				return usageError{fmt.Errorf("--out is %q; want the name of a PNG file", pc.Out)}
			}
			dir, err := a.session(args)
			if err == nil {
				err = writable("--out", cmp.Or(pc.Out, filepath.Join(dir, "probe.png")))
			}
			if err != nil {
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			r, err := wire.ProbeReward(cmd.Context(), dir, pc, a.environ, a.sets, a.options(bars))
			if err != nil {
				return err
			}
			bars.close()
			fmt.Fprintf(a.stdout, "%s, %s; the best of %d real frames is worth %.3f\n\n", dir, r.Reward, r.Real, r.Most)
			t := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
			fmt.Fprintln(t, "from\twas worth\tthe probe")
			for i, f := range r.Found {
				fmt.Fprintf(t, "%s\t%.3f\t%.3f\n", r.From[i], f.Before, f.After)
			}
			fmt.Fprintf(t, "\nrises in\tcolumn\trow of %d\tshare\n", r.Patches)
			for _, x := range r.Rises[:min(5, len(r.Rises))] {
				fmt.Fprintf(t, "%s\t%d\t%d\t%.0f %%\n", x.Camera, x.Column, x.Row, 100*x.Share)
			}
			if err := t.Flush(); err != nil {
				return err
			}
			if len(r.Rises) == 0 {
				fmt.Fprintln(a.stdout, "nowhere: no change of these frames that real ones show makes them worth more")
			}
			_, err = fmt.Fprintf(a.stdout, "\nwritten    %s\n", r.Out)
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&pc.Frames, "frames", pc.Frames, "frames to climb from, those that the reward likes least")
	f.IntVar(&pc.Steps, "steps", pc.Steps, "of the gradient")
	f.IntVar(&pc.Patches, "patches", pc.Patches, "that a side of an image is cut into")
	f.StringVarP(&pc.Out, "out", "o", "", "PNG to write, which must not be there yet; without it probe.png in the session's folder, likewise")
	return cmd
}
